"""What the outside may ask for. Each call records an intent in the caller's transaction and starts the run that
carries it out; nothing here talks to hardware. The caller has checked who asks.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from ipam.ledger import no_block, with_room
from ipam.prefixes import prefixes_for_each, served
from service import elastic
from service.bgp import session_ended
from service.clock import Clock
from service.lifecycle import DeviceEvent, DeviceState, IllegalMove
from service.settings import Settings
from service.store.course import Device, device_by_id, move_device
from service.store.events import add_event
from service.store.rows import Connection
from service.store.runs import start_run, supersede
from service.workflow import Workflow
from service.workflows.placing import slots_of
from service.workflows.power import POWER
from service.workflows.prepare import start_prepare
from service.workflows.provision import PROVISION, REINSTALL
from service.workflows.rescue import RESCUE, leave_rescue
from sql.loader import Q

ACTIONS = ("reboot", "power_on", "power_off", "rescue", "reinstall")


async def order_device(conn: Connection, device_id: UUID, *, settings: Settings, clock: Clock) -> None:
    """Start the course of a device whose row was just inserted. Raises ipam.errors.IpamError when its facility has no
    address left: the caller's transaction then ends with nothing changed.
    """
    device, now = await device_by_id(conn, device_id), clock.now()
    cool_down = timedelta(seconds=settings.cool_down_s)
    whose = {"organization_id": device.organization_id, "project_id": device.project_id}
    found = await prefixes_for_each(conn, slots_of(device), device.facility, **whose)
    roomy = await with_room(
        conn, [one for prefixes in found.values() for one in prefixes], now=now, cool_down=cool_down
    )
    for slot, prefixes in found.items():
        if not any(prefix.id in roomy for prefix in served(prefixes, slot, device.facility)):
            raise await no_block(conn, prefixes, slot, now=now, cool_down=cool_down, length=None)
    await _start(conn, PROVISION, device_id, {}, now=now, limit=device.deadline - now)


async def delete_device(conn: Connection, device_id: UUID, *, settings: Settings, clock: Clock, by: str) -> None:
    """Gone for its customer at once, while its machine goes through preparation. Doing it again does nothing."""
    await conn.execute(Q["device_state_locked"], device_id)
    device, now = await device_by_id(conn, device_id), clock.now()
    if device.state is DeviceState.DELETED:
        return
    await supersede(conn, device_id, now=now, reason="the device was deleted")
    await move_device(conn, device, DeviceEvent.DELETE, now=now)
    await add_event(conn, "instance.deleted", "Device deleted", device_id=device_id)
    if device.machine_id is not None:
        limit = timedelta(seconds=settings.erase_limit_s)
        await start_prepare(conn, device.machine_id, device_id, "its device was deleted", now=now, limit=limit)
    if await conn.fetch(Q["end_bgp_sessions"], None, device_id, now, by):
        await session_ended(conn, device_id, now=now)
    await elastic.let_go(conn, device_id, now=now, by=by)


async def act(
    conn: Connection,
    device_id: UUID,
    action: str,
    *,
    settings: Settings,
    clock: Clock,
    operating_system: str | None = None,
    native: bool = False,
) -> None:
    """Carry out one of ACTIONS on a device; `native`: it is reinstalled by its distribution's own installer.

    Raises IllegalMove when its state does not allow that now.
    """
    await conn.execute(Q["device_state_locked"], device_id)
    device, now = await device_by_id(conn, device_id), clock.now()
    if await conn.fetchval(Q["run_under_way"], device_id):
        raise IllegalMove(f"the device is {device.state} and takes no {action} before that has ended")
    if action != "rescue":
        await leave_rescue(conn, device_id, now=now)
    match action:
        case "rescue":
            if device.state is not DeviceState.ACTIVE:
                raise IllegalMove(f"a device that is {device.state} takes no rescue")
            if not device.ssh_keys:
                raise IllegalMove("the device has no SSH key to let anybody in by")
            limit = timedelta(seconds=settings.netboot_limit_s)
            await _start(conn, RESCUE, device_id, {}, now=now, limit=limit)
        case "reinstall":
            await move_device(conn, device, DeviceEvent.REINSTALL, now=now)
            # The device shows the new system when its old one begins to go.
            data = {"operating_system": operating_system or device.operating_system}
            await _start(conn, REINSTALL, device_id, data, now=now, limit=order_limit(settings, native=native))
        case "power_off":
            await move_device(conn, device, DeviceEvent.POWER_OFF, now=now)
            await _start_power(conn, device, action, now=now, settings=settings)
        case "power_on":
            await move_device(conn, device, DeviceEvent.POWER_ON, now=now)
            await _start_power(conn, device, action, now=now, settings=settings)
        case "reboot":
            if device.state is not DeviceState.ACTIVE:
                raise IllegalMove(f"a device that is {device.state} takes no reboot")
            await _start_power(conn, device, action, now=now, settings=settings)
        case _:
            raise IllegalMove(f"{action!r} is no action; allowed are {', '.join(ACTIONS)}")


def order_limit(settings: Settings, *, native: bool) -> timedelta:
    """How long an order may take; a distribution's own installer has its time besides."""
    return timedelta(seconds=settings.order_limit_s + (settings.native_limit_s if native else 0))


async def _start(
    conn: Connection, workflow: Workflow, device_id: UUID, data: dict[str, str], *, now: datetime, limit: timedelta
) -> None:
    first = workflow.steps[0].name
    await start_run(conn, workflow.name, device_id, first, now=now, deadline=now + limit, data=data)


async def _start_power(conn: Connection, device: Device, action: str, *, now: datetime, settings: Settings) -> None:
    limit = timedelta(seconds=settings.netboot_limit_s)
    await _start(conn, POWER, device.id, {"action": action}, now=now, limit=limit)
