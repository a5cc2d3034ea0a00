"""A login in the in-RAM installer: for a customer whose system does not start, or for an operator.

The work stays with the agent when the run has ended, over power cuts, until somebody leaves: a customer by any other
action on the device, an operator by saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from images.protocol import RescueSpec
from ipam.ledger import held_by
from service.bmcs import bmc_of
from service.lifecycle import MachineEvent
from service.settings import Settings
from service.store.course import device_by_id
from service.store.events import add_event
from service.store.hardware import (
    Machine,
    agent_alive,
    machine_by_id,
    machine_of_device,
    move_machine,
    offer_work,
    set_port,
)
from service.store.rows import Connection
from service.store.runs import start_run, supersede
from service.workflow import Done, Failed, Job, Outcome, Step, Wait, Workflow
from service.workflows.common import await_agent, await_port, boot_installer, machine_in, netboot_step, no_agent
from service.workflows.prepare import start_prepare
from sql.loader import Q

_SSH_PORT = 22
_SLOT = "login"


async def login_told(conn: Connection, machine_id: UUID, result: Mapping[str, Any]) -> None:
    """The agent lets people in from now on: whoever may know is told the host key to expect."""
    machine = await machine_by_id(conn, machine_id)
    keys = result.get("host_keys")
    shown = ", ".join(str(key) for key in keys) if isinstance(keys, list) else "none"
    if machine.device_id is None:
        body = f"{machine.name} lets operators in by SSH; its host key is {shown}"
        await add_event(conn, "machine.ssh_on", body, machine_id=machine.id, private=True, data=dict(result))
        return
    public = [link.host.ip for link in await held_by(conn, machine.device_id) if link.slot == "public"]
    where = f"root@{public[0]}" if public else "root"
    body = f"Rescue system is ready: {where}, SSH host key {shown}"
    await add_event(conn, "instance.rescue", body, device_id=machine.device_id, state="succeeded", data=dict(result))


async def leave_rescue(conn: Connection, device_id: UUID, *, now: datetime) -> None:
    """The device's next start leads to its own system again. Nothing where it is in no rescue."""
    row = await conn.fetchrow(Q["leave_rescue"], device_id)
    if row is not None:
        await conn.execute(Q["withdraw_work"], row["id"], now)
        await set_port(conn, row["port_id"], "active", device_id, now=now)


async def start_ssh(conn: Connection, machine_id: UUID, keys: list[str], *, now: datetime, settings: Settings) -> None:
    """Let operators in on a machine without a device. In the caller's transaction. Raises IllegalMove."""
    machine = await machine_by_id(conn, machine_id)
    why = "an operator logs in"
    await move_machine(conn, machine, MachineEvent.MAINTAIN, now=now, reason=why)
    await supersede(conn, machine_id, now=now, reason=why)
    await conn.execute(Q["withdraw_work"], machine_id, now)
    limit = timedelta(seconds=settings.netboot_limit_s)
    data = {"keys": keys}
    await start_run(conn, SSH.name, machine_id, SSH.steps[0].name, now=now, deadline=now + limit, data=data)


async def end_ssh(conn: Connection, machine_id: UUID, *, now: datetime, settings: Settings) -> None:
    """Nobody is let in any more, and the machine goes through preparation. Raises IllegalMove."""
    machine = await machine_by_id(conn, machine_id)
    why = "operators have left"
    await supersede(conn, machine_id, now=now, reason=why)
    await conn.execute(Q["withdraw_work"], machine_id, now)
    await move_machine(conn, machine, MachineEvent.GIVE_BACK, now=now, reason=why)
    limit = timedelta(seconds=settings.erase_limit_s)
    await start_prepare(conn, machine_id, None, why, now=now, limit=limit)


async def _begin_rescue(job: Job) -> Outcome:
    machine = await machine_of_device(job.db, job.subject)
    if machine is None:
        return Failed("the device has no machine")
    async with job.transaction() as conn:
        await conn.execute(Q["begin_rescue"], machine.id)
        await set_port(conn, machine.port_id, "rescue", job.subject, now=job.parts.clock.now())
    return Done({"machine": str(machine.id)})


async def _undo_rescue(job: Job) -> Outcome:
    """Back to the device's own system; the reason is told."""
    now = job.parts.clock.now()
    reason = await job.db.fetchval(Q["failure_of_run"], job.run_id)
    machine = await machine_of_device(job.db, job.subject)
    async with job.transaction() as conn:
        await leave_rescue(conn, job.subject, now=now)
        body = f"No rescue: {reason}"
        await add_event(conn, "instance.rescue", body, device_id=job.subject, state="failed")
    if machine is not None and "netboots" in job.data:
        async with bmc_of(job.db, job.parts.key, machine) as bmc:
            await bmc.power_cycle()
    return Done()


async def _begin_ssh(job: Job) -> Outcome:
    machine = await machine_in(job)
    async with job.transaction() as conn:
        await set_port(conn, machine.port_id, "maintenance", None, now=job.parts.clock.now())
    return Done()


async def _netboot_unless_there(job: Job) -> Outcome:
    machine, now = await machine_in(job), job.parts.clock.now()
    if "netboots" not in job.data and await agent_alive(job.db, machine.id, now=now):
        long_ago = now - timedelta(days=3650)
        return Done({"booted_at": long_ago.isoformat(), "reset_at": now.isoformat()})
    return await netboot_step(job, machine)


async def _login(job: Job) -> Outcome:
    """Wait until the agent has told its host key. The work goes on after that."""
    machine = await machine_in(job)
    row = await job.db.fetchrow(Q["work_of_run"], job.run_id, _SLOT)
    if row is None:
        spec = await _spec(job, machine)
        async with job.transaction() as conn:
            await offer_work(conn, machine.id, job.run_id, _SLOT, "rescue", dict(spec))
        return Wait(f"{machine.name} has been told to let people in", 5.0)
    if row["state"] in ("failed", "withdrawn"):
        return Failed(f"{machine.name} lets nobody in: {row['reason'] or row['state']}")
    if row["result"].get("host_keys"):
        return Done({"login": row["result"]})
    return Wait(f"{machine.name} has not yet made its host key", 5.0)


async def _spec(job: Job, machine: Machine) -> RescueSpec:
    if machine.device_id is None:
        return {"ssh_keys": list(job.data["keys"]), "port": _SSH_PORT, "addresses": []}
    device = await device_by_id(job.db, machine.device_id)
    links = await held_by(job.db, device.id)
    return {
        "ssh_keys": device.ssh_keys,
        "port": _SSH_PORT,
        "addresses": [
            {"address": str(link.host), "gateway": str(link.leaf.ip), "public": link.slot != "private"}
            for link in links
            if link.kind == "held"
        ],
    }


RESCUE = Workflow(
    "rescue",
    (
        Step("begin", _begin_rescue, "leaf_limit_s", undo=_undo_rescue),
        Step("await_network", await_port, "leaf_limit_s"),
        Step("netboot", boot_installer, "netboot_limit_s"),
        Step("await_agent", await_agent, "netboot_limit_s", overrun=no_agent),
        Step("login", _login, "netboot_limit_s"),
    ),
)

SSH = Workflow(
    "ssh",
    (
        Step("begin", _begin_ssh, "leaf_limit_s"),
        Step("await_port", await_port, "leaf_limit_s"),
        Step("netboot", _netboot_unless_there, "netboot_limit_s"),
        Step("await_agent", await_agent, "netboot_limit_s", overrun=no_agent),
        Step("login", _login, "netboot_limit_s"),
    ),
)
