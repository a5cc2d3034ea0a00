"""The prefix tree over HTTP: looked at, grown, frozen and drained, and blocks taken out of it by hand."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import Field

from ipam.errors import BadBlock, NoTenure
from ipam.ledger import Tenure, Want, give_back, give_back_one, hold, tenure_by_id, tenures_in
from ipam.permissions import visible
from ipam.prefixes import (
    add_prefix,
    add_vrf,
    describe,
    parse_cidr,
    prefix_by_id,
    set_status,
    smallest_around,
    usage,
)
from ipam.space import blocks_between
from service.addresses import schemas
from service.addresses.asked import block_of, vrf_named, vrf_names
from service.addresses.objects import prefix_object, tenure_objects
from service.addresses.policy import allowed_prefix, answered, prefix_id_of, require, runs_addresses, subject_of
from service.api import parameters
from service.api.call import Body, Call, Route
from service.api.models import Custom, Maybe, Name, Request, Text, read
from service.api.pages import meta, page_of
from service.api.parameters import Parameter
from service.api.problems import Invalid, forbidden, not_found, shown
from service.policy import Right
from service.store.accounts import uses_project
from service.store.rows import Connection
from service.store.trial import compared, rehearsed

_PER_PAGE = 250
_MANUAL = "manual "  # slots of blocks that were taken by hand; all others end with what they belong to
_RESERVED = "reserved "


class CreatePrefix(Request):
    """A new node of the tree."""

    prefix: Text
    role: Text
    vrf: Maybe[Name] = None
    facility: Maybe[Text] = None
    block_length: Maybe[int] = None
    description: Text = ""
    organization: Maybe[UUID] = None
    project: Maybe[UUID] = None


class ChangePrefix(Request):
    """What can be changed of a prefix."""

    status: Maybe[Literal["active", "draining", "frozen", "retired"]] = None
    description: Text | None = None
    facility: Maybe[Text] = None
    dry_run: bool = False


class TakeBlock(Request):
    """A block that somebody wants; the same owner and slot always get the same one while they hold it."""

    owner: Maybe[UUID] = None
    slot: Maybe[Annotated[str, Field(max_length=200)]] = None
    length: Maybe[int] = None
    block: Maybe[Text] = None
    project: Maybe[UUID] = None
    note: Custom = Field(default_factory=dict)


class ReserveRange(Request):
    """Addresses that are never handed out, both ends included."""

    first: Text
    last: Text
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


async def list_vrfs(call: Call) -> Body:
    """GET /ipam/v1/vrfs: the VRFs"""
    return {"vrfs": [{"id": id_, "name": name} for id_, name in (await vrf_names(call)).items()]}


async def list_prefixes(call: Call) -> Body:
    """GET /ipam/v1/prefixes: narrowed by vrf, role, facility, standing, inside"""
    seen = await visible(call.db, subject_of(call.caller))
    inside = call.word("inside")
    found = await usage(
        call.db,
        ids=seen,
        vrf_id=await vrf_named(call, call.word("vrf")),
        role=call.word("role"),
        facility=call.word("facility"),
        standing=call.word("standing"),
        inside=None if inside is None else str(block_of("Inside", inside)),
    )
    names = await vrf_names(call)
    return {"prefixes": [prefix_object(one, names, seen) for one in found]}


async def _shown(call: Call, conn: Connection, prefix_id: int) -> Body:
    seen = await visible(conn, subject_of(call.caller))
    (one,) = await usage(conn, ids=[prefix_id], standing=(await prefix_by_id(conn, prefix_id)).standing)
    return prefix_object(one, await vrf_names(call), seen)


async def get_prefix(call: Call) -> Body:
    """GET /ipam/v1/prefixes/{prefix}: a prefix with its use"""
    return await _shown(call, call.db, await allowed_prefix(call, call.db, "view"))


async def create_prefix(call: Call) -> Body:
    """POST /ipam/v1/prefixes: by staff anywhere, by a customer below a node that he manages"""
    wish = read(CreatePrefix, call.body)
    vrf = wish.vrf or "default"
    async with call.db.acquire() as conn, conn.transaction():
        with answered():
            network = str(parse_cidr(wish.prefix))
            if runs_addresses(call.caller):
                vrf_id = await add_vrf(conn, vrf)
            else:
                vrf_id = await _customers_vrf(call, conn, wish, network)
            made = await add_prefix(
                conn,
                vrf_id,
                network,
                wish.role,
                block_length=wish.block_length,
                facility=wish.facility,
                description=wish.description,
                organization_id=wish.organization,
                project_id=wish.project,
            )
        return await _shown(call, conn, made.id)


async def _customers_vrf(call: Call, conn: Connection, wish: CreatePrefix, network: str) -> int:
    """The VRF in which a customer may add the prefix: he manages the node around it, and owns what he adds."""
    vrf_id = await vrf_named(call, wish.vrf or "default")
    around = None if vrf_id is None else await smallest_around(conn, vrf_id, network)
    if vrf_id is None or around is None:
        raise forbidden(f"You are not authorized: {network} lies in no prefix that you manage")
    await require(conn, call.caller, around.id, "manage")
    if wish.organization is not None and Right.USE not in call.caller.rights_in(wish.organization, None):
        raise Invalid(f"Organization is not valid: {shown(str(wish.organization))} is not yours")
    if wish.project is not None and not await uses_project(conn, call.caller, wish.project):
        raise Invalid(f"Project is not valid: {shown(str(wish.project))} is not yours")
    return vrf_id


async def change_prefix(call: Call) -> Body:
    """PATCH /ipam/v1/prefixes/{prefix}: status, description, facility; with dry_run only shown: before, after"""
    wish = read(ChangePrefix, call.body)
    async with rehearsed(call.db, keep=not wish.dry_run) as conn:
        prefix_id = await allowed_prefix(call, conn, "manage")
        before = await _shown(call, conn, prefix_id) if wish.dry_run else None
        with answered():
            if wish.status is not None:
                await set_status(conn, prefix_id, wish.status)
            await describe(conn, prefix_id, description=wish.description, facility=wish.facility)
        after = await _shown(call, conn, prefix_id)
    return after if before is None else compared(before, after, applied=False)


async def list_tenures(call: Call) -> Body:
    """GET /ipam/v1/prefixes/{prefix}/tenures: what lives in it and below it now, in address order"""
    prefix_id = await allowed_prefix(call, call.db, "view")
    page = page_of(call, _PER_PAGE)
    total, found = await tenures_in(call.db, prefix_id, offset=page.offset, limit=page.size)
    return {"tenures": await tenure_objects(call.db, found), "meta": meta(call, page, total)}


async def take_block(call: Call) -> Body:
    """POST /ipam/v1/prefixes/{prefix}/tenures: the next free block, or the one that `block` names"""
    wish = read(TakeBlock, call.body)
    with answered():
        prefix = await prefix_by_id(call.db, prefix_id_of(call))
        await require(call.db, call.caller, prefix.id, "assign")
    project = await _project(call, wish.project)
    owner = wish.owner or project or call.caller.user_id
    if owner is None or (wish.owner is not None and not runs_addresses(call.caller) and wish.owner != project):
        raise Invalid("Owner is not valid: a customer's blocks belong to his project")
    slot = _MANUAL + (wish.slot or call.idempotency_key or str(uuid4()))
    want = Want(owner, slot, call.caller.actor, project, wish.note)
    with answered():
        if wish.block is None:
            cool_down = timedelta(seconds=call.api.settings.cool_down_s)
            made = await call.api.committer.take([prefix], want, cool_down=cool_down, length=wish.length)
        else:
            block = block_of("Block", wish.block)
            async with call.db.acquire() as conn, conn.transaction():
                made = await hold(conn, prefix, block, want, now=call.api.clock.now())
    return (await tenure_objects(call.db, [made]))[0]


async def _project(call: Call, wanted: UUID | None) -> UUID | None:
    project = wanted or call.caller.project_id
    if project is not None and not await uses_project(call.db, call.caller, project):
        raise Invalid(f"Project is not valid: {shown(str(project))} is not yours")
    if project is None and not runs_addresses(call.caller):
        raise Invalid("Project can't be blank")
    return project


async def _tenure(call: Call, conn: Connection) -> Tenure:
    found = await tenure_by_id(conn, call.id("tenure"))
    if found is None or found.until is not None:
        raise not_found()
    with answered():
        await require(conn, call.caller, found.prefix_id, "assign")
    return found


async def end_tenure(call: Call) -> None:
    """DELETE /ipam/v1/tenures/{tenure}: of a block that was taken by hand"""
    async with call.db.acquire() as conn, conn.transaction():
        tenure = await _tenure(call, conn)
        with answered():
            if not tenure.slot.startswith(_MANUAL):
                raise BadBlock(
                    f"{tenure.block} is held by {tenure.owner} as {tenure.slot} and ends with it;"
                    " only what was taken by hand ends by hand"
                )
            if not runs_addresses(call.caller) and not await _is_own(call, conn, tenure):
                raise NoTenure(f"{tenure.block} is not yours")
            await give_back_one(conn, tenure.id, now=call.api.clock.now(), by=call.caller.actor)


async def _is_own(call: Call, conn: Connection, tenure: Tenure) -> bool:
    return tenure.project_id is not None and await uses_project(conn, call.caller, tenure.project_id)


async def reserve_range(call: Call) -> Body:
    """POST /ipam/v1/prefixes/{prefix}/reserved: addresses that are never handed out"""
    wish = read(ReserveRange, call.body)
    range_id = uuid4()
    async with call.db.acquire() as conn, conn.transaction():
        prefix_id = await allowed_prefix(call, conn, "manage")
        with answered():
            prefix = await prefix_by_id(conn, prefix_id)
            note: dict[str, Any] = {"reserved": wish.reason, "first": wish.first, "last": wish.last}
            held = []
            for number, block in enumerate(blocks_between(wish.first, wish.last)):
                want = Want(range_id, f"{_RESERVED}{number}", call.caller.actor, None, note)
                held.append(await hold(conn, prefix, block, want, now=call.api.clock.now()))
        return {"id": str(range_id), "reason": wish.reason, "blocks": [str(one.block) for one in held]}


async def list_reserved(call: Call) -> Body:
    """GET /ipam/v1/prefixes/{prefix}/reserved: the ranges that are never handed out"""
    prefix_id = await allowed_prefix(call, call.db, "view")
    _, found = await tenures_in(call.db, prefix_id, offset=0, limit=None, slot=f"{_RESERVED}%")
    ranges: dict[UUID, Body] = {}
    for one in found:
        row = ranges.setdefault(
            one.owner,
            {
                "id": str(one.owner),
                "prefix": one.prefix_id,
                "first": one.note["first"],
                "last": one.note["last"],
                "reason": one.note["reserved"],
                "by": one.opened_by,
                "blocks": [],
            },
        )
        row["blocks"].append(str(one.block))
    return {"reserved": list(ranges.values())}


async def end_reserved(call: Call) -> None:
    """DELETE /ipam/v1/prefixes/{prefix}/reserved/{range}: the range is handed out again"""
    async with call.db.acquire() as conn, conn.transaction():
        prefix_id = await allowed_prefix(call, conn, "manage")
        _, found = await tenures_in(conn, prefix_id, offset=0, limit=None, slot=f"{_RESERVED}%")
        range_id = call.id("range")
        if not any(one.owner == range_id for one in found):
            raise not_found()
        with answered():
            await give_back(conn, range_id, now=call.api.clock.now(), by=call.caller.actor)


_PREFIXES = (
    parameters.VRF,
    Parameter("role", "Of this role."),
    Parameter("facility", "Of this facility, by code."),
    Parameter("standing", "Of this standing."),
    Parameter("inside", "Inside this block, as CIDR."),
)

ROUTES = (
    Route("GET", "/ipam/v1/vrfs", list_vrfs, right=Right.LOOK, objects="vrfs", answer=schemas.Vrf),
    Route(
        "GET",
        "/ipam/v1/prefixes",
        list_prefixes,
        right=Right.VIEW,
        objects="prefixes",
        query=_PREFIXES,
        answer=schemas.Prefix,
    ),
    Route(
        "POST",
        "/ipam/v1/prefixes",
        create_prefix,
        right=Right.USE,
        status=201,
        body=CreatePrefix,
        answer=schemas.Prefix,
    ),
    Route("GET", "/ipam/v1/prefixes/{prefix}", get_prefix, right=Right.VIEW, answer=schemas.Prefix),
    Route(
        "PUT PATCH",
        "/ipam/v1/prefixes/{prefix}",
        change_prefix,
        right=Right.USE,
        body=ChangePrefix,
        answer=schemas.PrefixAfter,
    ),
    Route(
        "GET",
        "/ipam/v1/prefixes/{prefix}/tenures",
        list_tenures,
        right=Right.VIEW,
        objects="tenures",
        query=parameters.PAGES,
        answer=schemas.Tenure,
    ),
    Route(
        "POST",
        "/ipam/v1/prefixes/{prefix}/tenures",
        take_block,
        right=Right.USE,
        status=201,
        body=TakeBlock,
        answer=schemas.Tenure,
    ),
    Route("DELETE", "/ipam/v1/tenures/{tenure}", end_tenure, right=Right.USE, status=204),
    Route(
        "GET",
        "/ipam/v1/prefixes/{prefix}/reserved",
        list_reserved,
        right=Right.VIEW,
        objects="reserved",
        answer=schemas.ReservedRange,
    ),
    Route(
        "POST",
        "/ipam/v1/prefixes/{prefix}/reserved",
        reserve_range,
        right=Right.USE,
        status=201,
        body=ReserveRange,
        answer=schemas.ReservedMade,
    ),
    Route("DELETE", "/ipam/v1/prefixes/{prefix}/reserved/{range}", end_reserved, right=Right.USE, status=204),
)
