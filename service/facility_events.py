"""What systems of the facility tell of machines, and what that leads to.

What is told twice is done once; of one machine, what happened earlier and is told later changes nothing. A machine that
a device is on is never touched: it is flagged for an operator. Nothing is lost: every event is kept with what came of
it, and can be carried out again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from service.hooks.asking import Vetoed, permitted, still_permitted
from service.leaves.actions import RecableArguments
from service.leaves.plans import Shared, make_plan
from service.leaves.scene import ActionRefused
from service.lifecycle import MachineEvent, MachineState
from service.settings import Settings
from service.store.events import add_event
from service.store.hardware import Machine, locked_machine, machine_by_id, move_machine, set_port
from service.store.leaves import leaf_row
from service.store.rows import Connection
from service.store.runs import supersede
from service.workflows.burn_in import PARTS, start_burn_in
from service.workflows.leaving import give_back_asks, maintain, maintain_asks, retire, retire_asks
from sql.loader import Q

Kind = Literal["racked", "cabled", "moved", "failed", "part_replaced", "retired"]
CABLES = ("cabled", "moved")  # what is told of a cable and not of a machine
State = Literal["applied", "late", "unknown", "refused", "flagged"]
_M = MachineState


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was told. `subject` is the machine's name, serial number or MAC address."""

    kind: Kind
    subject: str
    happened_at: datetime
    facility: str | None = None  # whose machines the teller may speak of; None: all
    reason: str = ""
    rack: str | None = None
    unit: int | None = None
    leaf: str | None = None
    port: str | None = None
    minutes: int = 10  # of the burn-in after a part was replaced


@dataclass(frozen=True, slots=True)
class Outcome:
    """What it led to, as a sentence."""

    state: State
    text: str


@dataclass(frozen=True, slots=True)
class Kept:
    """An event as it is kept."""

    id: UUID
    source: str
    given_id: str
    kind: Kind
    subject: str
    machine_id: UUID | None
    happened_at: datetime
    content: dict[str, Any]
    state: State
    outcome: str
    created_at: datetime
    applied_at: datetime


Settled = tuple[UUID | None, Outcome]  # the machine that was told of, and what came of it
Effect = Callable[[Connection, Machine, Told, datetime, Settings], Awaitable[Outcome]]


async def carry_out(
    conn: Connection, told: Told, asked: Machine | None, *, now: datetime, settings: Settings, by: str
) -> Settled:
    """Do what it leads to, in the caller's transaction. For cables: `plan_cable`.

    `asked` is the machine of `ask_first`. Raises MachineMoved when hooks are to be asked again.
    """
    found = await _machine(conn, told)
    if isinstance(found, Outcome):
        return None, found
    machine = await locked_machine(conn, found)
    if (late := await _late(conn, found, told)) is not None:
        return found, late
    await still_permitted(conn, asked, machine, await _asks(conn, told.kind, machine))
    outcome = await _EFFECTS[told.kind](conn, machine, told, now, settings)
    body = f"{told.kind.replace('_', ' ')}, as {by} tells: {outcome.text}"
    data = {"kind": told.kind, "reason": told.reason, "state": outcome.state}
    await add_event(conn, "machine.facility", body, machine_id=found, private=True, data=data)
    return found, outcome


async def ask_first(shared: Shared, told: Told) -> Settled | Machine | None:
    """Return when hooks allow what it leads to, where that takes the machine to maintenance or out of it: the machine
    that they were asked about, None where nothing is done to any; or what settles it when one does not allow it. For
    callers without a transaction.
    """
    found = await _machine(shared.db, told)
    if isinstance(found, Outcome) or await _late(shared.db, found, told) is not None:
        return None
    machine = await machine_by_id(shared.db, found)
    for transition in await _asks(shared.db, told.kind, machine):
        try:
            await permitted(shared.db, shared.hub, shared.clock, transition, found)
        except Vetoed as err:
            return found, Outcome("refused", str(err))
    return machine


async def _asks(db: Connection, kind: Kind, machine: Machine) -> tuple[MachineEvent, ...]:
    match kind, machine.state:
        case "failed", _M.ENROLLED | _M.IN_USE | _M.INSTALLING:
            return await maintain_asks(db, machine)
        case "part_replaced", _M.MAINTENANCE:
            return await give_back_asks(db, machine)
        case "retired", _M.IN_USE | _M.INSTALLING | _M.PREPARING:
            return await maintain_asks(db, machine)
        case "retired", _:
            return await retire_asks(db, machine, disks_gone=False)
        case _:
            return ()


async def _machine(conn: Connection, told: Told) -> UUID | Outcome:
    rows = await conn.fetch(Q["machines_told_of"], told.subject, told.facility)
    if len(rows) == 1:
        machine_id: UUID = rows[0]["id"]
        return machine_id
    names = ", ".join(row["name"] for row in rows)
    if names:
        return Outcome("unknown", f"{names} all fit {told.subject}")
    return Outcome("unknown", f"no machine{f' of {told.facility}' if told.facility else ''} is {told.subject}")


async def _late(conn: Connection, machine_id: UUID, told: Told) -> Outcome | None:
    row = await conn.fetchrow(Q["later_facility_event"], machine_id, told.happened_at)
    if row is None:
        return None
    return Outcome("late", f"nothing is done: it was {row['kind'].replace('_', ' ')} at {row['happened_at']:%F %T} UTC")


async def _flag(conn: Connection, machine: Machine, told: Told, what: str) -> Outcome:
    """A device is on it, or a run has it in hand: an operator is to know."""
    why = f"{told.kind.replace('_', ' ')}{': ' if told.reason else ''}{told.reason}"
    await conn.execute(Q["flag_machine"], machine.id, f"{why} ({what})")
    return Outcome("flagged", f"{machine.name} is {machine.state} and goes on; {what}")


async def _failed(conn: Connection, machine: Machine, told: Told, now: datetime, _settings: Settings) -> Outcome:
    reason = f"failed, as the facility tells: {told.reason or 'no reason was given'}"
    if machine.state in (_M.READY, _M.PREPARING):
        await supersede(conn, machine.id, now=now, reason=reason)
        await conn.execute(Q["withdraw_work"], machine.id, now)
        await move_machine(conn, machine, MachineEvent.FAIL, now=now, reason=reason)
        await set_port(conn, machine.port_id, "quarantine", None, now=now)
        return Outcome("applied", f"{machine.name} is in quarantine")
    if machine.state is _M.ENROLLED:
        await maintain(conn, machine.id, reason, now=now)
        return Outcome("applied", f"{machine.name} is in maintenance")
    if machine.state in (_M.IN_USE, _M.INSTALLING):
        await maintain(conn, machine.id, reason, now=now)
        return await _flag(conn, machine, told, "it leaves for maintenance when its device is gone")
    return Outcome("applied", f"{machine.name} is in {machine.state} already")


async def _part_replaced(conn: Connection, machine: Machine, told: Told, now: datetime, settings: Settings) -> Outcome:
    if machine.state in (_M.IN_USE, _M.INSTALLING):
        return await _flag(conn, machine, told, "it is to be burnt in when its device is gone")
    if machine.state is _M.PREPARING:
        return await _flag(conn, machine, told, "it is to be burnt in when its preparation has ended")
    if machine.state is _M.RETIRED:
        return Outcome("refused", f"{machine.name} is retired")
    if machine.state is _M.MAINTENANCE:
        await move_machine(conn, machine, MachineEvent.GIVE_BACK, now=now, reason="a part was replaced")
    await start_burn_in(conn, machine.id, seconds=60 * told.minutes, parts=list(PARTS), now=now, settings=settings)
    await conn.execute(Q["flag_machine"], machine.id, None)
    return Outcome("applied", f"{machine.name} is burnt in for {told.minutes} min and erased, and comes to the pool")


async def _racked(conn: Connection, machine: Machine, told: Told, _now: datetime, _settings: Settings) -> Outcome:
    if told.rack is None:
        return Outcome("refused", "rack can't be blank")
    rack = await conn.fetchrow(Q["rack_named"], machine.facility_id, told.rack)
    if rack is None:
        return Outcome("refused", f"there is no rack {told.rack} at {machine.facility}")
    if told.unit is not None:
        if told.unit > rack["units"]:
            return Outcome("refused", f"rack {told.rack} has {rack['units']} units; there is no unit {told.unit}")
        if (other := await conn.fetchval(Q["who_stands_at"], rack["id"], told.unit, machine.id)) is not None:
            return Outcome("refused", f"unit {told.unit} of rack {told.rack} is {other}'s")
    await conn.execute(Q["rack_machine"], machine.id, rack["id"], told.unit)
    where = f"rack {told.rack}" + (f" unit {told.unit}" if told.unit is not None else "")
    return Outcome("applied", f"{machine.name} stands in {where}")


async def _retired(conn: Connection, machine: Machine, told: Told, now: datetime, settings: Settings) -> Outcome:
    if machine.state is _M.RETIRED:
        return Outcome("applied", f"{machine.name} is retired already")
    reason = f"retired, as the facility tells: {told.reason or 'no reason was given'}"
    if machine.state in (_M.IN_USE, _M.INSTALLING, _M.PREPARING):
        await maintain(conn, machine.id, reason, now=now)
        return await _flag(
            conn, machine, told, "it leaves for maintenance as soon as it can, and is to be retired then"
        )
    await retire(conn, machine.id, reason, disks_gone=False, now=now, settings=settings)
    return Outcome("applied", f"{machine.name} is retired as soon as it is erased")


async def plan_cable(shared: Shared, told: Told, *, by: str) -> Settled:
    """A cable that was moved: the port is changed by a plan, which the leaf's own sight must bear out.

    The leaf is read for it, so that no transaction may be open; a plan that nobody applies changes nothing.
    """
    found = await _machine(shared.db, told)
    if isinstance(found, Outcome):
        return None, found
    return found, await _late(shared.db, found, told) or await _recable(shared, found, told, by=by)


async def _recable(shared: Shared, machine_id: UUID, told: Told, *, by: str) -> Outcome:
    machine = await machine_by_id(shared.db, machine_id)
    if told.leaf is None or told.port is None:
        return Outcome("refused", "leaf and port can't be blank")
    if (machine.leaf, machine.port) == (told.leaf, told.port):
        return Outcome("applied", f"{machine.name} is recorded at {machine.leaf} {machine.port} already")
    leaf = await leaf_row(shared.db, told.leaf)
    if leaf is None or told.facility not in (None, leaf.facility):
        return Outcome("refused", f"there is no leaf {told.leaf}{f' at {told.facility}' if told.facility else ''}")
    try:
        plan = await make_plan(shared, leaf.id, "recable", RecableArguments(machines=[machine.name]), by=by)
    except ActionRefused as err:
        return Outcome("refused", str(err))
    note = next((note for note in plan.touched["notes"] if note.startswith(f"{machine.name}: ")), "")
    if not note.endswith(f"→ {told.leaf} {told.port}"):
        return Outcome("refused", f"{told.leaf} {told.port} was told, but {note or 'LLDP does not see it there'}")
    return Outcome("applied", f"{note}; to be done by: roundhouse leaf apply {plan.id}")


_EFFECTS: dict[str, Effect] = {
    "failed": _failed,
    "part_replaced": _part_replaced,
    "racked": _racked,
    "retired": _retired,
}
