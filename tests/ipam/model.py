"""A plain picture of who holds what and who held it when, with which the ledger must agree. No database here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar
from uuid import UUID

from ipam.prefixes import Prefix
from ipam.space import Network, inside

EVER = datetime(1970, 1, 1, tzinfo=UTC)  # since when a block is free that nobody ever had
_MICROSECOND = timedelta(microseconds=1)
_STRICTNESS = ("active", "draining", "frozen", "retired")

T = TypeVar("T")


class Violation(AssertionError):
    """The address manager did what it must not do."""


class Bag(Generic[T]):
    """Things of which one is drawn by number, put in and taken out at no cost."""

    def __init__(self) -> None:
        self._things: list[T] = []
        self._places: dict[T, int] = {}

    def add(self, thing: T) -> None:
        self._places[thing] = len(self._things)
        self._things.append(thing)

    def remove(self, thing: T) -> None:
        place, last = self._places.pop(thing), self._things.pop()
        if last is not thing:
            self._things[place], self._places[last] = last, place

    def __contains__(self, thing: T) -> bool:
        return thing in self._places

    def __len__(self) -> int:
        return len(self._things)

    def __getitem__(self, number: int) -> T:
        return self._things[number]

    def __iter__(self) -> Iterator[T]:
        return iter(self._things)


@dataclass(slots=True, eq=False)
class Row:
    """A tenure as it should stand in the ledger."""

    id: UUID
    node: Node
    block: Network
    kind: str
    owner: UUID
    slot: str
    project_id: UUID | None
    within: Row | None
    since: datetime
    by: str
    note: Mapping[str, Any]
    until: datetime | None = None
    closed_by: str | None = None
    parts: list[Row] = field(default_factory=list)  # what of it is led to devices now

    def lasts_at(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)

    def is_reservation(self) -> bool:
        return self.kind == "held" and self.slot.startswith("elastic ")

    def __str__(self) -> str:
        end = "" if self.until is None else f" until {self.until:%d %H:%M:%S.%f}"
        return (
            f"{self.block} {self.kind} by {str(self.owner)[:8]} as {self.slot} since {self.since:%d %H:%M:%S.%f}{end}"
        )


@dataclass(slots=True, eq=False)
class Node:
    """A prefix; if it hands out, cut into units of which nothing smaller is handed out, ever."""

    vrf_id: int
    cidr: Network
    role: str
    unit: int  # mask length of the units; what the prefix hands out now may be larger
    block_length: int
    prefix: Prefix | None = None
    status: str = "retired"
    holders: list[Row | None] = field(default_factory=list)
    freed: list[datetime] = field(default_factory=list)
    tags: list[int] = field(default_factory=list)  # how many tags touch each unit
    past: list[list[Row]] = field(default_factory=list)
    # What came back while a tag lay on a part of it: all of it may be held back while one does.
    came_back_tagged: set[Network] = field(default_factory=set)
    # A correction moved an end to here: neighbours that were joined with the block may rest as long as it does.
    rests_from: datetime = EVER

    def __post_init__(self) -> None:
        if self.role != "container":
            units = 1 << (self.unit - self.cidr.prefixlen)
            self.holders, self.freed, self.tags = [None] * units, [EVER] * units, [0] * units
            self.past = [[] for _ in range(units)]

    @property
    def here(self) -> bool:
        return self.status != "retired"

    def the_prefix(self) -> Prefix:
        """The node as the address manager knows it."""
        if self.prefix is None:
            raise ValueError(f"{self.cidr} was not added yet")
        return self.prefix

    def units(self, block: Network) -> range:
        """The units that a block touches."""
        if inside(self.cidr, block):
            return range(len(self.holders))
        if not inside(block, self.cidr):
            return range(0)
        first = (int(block.network_address) - int(self.cidr.network_address)) >> (self.cidr.max_prefixlen - self.unit)
        return range(first, first + (1 << max(0, self.unit - block.prefixlen)))

    def block_at(self, unit: int, length: int) -> Network:
        """The block of /`length` that begins with a unit."""
        address = int(self.cidr.network_address) + (unit << (self.cidr.max_prefixlen - self.unit))
        return type(self.cidr)((address, length))

    def available(self, length: int, before: datetime, *, surely: bool) -> list[int]:
        """The first units of the blocks of /`length` that are free since `before`.

        `surely` leaves out those that the address manager may hold back a little longer for good reasons.
        """
        if not self.cidr.prefixlen <= length <= self.block_length:
            return []
        step, unsure = 1 << (self.unit - length), set[int]()
        if surely:
            if self.rests_from > before:
                return []
            for block in list(self.came_back_tagged):
                touched = self.units(block)
                if any(self.tags[unit] for unit in touched):
                    unsure.update(touched)
                else:
                    self.came_back_tagged.discard(block)
        return [
            first
            for first in range(0, len(self.holders), step)
            if all(
                self.holders[unit] is None and self.freed[unit] <= before and not self.tags[unit] and unit not in unsure
                for unit in range(first, first + step)
            )
        ]


@dataclass(slots=True, eq=False)
class AsnPool:
    """A pool of AS numbers: who holds which, and since when the others are free."""

    name: str
    first: int
    last: int
    cursor: int
    freed: dict[int, datetime] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class AsnRow:
    """A hold of an AS number."""

    id: UUID
    pool: AsnPool
    asn: int
    owner: UUID
    slot: str
    since: datetime
    until: datetime | None = None


class World:
    """All VRFs of one player with all that ever happened in them."""

    def __init__(self, containers: Sequence[Node], leaves: Sequence[Node], pools: Sequence[AsnPool]) -> None:
        self.containers, self.leaves, self.pools = list(containers), list(leaves), list(pools)
        self.vrf_ids = sorted({node.vrf_id for node in [*containers, *leaves]})
        self.rows: list[Row] = []
        self.asn_rows: list[AsnRow] = []
        self.corrections = 0
        self.by_slot: dict[tuple[UUID, str], Row] = {}
        self.by_owner: dict[UUID, dict[UUID, Row]] = {}
        self.asn_by_slot: dict[tuple[UUID, str], AsnRow] = {}
        self.reservations: Bag[Row] = Bag()
        self.held: Bag[Row] = Bag()
        self.routes: Bag[Row] = Bag()
        self.abuse: Bag[tuple[int, Network, str]] = Bag()

    @property
    def nodes(self) -> list[Node]:
        return self.containers + self.leaves

    def around(self, node: Node) -> Node | None:
        """The smallest container around a node that is there."""
        found = [
            other
            for other in self.containers
            if other.here and other.vrf_id == node.vrf_id and other is not node and inside(node.cidr, other.cidr)
        ]
        return max(found, key=lambda other: other.cidr.prefixlen, default=None)

    def below(self, node: Node) -> list[Node]:
        """The nodes whose parent this one is."""
        return [other for other in self.nodes if other.here and self.around(other) is node]

    def standing(self, node: Node) -> str:
        """The strictest of what was said of the node and of all above it."""
        said = [node.status]
        if node.here:
            said += [
                other.status
                for other in self.containers
                if other.here and other.vrf_id == node.vrf_id and inside(node.cidr, other.cidr)
            ]
        return max(said, key=_STRICTNESS.index)

    def add(self, node: Node, prefix: Prefix, block_length: int) -> None:
        """A node is there, for the first time or again, in what may be another shape."""
        node.prefix, node.status, node.block_length = prefix, "active", block_length
        node.came_back_tagged, node.rests_from = set(), EVER
        ends = [row.until for rows in node.past for row in rows if row.kind == "held" and row.until is not None]
        node.freed = [max(ends, default=EVER)] * len(node.freed)

    def open(
        self,
        node: Node,
        id_: UUID,
        block: Network,
        *,
        owner: UUID,
        slot: str,
        since: datetime,
        by: str,
        note: Mapping[str, Any],
        project_id: UUID | None,
        kind: str = "held",
        within: Row | None = None,
    ) -> Row:
        """A tenure begins."""
        row = Row(id_, node, block, kind, owner, slot, project_id, within, since, by, note)
        self.rows.append(row)
        for unit in node.units(block):
            node.past[unit].append(row)
            if kind == "held":
                node.holders[unit] = row
        self.by_slot[owner, slot] = row
        self.by_owner.setdefault(owner, {})[row.id] = row
        if within is None:
            self.held.add(row)
            if row.is_reservation():
                self.reservations.add(row)
        else:
            within.parts.append(row)
            self.routes.add(row)
        return row

    def close(self, row: Row, now: datetime, by: str) -> datetime:
        """A tenure ends now, or right after its beginning when that is ahead of us. Returns its end."""
        row.until, row.closed_by = max(now, row.since + _MICROSECOND), by
        del self.by_slot[row.owner, row.slot], self.by_owner[row.owner][row.id]
        if row.within is not None:
            row.within.parts.remove(row)
            self.routes.remove(row)
            return row.until
        self.held.remove(row)
        if row.is_reservation():
            self.reservations.remove(row)
        touched = row.node.units(row.block)
        for unit in touched:
            row.node.holders[unit] = None
            row.node.freed[unit] = row.until
        if any(row.node.tags[unit] for unit in touched):
            row.node.came_back_tagged.add(row.block)
        return row.until

    def owned(self, owner: UUID) -> list[Row]:
        return list(self.by_owner.get(owner, {}).values())

    def set_tag(self, vrf_id: int, block: Network, name: str) -> None:
        self.abuse.add((vrf_id, block, name))
        self._count_tag(vrf_id, block, 1)

    def clear_tag(self, tag: tuple[int, Network, str]) -> None:
        self.abuse.remove(tag)
        self._count_tag(tag[0], tag[1], -1)

    def _count_tag(self, vrf_id: int, block: Network, change: int) -> None:
        for node in self.leaves:
            if node.vrf_id == vrf_id:
                for unit in node.units(block):
                    node.tags[unit] += change

    def ever(self, vrf_id: int, block: Network) -> set[Row]:
        """All tenures that the block or a part of it ever belonged to."""
        return {
            row
            for node in self.leaves
            if node.vrf_id == vrf_id
            for unit in node.units(block)
            for row in node.past[unit]
            if inside(row.block, block) or inside(block, row.block)
        }

    def at(self, vrf_ids: Iterable[int], block: Network, at: datetime) -> set[Row]:
        """The tenures that the block or a part of it belonged to at that time."""
        return {row for vrf_id in vrf_ids for row in self.ever(vrf_id, block) if row.lasts_at(at)}

    def correct(
        self, row: Row, *, since: datetime, until: datetime | None, project_id: UUID | None, note: Mapping[str, Any]
    ) -> None:
        """A tenure was other than was believed."""
        self.corrections += 1
        if row.kind == "held" and until is not None and until != row.until:
            free = [unit for unit in row.node.units(row.block) if row.node.holders[unit] is None]
            for unit in free:
                row.node.freed[unit] = max(row.node.freed[unit], until)
            if free:
                row.node.rests_from = max(row.node.rests_from, until)
        row.since, row.until, row.project_id, row.note = since, until, project_id, {**row.note, **note}

    def clashes(self, row: Row, block: Network, since: datetime, until: datetime | None) -> bool:
        """Whether somebody else's time in a block would overlap with this time; `row` itself is no somebody else."""
        return any(
            other is not row
            and other.kind == row.kind
            and (inside(other.block, block) or inside(block, other.block))
            and (until is None or other.since < until)
            and (other.until is None or since < other.until)
            for unit in row.node.units(block)
            for other in row.node.past[unit]
        )
