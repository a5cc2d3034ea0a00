"""What an import would do: each row of the source is to be added, to be changed, is there already, or cannot be. Pure.

An import adds and changes, and takes nothing away: what the source does not name stays as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Generic, Literal, TypeAlias, TypeVar

from ipam.exchange.rows import (
    IMPORTED,
    KINDS,
    AddressRow,
    AsnRow,
    LeftOut,
    Owner,
    PoolRow,
    PrefixRow,
    Row,
    Source,
    VrfRow,
    Wish,
    imported_owner,
    span,
)
from ipam.exchange.tree import Tree
from ipam.space import Network

T = TypeVar("T")
R = TypeVar("R", PrefixRow, AddressRow, AsnRow)
Action: TypeAlias = Literal["add", "change", "same", "conflict"]

# Numbers between the last one used and a wished one become free numbers, each a row.
FARTHEST_ASN = 65_536


@dataclass(frozen=True, slots=True)
class Held:
    """A block that is held now."""

    row: AddressRow
    since: datetime


@dataclass(frozen=True, slots=True)
class PoolNow:
    """A pool with the lowest of its numbers that was never used."""

    row: PoolRow
    cursor: int


@dataclass(frozen=True, slots=True)
class Now:
    """What is there already, as far as the source touches it; the prefixes and pools are all that there are."""

    vrfs: frozenset[str]
    prefixes: Sequence[PrefixRow]
    owners: frozenset[Owner]
    held: Sequence[Held]
    tagged: Sequence[tuple[str, Network]]
    pools: Sequence[PoolNow]
    asns: Sequence[AsnRow]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one row. `fields` are those that differ, `reason` says why it cannot be."""

    action: Action
    where: str
    row: Row
    before: Row | None = None
    fields: tuple[str, ...] = ()
    reason: str | None = None

    @property
    def kind(self) -> str:
        """The row's kind."""
        return KINDS[type(self.row)]

    def __str__(self) -> str:
        text = f"{self.where}: {self.kind} {self.row}"
        return text if self.reason is None else f"{text}: {self.reason}"


def place(source: Source, prefixes: Iterable[PrefixRow]) -> Source:
    """The source with each loose address as the block that its prefix would hand out; `prefixes` are there already.

    Addresses that share a block become one row. What nothing hands out is left out.
    """
    tree = Tree(prefixes)
    for wish in source.wishes:
        if isinstance(wish.row, PrefixRow) and tree.get(wish.row.vrf, wish.row.cidr) is None:
            tree.put(wish.row)
    firm: list[Wish] = []
    left_out = list(source.left_out)
    shared: dict[tuple[str, Network], list[Wish]] = {}
    for wish in source.wishes:
        row = wish.row
        if not (wish.loose and isinstance(row, AddressRow)):
            firm.append(wish)
            continue
        leaf = next(tree.around(row.vrf, row.block, itself=True), None)
        if leaf is None or leaf.role == "container":
            why = "no prefix holds it" if leaf is None else f"it lies in the container {leaf.cidr} itself"
            left_out.append(LeftOut(wish.where, "address", str(row), f"{why}, so nothing would hand it out"))
            continue
        length = min(leaf.block_length, row.block.prefixlen)
        shared.setdefault((row.vrf, row.block.supernet(new_prefix=length)), []).append(wish)
    firm.extend(_joined(vrf, block, wishes) for (vrf, block), wishes in shared.items())
    return Source(firm, left_out)


def _joined(vrf: str, block: Network, wishes: Sequence[Wish]) -> Wish:
    """The addresses of one block as one row: what their notes say differently stands side by side."""
    note: dict[str, Any] = {}
    for wish in wishes:
        assert isinstance(wish.row, AddressRow)
        for name, value in wish.row.note.items():
            known = note.setdefault(name, [])
            if value not in known:
                known.append(value)
    said = {name: ", ".join(map(str, values)) for name, values in note.items()}
    row = AddressRow(vrf, block, imported_owner(f"{block} in VRF {vrf}"), IMPORTED, None, said)
    return Wish(" and ".join(wish.where for wish in wishes), row)


def compare(source: Source, now: Now) -> tuple[list[Change], list[LeftOut]]:
    """What becomes of each row of a source that was placed, in the order in which it can be done."""
    comparison = _Comparison(source, now)
    changes = [
        *comparison.each(VrfRow, comparison.vrf),
        *sorted(comparison.each(PrefixRow, comparison.prefix), key=_outside_first),
        *comparison.each(AddressRow, comparison.address),
        *comparison.each(PoolRow, comparison.pool),
        *sorted(comparison.each(AsnRow, comparison.asn), key=lambda change: change.row.asn),  # type: ignore[union-attr]
    ]
    return changes, [*source.left_out, *comparison.left_out]


def _outside_first(change: Change) -> tuple[str, int, int]:
    assert isinstance(change.row, PrefixRow)
    return change.row.vrf, change.row.cidr.version, change.row.cidr.prefixlen


@dataclass(frozen=True, slots=True)
class _Block:
    """A held or wished block in a tree of such."""

    vrf: str
    cidr: Network
    where: str


class _Comparison:
    """The source beside what is there."""

    def __init__(self, source: Source, now: Now) -> None:
        self._wishes = source.wishes
        self.left_out: list[LeftOut] = []
        self._seen: dict[object, str] = {}
        self._vrfs_there = now.vrfs
        self._vrfs = now.vrfs | {wish.row.name for wish in source.wishes if isinstance(wish.row, VrfRow)}
        self._owners = now.owners
        self._there = Tree(now.prefixes)
        self._all = Tree(now.prefixes)
        self._opened: set[tuple[str, Network]] = set()
        for wish in source.wishes:
            if isinstance(wish.row, PrefixRow):
                if self._all.get(wish.row.vrf, wish.row.cidr) is None:
                    self._all.put(wish.row)
                if wish.row.status == "active" and "status" not in wish.silent:
                    self._opened.add((wish.row.vrf, wish.row.cidr))
        self._children: dict[PrefixRow, PrefixRow] = {}
        for row in now.prefixes:
            if (parent := next(self._all.around(row.vrf, row.cidr, itself=False), None)) is not None:
                self._children.setdefault(parent, row)
        self._held = _Overlaps((held.row.vrf, held.row.block, held) for held in now.held)
        self._slots = {(held.row.owner, held.row.slot): held.row for held in now.held}
        self._tagged = _Overlaps((vrf, block, block) for vrf, block in now.tagged)
        self._blocks: Tree[_Block] = Tree()
        for wish in source.wishes:
            if isinstance(wish.row, AddressRow) and self._blocks.get(wish.row.vrf, wish.row.block) is None:
                self._blocks.put(_Block(wish.row.vrf, wish.row.block, wish.where))
        self._pools = {pool.row.name: pool for pool in now.pools}
        self._cursors = {pool.row.name: pool.cursor for pool in now.pools}
        self._ranges = [pool.row for pool in now.pools]
        for wish in source.wishes:
            if isinstance(wish.row, PoolRow) and wish.row.name not in self._cursors:
                self._cursors[wish.row.name] = wish.row.first
                self._ranges.append(wish.row)
        self._asns = {row.asn: row for row in now.asns}
        self._asn_slots = {(row.owner, row.slot): row for row in now.asns}

    def each(self, kind: type[Row], change_of: Callable[[Wish, Any], Change | None]) -> Iterator[Change]:
        """The changes of the rows of one kind; a row that is there twice cannot be."""
        wishes = [wish for wish in self._wishes if isinstance(wish.row, kind)]
        if kind is AsnRow:
            wishes.sort(key=lambda wish: wish.row.asn)  # type: ignore[union-attr]
        for wish in wishes:
            first = self._seen.setdefault((kind, str(wish.row)), wish.where)
            if first != wish.where:
                yield _conflict(wish, f"it is there twice, first at {first}")
            elif (change := change_of(wish, wish.row)) is not None:
                yield change

    def vrf(self, wish: Wish, row: VrfRow) -> Change:
        """A VRF."""
        return Change("same" if row.name in self._vrfs_there else "add", wish.where, row)

    def prefix(self, wish: Wish, row: PrefixRow) -> Change:
        """A node of the tree."""
        if row.vrf not in self._vrfs:
            return _conflict(wish, f"there is no VRF {row.vrf}; add a row of kind vrf")
        if row.owner is not None and row.owner not in self._owners:
            return _conflict(wish, f"its owner is not there: {row.owner}")
        if (before := self._there.get(row.vrf, row.cidr)) is not None:
            return self._changed_prefix(wish, row, before)
        parent = next(self._all.around(row.vrf, row.cidr, itself=False), None)
        if parent is not None and parent.role != "container":
            return _conflict(wish, f"it lies in {parent.cidr}, which hands out as {parent.role} and is no container")
        if row.role != "container" and (child := self._children.get(row)) is not None:
            return _conflict(wish, f"{child.cidr} lies in it, and only a container holds other prefixes")
        return Change("add", wish.where, row)

    def _changed_prefix(self, wish: Wish, row: PrefixRow, before: PrefixRow) -> Change:
        row, differing = _laid_over(wish, row, before)
        for field in ("role", "block_length", "owner"):
            if field in differing:
                was, wished = getattr(before, field), getattr(row, field)
                return _conflict(
                    wish, f"its {field} is {_told(was)} and would be {_told(wished)}; retire it and add it anew", before
                )
        if "facility" in differing and row.facility is None:
            return _conflict(wish, f"it serves {before.facility} and cannot be made to serve all facilities", before)
        return Change("change" if differing else "same", wish.where, row, before, differing)

    def address(self, wish: Wish, row: AddressRow) -> Change:
        """A block that is held."""
        leaf = next(self._all.around(row.vrf, row.block, itself=True), None)
        if leaf is None:
            return _conflict(wish, "no prefix holds it")
        if leaf.role == "container":
            return _conflict(wish, f"it lies in the container {leaf.cidr} itself, which hands out nothing")
        if row.block.prefixlen > leaf.block_length:
            return _conflict(wish, f"{leaf.cidr} hands out /{leaf.cidr.prefixlen} to /{leaf.block_length}")
        for other in self._blocks.around(row.vrf, row.block, itself=False):
            return _conflict(wish, f"it lies in {other.cidr}, which is held by {other.where}")
        first = self._seen.setdefault((row.owner, row.slot), wish.where)
        if first != wish.where:
            return _conflict(wish, f"{row.owner} holds another block as {row.slot} at {first}")
        return self._held_or_free(wish, row)

    def _held_or_free(self, wish: Wish, row: AddressRow) -> Change:
        before = None
        for held in self._held.with_(row.vrf, row.block):
            there, since = held.row, f"{held.since:%Y-%m-%d}"
            if (there.block, there.owner, there.slot) != (row.block, row.owner, row.slot):
                return _conflict(wish, f"{there.block} is held by {there.owner} as {there.slot} since {since}")
            before = there
        if before is None and (other := self._slots.get((row.owner, row.slot))) is not None:
            return _conflict(wish, f"{row.owner} holds {other} as {row.slot} already")
        row, differing = _laid_over(wish, row, before)
        if before is not None and not differing:
            return Change("same", wish.where, row, before)
        if before is not None and row.slot != IMPORTED:
            return _conflict(wish, f"its {' and '.join(differing)} would change, and no import made it", before)
        if (closed := self._closed(row)) is not None:
            return _conflict(wish, f"{closed.cidr} is {closed.status}, so nothing is held anew in it", before)
        if before is None and (tagged := next(self._tagged.with_(row.vrf, row.block), None)) is not None:
            return _conflict(wish, f"{tagged} is tagged for abuse")
        return Change("add" if before is None else "change", wish.where, row, before, differing)

    def _closed(self, row: AddressRow) -> PrefixRow | None:
        """The prefix that keeps a block from being held; what is opened is opened before, what is closed after."""
        for node in self._all.around(row.vrf, row.block, itself=True):
            there = self._there.get(node.vrf, node.cidr)
            if there is not None and there.status != "active" and (node.vrf, node.cidr) not in self._opened:
                return there
        return None

    def pool(self, wish: Wish, row: PoolRow) -> Change:
        """A range of AS numbers."""
        if (pool := self._pools.get(row.name)) is not None:
            if pool.row == row:
                return Change("same", wish.where, row, pool.row)
            there = f"{pool.row.first}-{pool.row.last} of {pool.row.facility or 'all facilities'}"
            return _conflict(wish, f"it has {there}, and a pool does not change", pool.row)
        for other in self._ranges:
            if other.name != row.name and other.first <= row.last and row.first <= other.last:
                return _conflict(wish, f"it overlaps pool {other.name} with {other.first}-{other.last}")
        return Change("add", wish.where, row)

    def asn(self, wish: Wish, row: AsnRow) -> Change | None:
        """An AS number that is held; the wishes come in order of number."""
        pool = next((pool for pool in self._ranges if pool.first <= row.asn <= pool.last), None)
        if pool is None:
            if wish.loose:
                why = "no pool has it, so nothing would hand it out"
                self.left_out.append(LeftOut(wish.where, "asn", str(row.asn), why))
                return None
            return _conflict(wish, "no pool has it")
        before, other = self._asns.get(row.asn), self._asn_slots.get((row.owner, row.slot))
        if before is None and other is not None:
            return _conflict(wish, f"{row.owner} holds AS{other.asn} as {row.slot} already")
        first = self._seen.setdefault(("asn", row.owner, row.slot), wish.where)
        if first != wish.where:
            return _conflict(wish, f"{row.owner} holds another number as {row.slot} at {first}")
        if before is not None and (before.owner, before.slot) != (row.owner, row.slot):
            return _conflict(wish, f"it is held by {before.owner} as {before.slot}")
        row, differing = _laid_over(wish, row, before)
        if differing and row.slot != IMPORTED:
            return _conflict(wish, "its note would change, and no import made it", before)
        if before is None:
            cursor = self._cursors[pool.name]
            if row.asn - cursor > FARTHEST_ASN:
                told = f"it is more than {FARTHEST_ASN} numbers behind AS{cursor}, the next new one of pool {pool.name}"
                return _conflict(wish, told)
            self._cursors[pool.name] = max(cursor, row.asn + 1)
            return Change("add", wish.where, row)
        return Change("change" if differing else "same", wish.where, row, before, differing)


class _Overlaps(Generic[T]):
    """Disjoint blocks, to be found by what they share an address with."""

    def __init__(self, blocks: Iterable[tuple[str, Network, T]]) -> None:
        self._lines: dict[tuple[str, int], list[tuple[int, int, T]]] = {}
        for vrf, block, what in blocks:
            first, last = span(block)
            self._lines.setdefault((vrf, block.version), []).append((last, first, what))
        for line in self._lines.values():
            line.sort(key=lambda entry: entry[0])

    def with_(self, vrf: str, block: Network) -> Iterator[T]:
        """What shares an address with the block, in order."""
        line = self._lines.get((vrf, block.version), [])
        first, last = span(block)
        for place in range(bisect_left(line, first, key=lambda entry: entry[0]), len(line)):
            _, begin, what = line[place]
            if begin > last:
                return
            yield what


def _conflict(wish: Wish, reason: str, before: Row | None = None) -> Change:
    return Change("conflict", wish.where, wish.row, before, (), reason)


def _laid_over(wish: Wish, row: R, before: R | None) -> tuple[R, tuple[str, ...]]:
    """The row with what the source does not say taken from what is there, and the fields that differ from that."""
    if before is None:
        return row, ()
    row = replace(row, **{field: getattr(before, field) for field in wish.silent})
    names = [field.name for field in fields(row)]
    return row, tuple(name for name in names if getattr(before, name) != getattr(row, name))


def _told(value: object) -> str:
    return "nobody's" if value is None else str(value)


def counts(changes: Iterable[Change]) -> Mapping[Action, int]:
    """How many rows are added, changed, the same and in conflict."""
    found: dict[Action, int] = {"add": 0, "change": 0, "same": 0, "conflict": 0}
    for change in changes:
        found[change.action] += 1
    return found
