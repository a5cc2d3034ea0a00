"""Addresses as the dialect's objects: assignments to devices, and the reservations that they come from (§3, §7)."""

from __future__ import annotations

from ipam.ledger import Tenure
from service.api.links import Links, bond0_of, reservation_of, stamp
from service.api.objects import Object
from service.api.scenery import Scenery
from service.store.elastic import Assignment, Reservation, gateway_of
from service.store.orders import Device

TYPES = {"public": "public_ipv4", "private": "private_ipv4", "ipv6": "public_ipv6"}  # by slot in the ledger


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
        "type": TYPES.get(tenure.slot, f"public_ipv{tenure.block.version}"),
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


def _elastic(one: Reservation | Assignment, links: Links) -> Object:
    """What reservations and assignments of elastic addresses have in common."""
    block = one.block
    return {
        "id": str(one.id),
        "address_family": block.version,
        "netmask": str(block.netmask),
        "created_at": stamp(one.since),
        "details": one.details,
        "tags": one.tags,
        "public": one.type != "private_ipv4",
        "cidr": block.prefixlen,
        "management": False,
        "enabled": True,
        "global_ip": one.global_ip,
        "customdata": one.customdata,
        "project": links.to("projects", one.project_id),
        "project_lite": links.to("projects", one.project_id),
        "network": str(block.network_address),
        "address": str(block.network_address),
        "gateway": gateway_of(block),
        "href": links.href("ips", one.id),
    }


def elastic_assignment(one: Assignment, scenery: Scenery) -> Object:
    """A block of an elastic reservation that leads to a device."""
    links, place = scenery.links, None if one.global_ip else scenery.facility(one.facility_id)
    return _elastic(one, links) | {
        "manageable": one.manageable,
        "assigned_to": links.to("devices", one.device_id),
        "interface": links.to("ports", bond0_of(one.device_id)),
        "parent_block": {
            "network": str(one.parent.network_address),
            "netmask": str(one.parent.netmask),
            "cidr": one.parent.prefixlen,
            "href": links.href("ips", one.reservation_id),
        },
        "facility": place,
        "metro": None if place is None else place["metro"],
    }


def elastic_reservation(one: Reservation, scenery: Scenery) -> Object:
    """An elastic block of a project."""
    links, place = scenery.links, None
    if one.facility is not None and (found := scenery.offers.facility(one.facility)) is not None:
        place = scenery.facility(found.id)
    who, _, user_id = one.opened_by.partition(":")
    return _elastic(one, links) | {
        "type": one.type,
        "manageable": True,
        "addon": True,
        "bill": True,
        "state": "created",
        "available": links.href("ips", one.id) + "/available",
        "assignments": [links.to("ips", id_) for id_ in one.assignment_ids],
        "requested_by": links.to("users", user_id) if who == "user" else None,
        "facility": place,
        "metro": None if place is None else place["metro"],
    }
