"""Steps and looks that several workflows share: the port's change, the network boot, the agent's work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from service.bmcs import bmc_of
from service.store.course import Device, device_by_id
from service.store.hardware import Machine, agent_alive, machine_by_id, offer_work
from service.workflow import Back, Done, Failed, Job, Outcome, Wait
from sql.loader import Q

MakeSpec = Callable[[], Awaitable[dict[str, Any]]]

_NETBOOTS = 3  # power cycles in one run before the machine counts as dead
_SILENT_S = 90.0  # an agent that has taken work and says nothing for so long has died with its machine


async def netboot(job: Job, machine: Machine) -> None:
    """End the machine's agent sessions and power-cycle it into the network."""
    async with job.transaction() as conn:
        await conn.execute(Q["end_agent_sessions"], machine.id, job.parts.clock.now())
    async with bmc_of(job.db, job.parts.key, machine) as bmc:
        await bmc.set_boot_once("pxe")
        await bmc.power_cycle()


async def netboot_step(job: Job, machine: Machine) -> Outcome:
    """Boot the machine into the installer; told apart from earlier boots by the time that is kept."""
    booted_at = job.parts.clock.now()
    await netboot(job, machine)
    count = int(job.data.get("netboots", 0)) + 1
    reset_at = job.parts.clock.now()
    return Done({"netboots": count, "booted_at": booted_at.isoformat(), "reset_at": reset_at.isoformat()})


async def boot_installer(job: Job) -> Outcome:
    """`netboot_step` for the run's machine."""
    return await netboot_step(job, await machine_in(job))


async def await_agent(job: Job) -> Outcome:
    """Wait until the installer's agent of the run's machine has said hello after the network boot."""
    machine = await machine_in(job)
    since = datetime.fromisoformat(job.data["booted_at"])
    # What was seen before may have been put right, or made up by what ran there; after the reset firmware speaks.
    reset_at = datetime.fromisoformat(job.data["reset_at"])
    if machine.misplaced is not None and machine.misplaced_at is not None and machine.misplaced_at >= reset_at:
        return Failed(machine.misplaced)
    if await agent_alive(job.db, machine.id, now=job.parts.clock.now(), since=since):
        return Done()
    return Wait(f"{machine.name} has not reached the installer since its power cycle at {since:%H:%M:%S} UTC", 5.0)


async def no_agent(job: Job) -> Outcome:
    """The agent did not say hello in time: back to the step `netboot`, or the end."""
    machine = await machine_in(job)
    return netboot_again(job, "netboot", f"{machine.name} did not reach the installer")


def netboot_again(job: Job, step: str, reason: str) -> Outcome:
    """Back to the network boot, or the end after too many of them."""
    if int(job.data.get("netboots", 0)) >= _NETBOOTS:
        return Failed(f"{reason}, after {_NETBOOTS} power cycles")
    return Back(step, reason)


def port_seen(port: Mapping[str, Any]) -> Done | Wait:
    """Whether the leaf has the port's present desired state, verified by reading it back."""
    if port["applied"] >= port["generation"]:
        return Done()
    why = port["fault"] or port["leaf_fault"]
    return Wait(f"{port['leaf']} has not yet taken {port['name']} as {port['profile']}" + (f": {why}" if why else ""))


async def await_port(job: Job) -> Outcome:
    """Wait until the leaf has what the port of the run's machine is to be."""
    machine = await machine_in(job)
    return port_seen(await job.db.fetchrow(Q["port_by_id"], machine.port_id))


async def work_step(
    job: Job, machine: Machine, slot: str, kind: str, spec: dict[str, Any] | MakeSpec, *, reboot_step: str
) -> Outcome:
    """Have the agent do a piece of work; Done carries its result under the slot's name.

    A spec that takes some reading is made only when it is offered; what making it raises is the caller's.
    An agent that died with the work in hand is booted again and gets the same work once more.
    """
    if machine.misplaced is not None:
        return Failed(machine.misplaced)
    row = await job.db.fetchrow(Q["work_of_run"], job.run_id, slot)
    if row is None:
        spec = spec if isinstance(spec, dict) else await spec()
        async with job.transaction() as conn:
            await offer_work(conn, machine.id, job.run_id, slot, kind, spec)
        return Wait(f"{machine.name} has been told to {kind}", 5.0)
    match row["state"]:
        case "done":
            return Done({slot: row["result"]})
        case "failed":
            return Failed(f"{machine.name} could not {kind}: {row['reason']}")
        case "withdrawn":
            return Failed(f"the work to {kind} was withdrawn")
    now = job.parts.clock.now()
    heard = max(moment for moment in (row["created_at"], row["taken_at"], row["progress_at"]) if moment is not None)
    if now - heard > timedelta(seconds=_SILENT_S) and not await agent_alive(job.db, machine.id, now=now):
        return netboot_again(job, reboot_step, f"{machine.name} fell silent while it was to {kind}")
    done = f" {row['stage']} {row['percent']:.0f} %" if row["stage"] else ""
    done += f", {row['bytes_per_s'] / 1e6:.0f} MB/s" if row["bytes_per_s"] else ""
    return Wait(f"{machine.name} is to {kind}:{done or ' not begun'}", 5.0)


async def machine_in(job: Job) -> Machine:
    """The machine that the run is about: its subject, or the one in its data."""
    return await machine_by_id(job.db, UUID(job.data["machine"]) if "machine" in job.data else job.subject)


async def device_in(job: Job) -> Device:
    """The run's device."""
    return await device_by_id(job.db, job.subject)
