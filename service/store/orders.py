"""Devices and their events as customers see them. (What their course needs is in `service.store.course`.)"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ipam.ledger import Tenure, held_by_all
from service.store.accounts import Principal, in_order
from service.store.elastic import Assignment, assignments_of
from service.store.rows import Connection
from sql.loader import Q

PROVISIONING = {  # The ten that every device lists from its first answer on
    "provisioning.101": "Provisioning started",
    "provisioning.102": "Network configured",
    "provisioning.103": "Configuration written, restarting device",
    "provisioning.104": "Connected to magic install system",
    "provisioning.105": "Server partitions created",
    "provisioning.106": "Operating system packages installed",
    "provisioning.107": "Server networking interfaces configured",
    "provisioning.108": "Cloud-init packages installed and configured",
    "provisioning.109": "Installation finished, rebooting server",
    "provisioning.110": "Device phoned home and is ready to go",
}


@dataclass(frozen=True, slots=True)
class Order:
    """A device's row, with the machine that it is on."""

    id: UUID
    project_id: UUID
    facility_id: UUID
    plan_id: UUID
    operating_system: str
    hostname: str
    description: str | None
    tags: list[str]
    customdata: dict[str, Any]
    userdata: str
    ipxe_script_url: str | None
    always_pxe: bool
    locked: bool
    billing_cycle: str
    ssh_key_ids: list[UUID]
    root_password: bytes
    state: str
    failure: str | None
    host_keys: list[str]
    created_by: UUID | None
    created_at: datetime
    updated_at: datetime
    deadline: datetime
    active_at: datetime | None
    engine: str | None  # None: as the catalogue says of the system
    storage: dict[str, Any]  # `images.protocol.Storage` without its passphrase
    storage_passphrase: bytes | None  # sealed
    reservation_id: UUID | None  # the hardware reservation that it uses
    termination_time: datetime | None  # when it is going to be deleted by itself
    spot_price_max: Decimal | None  # an hour; None: no spot instance
    network_frozen: bool
    mac: str | None
    machine: str | None
    leaf_id: UUID | None


@dataclass(frozen=True, slots=True)
class Reached:
    """A provisioning event that has happened."""

    id: UUID
    device_id: UUID
    type: str
    body: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """Everything that a device object shows."""

    order: Order
    links: list[Tenure]
    elastic: list[Assignment]
    reached: dict[str, Reached]  # by type, of the present course only


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    id: UUID
    seq: int
    project_id: UUID | None
    device_id: UUID | None
    machine_id: UUID | None
    type: str
    state: str | None
    body: str
    private: bool
    data: dict[str, Any]
    created_at: datetime


async def devices(
    db: Connection, principal: Principal, ids: Sequence[UUID], *, deleted_too: bool = False
) -> list[Device]:
    """Those of the devices that the principal may see, whole, in the order of `ids`."""
    rows = await db.fetch(Q["devices_by_ids"], *principal.scope, list(ids), deleted_too)
    orders = in_order([Order(**row) for row in rows], ids)
    if not orders:
        return []
    found = [order.id for order in orders]
    links, elastic = await held_by_all(db, found), await assignments_of(db, found)
    reached: dict[UUID, dict[str, Reached]] = {}
    for row in await db.fetch(Q["provisioning_events"], found, list(PROVISIONING)):
        event = Reached(**row)
        if event.type == "provisioning.101":
            reached[event.device_id] = {}  # a new course: what an earlier one reached no longer counts
        reached.setdefault(event.device_id, {})[event.type] = event
    return [Device(order, _ranked(links[order.id]), elastic[order.id], reached.get(order.id, {})) for order in orders]


def _ranked(held: list[Tenure]) -> list[Tenure]:
    """A device's own links. Public IPv4, IPv6, private IPv4: clients take the first for the address to log in to."""
    rank = {"public": 0, "ipv6": 1, "private": 2}
    return sorted((one for one in held if one.slot in rank), key=lambda tenure: rank[tenure.slot])


async def events(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Event]:
    """Those of the events that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["events_by_ids"], *principal.scope, list(ids))
    return in_order([Event(**row) for row in rows], ids)
