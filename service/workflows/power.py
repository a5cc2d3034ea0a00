"""Reboot, off and on, as the customer asks. The run's subject is the device; `data["action"]` says which."""

from __future__ import annotations

from service.bmcs import bmc_of
from service.lifecycle import DeviceEvent, DeviceState
from service.store.course import device_by_id, move_device
from service.store.events import add_event
from service.store.hardware import machine_of_device
from service.workflow import Done, Failed, Job, Outcome, Step, Workflow

_ENDS = {DeviceState.POWERING_OFF: DeviceEvent.POWERED_OFF, DeviceState.POWERING_ON: DeviceEvent.POWERED_ON}


async def _switch(job: Job) -> Outcome:
    machine = await machine_of_device(job.db, job.subject)
    if machine is None:
        return Failed("the device has no machine")
    async with bmc_of(job.db, job.parts.key, machine) as bmc:
        match job.data["action"]:
            case "power_off":
                await bmc.power_off()
            case "power_on":
                await bmc.power_on()
            case _:
                await bmc.power_cycle()
    return Done()


async def _finish(job: Job) -> Outcome:
    device = await device_by_id(job.db, job.subject)
    async with job.transaction() as conn:
        if (event := _ENDS.get(device.state)) is not None:
            await move_device(conn, device, event, now=job.parts.clock.now())
        action = str(job.data["action"])
        body = {"power_off": "Powered off", "power_on": "Powered on"}.get(action, "Rebooted")
        await add_event(conn, f"instance.{action}", body, device_id=device.id, state="succeeded")
    return Done()


async def _undo_switch(job: Job) -> Outcome:
    device = await device_by_id(job.db, job.subject)
    async with job.transaction() as conn:
        if device.state in _ENDS:
            await move_device(conn, device, DeviceEvent.GAVE_UP, now=job.parts.clock.now())
        action = str(job.data["action"])
        await add_event(conn, f"instance.{action}", "The machine did not obey", device_id=device.id, state="failed")
    return Done()


POWER = Workflow(
    "power",
    (
        Step("switch", _switch, "netboot_limit_s", undo=_undo_switch),
        Step("finish", _finish, "netboot_limit_s"),
    ),
)
