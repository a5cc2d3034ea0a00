"""Keeping a machine for one project: beginning, moving and ending that, each in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from uuid import UUID, uuid4

from service.store.rows import Connection
from sql.loader import Q


class ReservationRefused(Exception):
    """It cannot be done; the text says why, and what would be possible."""


async def reserve(
    conn: Connection,
    machine: str,
    project_id: UUID,
    *,
    custom_rate: Decimal | None,
    spare: bool,
    note: str | None,
    ends_at: datetime | None,
    by: str,
    now: datetime,
) -> UUID:
    """Keep the machine of that name or id for the project; returns the reservation. Raises ReservationRefused."""
    row = await conn.fetchrow(Q["lock_machine_to_reserve"], machine)
    if row is None:
        raise ReservationRefused(f"machine: there is no {machine!r}")
    if row["reservation_id"] is not None:
        raise ReservationRefused(f"machine: {row['name']} is reserved already, by reservation {row['reservation_id']}")
    if row["device_id"] is not None:
        raise ReservationRefused(f"machine: {row['name']} belongs to device {row['device_id']}; allowed are free ones")
    if row["state"] == "retired":
        raise ReservationRefused(f"machine: {row['name']} is retired")
    if not await conn.fetchval(Q["project_named"], project_id):
        raise ReservationRefused(f"project: there is no {project_id}")
    id_ = uuid4()
    await conn.execute(Q["add_reservation"], id_, row["id"], project_id, spare, custom_rate, note, by, now, ends_at)
    await conn.execute(Q["claim_machine"], row["id"], id_)
    return id_


async def _without_device(conn: Connection, reservation_id: UUID) -> None:
    if (device := await conn.fetchrow(Q["device_with_reservation"], reservation_id)) is not None:
        raise ReservationRefused(
            f"device {device['hostname']} ({device['id']}) has the reserved machine; delete that first"
        )


async def move_reservation(conn: Connection, reservation_id: UUID, project_id: UUID, *, now: datetime) -> bool:
    """Give the reservation to another project, at its rate; False when it has ended. Raises ReservationRefused."""
    row = await conn.fetchrow(Q["lock_reservation"], reservation_id)
    if row is None:
        return False
    if row["project_id"] == project_id:
        return True
    await _without_device(conn, reservation_id)
    if not await conn.fetchval(Q["project_named"], project_id):
        raise ReservationRefused(f"project: there is no {project_id}")
    await conn.execute(Q["end_holding"], reservation_id, now)
    await conn.execute(Q["begin_holding"], reservation_id, project_id, row["custom_rate"], now)
    return True


async def activate(conn: Connection, reservation_id: UUID, note: str | None) -> bool:
    """Make a spare one that can be ordered; False when it has ended. Raises ReservationRefused for what is no spare."""
    row = await conn.fetchrow(Q["lock_reservation"], reservation_id)
    if row is None:
        return False
    if not row["spare"]:
        raise ReservationRefused("it is no spare, and needs no activation")
    await conn.execute(Q["activate_reservation"], reservation_id, note)
    return True


async def end(conn: Connection, reservation_id: UUID, *, now: datetime) -> bool:
    """The machine is anybody's again; False when that was so before. Raises ReservationRefused while it is in use."""
    if await conn.fetchrow(Q["lock_reservation"], reservation_id) is None:
        return False
    await _without_device(conn, reservation_id)
    await conn.execute(Q["end_holding"], reservation_id, now)
    for pool in await conn.fetch(Q["end_reservation"], reservation_id, now):
        await conn.execute(Q["signal_waiting_for_pool"], pool["facility_id"], pool["plan_id"], now)
    return True
