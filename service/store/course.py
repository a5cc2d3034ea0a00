"""The device as its course sees it: what a workflow, the boot decision and the metadata need of the row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.lifecycle import DeviceEvent, DeviceState, next_device
from service.store.events import add_event
from service.store.hardware import StateMoved
from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Device:
    """A device with the machine that it is on now."""

    id: UUID
    project_id: UUID
    organization_id: UUID
    facility_id: UUID
    facility: str
    plan_id: UUID
    plan: str
    operating_system: str
    image_release: str | None  # of its system, as it was placed last
    engine: str | None  # None: as the catalogue says of the system
    storage: dict[str, Any]  # `images.protocol.Storage` without its passphrase
    storage_passphrase: bytes | None  # sealed
    hostname: str
    userdata: str
    ipxe_script_url: str | None
    always_pxe: bool
    ssh_keys: list[str]
    password_hash: str
    state: DeviceState
    host_keys: list[str]
    phoned_home_at: datetime | None
    deadline: datetime
    deleted_at: datetime | None
    wanted_by: datetime | None  # until when its customer waits for a machine, where that was said
    tags: list[str]
    customdata: dict[str, Any]
    reservation_id: UUID | None  # its machine is that one's, and no other
    links: list[str]  # slots of the host links that it was ordered with
    machine_id: UUID | None


async def device_by_id(conn: Connection, device_id: UUID) -> Device:
    """The device. Raises KeyError for an unknown id."""
    row = await conn.fetchrow(Q["course_device"], device_id)
    if row is None:
        raise KeyError(device_id)
    return Device(**(dict(row) | {"state": DeviceState(row["state"])}))


async def move_device(
    conn: Connection, device: Device, event: DeviceEvent, *, now: datetime, failure: str | None = None
) -> DeviceState:
    """Move the device by the table. Raises IllegalMove, or StateMoved when the row is no longer as it was seen."""
    goal = next_device(device.state, event)
    if not await conn.fetchval(Q["move_device"], device.id, device.state, goal, failure, now):
        raise StateMoved(f"device {device.id} is no longer {device.state}")
    body = f"Device {device.hostname}: {device.state} → {goal}" + (f" ({failure})" if failure else "")
    moved = {"hostname": device.hostname, "from": device.state, "to": goal, "reason": failure}
    await add_event(
        conn,
        f"device.{event}",
        body,
        device_id=device.id,
        machine_id=device.machine_id,
        state=goal,
        private=True,
        data=moved,
    )
    return goal
