"""The virtual leaf's answers to Junos' operational calls, in Junos' words. Pure: state in, XML out.

Values stand on lines of their own, addresses of established BGP sessions carry their TCP ports, and what is down is
left out or called otherwise, as on real leaves.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from ipaddress import ip_network

from netconf.owned import tag_of
from netconf.render import Element
from service.lab.leaf.bgp import Neighbor, Speaker
from service.lab.leaf.datastore import EditError
from service.lab.leaf.elements import information, said
from service.lab.leaf.links import Address, Interface, Unit
from service.lab.leaf.policy import covers
from service.lab.leaf.routes import Route

_TABLES = {4: "inet.0", 6: "inet6.0"}


@dataclass(frozen=True, slots=True)
class Condition:
    """What the leaf does at a moment."""

    interfaces: tuple[Interface, ...]
    neighbors: list[Neighbor]
    speakers: dict[str, Speaker]
    routes: list[Route]
    age_s: int  # since the configuration that runs was committed
    counted: Callable[[str], tuple[int, int]]  # octets that a port has received and sent


def options_of(operation: Element) -> dict[str, str]:
    """The parameters of a call, with what they say."""
    return {tag_of(one): (one.text or "").strip() for one in operation}


def interface_information(operation: Element, condition: Condition) -> Element:
    """`get-interface-information`, with `<terse/>`, `<descriptions/>`, `<detail/>`, `<extensive/>` and
    `<interface-name>` (or a pattern)."""
    options = options_of(operation)
    terse, wanted = "terse" in options, options.get("interface-name", "")
    made = information("interface-information", "interface")
    found = False
    for interface in condition.interfaces:
        if "descriptions" in options and not interface.description:
            continue
        if not wanted or fnmatchcase(interface.name, wanted):
            found = True
            shown = _physical(made, interface, terse=terse)
            if {"detail", "extensive"} & options.keys():
                _statistics(shown, *condition.counted(interface.name))
        else:
            # Asked for by its own name, a logical interface is told without the port around it.
            for unit in interface.units:
                if fnmatchcase(unit.name, wanted):
                    found = True
                    _logical(made, interface, unit, terse=terse)
    if wanted and not found and not re.search(r"[*?\[]", wanted):
        raise EditError("operation-failed", f"device {wanted} not found")
    return made


def _status(up: bool) -> str:
    return "up" if up else "down"


def _statistics(physical: Element, received: int, sent: int) -> None:
    made = said(physical, "traffic-statistics", style="brief")
    for tag, value in (("input-bytes", received), ("output-bytes", sent)):
        said(made, tag, value)
        said(made, tag.replace("bytes", "bps"), 0)
    for tag, value in (("input-packets", received), ("output-packets", sent)):
        said(made, tag, value // 512)
        said(made, tag.replace("packets", "pps"), 0)


def _physical(parent: Element, interface: Interface, *, terse: bool) -> Element:
    made = said(parent, "physical-interface")
    said(made, "name", interface.name)
    if terse:
        said(made, "admin-status", _status(interface.enabled))
    else:
        said(made, "admin-status", _status(interface.enabled), format="Enabled" if interface.enabled else "Disabled")
    said(made, "oper-status", _status(interface.up))
    if interface.description:
        said(made, "description", interface.description)
    if not terse:
        said(made, "if-type", "Loopback" if interface.name.startswith("lo") else "Ethernet")
        said(made, "mtu", interface.mtu)
        flags = said(made, "if-device-flags")
        said(flags, "ifdf-present")
        said(flags, "ifdf-running" if interface.up else "ifdf-down")
    for unit in interface.units:
        _logical(made, interface, unit, terse=terse)
    return made


def _logical(parent: Element, interface: Interface, unit: Unit, *, terse: bool) -> None:
    made = said(parent, "logical-interface")
    said(made, "name", unit.name)
    if terse:
        said(made, "admin-status", "up")
        said(made, "oper-status", _status(interface.up))
    else:
        flags = said(made, "if-config-flags")
        said(flags, "iff-up" if interface.up else "iff-device-down")
    if unit.description:
        said(made, "description", unit.description)
    said(made, "filter-information")
    for family, addresses in unit.families:
        block = said(made, "address-family")
        said(block, "address-family-name", family)
        for address in addresses:
            _address(said(block, "interface-address"), address, terse=terse)


def _address(parent: Element, address: Address, *, terse: bool) -> None:
    if terse:
        said(parent, "ifa-local", str(address), emit="emit")
        return
    if address.network.num_addresses > 1:
        said(parent, "ifa-destination", str(address.network))
    said(parent, "ifa-local", str(address.ip))


def route_information(operation: Element, condition: Condition) -> Element:
    """`get-route-information`, with `<destination>`, `<exact/>`, `<table>`, `<protocol>` and `<active-path/>`.

    A destination without `<exact/>` finds the routes inside it, or else the longest one that it lies in.
    """
    options = options_of(operation)
    made = information("route-information", "routing")
    for version, table in _TABLES.items():
        if options.get("table", table) != table:
            continue
        whole = [route for route in condition.routes if route.table == table]
        routes = _towards(whole, options, version)
        if "protocol" in options:
            routes = [route for route in routes if route.protocol.lower() == options["protocol"].lower()]
        if "active-path" in options:
            routes = [route for route in routes if route.active]
        if routes or (whole and not {"destination", "protocol"} & options.keys()):
            _table(made, table, whole, routes, condition.age_s)
    return made


def _towards(routes: list[Route], options: dict[str, str], version: int) -> list[Route]:
    if "destination" not in options:
        return routes
    try:
        wanted = ip_network(options["destination"], strict=False)
    except ValueError:
        raise EditError("operation-failed", f"invalid destination: {options['destination']}") from None
    if wanted.version != version:
        return []
    exact = [route for route in routes if route.destination == wanted]
    if "exact" in options:
        return exact
    inside = [route for route in routes if covers(wanted, route.destination)]
    around = [route for route in routes if covers(route.destination, wanted)]
    longest = max((route.destination.prefixlen for route in around), default=0)
    return inside or [route for route in around if route.destination.prefixlen == longest]


def _table(parent: Element, name: str, whole: Sequence[Route], routes: Sequence[Route], age_s: int) -> None:
    table = said(parent, "route-table")
    said(table, "table-name", name)
    said(table, "destination-count", len({route.destination for route in whole}))
    said(table, "total-route-count", len(whole))
    said(table, "active-route-count", sum(route.active for route in whole))
    said(table, "holddown-route-count", 0)
    said(table, "hidden-route-count", 0)
    entries: dict[object, Element] = {}
    for route in routes:
        if (entry := entries.get(route.destination)) is None:
            entry = entries[route.destination] = said(table, "rt", style="brief")
            said(entry, "rt-destination", str(route.destination))
        _entry(said(entry, "rt-entry"), route, age_s)


def _entry(entry: Element, route: Route, age_s: int) -> None:
    said(entry, "active-tag", "*" if route.active else " ")
    if route.active:
        said(entry, "current-active")
        said(entry, "last-active")
    said(entry, "protocol-name", route.protocol)
    said(entry, "preference", route.preference)
    said(entry, "age", _age(age_s), seconds=str(age_s))
    if route.tag:
        said(entry, "rt-tag", route.tag)
    if route.peer_as is not None:
        said(entry, "local-preference", 100)
        said(entry, "learned-from", route.next_hops[0].to)
        said(entry, "as-path", f"{route.peer_as} I")
    if route.kind:
        said(entry, "nh-type", route.kind)
    for number, hop in enumerate(route.next_hops):
        made = said(entry, "nh")
        if route.protocol == "Local":
            if route.kind == "Local":
                said(made, "nh-local-interface", hop.via)
            continue
        if number == 0:
            said(made, "selected-next-hop")
        if hop.to:
            said(made, "to", hop.to)
        said(made, "via", hop.via)


def _age(seconds: int) -> str:
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{rest:02}"


def bgp_neighbor_information(operation: Element, condition: Condition) -> Element:
    """`get-bgp-neighbor-information`, with `<neighbor-address>`."""
    wanted = options_of(operation).get("neighbor-address", "")
    made = information("bgp-information", "routing")
    for neighbor in condition.neighbors:
        if wanted in ("", neighbor.address):
            _neighbor(made, neighbor, condition)
    return made


def _neighbor(parent: Element, neighbor: Neighbor, condition: Condition) -> None:
    up = neighbor.state == "Established"
    peer = said(parent, "bgp-peer", style="detail")
    # The port of each end stands behind its address, once there is a connection.
    said(peer, "peer-address", f"{neighbor.address}+49152" if up else neighbor.address)
    said(peer, "peer-as", neighbor.peer_as)
    said(peer, "local-address", f"{neighbor.local_address}+179" if up else "unspecified")
    said(peer, "local-as", neighbor.local_as)
    if neighbor.description:
        said(peer, "description", neighbor.description)
    said(peer, "peer-group", neighbor.group)
    said(peer, "peer-cfg-rti", "master")
    said(peer, "peer-type", "External" if neighbor.external else "Internal")
    said(peer, "peer-state", neighbor.state)
    said(peer, "last-state", "OpenConfirm" if up else "Idle")
    said(peer, "last-event", "RecvKeepAlive" if up else "Start")
    said(peer, "last-error", "None")
    options = said(peer, "bgp-option-information")
    for tag, policies in (("export-policy", neighbor.exports), ("import-policy", neighbor.imports)):
        if policies:
            said(options, tag, " ".join(policies))
    if up:
        for version in sorted(neighbor.families):
            _rib(peer, _TABLES[version], [neighbor], condition)


def _rib(parent: Element, table: str, neighbors: Iterable[Neighbor], condition: Condition) -> None:
    addresses = {one.address for one in neighbors if one.state == "Established"}
    taken = [
        route
        for route in condition.routes
        if route.protocol == "BGP" and route.table == table and route.next_hops[0].to in addresses
    ]
    heard = sum(
        _TABLES[prefix.version] == table for address in addresses for prefix in condition.speakers[address].announces
    )
    rib = said(parent, "bgp-rib", style="brief")
    said(rib, "name", table)
    said(rib, "active-prefix-count", sum(route.active for route in taken))
    said(rib, "received-prefix-count", heard)
    said(rib, "accepted-prefix-count", len(taken))
    said(rib, "suppressed-prefix-count", 0)


def bgp_summary_information(operation: Element, condition: Condition) -> Element:
    """`get-bgp-summary-information`."""
    made = information("bgp-information", "routing")
    said(made, "group-count", len({one.group for one in condition.neighbors}))
    said(made, "peer-count", len(condition.neighbors))
    said(made, "down-peer-count", sum(one.state != "Established" for one in condition.neighbors))
    for version in sorted(set().union(*(one.families for one in condition.neighbors))):
        _rib(made, _TABLES[version], condition.neighbors, condition)
    for neighbor in condition.neighbors:
        up = neighbor.state == "Established"
        peer = said(made, "bgp-peer", style="terse")
        said(peer, "peer-address", neighbor.address)
        said(peer, "peer-as", neighbor.peer_as)
        said(peer, "flap-count", 0)
        said(peer, "elapsed-time", _age(condition.age_s), seconds=str(condition.age_s))
        if neighbor.description:
            said(peer, "description", neighbor.description)
        if up:
            said(peer, "peer-state", neighbor.state, format="Establ")
            for version in sorted(neighbor.families):
                _rib(peer, _TABLES[version], [neighbor], condition)
        else:
            said(peer, "peer-state", neighbor.state)
    return made
