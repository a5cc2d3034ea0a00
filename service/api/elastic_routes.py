"""Elastic addresses: label, assign, move, split, merge, release, and the routes of all that."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_interface, ip_network
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, Field

from ipam.errors import IpamError, NoTenure
from ipam.ledger import tenure_by_id
from ipam.space import Network
from service import elastic
from service.api import address_schemas
from service.api.call import Body, Call, Route
from service.api.device_view import scenery_of
from service.api.elastic_reserve import Reserve, reservation_shown, reserve
from service.api.idempotency import made_before, made_instead
from service.api.ip_objects import elastic_reservation
from service.api.ip_routes import one_address
from service.api.models import Custom, Ids, Maybe, Request, Tags, Text, read
from service.api.problems import Invalid, not_found, shown
from service.policy import Right
from service.store.elastic import Reservation, reservations, set_label
from sql.loader import Q


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
    return await reservation_shown(call, earlier, await scenery_of(call))


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
