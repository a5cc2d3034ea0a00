"""The leaf's routing tables, as a configuration, the state of the links and the BGP neighbours make them. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Network, IPv6Network, ip_network

from netconf.owned import name_of, tag_of
from netconf.render import Element
from service.lab.leaf.bgp import Neighbor, Speaker
from service.lab.leaf.datastore import active
from service.lab.leaf.links import Connected, Interface
from service.lab.leaf.policy import accepted, network_of

Network = IPv4Network | IPv6Network

_TABLES = {4: "inet.0", 6: "inet6.0"}
_PREFERENCE = {"Direct": 0, "Local": 0, "INET6": 0, "Static": 5, "BGP": 170}
_ALL_ROUTERS = ip_network("ff02::2/128")


@dataclass(frozen=True, slots=True)
class NextHop:
    """Where a route leads: over `via`, to a neighbour or to what is on the link itself."""

    via: str
    to: str = ""


@dataclass(frozen=True, slots=True)
class Route:
    """A route of one protocol; it is active if no better one leads to the same destination."""

    destination: Network
    protocol: str  # as Junos writes it: Direct, Local, Static, BGP, INET6
    next_hops: tuple[NextHop, ...] = ()
    kind: str = ""  # of the next hop, where it is no router: Local, Reject, Discard, MultiRecv
    tag: str = ""
    peer_as: int | None = None
    active: bool = field(default=True, compare=False)

    @property
    def table(self) -> str:
        """inet.0 or inet6.0."""
        return _TABLES[self.destination.version]

    @property
    def preference(self) -> int:
        """Lower wins."""
        return _PREFERENCE[self.protocol]


def routes_of(
    configuration: Element,
    interfaces: tuple[Interface, ...],
    neighbors: Iterable[Neighbor],
    speakers: Mapping[str, Speaker],
    missing: Collection[str] = (),
) -> list[Route]:
    """All routes, by table, destination and preference, without those to the destinations that are `missing`."""
    connected = Connected(interfaces)
    found = [
        *_connected_routes(interfaces),
        *_static_routes(configuration, connected),
        *_bgp_routes(configuration, neighbors, speakers, connected),
    ]
    lost = {ip_network(one) for one in missing}
    best: dict[Network, Route] = {}
    for route in found:
        if route.destination not in best or route.preference < best[route.destination].preference:
            best[route.destination] = route
    made = [replace(route, active=best[route.destination] is route) for route in found if route.destination not in lost]
    return sorted(
        made, key=lambda one: (one.destination.version, one.destination, not one.active, one.preference, one.protocol)
    )


def _connected_routes(interfaces: Iterable[Interface]) -> Iterator[Route]:
    six = False
    for interface in interfaces:
        for unit, address in interface.addresses:
            six = six or address.version == 6
            own = ip_network(address.ip)
            if interface.up:
                yield Route(address.network, "Direct", (NextHop(unit.name),))
            if own != address.network:
                kind = "Local" if interface.up else "Reject"
                yield Route(own, "Local", (NextHop(unit.name),), kind)
    if six:
        yield Route(_ALL_ROUTERS, "INET6", (), "MultiRecv")


def _static_routes(configuration: Element, connected: Connected) -> Iterator[Route]:
    tables = [*active(configuration, "routing-options/static")]
    for rib in active(configuration, "routing-options/rib"):
        if name_of(rib) in _TABLES.values():
            tables += active(rib, "static")
    for table in tables:
        for route in active(table, "route"):
            destination = network_of(name_of(route))
            if destination is None:
                continue
            tag = route.findtext("tag/metric-value") or ""
            kind = next((tag_of(one).capitalize() for one in route if tag_of(one) in ("discard", "reject")), "")
            hops = [one.text or "" for one in active(route, "next-hop")]
            hops += [name_of(one) for one in active(route, "qualified-next-hop")]
            reached = tuple(NextHop(via, hop) for hop in hops if (via := connected.via(hop)) is not None)
            if kind or reached:  # without either it is hidden: no next hop can be used
                yield Route(destination, "Static", () if kind else reached, kind, tag)


def _bgp_routes(
    configuration: Element, neighbors: Iterable[Neighbor], speakers: Mapping[str, Speaker], connected: Connected
) -> Iterator[Route]:
    for neighbor in neighbors:
        via = connected.via(neighbor.address)
        if neighbor.state != "Established" or via is None:
            continue
        for prefix in speakers[neighbor.address].announces:
            if prefix.version in neighbor.families and accepted(configuration, neighbor.imports, prefix):
                yield Route(prefix, "BGP", (NextHop(via, neighbor.address),), peer_as=neighbor.peer_as)
