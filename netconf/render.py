"""Junos configuration of everything that Roundhouse owns on a leaf (junos.md §5). Pure: value in, XML out.

Names of ours begin with `rh`; an interface of ours has a description that does, and a static route of ours has our tag.
Whatever else is on the leaf is not looked at. The leaf's address is even and the host's odd, and the boot link is
`primary`, so that it is the giaddr. An elastic block is a static route to its machine's public, or IPv6, address.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network

from lxml import etree

from netconf.desired import Leaf, Link, LinkRole, Port
from netconf.names import OWNER, ROUTE_TAG
from netconf.tree import Element
from netconf.tree import add as _add
from netconf.tree import named as _named
from netconf.tree import path as _path

__all__ = ["MTU", "OWNER", "ROUTE_TAG", "Element", "configuration"]

MTU = 9216
_NEXT_HOP = {4: LinkRole.PUBLIC, 6: LinkRole.IPV6}
_FLAG = {LinkRole.BOOT: "primary", LinkRole.PUBLIC: "preferred"}


def configuration(leaf: Leaf) -> Element:
    """The `<configuration>` with all of the leaf's owned objects and nothing else."""
    root = etree.Element("configuration")
    interfaces = _add(root, "interfaces")
    forwarding = _path(root, "forwarding-options", "dhcp-relay")
    advertisement = _path(root, "protocols", "router-advertisement")
    policy = _add(root, "policy-options")
    family = _path(root, "firewall", "family")
    inet, inet6 = _add(family, "inet"), _add(family, "inet6")
    linked = [port for port in leaf.ports if port.links]
    for port in linked:
        _interface(interfaces, port)
        _filters(inet, inet6, leaf, port)
        if port.profile.opens:
            _prefix_lists(policy, port)
        # A router solicitation that nobody answers costs iPXE 13 s; lifetime 0 says that this is no default router.
        one = _named(advertisement, "interface", f"{port.name}.0")
        _add(one, "default-lifetime", "0")
    _relay(forwarding, leaf, linked)
    _static_routes(root, linked)
    return root


def _links(port: Port) -> list[Link]:
    """The links that the port's profile carries."""
    return [link for link in port.links if link.role is LinkRole.BOOT or port.profile.opens]


def _of_version(links: Iterable[Link], version: int) -> list[Link]:
    return [link for link in links if link.leaf.version == version]


def _interface(interfaces: Element, port: Port) -> None:
    interface = _named(interfaces, "interface", port.name)
    _add(interface, "description", f"{OWNER} g={port.generation} {port.profile} {port.owner}".strip())
    _add(interface, "mtu", str(MTU))
    family = _add(_named(interface, "unit", "0"), "family")
    links = _links(port)
    for version, name in ((4, "inet"), (6, "inet6")):
        # IPv6 is on without an address, too: a port that has none sends no router advertisement.
        if (found := _of_version(links, version)) or version == 6:
            protocol = _add(family, name)
            _add(_path(protocol, "filter", "input"), "filter-name", f"{OWNER}{version}-{port.name}")
            for link in found:
                address = _named(protocol, "address", str(link.leaf))
                if flag := _FLAG.get(link.role):
                    _add(address, flag)


def _prefix_lists(policy: Element, port: Port) -> None:
    for version in (4, 6):
        own = [link for link in _of_version(port.links, version) if link.role is not LinkRole.BOOT]
        if own:
            entry = _named(policy, "prefix-list", f"{OWNER}{version}-own-{port.name}")
            for link in own:
                host = link.host.ip
                _named(entry, "prefix-list-item", f"{host}/{host.max_prefixlen}")
            for block in port.elastic:
                if block.version == version:
                    _named(entry, "prefix-list-item", str(block))


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
    options = _add(root, "routing-options")
    for version in (4, 6):
        if blocks := [block for block in next_hops if block.version == version]:
            # IPv6 routes stand in a table of their own (Junos: `rib inet6.0`).
            static = _add(_named(options, "rib", "inet6.0") if version == 6 else options, "static")
            for block in blocks:
                entry = _named(static, "route", str(block))
                for host in next_hops[block]:
                    _add(entry, "next-hop", host)
                _add(_add(entry, "tag"), "metric-value", ROUTE_TAG)


def _filters(inet: Element, inet6: Element, leaf: Leaf, port: Port) -> None:
    links = _links(port)
    if _of_version(links, 4):
        entry = _named(inet, "filter", f"{OWNER}4-{port.name}")
        _add(entry, "interface-specific")
        _dhcp_term(entry)
        _boot_term(entry, leaf, port)
        _own_terms(entry, port, 4)
    entry = _named(inet6, "filter", f"{OWNER}6-{port.name}")
    _add(entry, "interface-specific")
    term = _named(entry, "term", "neighbour")
    source = _add(term, "from")
    for prefix in ("fe80::/10", "::/128"):
        _named(source, "source-address", prefix)
    _path(term, "then", "accept")
    _own_terms(entry, port, 6)


def _dhcp_term(entry: Element) -> None:
    term = _named(entry, "term", "dhcp")
    source = _add(term, "from")
    _named(source, "source-address", "0.0.0.0/32")
    _add(source, "protocol", "udp")
    _add(source, "destination-port", "67")
    _path(term, "then", "accept")


def _boot_term(entry: Element, leaf: Leaf, port: Port) -> None:
    boot = [link for link in port.links if link.role is LinkRole.BOOT]
    reach = leaf.boot_services + (leaf.mirrors if port.profile.mirrored else ())
    if not boot or not reach:  # a term without a destination would accept every one
        return
    term = _named(entry, "term", "boot")
    source = _add(term, "from")
    for link in boot:
        _named(source, "source-address", f"{link.host.ip}/32")
    for network in reach:
        _named(source, "destination-address", str(network))
    _path(term, "then", "accept")


def _own_terms(entry: Element, port: Port, version: int) -> None:
    if port.profile.opens and any(link.role is not LinkRole.BOOT for link in _of_version(port.links, version)):
        term = _named(entry, "term", "own")
        _named(_add(term, "from"), "source-prefix-list", f"{OWNER}{version}-own-{port.name}")
        _path(term, "then", "accept")
    spoof = _add(_named(entry, "term", "spoof"), "then")
    _add(spoof, "count", "spoof")
    _add(spoof, "discard")


def _relay(relay: Element, leaf: Leaf, ports: list[Port]) -> None:
    if not ports:
        return
    servers = _named(_add(relay, "server-group"), "server-group", OWNER)
    for server in leaf.dhcp_servers:
        _named(servers, "address", str(server))
    group = _named(relay, "group", OWNER)
    _add(_add(group, "active-server-group"), "active-server-group", OWNER)
    _add(group, "forward-only")
    # Without `trust-option-82` a client that brings an option 82 of its own is dropped, which is what we want.
    option = _add(group, "relay-option-82")
    _add(option, "circuit-id")
    _path(option, "remote-id", "hostname-only")
    for port in ports:
        _named(group, "interface", f"{port.name}.0")
