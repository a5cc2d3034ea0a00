"""A device and its addresses as the dialect's objects (packet_api.md §3, §6)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from images.catalogue import Catalogue
from ipam.ledger import Tenure
from service.api.links import Links, bond0_of, eth0_of, reservation_of, short, stamp
from service.api.objects import Object, entry_of, facility, operating_system, plan
from service.store.offers import Offers
from service.store.orders import PROVISIONING, Device, Order

_PASSWORD_SHOWN_FOR = timedelta(hours=24)  # after the device became active
_BALANCE_TLB = 5  # bonding mode
_UNDER_WAY = ("queued", "provisioning", "reinstalling")
_ACTIONS = {
    "active": (("power_off", "Power off"), ("reboot", "Reboot"), ("reinstall", "Reinstall")),
    "inactive": (("power_on", "Power on"),),
}
_TYPES = {"public": "public_ipv4", "private": "private_ipv4", "ipv6": "public_ipv6"}


@dataclass(frozen=True, slots=True)
class Scenery:
    """What the devices of one answer share: each plan, place and system is rendered once for all of them."""

    offers: Offers
    links: Links
    catalogue: Catalogue
    facilities: dict[UUID, Object] = field(default_factory=dict)
    plans: dict[UUID, Object] = field(default_factory=dict)
    systems: dict[str, Object] = field(default_factory=dict)

    def facility(self, id_: UUID) -> Object:
        """The facility's object."""
        if id_ not in self.facilities:
            place = next(one for one in self.offers.facilities if one.id == id_)
            self.facilities[id_] = facility(place, self.links)
        return self.facilities[id_]

    def plan(self, id_: UUID) -> Object:
        """The plan's object."""
        if id_ not in self.plans:
            self.plans[id_] = plan(next(one for one in self.offers.plans if one.id == id_), self.offers, self.links)
        return self.plans[id_]

    def system(self, slug: str) -> Object:
        """The operating system's object."""
        if slug not in self.systems:
            self.systems[slug] = operating_system(entry_of(slug, self.catalogue), self.offers, self.links)
        return self.systems[slug]


def _block(tenure: Tenure, links: Links) -> Object:
    return {
        "network": str(tenure.block.network_address),
        "netmask": str(tenure.block.netmask),
        "cidr": tenure.block.prefixlen,
        "href": links.href("ips", reservation_of(tenure.id)),
    }


def assignment(tenure: Tenure, device: Device, scenery: Scenery) -> Object:
    """An address of a device. It has no `type`, and a reservation no `assigned_to`: clients tell them apart by that."""
    links, place, link = scenery.links, scenery.facility(device.order.facility_id), tenure.host
    return {
        "id": str(tenure.id),
        "address_family": link.version,
        "netmask": str(link.netmask),
        "created_at": stamp(tenure.since),
        "details": None,
        "tags": [],
        "public": tenure.slot != "private",
        "cidr": link.network.prefixlen,
        "management": True,
        "manageable": True,
        "enabled": True,
        "global_ip": None,
        "customdata": {},
        "project": {},
        "project_lite": {},
        "assigned_to": links.to("devices", device.order.id),
        "interface": links.to("ports", bond0_of(device.order.id)),
        "network": str(link.network.network_address),
        "address": str(link.ip),
        "gateway": str(tenure.leaf.ip),
        "parent_block": _block(tenure, links),
        "facility": place,
        "metro": place["metro"],
        "href": links.href("ips", tenure.id),
    }


def reservation(tenure: Tenure, device: Device, scenery: Scenery) -> Object:
    """The management block that a device's address comes from; it dies with the device."""
    links, place = scenery.links, scenery.facility(device.order.facility_id)
    return {
        "id": str(reservation_of(tenure.id)),
        "type": _TYPES.get(tenure.slot, f"public_ipv{tenure.block.version}"),
        "address_family": tenure.block.version,
        "netmask": str(tenure.block.netmask),
        "cidr": tenure.block.prefixlen,
        "network": str(tenure.block.network_address),
        "address": str(tenure.block.network_address),
        "gateway": str(tenure.leaf.ip),
        "public": tenure.slot != "private",
        "management": True,
        "manageable": True,
        "enabled": True,
        "global_ip": False,
        "addon": False,
        "bill": False,
        "state": "created",
        "details": None,
        "tags": [],
        "customdata": {},
        "available": links.href("ips", reservation_of(tenure.id)) + "/available",
        "assignments": [links.to("ips", tenure.id)],
        "project": links.to("projects", device.order.project_id),
        "project_lite": links.to("projects", device.order.project_id),
        "requested_by": None if device.order.created_by is None else links.to("users", device.order.created_by),
        "facility": place,
        "metro": place["metro"],
        "created_at": stamp(tenure.since),
        "href": links.href("ips", reservation_of(tenure.id)),
    }


def _ports(order: Order, links: Links) -> list[Object]:
    bond, port = bond0_of(order.id), eth0_of(order.id)
    common: Object = {"native_virtual_network": None, "virtual_networks": []}
    return [
        {
            "id": str(bond),
            "type": "NetworkBondPort",
            "name": "bond0",
            "data": {"bonded": True},
            "network_type": "layer3",
            **common,
            "href": links.href("ports", bond),
        },
        {
            "id": str(port),
            "type": "NetworkPort",
            "name": "eth0",
            "data": {"mac": order.mac, "bonded": True},
            "bond": {"id": str(bond), "name": "bond0"},
            "network_type": "layer3",
            **common,
            "href": links.href("ports", port),
        },
    ]


def _events(device: Device, links: Links) -> list[Object]:
    """All ten, from the first answer on; what is not reached yet has neither id nor time."""
    found = []
    for type_, body in PROVISIONING.items():
        event = device.reached.get(type_)
        text = body if event is None else event.body
        found.append(
            {
                "id": None if event is None else str(event.id),
                "type": type_,
                "state": None,
                "body": text,
                "interpolated": text,
                "created_at": None if event is None else stamp(event.created_at),
                "modified_by": None,
                "ip": None,
                "relationships": [links.to("devices", device.order.id)],
                "href": None if event is None else links.href("events", event.id),
            }
        )
    return found


def _percentage(device: Device) -> float | None:
    if device.order.state not in _UNDER_WAY:
        return None
    return round(100 * len(device.reached) / len(PROVISIONING), 2)


def _password(device: Device, password: str | None, now: datetime) -> str | None:
    active = device.order.active_at
    return password if active is None or now - active < _PASSWORD_SHOWN_FOR else None


def device_object(device: Device, scenery: Scenery, *, now: datetime, password: str | None) -> Object:
    """A device. Its password is shown until a day after activation."""
    order, links = device.order, scenery.links
    place = scenery.facility(order.facility_id)
    project = links.to("projects", order.project_id)
    created_by = order.created_by
    return {
        "id": str(order.id),
        "short_id": short(order.id),
        "hostname": order.hostname,
        "description": order.description,
        "state": order.state,
        "tags": order.tags,
        "image_url": None,
        "billing_cycle": order.billing_cycle,
        "user": entry_of(order.operating_system, scenery.catalogue).default_user,
        "iqn": f"iqn.{order.created_at:%Y-%m}.net.packet:device.{short(order.id)}",
        "locked": order.locked,
        "bonding_mode": _BALANCE_TLB,
        "created_at": stamp(order.created_at),
        "updated_at": stamp(order.updated_at),
        "created_by": None
        if created_by is None
        else {"id": str(created_by), "short_id": short(created_by), "href": links.href("users", created_by)},
        "ipxe_script_url": order.ipxe_script_url,
        "always_pxe": order.always_pxe,
        "storage": None,
        "customdata": order.customdata,
        "operating_system": scenery.system(order.operating_system),
        "plan": scenery.plan(order.plan_id),
        "facility": place,
        "metro": place["metro"],
        "project": project,
        "project_lite": dict(project),
        "ssh_keys": [links.to("ssh-keys", id_) for id_ in order.ssh_key_ids],
        "volumes": [],
        "ip_addresses": [assignment(tenure, device, scenery) for tenure in device.links],
        "network_ports": _ports(order, links),
        "provisioning_events": _events(device, links),
        "provisioning_percentage": _percentage(device),
        "userdata": order.userdata,
        "root_password": _password(device, password, now),
        "switch_uuid": None if order.leaf_id is None else short(order.leaf_id),
        "network_frozen": False,
        "hardware_reservation": None,
        "spot_instance": False,
        "spot_price_max": None,
        "termination_time": None,
        "sos": None,
        "actions": [{"type": type_, "name": name} for type_, name in _ACTIONS.get(order.state, ())],
        "host_keys": order.host_keys,
        "failure": order.failure,
        "deadline": stamp(order.deadline),
        "href": links.href("devices", order.id),
    }
