"""What may be done with elastic addresses. Each call records an intent in the caller's transaction; the leaves' actors
carry it out. The caller has checked who asks.

Evidence goes before claims here, too: no other customer gets a block while a leaf may still lead it somewhere. What
leads to a deleted device ends when its port was seen closed (`addresses_back`); what was taken from a device that
lives is remembered as a withdrawal until the leaf was seen without it. A reservation that is released meanwhile is
gone for its customer at once, and ends in the ledger when neither is left (`end_released`).

Rows are locked in one order everywhere: runs, devices, reservations, parts, ports.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from ipam import elastic
from ipam.errors import BadBlock, BlockTaken, IpamError, NoTenure
from ipam.ledger import Tenure, give_back, give_back_one, held_by, tenure_by_id
from ipam.space import Network, inside
from service.bgp import bgp_changed
from service.lifecycle import DeviceState
from service.store.accounts import Principal
from service.store.course import Device, device_by_id
from service.store.elastic import Reservation, reservation_around, reservations
from service.store.hardware import Machine, machine_of_device, port_changed
from service.store.rows import Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

_ENDED = (DeviceState.DELETED, DeviceState.FAILED)  # neither is ever placed again


@dataclass(frozen=True, slots=True)
class Target:
    """A device that addresses may lead to, its row locked."""

    id: UUID
    state: str
    project_id: UUID
    facility: str


def whereabouts(device: Device, machine: Machine | None) -> dict[str, str]:
    """What the ledger says of a device's addresses beside: where they lead."""
    told = {"device": str(device.id), "hostname": device.hostname}
    if machine is not None:
        told |= {"machine": machine.name, "leaf": machine.leaf, "port": machine.port, "mac": machine.mac}
    return told


async def lock_targets(conn: Connection, principal: Principal, device_ids: Sequence[UUID]) -> dict[UUID, Target]:
    """Lock the devices, and their courses, for as long as the transaction lasts; those that may not be seen are not
    among the answer."""
    await conn.fetch(Q["lock_courses"], list(device_ids))
    rows = await conn.fetch(Q["lock_devices"], *principal.scope, list(device_ids))
    return {row["id"]: Target(**row) for row in rows}


async def _note(conn: Connection, target: Target) -> dict[str, str]:
    if target.state == DeviceState.FAILED:
        raise BadBlock("the device has failed and nothing leads to it")
    return whereabouts(await device_by_id(conn, target.id), await machine_of_device(conn, target.id))


def _check_place(reservation: Reservation, target: Target) -> None:
    if reservation.facility is not None and reservation.facility != target.facility:
        raise BadBlock(f"{reservation.block} is of {reservation.facility}, and the device of {target.facility}")


async def lock_reservations(conn: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Reservation]:
    """Lock reservations for as long as the transaction lasts. Raises NoTenure for one that is not there to be seen."""
    await conn.fetch(Q["lock_tenures"], list(ids))
    found = await reservations(conn, principal, ids)
    if missing := set(ids) - {one.id for one in found}:
        raise NoTenure(f"there is no reservation {min(missing)} now")
    return found


async def _reservation_around(conn: Connection, principal: Principal, project_id: UUID, block: Network) -> Reservation:
    id_ = await reservation_around(conn, project_id, block)
    while id_ is not None:
        await conn.fetch(Q["lock_tenures"], [id_])
        # It may have been split, merged or released before it was locked.
        again = await reservation_around(conn, project_id, block)
        if again == id_:
            return (await lock_reservations(conn, principal, [id_]))[0]
        id_ = again
    raise BadBlock(f"{block} lies in no elastic reservation of the device's project")


async def assign(
    conn: Connection, principal: Principal, target: Target, block: Network, *, now: datetime, by: str
) -> Tenure:
    """Lead a block of one of the project's reservations to a device. Raises IpamError; nothing is changed then."""
    reservation = await _reservation_around(conn, principal, target.project_id, block)
    _check_place(reservation, target)
    note = await _note(conn, target)
    parts = [part for part in await elastic.parts_of(conn, [reservation.id]) if _touch(part.block, block)]
    await _refuse_if_leaving(conn, parts)
    if any(part.owner == target.id and part.block == block for part in parts):
        raise BlockTaken(f"{block} is assigned to this device already")
    part = await elastic.route(
        conn,
        reservation.id,
        block,
        target.id,
        now=now,
        by=by,
        project_id=target.project_id,
        note=note,
        anycast=reservation.global_ip,
    )
    await port_changed(conn, target.id, now=now)
    await bgp_changed(conn, target.project_id, now=now)
    return part


def _touch(one: Network, other: Network) -> bool:
    return inside(one, other) or inside(other, one)


async def _refuse_if_leaving(conn: Connection, parts: Sequence[Tenure]) -> None:
    gone = {row["id"] for row in await conn.fetch(Q["owners_deleted"], [part.owner for part in parts])}
    for part in parts:
        if part.owner in gone and part.kind != "anycast":
            raise BlockTaken(f"{part.block} is being taken away from a deleted device, until its port is seen closed")


async def unassign(conn: Connection, part: Tenure, *, now: datetime, by: str) -> None:
    """Lead a block to its device no longer; the reservation keeps it. Raises IpamError."""
    await elastic.unroute(conn, part.id, now=now, by=by)
    await _withdraw(conn, part, now=now)
    if part.project_id is not None:
        await bgp_changed(conn, part.project_id, now=now)


async def move(
    conn: Connection, principal: Principal, part: Tenure, target: Target, *, now: datetime, by: str
) -> Tenure:
    """Lead an assigned block to another device from one moment to the next. Raises IpamError."""
    if part.within is None or not (found := await reservations(conn, principal, [part.within])):
        raise BadBlock(f"{part.block} belongs to no elastic reservation now")
    if found[0].project_id != target.project_id:
        raise BadBlock(f"{part.block} and the device are of different projects")
    _check_place(found[0], target)
    note = await _note(conn, target)
    moved = await elastic.move(conn, part.id, target.id, now=now, by=by, project_id=target.project_id, note=note)
    if moved.id != part.id:
        await conn.execute(Q["copy_label"], part.id, [moved.id])
        await _withdraw(conn, part, now=now)
        await port_changed(conn, target.id, now=now)
    return moved


async def _withdraw(conn: Connection, part: Tenure, *, now: datetime) -> None:
    await port_changed(conn, part.owner, now=now)
    # The port that the ledger names may be being closed, and be the device's no longer.
    at = (part.note.get("leaf"), part.note.get("port"))
    await conn.execute(Q["withdrawn_from_port"], part.owner, part.vrf_id, part.block, *at)


async def split(conn: Connection, reservation: Reservation, length: int, *, now: datetime, by: str) -> list[Tenure]:
    """Cut a reservation into blocks of /`length`; each says of itself what the whole did. Raises IpamError."""
    made = await elastic.split(conn, reservation.id, length, now=now, by=by)
    await conn.execute(Q["copy_label"], reservation.id, [one.id for one in made])
    await bgp_changed(conn, reservation.project_id, now=now)
    return made


async def merge(conn: Connection, parts: Sequence[Reservation], *, now: datetime, by: str) -> Tenure:
    """Make one reservation of several; it says of itself what the one with the lowest address did. Raises IpamError."""
    if len({part.facility for part in parts}) > 1:
        raise BadBlock(f"{', '.join(str(part.block) for part in parts)} are of different facilities")
    made = await elastic.merge(conn, [part.id for part in parts], now=now, by=by)
    first = min(parts, key=lambda part: int(part.block.network_address))
    await conn.execute(Q["copy_label"], first.id, [made.id])
    await bgp_changed(conn, first.project_id, now=now)
    return made


async def release(conn: Connection, reservation: Reservation, *, now: datetime, by: str) -> None:
    """Give back a reservation that was locked. It ends later while a leaf may still lead a part of it to a port, or
    take an announcement of it.

    Raises IpamError; BlockTaken while a part is led to a device that lives.
    """
    parts = await elastic.parts_of(conn, [reservation.id])
    gone = {row["id"] for row in await conn.fetch(Q["owners_deleted"], [part.owner for part in parts])}
    for part in parts:
        if part.owner not in gone:
            raise BlockTaken(f"{part.block} of {reservation.block} is assigned to {part.owner}; remove it there first")
    await bgp_changed(conn, reservation.project_id, now=now, gone=[reservation.block])
    if parts or await conn.fetchval(Q["withdrawal_under_way"], reservation.vrf_id, reservation.block):
        await conn.execute(Q["mark_released"], reservation.id, now, by)
    else:
        await elastic.release(conn, reservation.id, now=now, by=by)


async def end_released(conn: Connection, *, now: datetime) -> None:
    """End the reservations that were released and that nothing of is led anywhere any more."""
    for row in await conn.fetch(Q["reservations_to_end"]):
        try:
            async with conn.transaction():
                await elastic.release(conn, row["id"], now=now, by=row["released_by"])
                await conn.execute(Q["unmark_released"], row["id"])
        except IpamError as err:
            # Frozen, or another process has just done it: whoever looks next finds out.
            log.info("reservation_not_ended", tenure_id=str(row["id"]), error=str(err))


async def routes_seen(db: Pool, leaf_id: UUID, *, now: datetime) -> None:
    """A leaf was looked at: what it was seen without is withdrawn no longer, and released reservations may end."""
    async with db.acquire() as conn, conn.transaction():
        await conn.execute(Q["forget_withdrawals"], leaf_id)
        await end_released(conn, now=now)


async def rehome(conn: Connection, device_id: UUID, note: Mapping[str, Any], *, now: datetime, by: str) -> None:
    """A device's elastic blocks lead to another machine and port from now on; what is said of them stays."""
    if not await _lock_reservations(conn, device_id):
        return
    before = {part.block: part.id for part in await held_by(conn, device_id) if part.kind != "held"}
    for part in await elastic.rehome(conn, device_id, note, now=now, by=by):
        await conn.execute(Q["copy_label"], before[part.block], [part.id])


async def _lock_reservations(conn: Connection, device_id: UUID) -> bool:
    """Lock the reservations whose parts lead to a device, also when one is split or merged meanwhile; whether there
    are any.
    """
    locked: set[UUID] = set()
    while True:
        rows = await conn.fetch(Q["reservations_leading_to"], device_id)
        if {row["within"] for row in rows} <= locked:
            return bool(locked)
        locked |= {row["within"] for row in rows}
        await conn.fetch(Q["lock_tenures"], sorted(locked))


async def addresses_back(conn: Connection, device_id: UUID, *, now: datetime, by: str) -> None:
    """End the tenures of a device whose port was seen closed.

    One that is placed again, on another machine, keeps the elastic blocks that lead to it; where it is placed already,
    its addresses are those of its new port.
    """
    state = await conn.fetchval(Q["device_state_locked"], device_id)
    if await machine_of_device(conn, device_id) is not None:
        return
    if state not in _ENDED:
        for tenure in await held_by(conn, device_id):
            if tenure.kind == "held":
                await give_back_one(conn, tenure.id, now=now, by=by)
        return
    await _lock_reservations(conn, device_id)
    await give_back(conn, device_id, now=now, by=by)
    await end_released(conn, now=now)


async def let_go(conn: Connection, device_id: UUID, *, now: datetime, by: str) -> None:
    """End what leads to a device that is gone and has no port; with a port it ends in `addresses_back`."""
    if not any(tenure.kind == "held" for tenure in await held_by(conn, device_id)):
        await addresses_back(conn, device_id, now=now, by=by)


async def lock_assignment(
    conn: Connection, principal: Principal, id_: UUID, device_ids: Sequence[UUID]
) -> tuple[Tenure, dict[UUID, Target]]:
    """An elastic assignment with its reservation, its device and other devices locked; of these the answer has those
    that may be seen. Raises NoTenure."""
    seen = await _assignment(conn, id_)
    targets = await lock_targets(conn, principal, [seen.owner, *device_ids])
    while True:
        part = await _assignment(conn, id_)
        if part.owner not in targets:
            raise NoTenure(f"there is no assignment {id_} now")
        await conn.fetch(Q["lock_tenures"], [part.within])
        # A split or a merge may just have put it into another reservation.
        if (await _assignment(conn, id_)).within == part.within:
            return part, targets


async def _assignment(conn: Connection, id_: UUID) -> Tenure:
    found = await tenure_by_id(conn, id_)
    if found is None or found.until is not None or found.kind == "held":
        raise NoTenure(f"there is no assignment {id_} now")
    return found
