"""NetBox's JSON (4.x), written: rows become the bodies that its REST API would answer with. Pure.

What NetBox has no field for stands in custom fields named `roundhouse_…`. Ids count within the file. What only a
running NetBox can know is left away: urls, times, tags, and the interfaces that addresses belong to.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from ipaddress import ip_interface
from typing import Any
from uuid import UUID

from ipam.exchange.netbox import STATUSES
from ipam.exchange.netbox_item import OURS
from ipam.exchange.rows import DEFAULT_VRF, AddressRow, AsnRow, PoolRow, PrefixRow, Row, VrfRow
from ipam.space import Network

Object = dict[str, Any]

_SECTION: Mapping[type[Row], str] = {
    VrfRow: "vrfs",
    PrefixRow: "prefixes",
    AddressRow: "ip-addresses",
    PoolRow: "asn-ranges",
    AsnRow: "asns",
}
_STATUS = {ours: theirs for theirs, ours in STATUSES.items() if theirs != "container"}
# NetBox takes nothing else into an address's fields (ipam/choices.py, ipam/validators.py); it stays in the note.
_ADDRESS_STATUSES = ("active", "reserved", "deprecated", "dhcp", "slaac")
_ADDRESS_ROLES = ("loopback", "secondary", "anycast", "varp", "vip", "vrrp", "hsrp", "glbp", "carp")
_DNS_NAME = re.compile(r"([0-9A-Za-z_-]+|\*)(\.[0-9A-Za-z_-]+)*\.?")
_DNS_NAME_LENGTH = 255
_LABELS = {"vip": "VIP", "varp": "VARP", "vrrp": "VRRP", "hsrp": "HSRP", "glbp": "GLBP", "carp": "CARP"} | {
    "dhcp": "DHCP",
    "slaac": "SLAAC",
}


class Printer:
    """Writes a file row by row; the rows of a kind come together."""

    def __init__(self, organizations: Mapping[UUID, str]) -> None:
        self._organizations = organizations
        self._tenants: dict[UUID, int] = {}
        self._sites: dict[str, int] = {}
        self._roles: dict[str, int] = {}
        self._vrfs: dict[str, int] = {}
        self._section: str | None = None
        self._count = 0

    def begin(self) -> str:
        """What stands before the first row."""
        return "{"

    def row(self, row: Row) -> str:
        """A row."""
        if isinstance(row, VrfRow):
            if row.name == DEFAULT_VRF:
                return ""  # the global table
            self._vrfs[row.name] = len(self._vrfs) + 1
        before, section = "", _SECTION[type(row)]
        if section != self._section:
            before = f"{self._close()}{',' if self._section else ''}\n{json.dumps(section)}: "
            before += '{"next": null, "previous": null, "results": ['
            self._section, self._count = section, 0
        self._count += 1
        comma = "," if self._count > 1 else ""
        return f"{before}{comma}\n{json.dumps(self._object(row), ensure_ascii=False)}"

    def end(self) -> str:
        """What stands after the last row."""
        return f"{self._close()}\n}}\n"

    def _close(self) -> str:
        return f'\n], "count": {self._count}}}' if self._section else ""

    def _object(self, row: Row) -> Object:
        if isinstance(row, VrfRow):
            return {**self._named(row.name), "name": row.name, "rd": None, "tenant": None, "enforce_unique": True}
        if isinstance(row, PrefixRow):
            return self._prefix(row)
        if isinstance(row, AddressRow):
            return self._address(row)
        if isinstance(row, PoolRow):
            return {
                **self._named(row.name),
                "name": row.name,
                "slug": row.name,
                "rir": None,
                "start": row.first,
                "end": row.last,
                "custom_fields": _ours(facility=row.facility),
            }
        description, note = _taken(row.note, "description")
        return {
            **self._named(str(row)),
            "asn": row.asn,
            "rir": None,
            "description": description,
            "custom_fields": _ours(owner=str(row.owner), slot=row.slot, note=note or None),
        }

    def _named(self, display: str) -> Object:
        return {"id": self._count, "display": display}

    def _prefix(self, row: PrefixRow) -> Object:
        is_container = row.role == "container"
        status = "container" if is_container else _STATUS[row.status]
        site = (
            None if row.facility is None else _nested(self._sites, row.facility, name=row.facility, slug=row.facility)
        )
        return {
            **self._named(str(row.cidr)),
            "family": _family(row.cidr),
            "prefix": str(row.cidr),
            "vrf": self._vrf(row.vrf),
            "scope_type": None if site is None else "dcim.site",
            "scope_id": None if site is None else site["id"],
            "scope": site,
            "tenant": self._tenant(row),
            "vlan": None,
            "status": _choice(status),
            "role": None if is_container else _nested(self._roles, row.role, name=row.role.capitalize(), slug=row.role),
            "is_pool": False,
            "mark_utilized": False,
            "description": row.description,
            "custom_fields": _ours(
                block_length=row.block_length,
                owner=None if row.owner is None else str(row.owner),
                status=row.status if is_container else None,
            ),
        }

    def _tenant(self, row: PrefixRow) -> Object | None:
        if row.owner is None or row.owner.kind != "organization":
            return None
        name = self._organizations[row.owner.id]
        slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-")
        return _nested(self._tenants, row.owner.id, name=name, slug=slug)

    def _address(self, row: AddressRow) -> Object:
        description, note = _taken(row.note, "description")
        dns_name = str(note.get("hostname", ""))
        if _DNS_NAME.fullmatch(dns_name) and len(dns_name) <= _DNS_NAME_LENGTH:
            dns_name, note = _taken(note, "hostname")
        else:
            dns_name = ""
        status, role = note.get("status"), note.get("role")
        address = _inside(note.get("address"), row.block)
        return {
            **self._named(address),
            "family": _family(row.block),
            "address": address,
            "vrf": self._vrf(row.vrf),
            "tenant": None,
            "status": _choice(status if status in _ADDRESS_STATUSES else "active"),
            "role": _choice(role) if role in _ADDRESS_ROLES else None,
            "assigned_object_type": None,
            "assigned_object_id": None,
            "assigned_object": None,
            "nat_inside": None,
            "dns_name": dns_name,
            "description": description,
            "custom_fields": _ours(
                block=str(row.block),
                owner=str(row.owner),
                slot=row.slot,
                project=None if row.project_id is None else str(row.project_id),
                note=note or None,
            ),
        }

    def _vrf(self, name: str) -> Object | None:
        return None if name == DEFAULT_VRF else {"id": self._vrfs[name], "display": name, "name": name, "rd": None}


def _nested(known: dict[Any, int], key: object, *, name: str, slug: str) -> Object:
    return {"id": known.setdefault(key, len(known) + 1), "display": name, "name": name, "slug": slug}


def _family(block: Network) -> Object:
    return {"value": block.version, "label": f"IPv{block.version}"}


def _choice(value: str) -> Object:
    return {"value": value, "label": _LABELS.get(value, value.capitalize())}


def _ours(**values: object) -> Object:
    return {OURS + name: value for name, value in values.items() if value is not None}


def _taken(note: Mapping[str, Any], field: str) -> tuple[str, Mapping[str, Any]]:
    """A text of the note that has a field of its own, and the rest of the note."""
    value = note.get(field)
    if isinstance(value, str) and value:
        return value, {name: other for name, other in note.items() if name != field}
    return "", note


def _inside(address: object, block: Network) -> str:
    """The address as its interface has it, if it is known and belongs to the block; the block else."""
    try:
        interface = ip_interface(str(address))
    except ValueError:
        return str(block)
    return str(address) if interface.version == block.version and interface.ip in block else str(block)
