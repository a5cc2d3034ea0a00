"""A device as the dialect's object."""

from __future__ import annotations

from datetime import datetime, timedelta

from service.api.ip_objects import assignment, elastic_assignment
from service.api.links import Links, bond0_of, eth0_of, short, stamp
from service.api.objects import Object, entry_of
from service.api.scenery import Scenery
from service.forecast import Expected
from service.store.orders import PROVISIONING, Device, Order
from service.workflows.install import engine_for

_PASSWORD_SHOWN_FOR = timedelta(hours=24)  # after the device became active
_BALANCE_TLB = 5  # bonding mode
_UNDER_WAY = ("queued", "provisioning", "reinstalling")
_ACTIONS = {
    "active": (("power_off", "Power off"), ("reboot", "Reboot"), ("reinstall", "Reinstall")),
    "inactive": (("power_on", "Power on"),),
}


def ports_of(order: Order, links: Links) -> list[Object]:
    """A device's bond and its network port."""
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


def ip_addresses(device: Device, scenery: Scenery) -> list[Object]:
    """All addresses that lead to the device, those of its own links first."""
    return [
        *(assignment(tenure, device, scenery) for tenure in device.links),
        *(elastic_assignment(one, scenery) for one in device.elastic),
    ]


def device_object(
    device: Device, scenery: Scenery, *, now: datetime, password: str | None, expected: Expected | None = None
) -> Object:
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
        "storage": None,  # clients read only the dialect's words here
        "engine": engine_for(scenery.catalogue, order.operating_system, order.engine)
        if order.operating_system in scenery.catalogue
        else order.engine,
        "disk_layout": {**order.storage, "encrypted": order.storage_passphrase is not None},
        "customdata": order.customdata,
        "operating_system": scenery.system(order.operating_system),
        "plan": scenery.plan(order.plan_id),
        "facility": place,
        "metro": place["metro"],
        "project": project,
        "project_lite": dict(project),
        "ssh_keys": [links.to("ssh-keys", id_) for id_ in order.ssh_key_ids],
        "volumes": [],
        "ip_addresses": ip_addresses(device, scenery),
        "network_ports": ports_of(order, links),
        "provisioning_events": _events(device, links),
        "provisioning_percentage": _percentage(device),
        "userdata": order.userdata,
        "root_password": _password(device, password, now),
        "switch_uuid": None if order.leaf_id is None else short(order.leaf_id),
        "network_frozen": order.network_frozen,
        "hardware_reservation": None
        if order.reservation_id is None
        else links.to("hardware-reservations", order.reservation_id),
        "spot_instance": order.spot_price_max is not None,
        "spot_price_max": None if order.spot_price_max is None else float(order.spot_price_max),
        "termination_time": None if order.termination_time is None else stamp(order.termination_time),
        "sos": None if (host := scenery.console_host(place["code"])) is None else f"{order.id}@{host}",
        "actions": [{"type": type_, "name": name} for type_, name in _ACTIONS.get(order.state, ())],
        "host_keys": order.host_keys,
        "failure": order.failure,
        "deadline": stamp(order.deadline),
        "eta": None if expected is None else stamp(expected.at),
        "eta_basis": None if expected is None else expected.basis,
        "href": links.href("devices", order.id),
    }
