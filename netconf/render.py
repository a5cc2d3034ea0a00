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
from netconf.desired import Leaf, Link, LinkRole, Port
from netconf.fabric import fabric_objects
from netconf.filters import carried, filters, of_version, prefix_lists, reach
from netconf.names import MTU, OWNER, ROUTE_TAG
from netconf.tree import Element, add, named, path

__all__ = ["MTU", "OWNER", "ROUTE_TAG", "Element", "configuration", "of_port", "shared"]

_NEXT_HOP = {4: (LinkRole.PUBLIC, LinkRole.PRIVATE), 6: (LinkRole.IPV6,)}  # the first that the port has
_ROUTER_LIFETIME_S = 1800
_LONGEST_PREFIX = 64
_FLAG = {LinkRole.BOOT: "primary", LinkRole.PUBLIC: "preferred"}


def configuration(leaf: Leaf) -> Element:
    """The `<configuration>` with all of the leaf's owned objects and nothing else."""
    return _built(leaf, leaf.ports)


def shared(leaf: Leaf) -> Element:
    """As `configuration`, without what is one port's alone."""
    return _built(leaf, ())


def of_port(port: Port, destinations: tuple[IPv4Network | IPv6Network, ...]) -> Element:
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


def _fill(places: Mapping[str, Element], port: Port, destinations: tuple[IPv4Network | IPv6Network, ...]) -> None:
    for section in copy.deepcopy(_part(port, destinations)[0]):
        places[section.tag].extend(list(section))


@lru_cache(1 << 13)
def _part(port: Port, destinations: tuple[IPv4Network | IPv6Network, ...]) -> tuple[Element, bool]:
    """What in each container is the port's alone, and whether it has a session in which something may be announced.

    A leaf is rendered again for each change, and most of its ports are as they were.
    """
    part = etree.Element("part")
    places = {tag: add(part, tag) for tag in _OF_PORT}
    _interface(places["interfaces"], port)
    filters(places["inet"], places["inet6"], port, destinations)
    prefix_lists(places["policy-options"], port)
    named(places["lldp"], "interface", port.name)
    _advertisement(places["router-advertisement"], port)
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
    "forwarding-options/dhcp-relay/dhcpv6",
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


def _advertisement(advertised: Element, port: Port) -> None:
    """A router solicitation that nobody answers costs iPXE 13 s; lifetime 0 says that this is no default router.

    Where the port boots by IPv6 the leaf is one, and sends hosts to DHCPv6. iPXE knows a router only for the addresses
    of a prefix on the link, and takes the address that it has by DHCPv6 for one of a /64.
    """
    interface = named(advertised, "interface", f"{port.name}.0")
    boot = _boot_links(port, 6)
    add(interface, "default-lifetime", str(_ROUTER_LIFETIME_S if boot else 0))
    if boot:
        add(interface, "managed-configuration")
        add(interface, "other-stateful-configuration")
    for link in boot:
        prefix = IPv6Network((link.leaf.ip, min(link.leaf.network.prefixlen, _LONGEST_PREFIX)), strict=False)
        add(named(interface, "prefix", str(prefix)), "no-autonomous")


def _boot_links(port: Port, version: int) -> list[Link]:
    return [link for link in of_version(port.links, version) if link.role is LinkRole.BOOT]


def _static_routes(root: Element, ports: list[Port]) -> None:
    """One route a block; a block that leads to several ports (anycast) has several next hops."""
    next_hops: dict[IPv4Network | IPv6Network, list[str]] = {}
    for port in ports:
        if port.profile.opens:
            hosts = {link.role: str(link.host.ip) for link in port.links}
            for block in port.elastic:
                ways = [hosts[role] for role in _NEXT_HOP[block.version] if role in hosts]
                if ways:
                    next_hops.setdefault(block, []).append(ways[0])
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
    # Without `trust-option-82` a client that brings an option 82 of its own is dropped, which is what we want.
    option = etree.Element("relay-option-82")
    add(option, "circuit-id")
    path(option, "remote-id", "hostname-only")
    _relay_group(relay, leaf, ports, 4, option)
    # With the host name before it the interface-id tells the leaf as well as the port: no remote-id is needed.
    interface_id = etree.Element("relay-agent-interface-id")
    path(interface_id, "prefix", "host-name")
    # The client's MAC address, which DHCPv6 itself need not tell (RFC 6939).
    mac = etree.Element("relay-agent-option-79")
    _relay_group(add(relay, "dhcpv6"), leaf, ports, 6, interface_id, mac)


def _relay_group(relay: Element, leaf: Leaf, ports: list[Port], version: int, *options: Element) -> None:
    """The group of the ports that boot by this version, with the servers of it; nothing without either."""
    servers = [server for server in leaf.dhcp_servers if server.version == version]
    booting = [port for port in ports if _boot_links(port, version)]
    if not servers or not booting:
        return
    asked = named(add(relay, "server-group"), "server-group", OWNER)
    for server in servers:
        named(asked, "address", str(server))
    group = named(relay, "group", OWNER)
    add(add(group, "active-server-group"), "active-server-group", OWNER)
    add(group, "forward-only")
    group.extend(options)
    for port in booting:
        named(group, "interface", f"{port.name}.0")
