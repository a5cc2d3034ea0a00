"""Plan and apply: what an operator's action would change on the leaves, and whom that touches, before it is done.

A plan is the action carried out in a transaction that is taken back. To apply it is to carry it out again, and to keep
it only if it would still do the very same: to the objects of the leaf as they run, to the ports, and to whose they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import asyncpg
import structlog

from service.hooks.asking import permitted
from service.leaves.actions import ACTIONS, Arguments
from service.leaves.changes import Change, change_of
from service.leaves.profiles import transition_of
from service.leaves.scene import ActionRefused, Known, Scene
from service.lifecycle import LeafState, MachineState
from service.store.events import add_event
from service.store.leaf_plans import LeafPlan, PortOf, add_plan, mark_applied, plan_by_id, ports_of
from service.store.leaves import LeafRow, ask_read, leaf_row, running_of
from service.store.notify import Hub
from service.store.rows import Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

T = TypeVar("T")

PLAN_LIFE = timedelta(hours=1)
_READ_S = 15.0  # for the leaf to be read once more
_AWAY_S = 3.0  # for one that was out of reach just now
_TRIES = 5


class PlanSpent(ActionRefused):
    """The plan cannot be carried out any more; the text says why."""


class Shared(Known, Protocol):
    """What a process shares, with its database."""

    @property
    def db(self) -> Pool:
        """The pool."""

    @property
    def hub(self) -> Hub:
        """Who waits for what."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an action does, or would do."""

    difference: str  # as Junos' `show | compare`, leaf by leaf
    touched: dict[str, Any]  # "ports", "notes", "read_at"
    digest: str
    awaits: dict[str, Any]  # the generations that leaves and ports must have taken before it is done there, too


async def make_plan(shared: Shared, leaf_id: UUID, action: str, arguments: Arguments, *, by: str) -> LeafPlan:
    """Find out what an action would do, and write it down. Raises ActionRefused."""
    stale = await _read(shared, leaf_id)

    async def planned(conn: Connection) -> Outcome:
        trial = conn.transaction(isolation="repeatable_read")
        await trial.start()
        try:
            return await _carry_out(conn, shared, leaf_id, action, arguments, by=by)
        finally:
            await trial.rollback()

    outcome = await _again(shared.db, planned)
    outcome.touched["notes"] += stale
    async with shared.db.acquire() as conn, conn.transaction():
        plan_id = await add_plan(
            conn,
            leaf_id,
            action,
            arguments.model_dump(mode="json"),
            difference=outcome.difference,
            touched=outcome.touched,
            digest=outcome.digest,
            by=by,
            now=shared.clock.now(),
        )
        plan = await plan_by_id(conn, plan_id)
    assert plan is not None
    return plan


async def apply_plan(shared: Shared, plan: LeafPlan, *, by: str) -> LeafPlan:
    """Carry a plan out. Raises PlanSpent when it was, is too old, or would do something else by now; Vetoed when a hook
    does not let a machine of it go to maintenance, or out of it.
    """
    await _ask_first(shared, plan)
    await _read(shared, plan.leaf_id)

    async def applied(conn: Connection) -> LeafPlan:
        async with conn.transaction(isolation="repeatable_read"):
            return await _apply(conn, shared, plan.id, by=by)

    done = await _again(shared.db, applied)
    log.info("leaf_plan_applied", plan_id=str(done.id), leaf=done.leaf, action=done.action, by=by)
    return done


async def _ask_first(shared: Shared, plan: LeafPlan) -> None:
    """Return when hooks allow what the plan's profiles mean for its machines."""
    if plan.applied_at is not None or plan.action != "profile":
        return
    for one in plan.touched["ports"]:
        if one["machine"] is None or one["device"] is not None or one["becomes"] == one["profile"]:
            continue
        transition = transition_of(one["becomes"], MachineState(one["machine_state"]))
        if transition is not None:
            machine_id = await shared.db.fetchval(Q["machine_named"], one["machine"])
            await permitted(shared.db, shared.hub, shared.clock, transition, machine_id)


async def _read(shared: Shared, leaf_id: UUID) -> list[str]:
    """Have the leaf read once more; if that cannot be, say so."""
    row = await leaf_row(shared.db, str(leaf_id))
    assert row is not None
    limit = _AWAY_S if row.state == LeafState.UNREACHABLE else _READ_S
    if await ask_read(shared.db, shared.hub, leaf_id, timeout_s=limit):
        return []
    row = await leaf_row(shared.db, str(leaf_id))
    assert row is not None
    why = f"it is {row.state}" + (f": {row.fault}" if row.fault else "")
    return [f"{row.name} could not be read now, {why}; what runs there may be otherwise by now"]


async def _again(db: Pool, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Work of one transaction, begun anew when another one came in between."""
    for _ in range(_TRIES - 1):
        try:
            async with db.acquire() as conn:
                return await work(conn)
        except asyncpg.SerializationError:
            continue
    async with db.acquire() as conn:
        return await work(conn)


async def _apply(conn: Connection, known: Known, plan_id: UUID, *, by: str) -> LeafPlan:
    plan, now = await plan_by_id(conn, plan_id, lock=True), known.clock.now()
    assert plan is not None  # plans are not removed
    if plan.applied_at is not None:
        raise PlanSpent(f"the plan was carried out at {plan.applied_at:%Y-%m-%d %H:%M:%S} UTC; plan again")
    if now - plan.planned_at > PLAN_LIFE:
        raise PlanSpent(f"the plan is older than {PLAN_LIFE.total_seconds() / 3600:g} h; plan again")
    arguments = ACTIONS[plan.action].arguments.model_validate(plan.arguments)
    try:
        outcome = await _carry_out(conn, known, plan.leaf_id, plan.action, arguments, by=by)
    except ActionRefused as err:
        raise PlanSpent(f"{plan.leaf} has changed since it was planned: {err}; plan again") from None
    if outcome.digest != plan.digest:
        raise PlanSpent(f"{plan.leaf} has changed since it was planned, and this would do something else; plan again")
    await mark_applied(conn, plan.id, outcome.awaits, by=by, now=now)
    body = f"{plan.leaf}: {plan.action}, {len(outcome.touched['ports'])} ports touched"
    data = {"leaf": plan.leaf, "action": plan.action, "plan": str(plan.id), "by": by}
    await add_event(conn, f"leaf.{plan.action}", body, private=True, data=data)
    done = await plan_by_id(conn, plan.id)
    assert done is not None
    return done


async def _carry_out(
    conn: Connection, known: Known, leaf_id: UUID, action: str, arguments: Arguments, *, by: str
) -> Outcome:
    """Do it in the caller's transaction, and find out what has come of it."""
    leaf = await leaf_row(conn, str(leaf_id), lock=True)
    assert leaf is not None
    before = {port.id: port for port in await ports_of(conn, [leaf.id])}
    scene = Scene(conn, known, leaf, running_of(leaf, known.key), by, known.clock.now())
    done = await ACTIONS[action].act(scene, arguments)
    before |= {port.id: port for port in done.ports}
    leaf_ids = sorted({leaf.id, *(port.leaf_id for port in done.ports)})
    after = {port.id: port for port in await ports_of(conn, leaf_ids)}
    changes = [await change_of(conn, known, id_) for id_ in leaf_ids]
    named = {(change.leaf.id, name) for change in changes for name in change.ports}
    ids = {port.id for port in done.ports} | {port.id for port in after.values() if (port.leaf_id, port.name) in named}
    if done.everything:
        ids |= {port.id for port in after.values() if port.leaf_id == leaf.id}
    touched = [_touched(before.get(id_, port), port) for id_, port in after.items() if id_ in ids]
    text = "".join(_headed(change, several=len(changes) > 1) for change in changes)
    return Outcome(
        text,
        {
            "ports": touched,
            "notes": [*done.notes, *(note for change in changes for note in change.notes)],
            "read_at": None if leaf.running_at is None else leaf.running_at.isoformat(),
        },
        _digest(action, arguments, changes, touched),
        {
            "leaves": {str(one.leaf.id): one.leaf.generation for one in changes if one.whole},
            "ports": {str(port.id): port.generation for id_, port in after.items() if id_ in ids and port.pending},
        },
    )


def _headed(change: Change, *, several: bool) -> str:
    return f"# {change.leaf.name}\n{change.text}" if several and change.text else change.text


def _touched(before: PortOf, after: PortOf) -> dict[str, Any]:
    """A port in a plan, and whose it is."""
    return {
        "id": str(before.id),
        "leaf": before.leaf,
        "port": before.name,
        "profile": before.profile,
        "becomes": after.profile,
        "machine": before.machine,
        "machine_state": before.machine_state,
        "device": _named(before.device_id, before.hostname),
        "device_state": before.device_state,
        "project": _named(before.project_id, before.project),
        "organization": _named(before.organization_id, before.organization),
    }


def _named(id_: UUID | None, name: str | None) -> dict[str, str | None] | None:
    return None if id_ is None else {"id": str(id_), "name": name}


def _digest(action: str, arguments: Arguments, changes: Sequence[Change], touched: Sequence[dict[str, Any]]) -> str:
    """Of all that would be done: each object as it runs and as it would be, secrets included, and who is touched."""
    whom = [(one["id"], one["profile"], one["becomes"], one["machine"], one["device"], _moves(one)) for one in touched]
    what = [(change.leaf.name, change.whole, change.objects, change.text) for change in changes]
    return hashlib.sha256(json.dumps([action, arguments.model_dump(mode="json"), what, whom]).encode()).hexdigest()


def _moves(one: Mapping[str, Any]) -> str | None:
    """The state from which the port's new profile moves the machine there: in another one it would move elsewhere."""
    return one["machine_state"] if one["device"] is None and one["profile"] != one["becomes"] else None


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a plan has come: planned, expired, applying, refused or done; and what it waits for, as a sentence."""

    state: str
    waits_for: str | None = None


async def progress_of(conn: Connection, plans: Sequence[LeafPlan], now: datetime) -> list[Progress]:
    """How far each of the plans has come."""
    port_ids = {UUID(id_) for plan in plans for id_ in plan.touched.get("awaits", {}).get("ports", {})}
    ports = {str(port.id): port for port in await ports_of(conn, [], sorted(port_ids))}
    leaf_ids = {str(plan.leaf_id) for plan in plans} | {str(port.leaf_id) for port in ports.values()}
    leaf_ids |= {id_ for plan in plans for id_ in plan.touched.get("awaits", {}).get("leaves", {})}
    rows = [await leaf_row(conn, id_) for id_ in sorted(leaf_ids)]
    leaves = {str(row.id): row for row in rows if row is not None}
    driven = {row["id"] for row in await conn.fetch(Q["leaves_driven"], [row.id for row in leaves.values()])}
    return [_progress(plan, ports, leaves, driven, now) for plan in plans]


def _progress(
    plan: LeafPlan, ports: dict[str, PortOf], leaves: dict[str, LeafRow], driven: set[UUID], now: datetime
) -> Progress:
    if plan.applied_at is None:
        return Progress("expired" if now - plan.planned_at > PLAN_LIFE else "planned")
    awaits = plan.touched.get("awaits", {})
    behind = [leaves[id_] for id_, generation in awaits.get("leaves", {}).items() if leaves[id_].applied < generation]
    pending = [ports[id_] for id_, generation in awaits.get("ports", {}).items() if ports[id_].applied < generation]
    if faults := [f"{port.leaf} {port.name}: {port.fault}" for port in pending if port.fault is not None]:
        return Progress("refused", "; ".join(faults))
    waiting = behind + [leaves[str(port.leaf_id)] for port in pending]
    if not waiting:
        return Progress("done")
    if refused := [leaf for leaf in behind if leaf.state == LeafState.REFUSED]:
        return Progress("refused", f"{refused[0].name}: {refused[0].fault}")
    return Progress("applying", _waits_for(waiting[0], driven=waiting[0].id in driven))


def _waits_for(leaf: LeafRow, *, driven: bool) -> str:
    if not driven:
        return f"no process drives {leaf.name} now"
    match leaf.state:
        case LeafState.UNREACHABLE:
            return f"{leaf.name} is out of reach: {leaf.fault}"
        case LeafState.LOCKED:
            since = "" if leaf.locked_since is None else f" since {leaf.locked_since:%Y-%m-%d %H:%M:%S} UTC"
            return f"{leaf.name} is locked by somebody else{since}: {leaf.fault}"
        case _:
            return f"{leaf.name} is taking the change"
