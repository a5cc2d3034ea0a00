"""Elastic addresses: reserve, label, assign, move, split, merge, release."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from ipaddress import ip_interface, ip_network
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator, Field

from ipam.errors import IpamError, NoTenure, PrefixClosed, PrefixExhausted
from ipam.ledger import Tenure, Want, give_back_one, no_block, take_all, tenure_by_id
from ipam.prefixes import Prefix, prefix_by_id
from ipam.space import Network
from service import elastic
from service.api import address_schemas
from service.api.call import Body, Call, Route
from service.api.capacity_routes import places_of
from service.api.device_view import scenery_of
from service.api.idempotency import check_same, digest_of, id_of_key, made_before, made_instead
from service.api.ip_objects import elastic_reservation
from service.api.ip_routes import one_address
from service.api.models import Custom, Ids, Maybe, Request, Tags, Text, read
from service.api.problems import Invalid, not_found, shown
from service.api.scenery import Scenery
from service.bgp import bgp_changed
from service.policy import Right
from service.store.elastic import Reservation, reservations, set_label
from service.store.offers import Offers
from service.store.quotas import OverQuota, Use, keep_within, limited
from sql.loader import Q

_LENGTHS = {4: (24, 32), 6: (48, 128)}  # of the blocks that can be reserved
_GLOBAL = "global_ipv4"


def _network(value: str) -> str:
    """A network, or a bare address for the network that it alone makes up."""
    try:
        return str(ip_network(value.strip()))
    except ValueError:
        pass
    try:
        network = ip_interface(value.strip()).network
    except ValueError:
        raise ValueError(f"{shown(value)} is no address, bare or with a prefix length") from None
    raise ValueError(f"{shown(value)} has host bits set; the network is {network}")


class Reserve(Request):
    """A block for a project. `quantity` counts its addresses, `cidr` is its prefix length: one of them is enough."""

    type: Literal["public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4"]
    quantity: Maybe[Annotated[int, Field(ge=1)]] = None
    cidr: Maybe[int] = None
    facility: Maybe[Text] = None
    metro: Maybe[Text] = None
    details: Maybe[Text] = None
    tags: Tags = Field(default_factory=list)
    customdata: Custom = Field(default_factory=dict)


class ChangeLabel(Request):
    """What a customer says of an address."""

    details: Text | None = None
    tags: Tags | None = None
    customdata: Custom | None = None


class Assign(Request):
    """An address, or a block, that is to lead to a device."""

    address: Annotated[str, AfterValidator(_network)]
    manageable: Maybe[bool] = None
    customdata: Custom = Field(default_factory=dict)


class Split(Request):
    """The length of the blocks that a reservation is cut into."""

    cidr: int


class Merge(Request):
    """The reservations that become one."""

    ids: Annotated[Ids, Field(min_length=2, max_length=256)]


class Move(Request):
    """The device that an assignment goes to."""

    device: UUID


@contextmanager
def _refusals(field: str) -> Iterator[None]:
    """The address manager's refusals as answers: 404 for what is not there now, 422 for everything else."""
    try:
        yield
    except NoTenure:
        raise not_found() from None
    except IpamError as err:
        raise Invalid(f"{field} is not valid: {err}") from None


def _length(wish: Reserve) -> int:
    """The prefix length of the wanted block. Raises Refused (422)."""
    version = 6 if wish.type == "public_ipv6" else 4
    shortest, longest = _LENGTHS[version]
    most = 2 ** (longest - shortest)
    allowed = f"powers of two up to {most}" if most < 1 << 16 else f"powers of two up to 2^{longest - shortest}"
    by_quantity = None
    if wish.quantity is not None:
        if wish.quantity & (wish.quantity - 1) or wish.quantity > most:
            raise Invalid(f"Quantity is not valid: {shown(wish.quantity)}; allowed are {allowed}")
        by_quantity = longest - wish.quantity.bit_length() + 1
    if wish.cidr is not None and not shortest <= wish.cidr <= longest:
        raise Invalid(f"Cidr is not valid: {wish.cidr}; allowed are {shortest} to {longest}")
    if wish.cidr is not None and by_quantity not in (None, wish.cidr):
        raise Invalid(f"Quantity is not valid: {wish.quantity} addresses are a /{by_quantity} and no /{wish.cidr}")
    length = by_quantity if wish.cidr is None else wish.cidr
    if length is None:
        raise Invalid("Quantity can't be blank")
    return length


def _places(wish: Reserve, offers: Offers) -> list[str | None]:
    """The codes of the facilities that will do; None alone stands for everywhere."""
    if wish.type != _GLOBAL:
        return [place.code for place in places_of(offers, wish.facility, wish.metro)]
    if wish.facility or wish.metro:
        field, value = ("Facility", wish.facility) if wish.facility else ("Metro", wish.metro)
        raise Invalid(f"{field} is not valid: {shown(value)}; allowed is none: {_GLOBAL} is of all")
    return [None]


async def reserve(call: Call) -> Body:
    """POST /projects/{project}/ips: a block for the project, out of its own or granted prefixes first

    Private space is an elastic prefix inside RFC 1918, global space one of the role anycast.
    """
    project = await call.db.fetchrow(Q["lock_project"], *call.caller.scope, call.id("project"))
    if project is None:
        raise not_found()
    wish, scenery = read(Reserve, call.body), await scenery_of(call)
    length, places = _length(wish), _places(wish, scenery.offers)
    if (earlier := await _reserved_before(call)) is not None:
        return await _shown(call, earlier, scenery)
    tenure = await _take(call, wish, project, places, length)
    id_ = await _labelled(call, wish, project["id"], tenure)
    await bgp_changed(call.db, project["id"], now=call.api.clock.now())
    return await _shown(call, id_, scenery)


async def _reserved_before(call: Call) -> UUID | None:
    if (key := id_of_key(call)) is None or (row := await call.db.fetchrow(Q["label_of_request"], key)) is None:
        return None
    check_same(call, row["request"])
    id_: UUID = row["id"]
    return id_


async def _take(
    call: Call, wish: Reserve, project: Mapping[str, Any], places: Sequence[str | None], length: int
) -> Tenure:
    """The block, committed; from the first place that has one. Raises Refused (422)."""
    slot, cool_down = f"elastic {id_of_key(call) or uuid4()}", timedelta(seconds=call.api.settings.cool_down_s)
    reasons = []
    for code in places:
        row = (wish.type, code, project["id"], project["organization_id"], call.caller.user_id)
        ids = [found["id"] for found in await call.db.fetch(Q["elastic_prefixes"], *row)]
        if not ids:
            reasons.append(f"{code or 'no facility'} has no elastic prefix for {wish.type}")
            continue
        note = {} if code is None else {"facility": code}
        want = Want(project["id"], slot, call.caller.actor, project["id"], note)
        prefixes = [await prefix_by_id(call.db, id_) for id_ in ids]
        try:
            if await limited(call.db, project["organization_id"], project["id"]):
                return await _take_within(call, project, prefixes, want, cool_down, length)
            return await call.api.committer.take(prefixes, want, cool_down=cool_down, length=length)
        except (PrefixExhausted, PrefixClosed) as err:
            reasons.append(str(err))
    where = "metro" if wish.metro and not wish.facility else "facility"
    raise Invalid(f"There aren't available addresses in that {where}: {'; '.join(reasons)}")


async def _take_within(
    call: Call,
    project: Mapping[str, Any],
    prefixes: Sequence[Prefix],
    want: Want,
    cool_down: timedelta,
    length: int,
) -> Tenure:
    """The block, committed, where a quota is kept: in a transaction of its own, which keeps others out."""
    version = prefixes[0].cidr.version
    more = Use(elastic_ipv4=2 ** (32 - length)) if version == 4 else Use(elastic_ipv6=2 ** max(0, 64 - length))
    async with call.db.acquire() as conn, conn.transaction():
        try:
            await keep_within(conn, project["organization_id"], project["id"], more)
        except OverQuota as err:
            raise Invalid(f"Quantity is not valid: {err}") from None
        now = call.api.clock.now()
        (held,) = await take_all(conn, prefixes, [want], now=now, cool_down=cool_down, length=length)
        if held is None:
            raise await no_block(conn, prefixes, want.slot, now=now, cool_down=cool_down, length=length)
        return held


async def _labelled(call: Call, wish: Reserve, project_id: UUID, tenure: Tenure) -> UUID:
    """Write down what is said of a new reservation; the id of the one that the request has made.

    A process that dies before this leaves a reservation without details, which the request completes when it comes
    again with its key.
    """
    # The project may be being deleted, and have found nothing: the lock waits for that. Later on it finds this, and
    # has released it already.
    if not await call.db.fetchval(Q["lock_project_row"], project_id):
        with suppress(NoTenure):
            async with call.db.acquire() as conn, conn.transaction():
                await give_back_one(conn, tenure.id, now=call.api.clock.now(), by=call.caller.actor)
        raise not_found()
    key = id_of_key(call)
    await set_label(
        call.db,
        tenure.id,
        details=wish.details,
        tags=wish.tags,
        customdata=wish.customdata,
        request_key=key,
        request=None if key is None else digest_of(call),
    )
    return tenure.id if key is None else await _reserved_before(call) or tenure.id


async def _shown(call: Call, id_: UUID, scenery: Scenery) -> Body:
    found = await reservations(call.db, call.caller, [id_], ended_too=True)
    if not found:
        raise not_found()
    return elastic_reservation(found[0], scenery)


async def change_ip(call: Call) -> Body:
    """PUT and PATCH /ips/{ip}: details, tags and customdata of an elastic reservation or assignment"""
    id_, change = call.id("ip"), read(ChangeLabel, call.body)
    if (await one_address(call, id_))["management"]:
        raise Invalid("Details is not valid: a management address takes none")
    sent = change.model_fields_set
    tags = [] if "tags" in sent and change.tags is None else change.tags
    customdata = {} if "customdata" in sent and change.customdata is None else change.customdata
    await call.db.execute(Q["change_label"], id_, "details" in sent, change.details, tags, customdata)
    return await one_address(call, id_)


async def delete_ip(call: Call) -> None:
    """DELETE /ips/{ip}: an assignment is led to its device no longer, a reservation is released"""
    id_ = call.id("ip")
    kept = await one_address(call, id_)
    if kept["management"]:
        raise Invalid("Cannot delete a management address: it ends with its device")
    now, by = call.api.clock.now(), call.caller.actor
    async with call.db.acquire() as conn, conn.transaction():
        with _refusals("Address"):
            if "assigned_to" in kept:
                part, _ = await elastic.lock_assignment(conn, call.caller, id_, [])
                await elastic.unassign(conn, part, now=now, by=by)
            else:
                (found,) = await elastic.lock_reservations(conn, call.caller, [id_])
                await elastic.release(conn, found, now=now, by=by)


async def assign(call: Call) -> Body:
    """POST /devices/{device}/ips: lead an address of one of the project's reservations to the device"""
    device_id, wish = call.id("device"), read(Assign, call.body)
    block: Network = ip_network(wish.address)
    async with call.db.acquire() as conn, conn.transaction():
        targets = await elastic.lock_targets(conn, call.caller, [device_id])
        if device_id not in targets:
            raise not_found()
        if (earlier := await made_before(conn, call, device_id, 201)) is None:
            now, by = call.api.clock.now(), call.caller.actor
            with _refusals("Address"):
                part = await elastic.assign(conn, call.caller, targets[device_id], block, now=now, by=by)
            manageable = True if wish.manageable is None else wish.manageable
            await set_label(conn, part.id, customdata=wish.customdata, manageable=manageable)
            await made_instead(conn, call, part.id)
            earlier = part.id
    return await one_address(call, earlier)


async def move(call: Call) -> Body:
    """POST /ips/{ip}/move: lead an assignment to another device of the project; it gets a new id"""
    id_, wish = call.id("ip"), read(Move, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        if (earlier := await made_before(conn, call, id_, 201)) is None:
            with _refusals("Device"):
                part, targets = await elastic.lock_assignment(conn, call.caller, id_, [wish.device])
                if wish.device not in targets:
                    raise Invalid(f"Device is not valid: {shown(str(wish.device))} is none of yours")
                now, by = call.api.clock.now(), call.caller.actor
                moved = await elastic.move(conn, call.caller, part, targets[wish.device], now=now, by=by)
            await made_instead(conn, call, moved.id)
            earlier = moved.id
    return await one_address(call, earlier)


async def split(call: Call) -> Body:
    """POST /ips/{ip}/split: cut a reservation into blocks of one size, each a reservation of its own"""
    id_, wish = call.id("ip"), read(Split, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        if await made_before(conn, call, id_, 201) is None:
            with _refusals("Cidr"):
                (whole,) = await elastic.lock_reservations(conn, call.caller, [id_])
                await elastic.split(conn, whole, wish.cidr, now=call.api.clock.now(), by=call.caller.actor)
    whole_then = await tenure_by_id(call.db, id_)
    if whole_then is None:
        raise not_found()
    # What ended and what began share the moment: by that the parts are found, also when the request comes again.
    row = (whole_then.owner, whole_then.block, whole_then.until)
    ids = [found["id"] for found in await call.db.fetch(Q["reservations_from_split"], *row)]
    return {"ip_addresses": await _all_shown(call, ids)}


async def _all_shown(call: Call, ids: Sequence[UUID]) -> list[Body]:
    scenery = await scenery_of(call)
    found: list[Reservation] = await reservations(call.db, call.caller, ids, ended_too=True)
    return [elastic_reservation(one, scenery) for one in found]


async def merge(call: Call) -> Body:
    """POST /ips/merge: one reservation of several that together are one block"""
    ids = sorted(set(read(Merge, call.body).ids))
    async with call.db.acquire() as conn, conn.transaction():
        if (earlier := await made_before(conn, call, ids[0], 201)) is None:
            with _refusals("Ids"):
                parts = await elastic.lock_reservations(conn, call.caller, ids)
                for project_id in {part.project_id for part in parts}:
                    await call.require(Right.USE, project_id, conn)
                made = await elastic.merge(conn, parts, now=call.api.clock.now(), by=call.caller.actor)
            await made_instead(conn, call, made.id)
            earlier = made.id
    return await _shown(call, earlier, await scenery_of(call))


ROUTES = (
    Route(
        "POST",
        "/projects/{project}/ips",
        reserve,
        right=Right.USE,
        status=201,
        body=Reserve,
        answer=address_schemas.Reservation,
    ),
    Route(
        "PUT PATCH",
        "/ips/{ip}",
        change_ip,
        right=Right.USE,
        body=ChangeLabel,
        answer=address_schemas.AssignmentOrReservation,
    ),
    Route("DELETE", "/ips/{ip}", delete_ip, right=Right.USE, status=204),
    Route(
        "POST",
        "/ips/{ip}/split",
        split,
        right=Right.USE,
        status=201,
        objects="ip_addresses",
        body=Split,
        answer=address_schemas.Reservation,
        addition=True,
    ),
    Route(
        "POST",
        "/ips/{ip}/move",
        move,
        right=Right.USE,
        status=201,
        body=Move,
        answer=address_schemas.Assignment,
        addition=True,
    ),
    Route(
        "POST",
        "/ips/merge",
        merge,
        right=Right.USE,
        status=201,
        body=Merge,
        answer=address_schemas.Reservation,
        addition=True,
    ),
    Route(
        "POST",
        "/devices/{device}/ips",
        assign,
        right=Right.USE,
        status=201,
        body=Assign,
        answer=address_schemas.Assignment,
    ),
)
