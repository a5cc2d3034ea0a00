"""Which prefix lies around a block: a look into a table for each mask length that occurs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, Protocol, TypeVar

from ipam.space import Network


class Node(Protocol):
    """What is put into the tree."""

    @property
    def vrf(self) -> str:
        """The name of the VRF."""

    @property
    def cidr(self) -> Network:
        """The prefix."""


N = TypeVar("N", bound=Node)


class Tree(Generic[N]):
    """Prefixes of many VRFs; a prefix is there once a VRF."""

    def __init__(self, nodes: Iterable[N] = ()) -> None:
        self._levels: dict[tuple[str, int], dict[int, dict[int, N]]] = {}
        for node in nodes:
            self.put(node)

    def put(self, node: N) -> None:
        """Add a prefix, in the place of the one that is there."""
        levels = self._levels.setdefault((node.vrf, node.cidr.version), {})
        levels.setdefault(node.cidr.prefixlen, {})[int(node.cidr.network_address)] = node

    def get(self, vrf: str, cidr: Network) -> N | None:
        """The prefix itself."""
        level = self._levels.get((vrf, cidr.version), {}).get(cidr.prefixlen, {})
        return level.get(int(cidr.network_address))

    def around(self, vrf: str, block: Network, *, itself: bool) -> Iterator[N]:
        """The prefixes that the block lies in, the smallest first; `itself`: also the one that is the block."""
        levels = self._levels.get((vrf, block.version), {})
        longest = block.prefixlen if itself else block.prefixlen - 1
        address = int(block.network_address)
        for length in sorted((length for length in levels if length <= longest), reverse=True):
            free = block.max_prefixlen - length
            if (found := levels[length].get(address >> free << free)) is not None:
                yield found
