"""Plans in the database: what an operator means to do to a leaf, what that would change, and whom it would touch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class PortOf:
    """A leaf's port, and whose machine hangs on it."""

    id: UUID
    leaf_id: UUID
    leaf: str
    name: str
    profile: str
    take_over: bool
    generation: int
    applied: int
    fault: str | None
    machine_id: UUID | None
    machine: str | None
    machine_state: str | None
    device_id: UUID | None
    hostname: str | None
    device_state: str | None
    project_id: UUID | None
    project: str | None
    organization_id: UUID | None
    organization: str | None

    @property
    def pending(self) -> bool:
        """Whether a change of the port has not reached the leaf yet."""
        return self.applied < self.generation


@dataclass(frozen=True, slots=True)
class LeafPlan:
    """A plan; `touched` is `service.leaves.plans.Touched` as JSON."""

    id: UUID
    leaf_id: UUID
    leaf: str
    action: str
    arguments: dict[str, Any]
    difference: str
    touched: dict[str, Any]
    digest: str
    planned_by: str
    planner: str | None  # e-mail address
    planned_at: datetime
    applied_by: str | None
    applier: str | None
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class Work:
    """A run that is about a port's machine or device."""

    workflow: str
    step: str
    reason: str | None


async def ports_of(conn: Connection, leaf_ids: Sequence[UUID], port_ids: Sequence[UUID] = ()) -> list[PortOf]:
    """All ports of the leaves, and those ports, in the order of their leaves."""
    return [PortOf(**row) for row in await conn.fetch(Q["ports_with_customers"], list(leaf_ids), list(port_ids))]


async def work_on(conn: Connection, port_id: UUID) -> Work | None:
    """What is being done to the port's machine or device now."""
    row = await conn.fetchrow(Q["work_on_port"], port_id)
    return None if row is None else Work(**row)


async def names_of(conn: Connection, actors: Sequence[str]) -> dict[str, str]:
    """Who did it, for a person to read: of users the e-mail address."""
    found = {row["actor"]: row["email"] for row in await conn.fetch(Q["users_acting"], list(actors))}
    return {actor: found.get(actor, actor) for actor in actors}


async def plans_of(conn: Connection, leaf_id: UUID, limit: int = 50) -> list[LeafPlan]:
    """The leaf's latest plans, the newest first."""
    return [LeafPlan(**row) for row in await conn.fetch(Q["leaf_plans"], leaf_id, None, limit)]


async def plan_by_id(conn: Connection, plan_id: UUID, *, lock: bool = False) -> LeafPlan | None:
    """The plan; with `lock`, its row is locked for as long as the transaction lasts."""
    if lock:
        await conn.execute(Q["lock_leaf_plan"], plan_id)
    row = await conn.fetchrow(Q["leaf_plans"], None, plan_id, 1)
    return None if row is None else LeafPlan(**row)


async def add_plan(
    conn: Connection,
    leaf_id: UUID,
    action: str,
    arguments: dict[str, Any],
    *,
    difference: str,
    touched: dict[str, Any],
    digest: str,
    by: str,
    now: datetime,
) -> UUID:
    """Write a plan down."""
    row = (leaf_id, action, arguments, difference, touched, digest, by, now)
    plan_id: UUID = await conn.fetchval(Q["add_leaf_plan"], *row)
    return plan_id


async def mark_applied(conn: Connection, plan_id: UUID, awaits: dict[str, Any], *, by: str, now: datetime) -> None:
    """The plan is carried out, in this transaction; what it waits for now is kept with what it touches."""
    await conn.execute(Q["leaf_plan_applied"], plan_id, by, now, {"awaits": awaits})
