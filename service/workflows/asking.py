"""Waiting for operators' hooks: whether a machine may be erased, come to the pool, be given to an order."""

from __future__ import annotations

from uuid import UUID

from service.hooks.asking import ask, hold, write_down
from service.lifecycle import MachineEvent
from service.store.course import Device
from service.store.events import add_event
from service.store.hardware import AGENT_SILENCE, Machine, machine_by_id
from service.store.rows import Connection
from service.workflow import Act, Done, Failed, Job, Outcome, Wait
from service.workflows.common import machine_in
from sql.loader import Q

_LOOK_S = 5.0


def asked(event: MachineEvent) -> Act:
    """A step that waits for the hooks that follow the transition; a veto fails the run with its reason."""

    async def act(job: Job) -> Outcome:
        machine, now = await machine_in(job), job.parts.clock.now()
        key = f"run:{job.run_id}:{event}"
        standing = await ask(job.db, event, machine.id, key=key, now=now, asker=job.subject)
        if standing.state == "vetoed":
            return Failed(standing.reason)
        return Done() if standing.state == "allowed" else Wait(f"asked {standing.reason}", _LOOK_S)

    return act


async def hooks_follow_placing(job: Job) -> bool:
    """Whether some hook is asked before a machine is given to an order: one look at an index."""
    return bool(await job.db.fetchval(Q["hooks_ask"], f"machine.{MachineEvent.PLACE}"))


async def allowed_machine(job: Job, device: Device, tried: list[UUID]) -> UUID | Wait | None:
    """A ready machine that the hooks give to this order; None when there is none to ask about.

    While they are asked about it no other order gets it. One that they do not give is held back, with the reason, and
    the next one is asked about.
    """
    now, asks = job.parts.clock.now(), int(job.data.get("asks", 0))
    chosen = await _chosen(job, device, tried, asks)
    if chosen is None:
        return None
    standing = await ask(
        job.db, MachineEvent.PLACE, chosen, key=_key(job, chosen, asks), now=now, device_id=device.id, asker=job.subject
    )
    if standing.state == "allowed":
        return chosen
    machine = await machine_by_id(job.db, chosen)
    if standing.state == "open":
        return Wait(f"{machine.name}: asked {standing.reason}", _LOOK_S, {"asked_about": str(chosen)})
    async with job.transaction() as conn:
        await _hold_back(conn, machine, standing.reason)
    return next_one(job, f"{machine.name} is held back: {standing.reason}")


def next_one(job: Job, reason: str) -> Wait:
    """Ask about another machine, at once."""
    return Wait(reason, 0.0, {"asked_about": None, "asks": int(job.data.get("asks", 0)) + 1})


def _key(job: Job, machine_id: UUID, asks: int) -> str:
    return f"run:{job.run_id}:{MachineEvent.PLACE}:{machine_id}:{asks}"


async def _chosen(job: Job, device: Device, tried: list[UUID], asks: int) -> UUID | None:
    """The machine that was asked about before, if it is still there; else another one, reserved by the questions."""
    before = job.data.get("asked_about")
    if before is not None and await job.db.fetchval(Q["is_ready"], UUID(before)):
        return UUID(before)
    now = job.parts.clock.now()
    async with job.transaction() as conn:
        wanted = (device.facility_id, device.plan_id, tried, now - AGENT_SILENCE, device.reservation_id)
        found: UUID | None = await conn.fetchval(Q["candidate_machine"], *wanted)
        if found is not None:
            key = _key(job, found, asks)
            await write_down(conn, MachineEvent.PLACE, found, key=key, now=now, device_id=device.id, asker=job.subject)
    return found


async def _hold_back(conn: Connection, machine: Machine, reason: str) -> None:
    """No order gets the machine before a hook or an operator says otherwise."""
    await hold(conn, machine.id, reason)
    body = f"{machine.name} is held back: {reason}"
    await add_event(conn, "machine.held", body, machine_id=machine.id, private=True, data={"reason": reason})
