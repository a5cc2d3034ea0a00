"""How hardware leaves the pool, for a while or for good: maintenance, giving back, retirement.

A machine in use is not taken from its customer: it is marked to leave, and leaves when its device is gone and it has
been erased. A retired machine was erased with a certificate, unless its disks are gone; its port is free, its BMC's
secret forgotten, and its row stays for what is told of it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

from ipam.history import correct
from ipam.ledger import held_by
from service.bmcs import bmc_of
from service.lifecycle import MACHINE, IllegalMove, MachineEvent, MachineState
from service.power.errors import PowerError
from service.secrets import SecretUnreadable
from service.settings import Settings
from service.store.events import add_event
from service.store.hardware import Machine, locked_machine, machine_by_id, move_machine, set_port
from service.store.rows import Connection
from service.store.runs import start_run, supersede
from service.workflow import Done, Job, Outcome, Step, Workflow
from service.workflows.asking import asked
from service.workflows.common import await_port, machine_in
from service.workflows.prepare import PREPARE, start_prepare
from sql.loader import Q

_BUSY = (MachineState.INSTALLING, MachineState.IN_USE, MachineState.PREPARING)


async def maintain(conn: Connection, machine_id: UUID, reason: str, *, now: datetime) -> None:
    """Take a machine out of the pool, or have it leave when its device is gone. In the caller's transaction.

    Raises IllegalMove, StateMoved.
    """
    machine = await locked_machine(conn, machine_id)
    if machine.state in _BUSY:
        await conn.execute(Q["set_leaving"], machine_id, reason)
        then = "is prepared" if machine.device_id is None else f"is given back by device {machine.device_id}"
        body = f"{machine.name} leaves for maintenance when it {then}: {reason}"
        await add_event(conn, "machine.leaving", body, machine_id=machine_id, private=True)
        return
    await supersede(conn, machine_id, now=now, reason=reason)
    await conn.execute(Q["withdraw_work"], machine_id, now)
    await move_machine(conn, machine, MachineEvent.MAINTAIN, now=now, reason=reason)
    await conn.execute(Q["set_leaving"], machine_id, None)
    await set_port(conn, machine.port_id, "maintenance", None, now=now)


async def give_back(conn: Connection, machine_id: UUID, *, mac: str | None, now: datetime, settings: Settings) -> None:
    """Back to the pool by way of preparation, with another card if one was exchanged; or not to leave after all.

    Raises IllegalMove, StateMoved, asyncpg.UniqueViolationError where the card is another machine's.
    """
    machine = await locked_machine(conn, machine_id)
    if machine.state in _BUSY and machine.leaving is not None:
        await conn.execute(Q["set_leaving"], machine_id, None)
        body = f"{machine.name} does not leave for maintenance after all"
        await add_event(conn, "machine.stays", body, machine_id=machine_id, private=True)
        return
    if mac is not None:
        await conn.execute(Q["set_card"], machine_id, mac)
    why = "it was given back"
    await supersede(conn, machine_id, now=now, reason=why)
    await conn.execute(Q["withdraw_work"], machine_id, now)
    await move_machine(conn, machine, MachineEvent.GIVE_BACK, now=now, reason=why)
    limit = timedelta(seconds=settings.erase_limit_s)
    await start_prepare(conn, machine_id, None, why, now=now, limit=limit)


async def maintain_asks(_conn: Connection, machine: Machine) -> tuple[MachineEvent, ...]:
    """What hooks are asked before `maintain`: also where the machine is only marked to leave."""
    legal = machine.state in _BUSY or (machine.state, MachineEvent.MAINTAIN) in MACHINE
    return (MachineEvent.MAINTAIN,) if legal else ()


async def give_back_asks(_conn: Connection, machine: Machine) -> tuple[MachineEvent, ...]:
    """What hooks are asked before `give_back`: nothing where the machine stays after all."""
    return (MachineEvent.GIVE_BACK,) if machine.state is MachineState.MAINTENANCE else ()


async def retire_asks(conn: Connection, machine: Machine, *, disks_gone: bool) -> tuple[MachineEvent, ...]:
    """What hooks are asked before `retire` begins: by maintenance a machine leaves the pool, and out of it it is
    brought for its erase. Whether it may be retired they are asked by the run itself.
    """
    erased = disks_gone or await conn.fetchval(Q["erased_since_used"], machine.id)
    match machine.state:
        case MachineState.READY:
            return (MachineEvent.MAINTAIN,) if erased else (MachineEvent.MAINTAIN, MachineEvent.GIVE_BACK)
        case MachineState.MAINTENANCE:
            return () if erased else (MachineEvent.GIVE_BACK,)
        case _:
            return ()


async def retire(
    conn: Connection, machine_id: UUID, reason: str, *, disks_gone: bool, now: datetime, settings: Settings
) -> None:
    """Send a machine on its last way. In the caller's transaction. Raises IllegalMove with what stands in the way."""
    machine = await locked_machine(conn, machine_id)
    if machine.device_id is not None:
        raise IllegalMove(
            f"{machine.name} serves device {machine.device_id}; have it leave for maintenance first, it goes when the"
            " device is gone"
        )
    if machine.state in _BUSY:
        raise IllegalMove(f"{machine.name} is {machine.state}; ask again when that has ended")
    if machine.state is MachineState.READY:
        await move_machine(conn, machine, MachineEvent.MAINTAIN, now=now, reason=reason)
        machine = await machine_by_id(conn, machine_id)
    limit, wish = timedelta(seconds=settings.erase_limit_s), {"retire": {"reason": reason, "disks_gone": disks_gone}}
    erased = await conn.fetchval(Q["erased_since_used"], machine_id)
    if disks_gone or erased:
        await supersede(conn, machine_id, now=now, reason=reason)
        await conn.execute(Q["withdraw_work"], machine_id, now)
        first = RETIRE_AT_ONCE.steps[0].name
        await start_run(conn, RETIRE_AT_ONCE.name, machine_id, first, now=now, deadline=now + limit, data=wish)
        return
    if machine.state is MachineState.MAINTENANCE:
        await move_machine(conn, machine, MachineEvent.GIVE_BACK, now=now, reason=reason)
    await start_prepare(conn, machine_id, None, reason, now=now, limit=limit, workflow=RETIRE, asked=wish)


async def _begin(job: Job) -> Outcome:
    machine = await machine_in(job)
    async with job.transaction() as conn:
        await set_port(conn, machine.port_id, "quarantine", None, now=job.parts.clock.now())
        await conn.execute(Q["ask_port_again"], machine.port_id)
    return Done()


async def _not_retired(job: Job) -> Outcome:
    """It stays what it was, and its events tell why."""
    machine, reason = await machine_in(job), await job.db.fetchval(Q["failure_of_run"], job.run_id)
    async with job.transaction() as conn:
        body = f"{machine.name} was not retired: {reason}"
        await add_event(conn, "machine.not_retired", body, machine_id=machine.id, private=True)
    return Done()


async def _power_off(job: Job) -> Outcome:
    """Its power is cut, if its BMC can still do that: what is broken may be just this."""
    machine = await machine_in(job)
    try:
        async with bmc_of(job.db, job.parts.key, machine) as bmc:
            await bmc.power_off()
    except (PowerError, SecretUnreadable) as err:
        return Done({"power": f"its power could not be cut: {err}"})
    return Done({"power": "its power is off"})


async def _retire(job: Job) -> Outcome:
    wish, now = job.data["retire"], job.parts.clock.now()
    async with job.transaction() as conn:
        if (machine := await _still(conn, job)) is None:
            return Done()
        disks = "its disks are gone" if wish["disks_gone"] else "its disks were erased with a certificate"
        await move_machine(conn, machine, MachineEvent.RETIRE, now=now, reason=wish["reason"])
        for link in await held_by(conn, machine.port_id):
            if link.slot in ("boot", "boot6"):
                note = {"machine": "", "mac": "", "leaf": machine.leaf, "port": machine.port}
                await correct(conn, link.id, f"{machine.name} was retired", by=f"run:{job.run_id}", note=note)
        await conn.execute(Q["end_agent_sessions"], machine.id, now)
        await conn.execute(Q["retire_machine"], machine.id, now)
        body = f"{machine.name} was retired: {wish['reason']}; {disks}, {job.data['power']}, "
        body += f"{machine.leaf} {machine.port} is free"
        where = {"leaf": machine.leaf, "port": machine.port, "disks_gone": wish["disks_gone"]}
        await add_event(conn, "machine.retired", body, machine_id=machine.id, private=True, data=where)
    return Done()


async def _still(conn: Connection, job: Job) -> Machine | None:
    """The machine, or None where this step ran before."""
    try:
        return await locked_machine(conn, job.subject)
    except KeyError:
        return None


_CERTIFIED = next(place for place, step in enumerate(PREPARE.steps) if step.name == "certify") + 1
_LAST = (Step("power_off", _power_off, "netboot_limit_s"), Step("retire", _retire, "leaf_limit_s"))
_ASK = Step("ask_to_retire", asked(MachineEvent.RETIRE), "hook_wait_s")

RETIRE = Workflow("retire", (*PREPARE.steps[:_CERTIFIED], _ASK, *_LAST))
RETIRE_AT_ONCE = Workflow(
    "retire_at_once",
    (
        replace(_ASK, undo=_not_retired),
        Step("begin", _begin, "leaf_limit_s"),
        Step("await_port", await_port, "leaf_limit_s"),
        *_LAST,
    ),
)
