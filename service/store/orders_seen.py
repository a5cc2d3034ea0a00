"""Orders of all customers as operators look at them, and what their stages usually take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class OrderSeen:
    """A device with whose it is, and where its course is now."""

    id: UUID
    hostname: str
    state: str
    failure: str | None
    organization: str
    organization_id: UUID
    project: str
    project_id: UUID
    plan: str
    facility: str
    operating_system: str
    created_at: datetime
    active_at: datetime | None
    deadline: datetime
    deleted_at: datetime | None
    machine: str | None
    run_id: UUID | None
    workflow: str | None
    step: str | None
    run_state: str | None
    step_since: datetime | None
    waits_for: str | None


@dataclass(frozen=True, slots=True)
class Usual:
    """What a stage takes in other orders of the plan that came to their end; in seconds."""

    step: str
    measured: int
    median_s: float
    p95_s: float


async def orders_seen(
    db: Connection,
    *,
    ended_too: bool = False,
    state: str | None = None,
    facility: str | None = None,
    plan: str | None = None,
    customer: str | None = None,
    name: str | None = None,
    limit: int = 1000,
) -> list[OrderSeen]:
    """Orders under way, the latest first; `name` is a hostname or the beginning of an id, `customer` an organization or
    project by name or id."""
    rows = await db.fetch(Q["orders_seen"], ended_too, state, facility, plan, customer, name, limit)
    return [OrderSeen(**row) for row in rows]


async def usual_stages(db: Connection, workflow: str, device_id: UUID) -> dict[str, Usual]:
    """By step, of the latest two hundred runs of the workflow for other devices of the same plan."""
    rows = await db.fetch(Q["usual_stages"], workflow, device_id)
    return {
        row["step"]: Usual(row["step"], row["measured"], float(row["median_s"]), float(row["p95_s"])) for row in rows
    }
