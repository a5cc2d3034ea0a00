"""How full the address space is, how fast it fills and how broken up it is: counted from the ledger, now.

Everything is counted in addresses, exactly, and told in a unit: IPv4 in addresses, IPv6 in /64, or in what the prefix
hands out where that is smaller (/127 links). What differs in family or unit is never added up, but in a container,
which is told in the smallest unit of what lies in it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Literal, TypeAlias
from uuid import UUID

from ipam.forecast import Forecast, forecast
from ipam.space import Network
from sql.loader import Q

OwnerKind: TypeAlias = Literal["provider", "organization", "project"]
Key: TypeAlias = tuple[object, ...]  # what the rows of a report are told apart by

FRAGMENTATION = (
    "1 - largest free block / all that is free; 0 when all of it is one block. Neighbouring free blocks count as"
    " joined, those that cool down as free, those that are tagged for abuse as not free"
)


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a node is: it, or the nearest node above that says so."""

    kind: OwnerKind
    id: UUID | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the tree as a report sees it."""

    id: int
    vrf_id: int
    vrf: str
    parent_id: int | None
    cidr: Network
    role: str
    facility: str | None
    block_length: int
    standing: str
    created_at: datetime
    owner: Owner

    @property
    def unit(self) -> int:
        """The mask length of what is counted in."""
        return self.cidr.max_prefixlen if self.cidr.version == 4 else max(64, self.block_length)


@dataclass(frozen=True, slots=True)
class Tally:
    """Numbers of addresses. `total` is `held` and `free` together; all others are parts of one of these.

    Of what is held: routed (led to devices out of elastic blocks), reserved (ranges that are never handed out).
    Of what is free: cooling (came back too short a time ago), tagged (for abuse), unassigned (in no prefix that hands
    out, but in a container).
    """

    total: int = 0
    held: int = 0
    routed: int = 0
    reserved: int = 0
    cooling: int = 0
    tagged: int = 0
    unassigned: int = 0

    @property
    def free(self) -> int:
        """What nobody holds."""
        return self.total - self.held

    @property
    def utilization(self) -> float:
        """The part that is held, between 0 and 1."""
        return self.held / self.total if self.total else 0.0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.total + other.total,
            self.held + other.held,
            self.routed + other.routed,
            self.reserved + other.reserved,
            self.cooling + other.cooling,
            self.tagged + other.tagged,
            self.unassigned + other.unassigned,
        )


@dataclass(frozen=True, slots=True)
class Holding:
    """What one project holds, in addresses, wherever it lies."""

    project_id: UUID
    project: str
    organization: str
    version: int
    unit: int
    held: int
    routed: int


@dataclass(frozen=True, slots=True)
class Fragments:
    """Free space as the fewest aligned blocks: how many of each mask length."""

    version: int
    blocks: Mapping[int, int] = field(default_factory=dict)

    @property
    def largest(self) -> int | None:
        """The mask length of the largest free block; None when nothing is free."""
        return min(self.blocks, default=None)

    @property
    def free(self) -> int:
        """How many addresses are free."""
        return sum(count * size_of(self.version, length) for length, count in self.blocks.items())

    @property
    def index(self) -> float | None:
        """FRAGMENTATION; None when nothing is free."""
        return None if self.largest is None else 1 - size_of(self.version, self.largest) / self.free

    def __add__(self, other: Fragments) -> Fragments:
        lengths = self.blocks.keys() | other.blocks.keys()
        both = {length: self.blocks.get(length, 0) + other.blocks.get(length, 0) for length in sorted(lengths)}
        return Fragments(self.version, both)


def size_of(version: int, length: int) -> int:
    """How many addresses a block of /`length` has."""
    return 1 << ((32 if version == 4 else 128) - length)


async def nodes(conn: Any) -> list[Node]:
    """The whole tree but what is retired, by VRF and address."""
    found = []
    for row in await conn.fetch(Q["report_prefixes"]):
        values = dict(row)
        owner = Owner(values.pop("owner_kind"), values.pop("owner_id"), values.pop("owner_name"))
        found.append(Node(**values, owner=owner))
    return found


async def tallies(conn: Any, wanted: Sequence[Node], *, free_after: datetime) -> dict[int, Tally]:
    """What is held and free of each of these nodes that hands out. What came back after `free_after` cools down.

    For numbers that belong together, call it in a transaction that is `repeatable_read`.
    """
    leaves = {node.id: node for node in wanted if node.role != "container"}
    counts: dict[int, dict[str, int]] = {id_: {} for id_ in leaves}
    for query, *arguments in (("report_held",), ("report_free", free_after)):
        for row in await conn.fetch(Q[query], list(leaves), *arguments):
            mine, cls = counts[row["prefix_id"]], row["class"]
            size = size_of(leaves[row["prefix_id"]].cidr.version, row["length"])
            mine[cls] = mine.get(cls, 0) + row["blocks"] * size
    found = {}
    for id_, node in leaves.items():
        held = counts[id_].pop("held", 0) + counts[id_].get("reserved", 0)
        found[id_] = Tally(total=node.cidr.num_addresses, held=held, **counts[id_])
    return found


def rolled_up(tree: Sequence[Node], leaves: Mapping[int, Tally]) -> dict[int, tuple[Tally, int]]:
    """The tally of every node, with the unit that it is told in; a container's is that of all below it.

    What a container has beside the prefixes in it is free, and unassigned. `tree` has a parent before its children.
    """
    sums = {node.id: Tally() for node in tree}
    units: dict[int, int] = {}
    for node in reversed(tree):
        if node.role == "container":
            beside = node.cidr.num_addresses - sums[node.id].total
            sums[node.id] += Tally(total=beside, unassigned=beside)
            units.setdefault(node.id, node.unit)
        else:
            sums[node.id] = leaves[node.id]
            units[node.id] = node.unit
        if node.parent_id in sums:
            sums[node.parent_id] += sums[node.id]
            units[node.parent_id] = max(units.get(node.parent_id, 0), units[node.id])
    return {node.id: (sums[node.id], units[node.id]) for node in tree}


def below(tree: Sequence[Node], ids: Collection[int]) -> list[Node]:
    """These nodes with all below them. `tree` has a parent before its children."""
    inside: set[int] = set()
    for node in tree:
        if node.id in ids or node.parent_id in inside:
            inside.add(node.id)
    return [node for node in tree if node.id in inside]


def grouped(
    leaves: Iterable[tuple[Node, Tally]], key: Callable[[Node], Key]
) -> dict[tuple[Key, int, int], tuple[Tally, list[Node]]]:
    """The tallies of nodes that hand out, added up by `key`, version and unit."""
    sums: dict[tuple[Key, int, int], tuple[Tally, list[Node]]] = {}
    for node, tally in leaves:
        place = (key(node), node.cidr.version, node.unit)
        so_far, members = sums.get(place, (Tally(), []))
        sums[place] = (so_far + tally, [*members, node])
    return sums


async def holdings(
    conn: Any,
    wanted: Sequence[Node],
    *,
    organization_ids: Sequence[UUID] | None = None,
    project_ids: Sequence[UUID] = (),
) -> list[Holding]:
    """What each project holds in these nodes. Where organizations are named, these projects and theirs only."""
    leaves = {node.id: node for node in wanted if node.role != "container"}
    sums: dict[tuple[UUID, int, int], Holding] = {}
    for row in await conn.fetch(Q["report_projects"], list(leaves), organization_ids, project_ids):
        node = leaves[row["prefix_id"]]
        place = (row["id"], node.cidr.version, node.unit)
        so_far = sums.get(place) or Holding(
            row["id"], row["name"], row["organization"], node.cidr.version, node.unit, held=0, routed=0
        )
        size = row["blocks"] * size_of(node.cidr.version, row["length"])
        held, routed = (size, 0) if row["class"] == "held" else (0, size)
        sums[place] = Holding(
            so_far.project_id,
            so_far.project,
            so_far.organization,
            so_far.version,
            so_far.unit,
            so_far.held + held,
            so_far.routed + routed,
        )
    return sorted(sums.values(), key=lambda one: (one.organization, one.project, one.project_id, one.version, one.unit))


async def daily_counts(
    conn: Any, wanted: Sequence[Node], held: Mapping[int, int], *, days: int, now: datetime
) -> dict[int, list[int]]:
    """How many addresses of each node were held a day ago, two days ago …, oldest first; the last is `held`, now.

    A node has no count for the time before it was made, but always the one of now.
    """
    moments = [now - timedelta(days=back) for back in reversed(range(days + 1))]
    steps = {node.id: [0] * (days + 2) for node in wanted}
    versions = {node.id: node.cidr.version for node in wanted}
    for row in await conn.fetch(Q["report_changes"], list(versions), moments):
        size = size_of(versions[row["prefix_id"]], row["length"])
        steps[row["prefix_id"]][row["place"]] += int(row["blocks"]) * size
    found = {}
    for node in wanted:
        count, counts = held[node.id], []
        for place in reversed(range(days + 1)):
            if place < days and moments[place] < node.created_at:
                break
            counts.append(count)
            count -= steps[node.id][place]
        found[node.id] = counts[::-1]
    return found


def forecast_of(tally: Tally, series: Sequence[Sequence[int]], now: datetime) -> Forecast:
    """When the nodes with these daily counts will be full together. What is tagged cannot be handed out."""
    days = max(map(len, series))
    together = [sum(one[place] for one in series if len(one) >= -place) for place in range(-days, 0)]
    return forecast(together, tally.free - tally.tagged, now)


async def fragments(conn: Any, wanted: Sequence[Node]) -> dict[int, Fragments]:
    """The free space of each of these nodes that hands out."""
    found = {node.id: (node.cidr.version, dict[int, int]()) for node in wanted if node.role != "container"}
    for row in await conn.fetch(Q["report_free_runs"], list(found)):
        _, blocks = found[row["prefix_id"]]
        alone, first = row["length"], row["first"]
        lengths = [alone] if first is None else aligned(first.network_address, int(row["addresses"]))
        for length in lengths:
            blocks[length] = blocks.get(length, 0) + row["runs"]
    return {id_: Fragments(version, dict(sorted(blocks.items()))) for id_, (version, blocks) in found.items()}


def aligned(first: IPv4Address | IPv6Address, addresses: int) -> list[int]:
    """The mask lengths of the fewest aligned blocks that together are so many addresses, from `first` on."""
    start, end, lengths = int(first), int(first) + addresses, []
    while start < end:
        size = min((start & -start) or (1 << first.max_prefixlen), 1 << ((end - start).bit_length() - 1))
        lengths.append(first.max_prefixlen - size.bit_length() + 1)
        start += size
    return lengths
