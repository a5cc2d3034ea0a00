"""Junos configuration of everything that Roundhouse owns on a leaf. Pure: value in, XML out.

Names of ours begin with `rh`; an interface of ours has a description that does, and a static route of ours has our tag.
Whatever else is on the leaf is not looked at. The leaf's address is even and the host's odd, and the boot link is
`primary`, so that it is the giaddr. An elastic block is a static route to its machine's public, or IPv6, address, or
a line in the prefix list by which the machine may announce it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network

from lxml import etree

from netconf import names
from netconf.bgp import host_community, sessions
from netconf.desired import Leaf, LinkRole, Port
from netconf.fabric import fabric_objects
from netconf.filters import carried, filters, of_version, prefix_lists, reach
from netconf.names import MTU, OWNER, ROUTE_TAG
from netconf.tree import Element, add, named, path

__all__ = ["MTU", "OWNER", "ROUTE_TAG", "Element", "configuration", "of_port", "shared"]

_NEXT_HOP = {4: LinkRole.PUBLIC, 6: LinkRole.IPV6}
_FLAG = {LinkRole.BOOT: "primary", LinkRole.PUBLIC: "preferred"}


def configuration(leaf: Leaf) -> Element:
    """The `<configuration>` with all of the leaf's owned objects and nothing else."""
    return _built(leaf, leaf.ports)


def shared(leaf: Leaf) -> Element:
    """As `configuration`, without what is one port's alone."""
    return _built(leaf, ())


def of_port(port: Port, destinations: tuple[IPv4Network, ...]) -> Element:
    """A `<configuration>` with what is the port's alone; its boot link may reach the destinations."""
    root, places = _skeleton()
    _fill(places, port, destinations)
    _prune(root)
    return root


def _built(leaf: Leaf, ports: Iterable[Port]) -> Element:
    root, places = _skeleton()
    linked = [port for port in leaf.ports if port.links]
    for port in ports:
        if port.links:
            _fill(places, port, reach(leaf, port))
    if leaf.fabric is not None or any(_part(port, reach(leaf, port))[1] for port in linked):
        host_community(places["policy-options"])
    if leaf.fabric is not None:
        fabric_objects(root, leaf.fabric)
    _relay(places["dhcp-relay"], leaf, linked)
    _static_routes(root, linked)
    _prune(root)
    return root


def _skeleton() -> tuple[Element, dict[str, Element]]:
    """An empty `<configuration>`, and the containers in it that objects stand in."""
    root = etree.Element("configuration")
    interfaces = add(root, "interfaces")
    relay = path(root, "forwarding-options", "dhcp-relay")
    protocols = add(root, "protocols")
    protocol = {tag: add(protocols, tag) for tag in ("router-advertisement", "lldp", "bgp")}
    policy = add(root, "policy-options")
    family = path(root, "firewall", "family")
    places = {"interfaces": interfaces, "dhcp-relay": relay, "policy-options": policy, **protocol}
    return root, places | {tag: add(family, tag) for tag in ("inet", "inet6")}


def _fill(places: Mapping[str, Element], port: Port, destinations: tuple[IPv4Network, ...]) -> None:
    for section in copy.deepcopy(_part(port, destinations)[0]):
        places[section.tag].extend(list(section))


@lru_cache(1 << 13)
def _part(port: Port, destinations: tuple[IPv4Network, ...]) -> tuple[Element, bool]:
    """What in each container is the port's alone, and whether it has a session in which something may be announced.

    A leaf is rendered again for each change, and most of its ports are as they were.
    """
    part = etree.Element("part")
    places = {tag: add(part, tag) for tag in _OF_PORT}
    _interface(places["interfaces"], port)
    filters(places["inet"], places["inet6"], port, destinations)
    prefix_lists(places["policy-options"], port)
    named(places["lldp"], "interface", port.name)
    # A router solicitation that nobody answers costs iPXE 13 s; lifetime 0 says that this is no default router.
    add(named(places["router-advertisement"], "interface", f"{port.name}.0"), "default-lifetime", "0")
    return part, sessions(places["bgp"], places["policy-options"], port)


_OF_PORT = ("interfaces", "router-advertisement", "lldp", "bgp", "policy-options", "inet", "inet6")


def _prune(element: Element) -> None:
    """Take out containers in which nothing came to stand."""
    for tags in _CONTAINERS:
        for found in element.findall(tags):
            parent = found.getparent()
            if not len(found) and parent is not None:
                parent.remove(found)


_CONTAINERS = (
    "forwarding-options/dhcp-relay",
    "forwarding-options",
    "protocols/router-advertisement",
    "protocols/lldp",
    "protocols/bgp",
    "protocols",
    "policy-options",
    "firewall/family/inet",
    "firewall/family/inet6",
    "firewall/family",
    "firewall",
    "interfaces",
)


def _interface(interfaces: Element, port: Port) -> None:
    interface = named(interfaces, "interface", port.name)
    add(interface, "description", f"{OWNER} g={port.generation} {port.profile} {port.owner}".strip())
    add(interface, "mtu", str(MTU))
    family = add(named(interface, "unit", "0"), "family")
    links = carried(port)
    for version, name in ((4, "inet"), (6, "inet6")):
        # IPv6 is on without an address, too: a port that has none sends no router advertisement.
        if (found := of_version(links, version)) or version == 6:
            protocol = add(family, name)
            add(path(protocol, "filter", "input"), "filter-name", names.of_port(version, port.name))
            for link in found:
                address = named(protocol, "address", str(link.leaf))
                if flag := _FLAG.get(link.role):
                    add(address, flag)


def _static_routes(root: Element, ports: list[Port]) -> None:
    """One route a block; a block that leads to several ports (anycast) has several next hops."""
    next_hops: dict[IPv4Network | IPv6Network, list[str]] = {}
    for port in ports:
        if port.profile.opens:
            hosts = {link.role: str(link.host.ip) for link in port.links}
            for block in port.elastic:
                if (host := hosts.get(_NEXT_HOP[block.version])) is not None:
                    next_hops.setdefault(block, []).append(host)
    if not next_hops:
        return
    options = add(root, "routing-options")
    for version in (4, 6):
        if blocks := [block for block in next_hops if block.version == version]:
            # IPv6 routes stand in a table of their own (Junos: `rib inet6.0`).
            static = add(named(options, "rib", "inet6.0") if version == 6 else options, "static")
            for block in blocks:
                entry = named(static, "route", str(block))
                for host in next_hops[block]:
                    add(entry, "next-hop", host)
                add(add(entry, "tag"), "metric-value", ROUTE_TAG)


def _relay(relay: Element, leaf: Leaf, ports: list[Port]) -> None:
    if not ports:
        return
    servers = named(add(relay, "server-group"), "server-group", OWNER)
    for server in leaf.dhcp_servers:
        named(servers, "address", str(server))
    group = named(relay, "group", OWNER)
    add(add(group, "active-server-group"), "active-server-group", OWNER)
    add(group, "forward-only")
    # Without `trust-option-82` a client that brings an option 82 of its own is dropped, which is what we want.
    option = add(group, "relay-option-82")
    add(option, "circuit-id")
    path(option, "remote-id", "hostname-only")
    for port in ports:
        named(group, "interface", f"{port.name}.0")
