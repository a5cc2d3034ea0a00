"""Which cable ends where: what the leaves' ports see by LLDP, against where the machines are recorded. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from netconf.lldp import LldpNeighbor
from service.spellings import MAC

_MAC = re.compile(MAC)


@dataclass(frozen=True, slots=True)
class Plug:
    """A port, the machine that is recorded there, and the neighbour that is seen there since `seen_at`."""

    port_id: UUID
    leaf: str
    port: str
    machine: str | None
    mac: str | None
    seen_mac: str | None
    seen_name: str | None
    seen_at: datetime | None

    @property
    def where(self) -> str:
        """The port's name among those of all leaves."""
        return f"{self.leaf} {self.port}"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a port's cable, as a sentence; `seen` is where the machine that is seen there is recorded,
    and `swapped` tells that the two are plugged crosswise."""

    at: Plug
    seen: Plug | None
    swapped: bool
    sentence: str


def macs_of(neighbor: LldpNeighbor) -> list[str]:
    """The neighbour's MAC addresses: the port's, which is the network card's as a rule, before the chassis'."""
    return [one for one in (neighbor.port_id.lower(), neighbor.chassis_id) if _MAC.fullmatch(one)]


def seen_at_ports(
    ports: Iterable[str], neighbors: Sequence[LldpNeighbor], known: Collection[str]
) -> list[tuple[str, str | None, str | None]]:
    """For each port the neighbour's MAC address and name; of several addresses the one of a known machine."""
    by_port: dict[str, tuple[str | None, str | None]] = {}
    for one in neighbors:
        macs = macs_of(one)
        mac = next((mac for mac in macs if mac in known), macs[0] if macs else None)
        by_port[one.port] = (mac, one.system_name or None)
    return [(port, *by_port.get(port, (None, None))) for port in ports]


def findings(plugs: Sequence[Plug]) -> list[Finding]:
    """The ports at which somebody else is seen than is recorded there, with what that means."""
    home = {one.mac: one for one in plugs if one.mac is not None}
    found = []
    for at in plugs:
        if at.seen_mac is None or at.seen_mac == at.mac:
            continue
        seen = home.get(at.seen_mac)
        swapped = seen is not None and at.mac is not None and seen.seen_mac == at.mac
        found.append(Finding(at, seen, swapped, _sentence(at, seen, swapped=swapped)))
    return found


def _sentence(at: Plug, seen: Plug | None, *, swapped: bool) -> str:
    if seen is None:
        who = f"{at.seen_name} ({at.seen_mac})" if at.seen_name else at.seen_mac
        expected = f"{at.machine} ({at.mac}) was expected" if at.machine else "nobody is recorded there"
        return f"{at.where}: {who} is seen, whom we do not know; {expected}"
    if swapped:
        return f"{at.machine} and {seen.machine} are swapped: {at.where} sees {seen.machine}, {seen.where} {at.machine}"
    expected = f"{at.machine} was expected there" if at.machine else "nobody is recorded there"
    return f"{seen.machine} is plugged into {at.where} and is recorded at {seen.where}; {expected}"
