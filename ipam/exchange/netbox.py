"""NetBox's JSON (4.x), read: the answers of its REST API become rows. Pure.

The file is one object whose members are the bodies of /api/ipam/vrfs/, prefixes/, ip-addresses/, asn-ranges/ and
asns/ under the names `vrfs`, `prefixes`, `ip-addresses`, `asn-ranges` and `asns`. Each is a body with its `results`,
a list of such bodies (pages), or the list of objects itself.

NetBox does not say what a prefix hands out, and knows statuses and roles that differ from ours. The tables below say
what becomes of them; what has no place here is left out and told. What we export carries the rest in custom fields
named `roundhouse_…`, which are read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_interface
from typing import Any
from uuid import UUID

from ipam.exchange.netbox_item import Item
from ipam.exchange.rows import (
    DEFAULT_VRF,
    IMPORTED,
    LAST_ASN,
    AddressRow,
    AsnRow,
    BadSource,
    BadValue,
    LeftOut,
    Owner,
    PoolRow,
    PrefixRow,
    Source,
    VrfRow,
    Wish,
    as_block_length,
    as_network,
    as_owner,
    as_pool,
    as_status,
    as_uuid,
    default_block_length,
    imported_owner,
    shown,
    storable,
)
from ipam.exchange.tree import Tree
from ipam.prefixes import ROLES

SECTIONS = ("vrfs", "prefixes", "ip-addresses", "asn-ranges", "asns")

# NetBox's prefix statuses (ipam/choices.py): "reserved" is not to be used yet, "deprecated" no more. Of `container`
# only the role follows. A status that an installation made itself hands out nothing until somebody says otherwise.
STATUSES: Mapping[str, str] = {
    "container": "active",
    "active": "active",
    "reserved": "frozen",
    "deprecated": "draining",
}
_UNKNOWN_STATUS = "frozen"

# NetBox's roles are each installation's own; these slugs mean something here. The rest hands nothing out by itself.
_ROLES: Mapping[str, str] = {
    **{role: role for role in ROLES if role != "container"},
    "loopbacks": "loopback",
    "uplinks": "uplink",
    "transit": "uplink",
    "oob": "management",
    "mgmt": "management",
    "pxe": "boot",
    "provisioning": "boot",
}
_UNKNOWN_ROLE = "infrastructure"


def parse(content: bytes, organizations: Mapping[str, UUID]) -> Source:
    """The rows of NetBox's bodies. `organizations` are those with a name of their own; they are NetBox's tenants.

    Raises BadSource, which names object, field, value and what is allowed.
    """
    try:
        found = json.loads(content)
    except (ValueError, RecursionError) as err:
        raise BadSource([f"the file is no JSON: {err}"]) from None
    unknown = [name for name in found if name not in SECTIONS] if isinstance(found, dict) else ["a list or a value"]
    if unknown:
        raise BadSource([f"the file is {shown(unknown[0])}; allowed is an object with {', '.join(SECTIONS)}"])
    reader = _Reader(organizations)
    for section in SECTIONS:
        for place, item in enumerate(reader.objects(section, found.get(section)), start=1):
            reader.take(section, place, item)
    if reader.problems:
        raise BadSource(reader.problems)
    return Source([*_implied_vrfs(reader.wishes), *_with_containers(reader)], reader.left_out)


def _implied_vrfs(wishes: list[Wish]) -> Iterator[Wish]:
    """VRFs that are named, while the file has no list of them."""
    listed = {wish.row.name for wish in wishes if isinstance(wish.row, VrfRow)}
    used = [wish.row.vrf for wish in wishes if isinstance(wish.row, PrefixRow | AddressRow)]
    for name in dict.fromkeys(used):
        if name not in listed:
            yield Wish("named by what lies in it", VrfRow(name))


def _with_containers(reader: _Reader) -> Iterator[Wish]:
    """What has prefixes in it is a container here, whatever it is called there."""
    prefixes = [wish.row for wish in reader.wishes if isinstance(wish.row, PrefixRow)]
    tree = Tree(prefixes)
    parents = {parent for row in prefixes for parent in tree.around(row.vrf, row.cidr, itself=False)}
    for wish in reader.wishes:
        row = wish.row
        if isinstance(row, PrefixRow) and row.role != "container" and row in parents:
            why = "other prefixes lie in it, so it is a container, which hands out nothing itself"
            reader.left_out.append(LeftOut(wish.where, "status", f"no container, but {row.role}", why))
            length = default_block_length("container", row.cidr)
            yield Wish(wish.where, replace(row, role="container", block_length=length), silent=wish.silent)
        else:
            yield wish


class _Reader:
    """All that is found in a file."""

    def __init__(self, organizations: Mapping[str, UUID]) -> None:
        self.wishes: list[Wish] = []
        self.problems: list[str] = []
        self.left_out: list[LeftOut] = []
        self._organizations = organizations

    def objects(self, section: str, body: object) -> Iterator[object]:
        """The objects of a section; a page that is missing is a problem."""
        if body is None:
            return
        given: list[Any] = body if isinstance(body, list) else [body]
        pages = [page for page in given if isinstance(page, dict) and isinstance(page.get("results"), list)]
        if len(pages) < len(given):
            if isinstance(body, list):
                yield from body
            else:
                self.problems.append(f"{section}: it is no list and has no list of results")
            return
        had = sum(len(page["results"]) for page in pages)
        for page in pages:
            yield from page["results"]
        counted = max((page["count"] for page in pages if isinstance(page.get("count"), int)), default=had)
        if had < counted:
            self.problems.append(f"{section}: {had} of {counted} are here; fetch all pages, or with ?limit=0")

    def take(self, section: str, place: int, value: object) -> None:
        """Read one object."""
        if not isinstance(value, dict):
            self.problems.append(f"{section} {place}: {shown(value)} is no object")
            return
        where = f"{section} {place}" + (f" (id {value['id']})" if isinstance(value.get("id"), int) else "")
        item = Item(where, value, self.left_out)
        try:
            storable(value)
            wish = self._wish(section, item)
        except BadValue as err:
            self.problems.append(f"{where}: {err}")
            return
        item.leave_rest()
        self.wishes.append(wish)

    def _wish(self, section: str, item: Item) -> Wish:
        if section == "vrfs":
            return Wish(item.where, _vrf(item))
        if section == "prefixes":
            return self._prefix(item)
        if section == "ip-addresses":
            return _address(item)
        return _asn(item) if section == "asns" else Wish(item.where, _pool(item))

    def _prefix(self, item: Item) -> Wish:
        cidr = _of("prefix", as_network, item.text("prefix"))
        facility, (role, status) = _facility(item), _role_and_status(item)
        owner = self._owner(item)
        item.get("rir")  # it is the aggregate's
        if owner is None and role != "container" and (tenant := item.nested("tenant", "name")) is not None:
            item.leave("tenant", tenant, f"no organization has that name; it hands out nothing, as {_UNKNOWN_ROLE}")
            role = _UNKNOWN_ROLE
        elif owner is None and (tenant := item.nested("tenant", "name")) is not None:
            item.leave("tenant", tenant, "no organization has that name")
        length = item.ours("block_length", lambda text: as_block_length(text, cidr))
        row = PrefixRow(
            vrf=_vrf_of(item),
            cidr=cidr,
            role=role,
            facility=facility,
            block_length=default_block_length(role, cidr) if length is None else length,
            status=status,
            description=item.text("description"),
            owner=owner,
        )
        return Wish(item.where, row, silent=frozenset(["block_length"] if length is None else []))

    def _owner(self, item: Item) -> Owner | None:
        owner: Owner | None = item.ours("owner", as_owner)
        organization_id = self._organizations.get(item.nested("tenant", "name") or "")
        if owner is None and organization_id is not None:
            return Owner("organization", organization_id)
        return owner


def _of(field: str, parse: Callable[[str], Any], text: str) -> Any:
    try:
        return parse(text)
    except BadValue as err:
        raise BadValue(f"{field}: {err}") from None


def _vrf(item: Item) -> VrfRow:
    name = item.text("name")
    if not name:
        raise BadValue("name can't be blank")
    if name == DEFAULT_VRF:
        raise BadValue(f"name: {shown(name)} is what the global table is called here; give the VRF another name")
    if item.get("enforce_unique") is False:
        item.leave("enforce_unique", False, "a block is held once a VRF, always")
    return VrfRow(name)


def _vrf_of(item: Item) -> str:
    name = item.nested("vrf", "name")
    return DEFAULT_VRF if name is None else name


def _facility(item: Item) -> str | None:
    """The site that a prefix belongs to: `scope` since NetBox 4.2, `site` before."""
    if (slug := item.nested("site", "slug")) is not None:
        return slug
    kind = item.text("scope_type")
    if kind == "dcim.site":
        return item.nested("scope", "slug")
    if kind:
        item.leave(
            "scope", f"{kind} {item.nested('scope', 'display') or item.get('scope_id')}", "only sites are facilities"
        )
    return None


def _role_and_status(item: Item) -> tuple[str, str]:
    given, slug = item.choice("status") or "active", item.nested("role", "slug")
    if given == "container":
        if slug is not None:
            item.leave("role", slug, "a container has no other role")
        return "container", item.ours("status", as_status) or STATUSES["container"]
    if (status := STATUSES.get(given)) is None:
        status = _UNKNOWN_STATUS
        item.leave("status", given, f"an unknown status; {status}, so that nothing is handed out")
    if slug is None:
        return _UNKNOWN_ROLE, status
    if (role := _ROLES.get(slug)) is None:
        role = _UNKNOWN_ROLE
        item.leave("role", slug, f"an unknown role; {role}, which hands out nothing by itself")
    return role, status


def _address(item: Item) -> Wish:
    address = item.text("address")
    try:
        interface = ip_interface(address)
    except ValueError as err:
        raise BadValue(f"address: {shown(address)} is no address: {err}") from None
    vrf = _vrf_of(item)
    if (owner := item.ours("owner", as_uuid)) is not None:
        block = item.ours("block", as_network) or interface.network
        note = _beside(item, {"description": "description", "dns_name": "hostname"})
        project = item.ours("project", as_uuid)
        for field in ("status", "role", "tenant", "assigned_object", "comments", "tags"):
            item.get(field)
        slot = item.ours("slot", str) or IMPORTED
        return Wish(item.where, AddressRow(vrf, block, owner, slot, project, note))
    status = item.choice("status")
    note = _filled(
        address=address,
        hostname=item.text("dns_name"),
        description=item.text("description"),
        status="" if status == "active" else status,
        role=item.choice("role"),
        tenant=item.nested("tenant", "name"),
        tags=item.names("tags"),
        comments=item.text("comments"),
        **_assigned(item),
    )
    block = as_network(f"{interface.ip}/{interface.max_prefixlen}")
    row = AddressRow(vrf, block, imported_owner(f"{block} in VRF {vrf}"), IMPORTED, None, note)
    return Wish(item.where, row, loose=True)


def _assigned(item: Item) -> dict[str, str]:
    """Which interface has the address: of a device or a virtual machine, or a group of routers."""
    value = item.get("assigned_object")
    if not isinstance(value, dict):
        return {}
    parent = value.get("device") or value.get("virtual_machine")
    if isinstance(parent, dict):
        return {"device": str(parent.get("name") or parent.get("display") or ""), "port": str(value.get("name") or "")}
    return {"assigned": str(value.get("display") or value.get("name") or "")}


def _beside(item: Item, fields: Mapping[str, str]) -> dict[str, Any]:
    """The note that we exported, with what NetBox has fields for."""
    note = item.ours_object("note")
    return {**note, **_filled(**{name: item.text(field) for field, name in fields.items()})}


def _filled(**values: str | None) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _pool(item: Item) -> PoolRow:
    bounds = item.get("start"), item.get("end")
    if not all(isinstance(bound, int) for bound in bounds):
        raise BadValue(f"start, end: {shown(bounds)} are no AS numbers")
    name = item.text("slug") or item.text("name")
    item.get("name")
    return as_pool(name.lower().replace("_", "-"), *bounds, item.ours("facility", str))


def _asn(item: Item) -> Wish:
    asn = item.get("asn")
    if not isinstance(asn, int) or not 1 <= asn <= LAST_ASN:
        raise BadValue(f"asn: {shown(asn)} is no AS number; allowed are 1 to {LAST_ASN}")
    if (owner := item.ours("owner", as_uuid)) is not None:
        note = _beside(item, {"description": "description"})
        return Wish(item.where, AsnRow(asn, owner, item.ours("slot", str) or IMPORTED, note))
    note = _filled(
        description=item.text("description"),
        tenant=item.nested("tenant", "name"),
        registry=item.nested("rir", "name"),
        sites=item.names("sites"),
        role=item.nested("role", "name"),
        tags=item.names("tags"),
        comments=item.text("comments"),
    )
    return Wish(item.where, AsnRow(asn, imported_owner(f"AS{asn}"), IMPORTED, note), loose=True)
