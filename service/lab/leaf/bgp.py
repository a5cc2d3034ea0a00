"""The leaf's BGP neighbours: what is configured of them, and what becomes of that when they speak. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_address

from netconf.owned import name_of
from netconf.render import Element
from service.lab.leaf.datastore import active
from service.lab.leaf.links import Connected
from service.lab.leaf.secrets import revealed

_VERSIONS = {"inet": 4, "inet6": 6}


@dataclass(frozen=True, slots=True)
class Speaker:
    """A host that speaks BGP from an address."""

    peer_as: int
    announces: tuple[IPv4Network | IPv6Network, ...] = ()
    password: str = ""  # of TCP-MD5


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A configured neighbour, with the state of its session: Established, Active, Connect or Idle."""

    address: str
    group: str
    description: str
    peer_as: int
    local_as: int
    local_address: str
    external: bool
    families: frozenset[int]
    imports: tuple[str, ...]
    exports: tuple[str, ...]
    state: str


def neighbors_of(configuration: Element, connected: Connected, speakers: Mapping[str, Speaker]) -> list[Neighbor]:
    """All neighbours of the configuration, in its order."""
    return [
        _neighbor(configuration, group, neighbor, connected, speakers)
        for group in active(configuration, "protocols/bgp/group")
        for neighbor in active(group, "neighbor")
    ]


def _neighbor(
    configuration: Element, group: Element, neighbor: Element, connected: Connected, speakers: Mapping[str, Speaker]
) -> Neighbor:
    bgp = active(configuration, "protocols/bgp")[0]
    levels = (neighbor, group, bgp)  # the statement that is nearest to the neighbour counts
    address = name_of(neighbor)
    own_as = _number(configuration, "routing-options/autonomous-system/as-number")
    local_as = next((found for one in levels if (found := _number(one, "local-as/as-number"))), own_as)
    external = (group.findtext("type") or "external").strip() == "external"
    peer_as = next((found for one in levels if (found := _number(one, "peer-as"))), 0 if external else local_as)
    made = Neighbor(
        address,
        name_of(group),
        next((text for one in levels if (text := one.findtext("description"))), ""),
        peer_as,
        local_as,
        connected.own_address(address),
        external,
        _families(levels, address),
        _policies(levels, "import"),
        _policies(levels, "export"),
        "Idle",
    )
    key = next((text for one in levels if (text := one.findtext("authentication-key"))), "")
    return _with_state(made, revealed(key), connected, speakers.get(address))


def _with_state(neighbor: Neighbor, password: str, connected: Connected, speaker: Speaker | None) -> Neighbor:
    if connected.via(neighbor.address) is None:
        state = "Idle"  # no way there
    elif speaker is None or speaker.password != password:
        state = "Active"  # a wrong TCP-MD5 digest looks like silence
    elif speaker.peer_as != neighbor.peer_as:
        state = "Connect"  # a notification, Bad Peer AS, and from the start again
    else:
        state = "Established"
    return replace(neighbor, state=state)


def _families(levels: tuple[Element, ...], address: str) -> frozenset[int]:
    for one in levels:
        found = {_VERSIONS[str(family.tag)] for family in active(one, "family/*") if family.tag in _VERSIONS}
        if found:
            return frozenset(found)
    try:
        return frozenset({ip_address(address).version})
    except ValueError:
        return frozenset()


def _policies(levels: tuple[Element, ...], tag: str) -> tuple[str, ...]:
    for one in levels:
        if found := active(one, tag):
            return tuple((policy.text or "").strip() for policy in found)
    return ()


def _number(element: Element, path: str) -> int:
    text = (element.findtext(path) or "").strip()
    return int(text) if text.isdecimal() else 0
