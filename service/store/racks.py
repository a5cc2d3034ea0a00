"""Machines, leaves, runs and prefixes as operators look at them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from ipam.prefixes import Usage, usage
from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """A machine with its port, its device, its agent and what is being done to it."""

    id: UUID
    name: str
    facility: str
    plan: str
    arch: str
    mac: str
    state: str
    reason: str | None
    state_since: datetime
    leaving: str | None  # why it goes to maintenance when its device is gone
    leaf_id: UUID | None  # it and what is of the port are empty for one that was retired
    leaf: str
    port_id: UUID | None
    port: str
    profile: str
    generation: int
    applied: int
    fault: str | None
    device_id: UUID | None
    hostname: str | None
    device_state: str | None
    inventory: dict[str, Any]
    agent_seen_at: datetime | None
    workflow: str | None
    step: str | None
    waits_for: str | None
    step_since: datetime | None
    rack: str | None
    rack_unit: int | None
    held: str | None  # why no order gets it although it is ready
    flag: str | None  # what an operator must know of it


@dataclass(frozen=True, slots=True)
class PortSeen:
    """A leaf's port: what it should be, and whether the leaf has taken that."""

    id: UUID
    leaf_id: UUID
    name: str
    profile: str
    generation: int
    applied: int
    fault: str | None
    changed_at: datetime
    machine_id: UUID | None
    machine: str | None
    machine_state: str | None
    device_id: UUID | None
    hostname: str | None
    take_over: bool
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class LeafSeen:
    """A leaf and its ports. `held` tells whether some process drives it now."""

    id: UUID
    name: str
    facility: str
    host: str
    port: int
    state: str
    fault: str | None
    held: bool
    ports: int
    pending: int
    faulty: int
    drifted: int
    running_at: datetime | None
    locked_since: datetime | None
    commit_s: float | None
    database: str
    fabric: dict[str, Any] | None
    port_list: list[PortSeen]


@dataclass(frozen=True, slots=True)
class RunSeen:
    """A run with whom it is about."""

    id: UUID
    workflow: str
    subject: UUID
    state: str
    step: str
    reason: str | None
    failure: str | None
    attempt: int
    wake_at: datetime
    step_since: datetime
    deadline: datetime
    created_at: datetime
    finished_at: datetime | None
    worker: UUID | None
    hostname: str | None
    device_id: UUID | None
    machine: str | None
    machine_id: UUID | None


@dataclass(frozen=True, slots=True)
class Tallies:
    """The numbers at the top of the overview. `median_s` is order to active of the last hundred devices."""

    devices: int
    active: int
    failed: int
    machines: int
    ready: int
    runs: int
    median_s: float | None


async def machines_seen(
    db: Connection,
    *,
    state: str | None = None,
    facility: str | None = None,
    plan: str | None = None,
    name: str | None = None,
    leaf: str | None = None,
) -> list[MachineSeen]:
    """Machines in the order of their racks; `name` may be an id, too."""
    return [MachineSeen(**row) for row in await db.fetch(Q["machines_seen"], state, facility, plan, name, leaf)]


async def leaves_seen(db: Connection, name: str | None = None) -> list[LeafSeen]:
    """Leaves with all their ports; `name` may be an id, too."""
    rows = await db.fetch(Q["leaves_seen"], name)
    ports: dict[UUID, list[PortSeen]] = {row["id"]: [] for row in rows}
    for row in await db.fetch(Q["ports_seen"], list(ports)):
        ports[row["leaf_id"]].append(PortSeen(**row))
    return [LeafSeen(**(dict(row) | {"held": bool(row["held"])}), port_list=ports[row["id"]]) for row in rows]


async def runs_seen(
    db: Connection,
    *,
    ended_too: bool = False,
    workflow: str | None = None,
    state: str | None = None,
    run_id: UUID | None = None,
    limit: int = 1000,
) -> list[RunSeen]:
    """Runs under way, the latest first."""
    return [RunSeen(**row) for row in await db.fetch(Q["runs_seen"], ended_too, workflow, state, limit, run_id)]


async def tallies_seen(db: Connection) -> Tallies:
    """What there is in all."""
    return Tallies(**await db.fetchrow(Q["tallies_seen"]))


async def prefixes_seen(db: Connection) -> list[Usage]:
    """The prefix tree in address order, with what is taken of each prefix."""
    return await usage(db)
