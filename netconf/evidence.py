"""Whether a leaf still carries traffic after a change: what it shows of its ports and routes, before and after. Pure.

A configuration that reads back as asked for can still cut a host off. So the leaf is asked, in Junos' own operational
calls, what it makes of it. A port that was up must be up, with its addresses and routes; who was down before proves
nothing and has nothing to prove.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface, ip_network

from lxml import etree

from netconf.by_port import Objects
from netconf.lldp import LldpNeighbor, neighbors_in
from netconf.owned import NETCONF, Key, name_of, tag_of
from netconf.render import Element

Interface = IPv4Interface | IPv6Interface
Network = IPv4Network | IPv6Network

_ROUTES = ("direct", "static")  # protocols, as Junos calls them
_INTERFACE = ("interfaces", "interface")
_ADDRESS = "unit/family/*/address"


@dataclass(frozen=True, slots=True)
class PortState:
    """A physical interface as the leaf shows it."""

    up: bool  # enabled, with a link
    addresses: frozenset[Interface]  # of its logical units


@dataclass(frozen=True, slots=True)
class Seen:
    """What a leaf shows beyond its configuration."""

    ports: Mapping[str, PortState]
    routes: Mapping[str, frozenset[Network]]  # the active ones, by protocol
    neighbors: frozenset[LldpNeighbor]
    trial_of: str | None = None  # the user whose confirmed commit waits for its confirmation


def calls() -> tuple[Element, ...]:
    """The operations that ask for it, whose replies `seen_in` reads. They take no lock.

    Only the active routes of our own kinds: a leaf may have a whole routing table from its spines.
    """
    interfaces = _operation("get-interface-information")
    etree.SubElement(interfaces, f"{{{NETCONF}}}terse")
    routes = []
    for protocol in _ROUTES:
        one = _operation("get-route-information")
        etree.SubElement(one, f"{{{NETCONF}}}active-path")
        etree.SubElement(one, f"{{{NETCONF}}}protocol").text = protocol
        routes.append(one)
    return interfaces, *routes, _operation("get-lldp-neighbors-information"), _operation("get-commit-information")


def seen_in(replies: Sequence[Element | None]) -> Seen:
    """What the replies to `calls` tell, in their order; None stands for a refusal."""
    interfaces, *routes, neighbors, commits = replies
    return Seen(
        {} if interfaces is None else dict(_ports(interfaces)),
        {
            protocol: frozenset() if reply is None else frozenset(_destinations(reply))
            for protocol, reply in zip(_ROUTES, routes, strict=True)
        },
        frozenset() if neighbors is None else frozenset(neighbors_in(neighbors)),
        None if commits is None else trial_in(commits),
    )


def trial_in(reply: Element) -> str | None:
    """Whose confirmed commit is pending, by a reply to `get-commit-information`; None when there is none.

    The words "commit confirmed, rollback in ..." stay in the history for ever; only this element goes away.
    """
    for entry in _all(reply, "commit-history"):
        if next(_all(entry, "commit-confirmed"), None) is not None:
            return _text(entry, "user")
    return None


def lost(before: Seen, after: Seen, old: Objects, new: Objects) -> dict[str, str]:
    """What worked before the change from `old` to `new` and does not after it, by port, in words.

    An interface of ours that the change takes away is not lost.
    """
    taken_away = {key[-1] for key in old if key[:-1] == _INTERFACE and key not in new}
    up = {name for name, port in before.ports.items() if port.up} - taken_away
    found: dict[str, list[str]] = {}
    for name in up:
        now = after.ports.get(name)
        if now is None or not now.up:
            found.setdefault(name, []).append("the link was up and is down" if now else "the interface is gone")
    still_up = up - found.keys()
    for name, addresses in _addresses(new).items():
        if name in still_up:
            had = before.ports[name].addresses
            has = after.ports[name].addresses
            for address in addresses:
                # What stays as it was keeps what it had, and need not have had all that it should.
                if address not in had and _same(old, new, (*_INTERFACE, name)):
                    continue
                if address not in has:
                    found.setdefault(name, []).append(f"{address} is not on it")
                elif address.network not in after.routes["direct"]:
                    found.setdefault(name, []).append(f"there is no direct route to {address.network}")
    for name, network in _static_routes(old, new, before, still_up):
        if network not in after.routes["static"]:
            found.setdefault(name, []).append(f"the route to {network} is not active")
    return {name: "; ".join(sorted(texts)) for name, texts in found.items()}


def unheard(before: Seen, after: Seen) -> list[str]:
    """Ports that stayed up and whose neighbour is not heard any more; it may only have to speak again, by LLDP."""
    now = {(one.port, one.chassis_id) for one in after.neighbors}
    return sorted(
        one.port
        for one in before.neighbors
        if (one.port, one.chassis_id) not in now and one.port in after.ports and after.ports[one.port].up
    )


def _addresses(objects: Objects) -> dict[str, list[Interface]]:
    """The addresses that each interface of ours should have."""
    return {
        key[-1]: [
            found
            for one in interface.findall("unit/family/*/address")
            if (found := _interface(name_of(one))) is not None
        ]
        for key, interface in objects.items()
        if key[:-1] == _INTERFACE
    }


def _static_routes(old: Objects, new: Objects, before: Seen, up: Collection[str]) -> Iterator[tuple[str, Network]]:
    """Static routes that should be active, each with a port that is up and leads to one of its next hops.

    One that stays as it was, and was not active before, does not count.
    """
    ports = {
        address.network: name for name, addresses in _addresses(new).items() if name in up for address in addresses
    }
    lengths = {(network.version, network.prefixlen) for network in ports}
    for key, route in new.items():
        if key[-2] != "route":
            continue
        destination = _network(key[-1])
        if destination not in before.routes["static"] and _same(old, new, key):
            continue
        hops = [ip_address(hop.text or "") for hop in route.findall("next-hop")]
        around = [_network(f"{hop}/{length}") for hop in hops for version, length in lengths if version == hop.version]
        behind = sorted(ports[network] for network in around if network in ports)
        if behind:
            yield behind[0], destination


def _same(old: Objects, new: Objects, key: Key) -> bool:
    return key in old and etree.tostring(old[key]) == etree.tostring(new[key])


def _operation(tag: str) -> Element:
    return etree.Element(f"{{{NETCONF}}}{tag}", nsmap={None: NETCONF})  # type: ignore[dict-item]


def _all(element: Element, tag: str) -> Iterator[Element]:
    return element.iter(f"{{*}}{tag}")


def _text(element: Element, tag: str) -> str:
    """The text of the first child so called; Junos puts line breaks around it."""
    return next(("".join(map(str, one.itertext())).strip() for one in element if tag_of(one) == tag), "")


def _ports(reply: Element) -> Iterator[tuple[str, PortState]]:
    for interface in _all(reply, "physical-interface"):
        up = _text(interface, "admin-status") == "up" and _text(interface, "oper-status") == "up"
        addresses = frozenset(
            found
            for one in _all(interface, "ifa-local")
            if (found := _interface("".join(map(str, one.itertext())).strip())) is not None
        )
        yield _text(interface, "name"), PortState(up, addresses)


@lru_cache(1 << 14)
def _interface(text: str) -> Interface | None:
    try:
        return ip_interface(text)
    except ValueError:  # other families have addresses, too
        return None


def _destinations(reply: Element) -> Iterator[Network]:
    for entry in _all(reply, "rt"):
        if next(_all(entry, "current-active"), None) is not None:
            yield _network(_text(entry, "rt-destination"))


@lru_cache(1 << 14)
def _network(text: str) -> Network:
    return ip_network(text, strict=False)
