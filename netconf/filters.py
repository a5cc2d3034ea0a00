"""What a host port lets through: its two filters, and the prefix lists that they and its BGP sessions go by. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network

from netconf.desired import Leaf, Link, LinkRole, Port
from netconf.names import of_port
from netconf.tree import Element, add, named, path

_NEIGHBOURS = ("fe80::/10", "ff02::/16")
_LINK_OF_VERSION = {4: LinkRole.PRIVATE, 6: LinkRole.IPV6}  # that a BGP session runs over


def carried(port: Port) -> list[Link]:
    """The links that the port's profile carries."""
    return [link for link in port.links if link.role is LinkRole.BOOT or port.profile.opens]


def of_version(links: Iterable[Link], version: int) -> list[Link]:
    """Those of IPv4 or of IPv6."""
    return [link for link in links if link.leaf.version == version]


def prefix_lists(policy: Element, port: Port) -> None:
    """What may be the source of what the port's host sends, beside the boot link's address."""
    for version in (4, 6):
        for name, prefixes in _lists(port, version).items():
            entry = named(policy, "prefix-list", name)
            for prefix in prefixes:
                named(entry, "prefix-list-item", prefix)


def announced_lists(port: Port, version: int) -> list[tuple[str, str]]:
    """The lists of what the leaf takes from the port's host, none of them empty, each with how a route must match."""
    names = [(of_port(version, port.name, "bgp"), "orlonger"), (of_port(version, port.name, "bgpx"), "exact")]
    return [(name, match) for name, match in names if name in _lists(port, version)]


def _lists(port: Port, version: int) -> dict[str, list[str]]:
    """The port's prefix lists, by name, none of them empty: in a condition an empty one means anything or nothing."""
    if not port.profile.opens:
        return {}
    links = {link.role: link for link in of_version(port.links, version)}
    hosts = [link.host.ip for role, link in links.items() if role is not LinkRole.BOOT]
    own = [f"{host}/{host.max_prefixlen}" for host in hosts]
    own += [str(block) for block in port.elastic if own and block.version == version]
    sessions = [one for one in port.bgp if one.link in links and one.link is _LINK_OF_VERSION[version]]
    announced = [one for session in sessions for one in session.announced if one.prefix.version == version]
    within = [str(one.prefix) for one in announced if not one.exact]
    exact = [str(one.prefix) for one in announced if one.exact]
    named_lists = {"own": own, "bgp": within, "bgpx": exact}
    return {of_port(version, port.name, kind): list(dict.fromkeys(some)) for kind, some in named_lists.items() if some}


def reach(leaf: Leaf, port: Port) -> tuple[IPv4Network | IPv6Network, ...]:
    """Where the port's boot link may go."""
    return leaf.boot_services + (leaf.mirrors if port.profile.mirrored else ())


def filters(inet: Element, inet6: Element, port: Port, destinations: Collection[IPv4Network | IPv6Network]) -> None:
    """The port's filter of each family, with what its boot link may reach; that of IPv6 is there without an address,
    too."""
    if of_version(carried(port), 4):
        entry = named(inet, "filter", of_port(4, port.name))
        add(entry, "interface-specific")
        _dhcp_term(entry)
        _boot_term(entry, port, 4, destinations)
        _own_terms(entry, port, 4)
    entry = named(inet6, "filter", of_port(6, port.name))
    add(entry, "interface-specific")
    term = named(entry, "term", "neighbour")
    source = add(term, "from")
    for prefix in ("fe80::/10", "::/128"):
        named(source, "source-address", prefix)
    path(term, "then", "accept")
    _boot_term(entry, port, 6, destinations)
    _own_terms(entry, port, 6)


def _dhcp_term(entry: Element) -> None:
    term = named(entry, "term", "dhcp")
    source = add(term, "from")
    named(source, "source-address", "0.0.0.0/32")
    add(source, "protocol", "udp")
    add(source, "destination-port", "67")
    path(term, "then", "accept")


def _boot_term(entry: Element, port: Port, version: int, destinations: Collection[IPv4Network | IPv6Network]) -> None:
    boot = [link for link in of_version(port.links, version) if link.role is LinkRole.BOOT]
    reached = [str(network) for network in destinations if network.version == version]
    if not boot or not reached:  # a term without a destination would accept every one
        return
    term = named(entry, "term", "boot")
    source = add(term, "from")
    for link in boot:
        named(source, "source-address", f"{link.host.ip}/{link.host.max_prefixlen}")
        if version == 6:  # it looks for the leaf's hardware address from its own one, and answers the leaf (RFC 4861)
            reached += [f"{link.leaf.ip}/128", *_NEIGHBOURS]
    for network in reached:
        named(source, "destination-address", network)
    path(term, "then", "accept")


def _own_terms(entry: Element, port: Port, version: int) -> None:
    if lists := _lists(port, version):
        term = named(entry, "term", "own")
        source = add(term, "from")
        for name in lists:
            named(source, "source-prefix-list", name)
        path(term, "then", "accept")
    spoof = add(named(entry, "term", "spoof"), "then")
    add(spoof, "count", "spoof")
    add(spoof, "discard")
