"""The ledger over HTTP: who had an address and when, corrections, abuse tags."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field

from ipam.abuse import clear, tag, tags
from ipam.history import correct, history, known_at
from ipam.ledger import Tenure, holding
from ipam.permissions import visible
from ipam.space import Network
from service.addresses import schemas
from service.addresses.asked import address_in, block_of, time_asked, time_of, vrf_named, vrf_names
from service.addresses.objects import moment, names_in, tag_object, tenure_object, tenure_objects
from service.addresses.policy import answered, subject_of
from service.api import parameters
from service.api.call import Body, Call, Route
from service.api.models import Custom, Maybe, Name, Request, Text, read
from service.api.parameters import Parameter
from service.api.problems import not_found
from service.policy import Right
from service.store.accounts import sees_project


class Correct(Request):
    """How a tenure really was; what is missing stays as it is written."""

    why: Annotated[str, Field(min_length=1, max_length=1000)]
    project: Maybe[UUID] = None
    since: Maybe[Text] = None
    until: Maybe[Text] = None
    note: Custom = Field(default_factory=dict)


class SetTag(Request):
    """A tag on a block."""

    block: Text
    tag: Name
    reason: Text = ""
    vrf: Maybe[Name] = None


async def _vrf_ids(call: Call) -> list[int]:
    named = await vrf_named(call, call.word("vrf"))
    return list(await vrf_names(call)) if named is None else [named]


async def _own(call: Call, found: list[Tenure]) -> list[Tenure]:
    """Those of the tenures that the caller may know of: his projects', and those in prefixes that he may view."""
    seen = await visible(call.db, subject_of(call.caller))
    if seen is None:
        return found
    projects = {one.project_id for one in found if one.project_id is not None}
    mine = {project for project in projects if await sees_project(call.db, call.caller, project)}
    return [one for one in found if one.prefix_id in seen or one.project_id in mine]


async def _at(call: Call, block: Network, at: datetime, as_of: datetime | None) -> list[Tenure]:
    vrf_ids = await _vrf_ids(call)
    if as_of is None:
        return await holding(call.db, block, at, vrf_ids=vrf_ids)
    return known_at(await history(call.db, block, vrf_ids=vrf_ids), at, as_of)


async def who(call: Call) -> Body:
    """GET /ipam/v1/ips/{address}: who has it; with `at`, who had it then; with `as_of`, as it was known then"""
    address, now = address_in(call), call.api.clock.now()
    at, as_of = time_asked(call, "at") or now, time_asked(call, "as_of")
    found = await _own(call, await _at(call, address, at, as_of))
    if not found and not call.caller.staff:
        raise not_found()
    names = await vrf_names(call)
    tagged = await tags(call.db, block=address) if call.caller.staff else []
    return {
        "address": str(address.network_address),
        "at": moment(at),
        "as_of": moment(as_of),
        "tenures": [
            body | {"vrf": names[one.vrf_id]}
            for body, one in zip(await tenure_objects(call.db, found), found, strict=True)
        ],
        "abuse_tags": [tag_object(one, names) for one in tagged],
    }


async def past(call: Call) -> Body:
    """GET /ipam/v1/ips/{address}/history: every tenure that the address was part of, oldest first, with corrections"""
    address = address_in(call)
    entries = await history(call.db, address, vrf_ids=await _vrf_ids(call))
    own = {one.id for one in await _own(call, [entry.tenure for entry in entries])}
    if not own and not call.caller.staff:
        raise not_found()
    names = await names_in(call.db, [entry.tenure for entry in entries])
    return {
        "address": str(address.network_address),
        "history": [
            tenure_object(entry.tenure, names)
            | {
                "recorded_at": moment(entry.recorded_at),
                "closed_at": moment(entry.closed_at),
                "corrected_at": moment(entry.corrected_at),
                "corrected_by": entry.corrected_by,
                "correction": entry.correction,
            }
            for entry in entries
            if entry.tenure.id in own
        ],
    }


async def put_right(call: Call) -> Body:
    """POST /ipam/v1/tenures/{tenure}/correct: the ledger was wrong; what it said stays to be seen in the history"""
    wish = read(Correct, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        with answered():
            right = await correct(
                conn,
                call.id("tenure"),
                wish.why,
                by=call.caller.actor,
                since=None if wish.since is None else time_of("Since", wish.since),
                until=None if wish.until is None else time_of("Until", wish.until),
                project_id=wish.project,
                note=wish.note,
            )
        return (await tenure_objects(conn, [right]))[0]


async def list_tags(call: Call) -> Body:
    """GET /ipam/v1/abuse-tags: narrowed by vrf and block; with `history=true` also those that were cleared"""
    block = call.word("block")
    found = await tags(
        call.db,
        vrf_id=await vrf_named(call, call.word("vrf")),
        block=None if block is None else block_of("Block", block),
        cleared_too=bool(call.flag("history")),
    )
    names = await vrf_names(call)
    return {"abuse_tags": [tag_object(one, names) for one in found]}


async def set_tag(call: Call) -> Body:
    """POST /ipam/v1/abuse-tags: the block is handed out to nobody until the tag is cleared; again is the same"""
    wish = read(SetTag, call.body)
    block = block_of("Block", wish.block)
    vrf_id = await vrf_named(call, wish.vrf or "default")
    assert vrf_id is not None  # it was named
    async with call.db.acquire() as conn, conn.transaction():
        with answered():
            await tag(conn, vrf_id, block, wish.tag, wish.reason, now=call.api.clock.now(), by=call.caller.actor)
        found = await tags(conn, vrf_id=vrf_id, block=block)
    names = await vrf_names(call)
    return next(tag_object(one, names) for one in found if (one.block, one.tag) == (block, wish.tag))


async def clear_tag(call: Call) -> None:
    """DELETE /ipam/v1/abuse-tags/{tag}: the block is handed out again; the tag stays in the history"""
    wanted = call.id("tag")
    async with call.db.acquire() as conn, conn.transaction():
        one = next((one for one in await tags(conn) if one.id == wanted), None)
        if one is None:
            raise not_found()
        with answered():
            await clear(conn, one.vrf_id, one.block, one.tag, now=call.api.clock.now(), by=call.caller.actor)


_WHO = (
    parameters.VRF,
    parameters.AT,
    Parameter("as_of", "As it was known at this time: without later corrections.", format="date-time"),
)
_TAGS = (
    parameters.VRF,
    Parameter("block", "On this block, as CIDR."),
    parameters.flag("history", "Also those that were cleared."),
)

ROUTES = (
    Route("GET", "/ipam/v1/ips/{address}", who, right=Right.VIEW, query=_WHO, answer=schemas.Holders),
    Route("GET", "/admin/v1/ips/{address}", who, right=Right.LOOK, query=_WHO, answer=schemas.Holders),
    Route(
        "GET", "/ipam/v1/ips/{address}/history", past, right=Right.VIEW, query=(parameters.VRF,), answer=schemas.History
    ),
    Route(
        "POST", "/ipam/v1/tenures/{tenure}/correct", put_right, right=Right.OPERATE, body=Correct, answer=schemas.Tenure
    ),
    Route(
        "GET",
        "/ipam/v1/abuse-tags",
        list_tags,
        right=Right.LOOK,
        objects="abuse_tags",
        query=_TAGS,
        answer=schemas.AbuseTag,
    ),
    Route(
        "POST", "/ipam/v1/abuse-tags", set_tag, right=Right.OPERATE, status=201, body=SetTag, answer=schemas.AbuseTag
    ),
    Route("DELETE", "/ipam/v1/abuse-tags/{tag}", clear_tag, right=Right.OPERATE, status=204),
)
