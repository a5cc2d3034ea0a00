"""Machines, ports and agents in the database: the rows that workflows read and move."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.lifecycle import MachineEvent, MachineState, next_machine
from service.store.events import add_event
from service.store.rows import Connection
from sql.loader import Q

# The agent asks for work at least this often; one that was silent for longer is gone.
AGENT_SILENCE = timedelta(seconds=45)


class StateMoved(Exception):
    """The row was moved by someone else in the meantime."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with its port and leaf. The BMC's secret is sealed."""

    id: UUID
    name: str
    state: MachineState
    facility_id: UUID
    facility: str
    plan_id: UUID
    plan: str
    port_id: UUID
    mac: str
    arch: str
    bmc_url: str
    bmc_username: str
    bmc_secret: bytes
    bmc_fingerprint: str | None  # SHA-256 of the certificate that was seen first
    device_id: UUID | None
    installed: bool
    reason: str | None
    state_since: datetime
    port: str
    profile: str
    generation: int
    applied: int
    fault: str | None
    leaf_id: UUID
    leaf: str
    other_mac: str | None  # the card that booted at its port last, where that is not its own
    elsewhere: str | None  # the leaf's port at which its own card booted last, where that is not its own
    misplaced_at: datetime | None  # when that was seen
    leaving: str | None  # why it leaves for maintenance as soon as its device is gone

    @property
    def misplaced(self) -> str | None:
        """What is wrong with its cable, as a sentence; None when nothing is."""
        at = f"{self.leaf} {self.port}"
        if self.elsewhere is not None:
            return f"{self.name} ({self.mac}): expected {at}, seen {self.elsewhere}"
        if self.other_mac is not None:
            return f"{at}: {self.name} ({self.mac}) was expected, {self.other_mac} was seen"
        return None


async def machine_by_id(conn: Connection, machine_id: UUID) -> Machine:
    """The machine. Raises KeyError for an unknown id."""
    row = await conn.fetchrow(Q["machine_by_id"], machine_id)
    if row is None:
        raise KeyError(machine_id)
    return Machine(**(dict(row) | {"state": MachineState(row["state"])}))


async def locked_machine(conn: Connection, machine_id: UUID) -> Machine:
    """The machine, which nobody else moves until the transaction ends. Raises KeyError for an unknown id."""
    await conn.fetchval(Q["lock_machine"], machine_id)
    return await machine_by_id(conn, machine_id)


async def machine_of_device(conn: Connection, device_id: UUID) -> Machine | None:
    """The machine that the device is on now."""
    machine_id = await conn.fetchval(Q["machine_of_device"], device_id)
    return None if machine_id is None else await machine_by_id(conn, machine_id)


async def move_machine(
    conn: Connection, machine: Machine, event: MachineEvent, *, now: datetime, reason: str | None = None
) -> MachineState:
    """Move the machine by the table. Raises IllegalMove, or StateMoved when the row is no longer as it was seen."""
    goal = next_machine(machine.state, event)
    if not await conn.fetchval(Q["move_machine"], machine.id, machine.state, goal, reason, now):
        raise StateMoved(f"machine {machine.name} is no longer {machine.state}")
    body = f"Machine {machine.name}: {machine.state} → {goal}" + (f" ({reason})" if reason else "")
    moved = {"machine": machine.name, "from": machine.state, "to": goal, "reason": reason}
    await add_event(
        conn,
        f"machine.{event}",
        body,
        machine_id=machine.id,
        device_id=machine.device_id,
        state=goal,
        private=True,
        data=moved,
    )
    return goal


async def pick_machine(
    conn: Connection,
    facility_id: UUID,
    plan_id: UUID,
    *,
    tried: Sequence[UUID],
    now: datetime,
    reservation_id: UUID | None = None,
) -> Machine | None:
    """A ready machine, locked until the transaction ends; one whose agent is waiting comes first.

    Those of `tried` come last of all: they failed this order before, and were prepared again since. With a
    reservation it is that one's machine and no other; without, none that is reserved.
    """
    if reservation_id is not None:
        row = await conn.fetchrow(Q["reserved_machine"], reservation_id)
        return None if row is None else await machine_by_id(conn, row["id"])
    wanted = (facility_id, plan_id, list(tried), now - AGENT_SILENCE)
    row = await conn.fetchrow(Q["pick_waiting_machine"], *wanted) or await conn.fetchrow(Q["pick_machine"], *wanted)
    return None if row is None else await machine_by_id(conn, row["id"])


async def ready_machine(conn: Connection, machine_id: UUID) -> Machine | None:
    """That machine, if it is ready and nobody else's, locked until the transaction ends."""
    found = await conn.fetchval(Q["lock_ready_machine"], machine_id)
    return None if found is None else await machine_by_id(conn, machine_id)


async def set_port(conn: Connection, port_id: UUID, profile: str, device_id: UUID | None, *, now: datetime) -> None:
    """What the port should be; its leaf is told when that is news."""
    await conn.execute(Q["set_port"], port_id, profile, device_id, now)


async def port_changed(conn: Connection, device_id: UUID, *, now: datetime) -> None:
    """What leads to the device's port has changed: its leaf looks again. Without a port there is nothing to tell."""
    await conn.execute(Q["port_changed"], device_id, now)


async def agent_alive(conn: Connection, machine_id: UUID, *, now: datetime, since: datetime | None = None) -> bool:
    """Whether an agent that began after `since` asks for work."""
    row = await conn.fetchrow(Q["agent_alive"], machine_id, now - AGENT_SILENCE)
    return row is not None and (since is None or row["started_at"] >= since)


async def offer_work(
    conn: Connection, machine_id: UUID, run_id: UUID, slot: str, kind: str, spec: dict[str, Any]
) -> None:
    """Work for the machine's agent; offered once for a run and slot. Wakes the agent's long poll."""
    await conn.execute(Q["offer_work"], machine_id, run_id, slot, kind, spec)
    await conn.execute(Q["notify"], f"machine:{machine_id}")
