"""What joins a leaf to the rest of the network: loopback, uplinks, BGP with the spines. Pure.

The leaf tells the spines its own links and loopback, the routes that have our tag, and what hosts announced.
"""

from __future__ import annotations

from netconf.desired import Fabric, Uplink
from netconf.names import (
    FABRIC_EXPORT,
    FABRIC_GROUP,
    HOST_COMMUNITY,
    LOOPBACK_DESCRIPTION,
    MTU,
    ROUTE_TAG,
    UPLINK_DESCRIPTION,
    protect_filter,
)
from netconf.protection import protect
from netconf.tree import Element, add, named, path

_FAMILY = {4: "inet", 6: "inet6"}
# Of the leaf itself, whatever kind of switch it is; what is behind it is not the fabric's to know.
_MANAGEMENT_INTERFACES = ("em0.0", "em1.0", "fxp0.0", "me0.0", "vme.0")
_BFD_INTERVAL_MS, _BFD_MULTIPLIER = 300, 3


def fabric_objects(root: Element, fabric: Fabric) -> None:
    """Add the fabric's objects to a `<configuration>` that has all its containers."""
    protected = bool(fabric.management)
    interfaces, lldp, bgp, policy, firewall = (
        _there(root, *where)
        for where in (
            ("interfaces",),
            ("protocols", "lldp"),
            ("protocols", "bgp"),
            ("policy-options",),
            ("firewall",),
        )
    )
    _loopback(interfaces, fabric, protected=protected)
    uplinks: dict[str, list[Uplink]] = {}
    for uplink in fabric.uplinks:
        uplinks.setdefault(uplink.name, []).append(uplink)
    for name, sides in uplinks.items():
        _uplink(interfaces, name, sides)
        named(lldp, "interface", name)
    if fabric.uplinks:
        _group(bgp, fabric)
        _export(policy)
    if protected:
        protect(policy, firewall, fabric)


def _there(root: Element, *tags: str) -> Element:
    found = root.find("/".join(tags))
    assert found is not None
    return found


def _loopback(interfaces: Element, fabric: Fabric, *, protected: bool) -> None:
    if not protected and not fabric.loopback:
        return
    interface = named(interfaces, "interface", "lo0")
    add(interface, "description", LOOPBACK_DESCRIPTION)
    family = add(named(interface, "unit", "0"), "family")
    for version, name in _FAMILY.items():
        addresses = [one for one in fabric.loopback if one.version == version]
        # Hosts reach the leaf's own addresses in both families, whether the loopback has one or not.
        if addresses or protected:
            protocol = add(family, name)
            if protected:
                add(path(protocol, "filter", "input"), "filter-name", protect_filter(version))
            for address in addresses:
                named(protocol, "address", str(address))


def _uplink(interfaces: Element, name: str, sides: list[Uplink]) -> None:
    interface = named(interfaces, "interface", name)
    add(interface, "description", f"{UPLINK_DESCRIPTION} {sides[0].description}")
    add(interface, "mtu", str(MTU))
    family = add(named(interface, "unit", "0"), "family")
    for version, protocol in _FAMILY.items():
        if addresses := [side.leaf for side in sides if side.leaf.version == version]:
            of_version = add(family, protocol)
            for address in addresses:
                named(of_version, "address", str(address))


def _group(bgp: Element, fabric: Fabric) -> None:
    group = named(bgp, "group", FABRIC_GROUP)
    add(group, "type", "external")
    add(group, "export", FABRIC_EXPORT)
    # The number that the leaf has elsewhere may be somebody else's; it is not to be seen behind this one.
    local = add(group, "local-as")
    add(local, "as-number", str(fabric.asn))
    add(local, "no-prepend-global-as")
    path(group, "multipath", "multiple-as")
    bfd = add(group, "bfd-liveness-detection")
    add(bfd, "minimum-interval", str(_BFD_INTERVAL_MS))
    add(bfd, "multiplier", str(_BFD_MULTIPLIER))
    for uplink in fabric.uplinks:
        neighbor = named(group, "neighbor", str(uplink.peer))
        path(neighbor, "family", _FAMILY[uplink.peer.version], "unicast")
        add(neighbor, "peer-as", str(uplink.peer_as))


def _export(policy: Element) -> None:
    statement = named(policy, "policy-statement", FABRIC_EXPORT)
    term = named(statement, "term", "management")
    source = add(term, "from")
    add(source, "protocol", "direct")
    for interface in _MANAGEMENT_INTERFACES:
        add(source, "interface", interface)
    path(term, "then", "reject")
    for name, condition in (
        ("direct", {"protocol": "direct"}),
        ("static", {"protocol": "static", "tag": ROUTE_TAG}),
        ("hosts", {"protocol": "bgp", "community": HOST_COMMUNITY}),
    ):
        term = named(statement, "term", name)
        source = add(term, "from")
        for what, value in condition.items():
            add(source, what, value)
        path(term, "then", "accept")
    path(named(statement, "term", "rest"), "then", "reject")
