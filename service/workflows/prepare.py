"""Back to the pool, or into it for the first time: port away, addresses back, network boot, erase, certificate.

The run's subject is the machine. `data["device"]` is the device whose addresses end with it, if any. The order of
the steps is the promise: nobody else gets an address before the leaf has stopped routing it, and no machine comes
to the pool without a certificate.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from images.protocol import DiskErasure
from service.bgp import port_closing
from service.certificates import signature_of
from service.elastic import addresses_back
from service.inventories import changes
from service.lifecycle import MachineEvent, MachineState
from service.store.events import add_event
from service.store.hardware import machine_by_id, move_machine, set_port
from service.store.rows import Connection
from service.store.runs import start_run, supersede
from service.workflow import Done, Failed, Job, Outcome, Step, Workflow
from service.workflows.asking import asked as hooks_asked
from service.workflows.common import await_agent, await_port, boot_installer, machine_in, no_agent, work_step
from sql.loader import Q

_SAMPLES = 64  # random places read back from each disk
_ERASING = 0.9  # of the step's time is the agent's; the rest is for its start, and its last word


async def start_prepare(
    conn: Connection,
    machine_id: UUID,
    device_id: UUID | None,
    why: str,
    *,
    now: datetime,
    limit: timedelta,
    workflow: Workflow | None = None,
    asked: Mapping[str, Any] | None = None,
) -> None:
    """Take a machine away from whoever has it and send it through preparation. In the caller's transaction.

    `workflow` is a preparation with steps of its own, which finds what was `asked` of it in the run's data.
    """
    machine = await machine_by_id(conn, machine_id)
    if machine.state is MachineState.PREPARING:
        return
    await supersede(conn, machine_id, now=now, reason=why)
    await move_machine(conn, machine, MachineEvent.PREPARE, now=now, reason=why)
    await conn.execute(Q["give_machine"], machine_id, None)
    await conn.execute(Q["withdraw_work"], machine_id, now)
    # A preparation that failed before the port was closed still owes somebody's addresses.
    owed = device_id or await conn.fetchval(Q["addresses_owed"], machine_id)
    data = {"why": why, **(asked or {})} | ({"device": str(owed)} if owed else {})
    chosen = workflow or PREPARE
    await start_run(conn, chosen.name, machine_id, chosen.steps[0].name, now=now, deadline=now + limit, data=data)


async def _close_port(job: Job) -> Outcome:
    machine = await machine_in(job)
    async with job.transaction() as conn:
        await set_port(conn, machine.port_id, "quarantine", None, now=job.parts.clock.now())
        if device := job.data.get("device"):
            await port_closing(conn, UUID(device), machine.port_id)
        # Also when that is no news: what the leaf refused is not asked of it again for a while, unless it is.
        await conn.execute(Q["ask_port_again"], machine.port_id)
    return Done()


async def _quarantine(job: Job) -> Outcome:
    """What is left of a machine that could not be prepared: out of the pool, its port closed, the reason on it."""
    machine = await machine_in(job)
    reason = await job.db.fetchval(Q["failure_of_run"], job.run_id)
    async with job.transaction() as conn:
        if machine.state is MachineState.PREPARING:
            await move_machine(conn, machine, MachineEvent.FAIL, now=job.parts.clock.now(), reason=reason)
    return Done()


async def _give_addresses_back(job: Job) -> Outcome:
    if device := job.data.get("device"):
        async with job.transaction() as conn:
            await addresses_back(conn, UUID(device), now=job.parts.clock.now(), by=f"run:{job.run_id}")
    return Done()


async def _erase(job: Job) -> Outcome:
    spec = {"disks": [], "sample_count": _SAMPLES, "limit_s": _ERASING * job.parts.settings.erase_limit_s}
    return await work_step(job, await machine_in(job), "erase", "erase", spec, reboot_step="netboot")


def unclean(evidence: dict[str, Any], inventory: dict[str, Any]) -> str | None:
    """Why the evidence of an erase is not good enough for this machine; None when it is."""
    disks = evidence.get("disks") or []
    if not disks:
        return "the agent named no disk"
    for disk in disks:
        if lacking := [name for name in DiskErasure.__required_keys__ if name not in disk]:
            return f"what the agent tells of a disk lacks {', '.join(sorted(lacking))}"
        if disk["samples_read"] < 1 or disk["samples_clean"] != disk["samples_read"]:
            return f"{disk['path']}: {disk['samples_clean']} of {disk['samples_read']} samples were clean"
        if not disk["attempts"] or disk["attempts"][-1]["outcome"] != "done":
            return f"{disk['path']}: no method came to its end"
        if disk["verdict"] not in ("zeros", "pattern", "changed"):
            return f"{disk['path']}: the samples showed {disk['verdict']!r}"
    erased = {disk["path"] for disk in disks}
    if missing := sorted(disk["path"] for disk in inventory.get("disks", []) if disk["path"] not in erased):
        return f"{', '.join(missing)}: in the machine and not erased"
    return None


async def _certify(job: Job) -> Outcome:
    machine = await machine_in(job)
    evidence = job.data["erase"]
    inventory = await job.db.fetchval(Q["inventory_of_machine"], machine.id)
    if why := unclean(evidence, inventory):
        return Failed(f"the erase is not proved: {why}")
    signature = signature_of(job.parts.key.first.secret, machine.id, job.run_id, evidence)
    async with job.transaction() as conn:
        await conn.execute(Q["certify_erase"], machine.id, job.run_id, evidence, signature)
    return Done()


async def _open_port(job: Job) -> Outcome:
    machine = await machine_in(job)
    async with job.transaction() as conn:
        await set_port(conn, machine.port_id, "provisioning", None, now=job.parts.clock.now())
    return Done()


async def _pool(job: Job) -> Outcome:
    now = job.parts.clock.now()
    machine = await machine_in(job)
    async with job.transaction() as conn:
        if machine.state is MachineState.PREPARING:
            await move_machine(conn, machine, MachineEvent.PREPARED, now=now)
            # Whoever waits for a machine of this kind is told by the facility's pool.
            await conn.execute(Q["signal_waiting_for_pool"], machine.facility_id, machine.plan_id, now)
            await add_event(conn, "machine.pooled", f"{machine.name} is ready", machine_id=machine.id, private=True)
            await _close_rma(conn, machine.id, now)
            if (reason := await conn.fetchval(Q["leaving_locked"], machine.id)) is not None:
                # It was to leave when its device was gone: nobody has seen it in the pool.
                ready = await machine_by_id(conn, machine.id)
                await move_machine(conn, ready, MachineEvent.MAINTAIN, now=now, reason=reason)
                await conn.execute(Q["set_leaving"], machine.id, None)
                await set_port(conn, machine.port_id, "maintenance", None, now=now)
    return Done()


async def _close_rma(conn: Connection, machine_id: UUID, now: datetime) -> None:
    """What was repaired is in the pool again: what changed of it is written down beside what was known before."""
    row = await conn.fetchrow(Q["rma_under_way"], machine_id)
    if row is not None:
        inventory = await conn.fetchval(Q["inventory_of_machine"], machine_id)
        await conn.execute(Q["close_rma"], row["id"], now, changes(row["inventory"], inventory))


PREPARE = Workflow(
    "prepare",
    (
        Step("close_port", _close_port, "leaf_limit_s", undo=_quarantine),
        Step("await_closed_port", await_port, "leaf_limit_s"),
        Step("give_addresses_back", _give_addresses_back, "leaf_limit_s"),
        Step("ask_to_erase", hooks_asked(MachineEvent.PREPARE), "hook_wait_s"),
        Step("netboot", boot_installer, "netboot_limit_s"),
        Step("await_agent", await_agent, "netboot_limit_s", overrun=no_agent),
        Step("erase", _erase, "erase_limit_s"),
        Step("certify", _certify, "leaf_limit_s"),
        Step("ask_to_pool", hooks_asked(MachineEvent.PREPARED), "hook_wait_s"),
        Step("open_port", _open_port, "leaf_limit_s"),
        Step("await_open_port", await_port, "leaf_limit_s"),
        Step("pool", _pool, "leaf_limit_s"),
    ),
)
