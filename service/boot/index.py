"""All ports in memory, found by whatever names one in a boot request. Pure; 100,000 ports take some 100 MB."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import TypeVar
from uuid import UUID

from service.boot.facts import PortFacts

K = TypeVar("K")


class BootIndex:
    """The ports. Each lookup is one look into a dictionary."""

    def __init__(self) -> None:
        self._by_id: dict[UUID, PortFacts] = {}
        self._by_name: dict[tuple[str, str], PortFacts] = {}
        self._by_leaf_address: dict[IPv4Address | IPv6Address, PortFacts] = {}
        self._by_host_address: dict[IPv4Address | IPv6Address, PortFacts] = {}
        self._by_mac: dict[str, PortFacts] = {}
        self._leaves: dict[str, int] = {}  # how many ports each has here

    def __len__(self) -> int:
        return len(self._by_id)

    def put(self, facts: PortFacts) -> None:
        """Know the port so from now on."""
        self.drop(facts.port_id)
        self._by_id[facts.port_id] = facts
        self._by_name[facts.leaf, facts.port] = facts
        self._leaves[facts.leaf] = self._leaves.get(facts.leaf, 0) + 1
        for link, host in ((facts.link, facts.host), (facts.link6, facts.host6)):
            if link is not None and host is not None:
                self._by_leaf_address[link.ip] = facts
                self._by_host_address[host.ip] = facts
        if facts.mac is not None:
            self._by_mac[facts.mac] = facts

    def drop(self, port_id: UUID) -> None:
        """Forget the port, if it is known; what has become another port's meanwhile stays that one's."""
        facts = self._by_id.pop(port_id, None)
        if facts is None:
            return
        _forget(self._by_name, (facts.leaf, facts.port), facts)
        self._leaves[facts.leaf] -= 1
        if not self._leaves[facts.leaf]:
            del self._leaves[facts.leaf]
        for link, host in ((facts.link, facts.host), (facts.link6, facts.host6)):
            if link is not None and host is not None:
                _forget(self._by_leaf_address, link.ip, facts)
                _forget(self._by_host_address, host.ip, facts)
        if facts.mac is not None:
            _forget(self._by_mac, facts.mac, facts)

    def replace(self, whole: BootIndex) -> None:
        """Take another index's ports in place of these, all at once; the other one is not to be used any more."""
        self._by_id, self._by_name, self._by_mac = whole._by_id, whole._by_name, whole._by_mac
        self._by_leaf_address, self._by_host_address = whole._by_leaf_address, whole._by_host_address
        self._leaves = whole._leaves

    def known(self) -> Iterable[UUID]:
        """The ids of all ports."""
        return self._by_id.keys()

    def by_id(self, port_id: UUID) -> PortFacts | None:
        """The port of that id."""
        return self._by_id.get(port_id)

    def named(self, leaf: str, port: str) -> PortFacts | None:
        """The port of that name on that leaf."""
        return self._by_name.get((leaf, port))

    def has_leaf(self, leaf: str) -> bool:
        """Whether a leaf of that name has ports here."""
        return leaf in self._leaves

    def relayed_from(self, leaf_address: IPv4Address | IPv6Address) -> PortFacts | None:
        """The port whose boot link has that address at the leaf's side."""
        return self._by_leaf_address.get(leaf_address)

    def at(self, host_address: IPv4Address | IPv6Address) -> PortFacts | None:
        """The port whose boot link has that address at the host's side."""
        return self._by_host_address.get(host_address)

    def home_of(self, mac: str) -> PortFacts | None:
        """The port at which the machine with that card is recorded."""
        return self._by_mac.get(mac)


def _forget(table: dict[K, PortFacts], key: K, facts: PortFacts) -> None:
    if table.get(key) is facts:
        del table[key]
