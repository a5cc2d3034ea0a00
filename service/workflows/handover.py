"""From the installer to the system on the disk: which ways a machine may go, and which next when it does not arrive."""

from __future__ import annotations

import structlog

from images.protocol import Handover
from service.bmcs import bmc_of
from service.power.errors import PowerError
from service.store.course import Device, device_by_id
from service.store.events import add_event
from service.store.handover import ways_of
from service.store.hardware import Machine
from service.workflow import Back, Job, Outcome
from sql.loader import Q

log = structlog.get_logger()

# What a run knows of a machine on which nothing has been tried yet.
NO_WAY_TRIED: dict[str, object] = {"handover": None, "from_disk": False, "ways_failed": []}


async def ways_for(job: Job, device: Device, machine: Machine) -> list[Handover]:
    """The ways that the machine's model knows, in order of preference, without those that failed in this run."""
    failed = job.data.get("ways_failed", [])
    known = await _known(job, device, machine)
    return [way for way in known if way not in failed] or ["reboot"]


async def _known(job: Job, device: Device, machine: Machine) -> list[Handover]:
    """The ways that lead into the device's system on that machine."""
    if job.parts.catalogue.get(device.operating_system).ignited:
        # Its first boot is one by its own boot loader, which alone knows that it is the first.
        return ["reboot"]
    return await ways_of(job.db, machine.id)


async def another_way(job: Job, machine: Machine) -> Outcome | None:
    """What to try on this machine, whose installed system has not phoned home; None when that was all.

    First it boots from its disk, by a power cycle. Then it is installed once more, and handed over in the next way.
    """
    used = job.data.get("handover")
    if used is None:  # the agent did not install it
        return None
    told = f"the system on {machine.name} did not phone home after {used}"
    if used != "reboot" and not job.data.get("from_disk"):
        reason = f"{told}: power cycle, to boot from its disk"
        await _tell(job, machine, reason)
        try:
            async with bmc_of(job.db, job.parts.key, machine) as bmc:
                await bmc.power_cycle()
        except PowerError as err:
            log.warning("power_cycle_failed", machine=machine.name, reason=str(err))
            return None
        return Back("await_phone_home", reason, {"from_disk": True})
    failed = [*job.data.get("ways_failed", []), used]
    # A start from the disk was a reboot.
    device = await device_by_id(job.db, job.subject)
    left = [way for way in await _known(job, device, machine) if way not in (*failed, "reboot")]
    if not left or len(failed) > 1:
        return None
    reason = f"{told}, nor from its disk: installed once more, to go on by {left[0]}"
    await _tell(job, machine, reason, installed=False)
    return Back("start", reason, {"ways_failed": failed, "from_disk": False, "netboots": 0})


async def _tell(job: Job, machine: Machine, reason: str, *, installed: bool = True) -> None:
    async with job.transaction() as conn:
        if not installed:  # the next network boot leads into the installer
            await conn.execute(Q["set_installed"], machine.id, False)
            await conn.execute(Q["forget_phone_home"], job.subject)
        await add_event(conn, "provisioning.handover", reason, device_id=job.subject, private=True)
