"""Hardware reservations: machines that are kept for one project, and who keeps them at which price."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Usable:
    """A project's reservation as an order sees it; `why_not` says what keeps its machine from being ordered."""

    id: UUID
    facility_id: UUID
    plan_id: UUID
    why_not: str | None


@dataclass(frozen=True, slots=True)
class Reservation:
    """A reserved machine, with the device that has it now."""

    id: UUID
    machine_id: UUID
    project_id: UUID
    facility_id: UUID
    plan_id: UUID
    custom_rate: Decimal | None  # an hour; None: the plan's price
    spare: bool
    note: str | None
    created_at: datetime
    ends_at: datetime | None
    ended_at: datetime | None
    machine: str
    machine_state: str
    leaf_id: UUID
    device_id: UUID | None

    @property
    def provisionable(self) -> bool:
        """Whether a device could be ordered on it now."""
        return not self.spare and self.ended_at is None and self.machine_state == "ready" and self.device_id is None


async def usable_reservations(conn: Connection, project_id: UUID, named: str | None) -> list[Usable]:
    """The project's reservations, all or the one with that id, oldest first; locked against other orders."""
    await conn.execute(Q["lock_holdings"], project_id)
    return [Usable(**row) for row in await conn.fetch(Q["usable_reservations"], project_id, named)]


async def reservations_page(
    db: Connection, project_id: UUID, limit: int, offset: int, *, provisionable: bool | None
) -> tuple[int, list[Reservation]]:
    """How many reservations the project has, and one page of them, newest first."""
    total = await db.fetchval(Q["count_reservations"], project_id, provisionable)
    rows = await db.fetch(Q["reservations_of_projects"], project_id, None, False, provisionable, limit, offset)
    return total, [Reservation(**row) for row in rows]


async def all_reservations(
    db: Connection, limit: int, offset: int, *, ended_too: bool
) -> tuple[int, list[Reservation]]:
    """How many reservations all projects have, and one page of them, newest first."""
    total = await db.fetchval(Q["count_all_reservations"], ended_too)
    rows = await db.fetch(Q["reservations_of_projects"], None, None, ended_too, None, limit, offset)
    return total, [Reservation(**row) for row in rows]


async def reservation_by_id(db: Connection, reservation_id: UUID, *, ended_too: bool = False) -> Reservation | None:
    """One reservation, whosever it is; None when there is none."""
    row = await db.fetchrow(Q["reservations_of_projects"], None, reservation_id, ended_too, None, 1, 0)
    return None if row is None else Reservation(**row)
