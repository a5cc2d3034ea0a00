"""What must be true of the ledger, read from its tables and computed here, without its constraints and queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from ipam.prefixes import usage
from ipam.space import Network, inside
from tests.ipam.model import Row, Violation, World

_TENURES = """
SELECT t.id, t.vrf_id, t.prefix_id, t.prefix_cidr, t.block, t.kind, t.owner, t.slot, t.project_id, t.within, t.note,
       lower(t.during) AS since, upper(t.during) AS until, t.opened_by, t.closed_by, t.closed_at, t.corrected_at
FROM tenure AS t WHERE t.prefix_id = ANY($1::bigint[])
"""
_OPEN = " AND upper_inf(t.during) AND t.corrected_at IS NULL"


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise Violation(what)


def _first(block: Network) -> int:
    return int(block.network_address)


def assert_no_overlap(rows: Iterable[Any]) -> None:
    """No address is held, nor led, by two at one time; anycast is led to many at once, but not also to one alone."""
    planes: dict[tuple[int, int, bool], dict[Network, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["corrected_at"] is None and row["kind"] != "anycast":
            planes[row["vrf_id"], row["block"].version, row["kind"] == "held"][row["block"]].append(row)
    for of_blocks in planes.values():
        for tenures in of_blocks.values():
            tenures.sort(key=lambda row: row["since"])
        around: list[list[Any]] = []
        # Blocks nest or are disjoint: in this order, what a block lies in is on the stack above it.
        for block in sorted(of_blocks, key=lambda block: (_first(block), block.prefixlen)):
            while around and not inside(block, around[-1][0]["block"]):
                around.pop()
            tenures = of_blocks[block]
            _assert_in_turn(tenures)
            for outer in around:
                _assert_apart(tenures, outer)
            around.append(tenures)


def _assert_in_turn(tenures: Sequence[Any]) -> None:
    for before, after in pairwise(tenures):
        _require(
            before["until"] is not None and before["until"] <= after["since"],
            f"two have {after['block']} at once: {dict(before)} and {dict(after)}",
        )


def _assert_apart(some: Sequence[Any], others: Sequence[Any]) -> None:
    """Two sequences in time order, each without overlap in itself: neither overlaps the other."""
    _assert_in_turn(sorted([*some, *others], key=lambda row: row["since"]))


async def assert_sound(conn: Any, vrf_ids: Sequence[int], *, whole_ledger: bool) -> list[Any]:
    """The promises that hold whoever did what. Returns the rows of the ledger, the open ones or all of them."""
    prefixes = {row["id"]: row for row in await conn.fetch("SELECT * FROM prefix WHERE vrf_id = ANY($1)", vrf_ids)}
    query = _TENURES if whole_ledger else _TENURES + _OPEN
    rows = await conn.fetch(query, list(prefixes))
    free = await conn.fetch("SELECT * FROM free_block WHERE prefix_id = ANY($1)", list(prefixes))
    tags = await conn.fetch(
        "SELECT vrf_id, block FROM abuse_tag WHERE vrf_id = ANY($1) AND cleared_at IS NULL", vrf_ids
    )
    assert_no_overlap(rows)
    for row in rows:
        prefix = prefixes[row["prefix_id"]]
        _require(
            inside(row["block"], prefix["cidr"])
            and row["vrf_id"] == prefix["vrf_id"]
            and prefix["role"] != "container",
            f"{dict(row)} lies outside {prefix['cidr']}",
        )
    _assert_tree(prefixes)
    current = [row for row in rows if row["until"] is None and row["corrected_at"] is None]
    _assert_parts(current)
    of_prefix: dict[int, list[tuple[Network, str]]] = defaultdict(list)
    for row in current:
        if row["kind"] == "held":
            of_prefix[row["prefix_id"]].append((row["block"], "held"))
    for row in free:
        of_prefix[row["prefix_id"]].append((row["block"], "free"))
        prefix = prefixes[row["prefix_id"]]
        _require(row["block"].prefixlen <= prefix["block_length"], f"{row['block']} is too small for {prefix['cidr']}")
        touched = any(
            tag["vrf_id"] == prefix["vrf_id"]
            and (inside(tag["block"], row["block"]) or inside(row["block"], tag["block"]))
            for tag in tags
        )
        _require(row["tagged"] == touched, f"{row['block']} of {prefix['cidr']} is tagged: {row['tagged']}")
    for id_, prefix in prefixes.items():
        if prefix["role"] == "container" or prefix["status"] == "retired":
            _require(not of_prefix[id_], f"{prefix['cidr']} is {prefix['status']} and has {of_prefix[id_]}")
        else:
            _assert_partition(prefix["cidr"], of_prefix[id_])
    return list(rows)


def _assert_partition(whole: Network, parts: list[tuple[Network, str]]) -> None:
    """Free and held blocks are the whole prefix, each address once."""
    at = _first(whole)
    for block, kind in sorted(parts, key=lambda part: _first(part[0])):
        _require(_first(block) == at, f"{whole}: {kind} {block} leaves a gap or overlaps at {at:x}")
        at += block.num_addresses
    _require(at == _first(whole) + whole.num_addresses, f"{whole} is not all free or held")


def _assert_tree(prefixes: dict[int, Any]) -> None:
    here = [prefix for prefix in prefixes.values() if prefix["status"] != "retired"]
    for prefix in here:
        around = [
            other
            for other in here
            if other["id"] != prefix["id"]
            and other["vrf_id"] == prefix["vrf_id"]
            and inside(prefix["cidr"], other["cidr"])
        ]
        _require(all(other["role"] == "container" for other in around), f"{prefix['cidr']} lies in what hands out")
        parent = max(around, key=lambda other: other["cidr"].prefixlen, default=None)
        _require(prefix["parent_id"] == (parent and parent["id"]), f"the parent of {prefix['cidr']} is wrong")


def _assert_parts(current: Sequence[Any]) -> None:
    held = {row["id"]: row for row in current if row["kind"] == "held"}
    led: dict[Any, list[Any]] = defaultdict(list)
    for row in current:
        if row["kind"] == "held":
            continue
        outer = held.get(row["within"])
        _require(
            outer is not None and outer["prefix_id"] == row["prefix_id"] and inside(row["block"], outer["block"]),
            f"{dict(row)} lies in no reservation",
        )
        led[row["within"]].append(row)
    for parts in led.values():
        for number, one in enumerate(parts):
            for other in parts[number + 1 :]:
                if inside(one["block"], other["block"]) or inside(other["block"], one["block"]):
                    several = one["kind"] == other["kind"] == "anycast" and one["block"] == other["block"]
                    _require(several and one["owner"] != other["owner"], f"{one['block']} is led to two")


def _told(row: Any) -> tuple[Any, ...]:
    """What the ledger says of a tenure."""
    return (
        *(row[name] for name in ("vrf_id", "prefix_cidr", "block", "kind", "owner", "slot", "project_id", "within")),
        *(row[name] for name in ("since", "until", "opened_by", "closed_by")),
        sorted(row["note"].items()),
    )


def _expected(row: Row) -> tuple[Any, ...]:
    """The same by the picture."""
    within = None if row.within is None else row.within.id
    return (
        *(row.node.vrf_id, row.node.cidr, row.block, row.kind, row.owner, row.slot, row.project_id, within),
        *(row.since, row.until, row.by, row.closed_by),
        sorted(row.note.items()),
    )


async def assert_agrees(conn: Any, world: World, *, whole_ledger: bool) -> None:
    """The ledger is sound and says what the picture says, of now or of all times."""
    rows = await assert_sound(conn, world.vrf_ids, whole_ledger=whole_ledger)
    told = {row["id"]: _told(row) for row in rows if row["corrected_at"] is None}
    believed = world.rows if whole_ledger else [*world.held, *world.routes]
    _require(len(told) == len(believed), f"{len(told)} tenures in the ledger, {len(believed)} happened")
    for row in believed:
        if told.get(row.id) != _expected(row):
            raise Violation(f"the ledger says {told.get(row.id)}, it was {_expected(row)}")
    if whole_ledger:
        corrected = sum(row["corrected_at"] is not None for row in rows)
        _require(corrected == world.corrections, f"{corrected} corrections in the ledger, {world.corrections} made")
        for row in rows:
            _require(
                (row["closed_at"] is None) == (row["until"] is None), f"{dict(row)} ended, and nobody wrote down when"
            )
    for use in [use for vrf_id in world.vrf_ids for use in await usage(conn, vrf_id=vrf_id)]:
        node = next(node for node in world.nodes if node.here and node.the_prefix().id == use.prefix.id)
        here = {row for row in node.holders if row is not None}
        held = (
            len(here),
            sum(row.block.num_addresses for row in here) >> (node.cidr.max_prefixlen - node.block_length),
        )
        _require((use.tenures, use.taken) == held, f"{node.cidr}: {use.tenures} and {use.taken} counted, {held} held")
        said, is_so = (use.prefix.status, use.prefix.standing), (node.status, world.standing(node))
        _require(said == is_so, f"{node.cidr} should be {is_so}, and is {said}")
    await _assert_numbers(conn, world, whole_ledger=whole_ledger)


async def _assert_numbers(conn: Any, world: World, *, whole_ledger: bool) -> None:
    names = [pool.name for pool in world.pools]
    query = (
        "SELECT t.id, t.asn, t.owner, t.slot, lower(t.during) AS since, upper(t.during) AS until"
        " FROM asn_tenure AS t JOIN asn_pool AS p ON p.id = t.pool_id WHERE p.name = ANY($1)"
    )
    if not whole_ledger:
        query += " AND upper_inf(t.during)"
    told = {row["id"]: tuple(row.values())[1:] for row in await conn.fetch(query, names)}
    believed = world.asn_rows if whole_ledger else list(world.asn_by_slot.values())
    _require(
        told == {row.id: (row.asn, row.owner, row.slot, row.since, row.until) for row in believed},
        f"the numbers' ledger says {told}",
    )
    for pool in world.pools:
        free = await conn.fetch(
            "SELECT f.asn, f.free_since FROM free_asn AS f JOIN asn_pool AS p ON p.id = f.pool_id WHERE p.name = $1",
            pool.name,
        )
        _require({row["asn"]: row["free_since"] for row in free} == pool.freed, f"free numbers of {pool.name}: {free}")
