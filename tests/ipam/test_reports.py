"""Reports against the real database: every number is counted once more, in plain Python, from all rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import collapse_addresses, ip_address, ip_network
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam import abuse, elastic
from ipam.errors import IpamError, PrefixExhausted
from ipam.ledger import Want, give_back, hold, take
from ipam.prefixes import Prefix, add_prefix, add_vrf
from ipam.reports import (
    Fragments,
    Node,
    Tally,
    aligned,
    below,
    daily_counts,
    forecast_of,
    fragments,
    grouped,
    holdings,
    nodes,
    rolled_up,
    size_of,
    tallies,
)
from ipam.space import Network
from service.store.rows import Connection, Pool

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
BY = "user:test"

LEAVES = (
    ("198.18.0.0/24", "public", 31, "ewr1"),
    ("198.18.1.0/26", "public", 31, "sjc1"),
    ("10.0.0.0/24", "private", 31, "ewr1"),
    ("198.18.8.0/24", "elastic", 32, None),
    ("198.18.9.0/28", "anycast", 32, None),
    ("2001:db8:0::/58", "ipv6", 64, "ewr1"),
    ("2001:db8:1::/121", "ipv6", 127, "ewr1"),
)


async def make_tree(conn: Connection) -> list[Prefix]:
    vrf = await add_vrf(conn, "default")
    for container in ("198.18.0.0/15", "198.18.8.0/22", "10.0.0.0/8", "2001:db8::/32"):
        await add_prefix(conn, vrf, container, "container")
    return [
        await add_prefix(conn, vrf, cidr, role, block_length=length, facility=facility)
        for cidr, role, length, facility in LEAVES
    ]


async def make_projects(conn: Connection, count: int) -> list[UUID]:
    organization = await conn.fetchval("INSERT INTO organization (name) VALUES ('Customer') RETURNING id")
    return [
        await conn.fetchval(
            "INSERT INTO project (organization_id, name) VALUES ($1, $2) RETURNING id",
            organization,
            f"project {number}",
        )
        for number in range(count)
    ]


async def live(conn: Connection, prefixes: Sequence[Prefix], projects: Sequence[UUID], steps: int) -> datetime:
    """Some days of takes, gives, reservations, routes and tags, by chance; returns when they ended."""
    chance, now = random.Random(steps), START
    owners: list[UUID] = []
    for _ in range(steps):
        now += timedelta(minutes=chance.randrange(1, 400))
        prefix, project, owner = chance.choice(prefixes), chance.choice(projects), uuid4()
        try:
            async with conn.transaction():
                match chance.randrange(7):
                    case 0 if owners:
                        await give_back(conn, owners.pop(chance.randrange(len(owners))), now=now, by=BY)
                    case 1:
                        await hold(conn, prefix, block_in(chance, prefix), Want(owner, "reserved 0", BY), now=now)
                    case 2:
                        block = block_in(chance, prefix)
                        await abuse.tag(conn, prefix.vrf_id, block, "spam", "", now=now, by=BY)
                    case 3 if prefix.role in ("elastic", "anycast"):
                        held = await take(
                            conn, [prefix], project, elastic.new_slot(), now=now, by=BY, length=30, project_id=project
                        )
                        for _ in range(2):
                            parts: list[Network] = list(held.block.subnets(new_prefix=32))
                            await elastic.route(
                                conn,
                                held.id,
                                chance.choice(parts),
                                uuid4(),
                                now=now,
                                by=BY,
                                project_id=project,
                                note={},
                                anycast=prefix.role == "anycast",
                            )
                    case _:
                        await take(
                            conn, [prefix], owner, prefix.role, now=now, by=BY, cool_down=HOUR, project_id=project
                        )
                        owners.append(owner)
        except IpamError:
            continue  # full, or not free: the world goes on
    return now


def block_in(chance: random.Random, prefix: Prefix) -> Network:
    length = max(prefix.cidr.prefixlen, prefix.block_length - chance.randrange(3))
    number = chance.randrange(1 << (length - prefix.cidr.prefixlen))
    first = prefix.cidr.first + number * size_of(prefix.cidr.version, length)
    return ip_network((first.to_bytes(4 if prefix.cidr.version == 4 else 16, "big"), length))


@pytest.fixture
async def lived(db: Pool) -> tuple[list[Node], datetime]:
    async with db.acquire() as conn:
        prefixes = await make_tree(conn)
        now = await live(conn, prefixes, await make_projects(conn, 3), 400)
        await conn.execute("UPDATE prefix SET created_at = $1", START)
        return await nodes(conn), now


async def test_numbers_are_those_of_the_ledger_and_of_the_free_space(
    db: Pool, lived: tuple[list[Node], datetime]
) -> None:
    tree, now = lived
    async with db.acquire() as conn:
        found = await tallies(conn, tree, free_after=now - HOUR)
        held = await conn.fetch("SELECT * FROM tenure WHERE upper_inf(during)")
        free = await conn.fetch("SELECT *, free_since > $1 AS hot FROM free_block", now - HOUR)
    seen = Counter[str]()
    for node in tree:
        if node.role == "container":
            assert node.id not in found
            continue
        tally = found[node.id]
        mine = [row for row in held if row["prefix_id"] == node.id]
        rest = [row for row in free if row["prefix_id"] == node.id]
        assert tally.total == node.cidr.num_addresses == tally.held + tally.free
        assert tally.held == sum(row["block"].num_addresses for row in mine if row["kind"] == "held")
        assert tally.free == sum(row["block"].num_addresses for row in rest)
        reserved = [row for row in mine if row["slot"].startswith("reserved ")]
        assert tally.reserved == sum(row["block"].num_addresses for row in reserved)
        assert tally.routed == sum(
            block.num_addresses for block in {row["block"] for row in mine if row["kind"] != "held"}
        )
        assert tally.tagged == sum(row["block"].num_addresses for row in rest if row["tagged"])
        cooling = [row for row in rest if not row["tagged"] and row["hot"]]
        assert tally.cooling == sum(row["block"].num_addresses for row in cooling)
        seen.update(name for name in ("routed", "reserved", "tagged", "cooling") if getattr(tally, name))
    assert set(seen) >= {"routed", "reserved", "tagged"}


async def test_what_came_back_a_moment_ago_cools_down(db: Pool) -> None:
    async with db.acquire() as conn:
        (prefix, *_) = await make_tree(conn)
        owner = uuid4()
        await take(conn, [prefix], owner, "public", now=START, by=BY)
        await give_back(conn, owner, now=START + HOUR, by=BY)
        tree = [node for node in await nodes(conn) if node.id == prefix.id]
        (hot,) = (await tallies(conn, tree, free_after=START)).values()
        (cold,) = (await tallies(conn, tree, free_after=START + HOUR)).values()
    assert (hot.cooling, cold.cooling) == (2, 0) and hot.free == cold.free == 256


async def test_containers_have_what_lies_below_and_what_nobody_was_given(
    db: Pool, lived: tuple[list[Node], datetime]
) -> None:
    tree, now = lived
    async with db.acquire() as conn:
        leaves = await tallies(conn, tree, free_after=now - HOUR)
    rolled = rolled_up(tree, leaves)
    for node in tree:
        tally, unit = rolled[node.id]
        assert tally.total == node.cidr.num_addresses == tally.held + tally.free
        inside = [leaf for leaf in below(tree, {node.id}) if leaf.id in leaves]
        assert tally.held == sum(leaves[leaf.id].held for leaf in inside)
        assert tally.unassigned == node.cidr.num_addresses - sum(leaf.cidr.num_addresses for leaf in inside)
        assert unit == max(leaf.unit for leaf in inside)
        size = size_of(node.cidr.version, unit)
        assert not any(number % size for number in (tally.total, tally.held, tally.tagged, tally.unassigned))
    (world,) = [node for node in tree if str(node.cidr) == "2001:db8::/32"]
    # More than 2^63 links, and none lost.
    assert rolled[world.id][1] == 127 and rolled[world.id][0].total // 2 == 2**95
    sums = grouped([(node, leaves[node.id]) for node in tree if node.id in leaves], lambda node: (node.role,))
    assert {key: tally.total for key, (tally, _) in sums.items()} == {
        (("public",), 4, 32): 256 + 64,
        (("private",), 4, 32): 256,
        (("elastic",), 4, 32): 256,
        (("anycast",), 4, 32): 16,
        (("ipv6",), 6, 64): 64 << 64,
        (("ipv6",), 6, 127): 128,
    }


async def test_what_projects_hold_adds_up_to_what_is_held_for_projects(
    db: Pool, lived: tuple[list[Node], datetime]
) -> None:
    tree, _ = lived
    async with db.acquire() as conn:
        found = await holdings(conn, tree)
        rows = await conn.fetch(
            "SELECT project_id, block, kind FROM tenure WHERE upper_inf(during) AND project_id IS NOT NULL"
        )
        alone = await holdings(conn, tree, organization_ids=[], project_ids=[found[0].project_id])
        assert await holdings(conn, tree, organization_ids=[uuid4()]) == []
    assert {holding.project for holding in found} == {"project 0", "project 1", "project 2"}
    for holding in found:
        if holding.version == 6 and holding.unit == 127:
            continue
        blocks = [row for row in rows if row["project_id"] == holding.project_id]
        mine = [row for row in blocks if row["block"].version == holding.version]
        if holding.version == 6:
            mine = [row for row in mine if row["block"].prefixlen <= 64]
        assert holding.held == sum(row["block"].num_addresses for row in mine if row["kind"] == "held")
    assert alone == [holding for holding in found if holding.project_id == found[0].project_id]


async def test_daily_counts_are_what_the_ledger_says_of_those_days(
    db: Pool, lived: tuple[list[Node], datetime]
) -> None:
    tree, now = lived
    leaves = [node for node in tree if node.role != "container"]
    async with db.acquire() as conn:
        counts = await tallies(conn, leaves, free_after=now)
        held = {id_: tally.held for id_, tally in counts.items()}
        found = await daily_counts(conn, leaves, held, days=30, now=now)
        rows = await conn.fetch("SELECT *, lower(during) AS since, upper(during) AS until FROM tenure")
    for node in leaves:
        series = found[node.id]
        assert len(series) - 1 == (now - START).days >= 40 or len(series) == 31
        for back, count in enumerate(reversed(series)):
            at = now - timedelta(days=back)
            assert count == sum(
                row["block"].num_addresses
                for row in rows
                if row["prefix_id"] == node.id
                and row["kind"] == "held"
                and row["since"] <= at
                and (row["until"] is None or at < row["until"])
            )


async def test_a_moment_on_the_border_belongs_to_the_day_that_begins(db: Pool) -> None:
    async with db.acquire() as conn:
        (prefix, *_) = await make_tree(conn)
        first, second = uuid4(), uuid4()
        await take(conn, [prefix], first, "public", now=START, by=BY)
        await take(conn, [prefix], second, "public", now=START + 24 * HOUR, by=BY)
        await give_back(conn, first, now=START + 48 * HOUR, by=BY)
        await conn.execute("UPDATE prefix SET created_at = $1", START)
        (node,) = [node for node in await nodes(conn) if node.id == prefix.id]
        found = await daily_counts(conn, [node], {node.id: 2}, days=9, now=START + 72 * HOUR)
    assert found[node.id] == [2, 4, 2, 2]


async def test_a_growing_prefix_has_a_date_and_a_full_one_is_full(db: Pool) -> None:
    async with db.acquire() as conn:
        (prefix, *_) = await make_tree(conn)
        for day in range(20):
            await take(conn, [prefix], uuid4(), "public", now=START + timedelta(days=day), by=BY)
        await conn.execute("UPDATE prefix SET created_at = $1", START)
        now = START + timedelta(days=19)
        (node,) = [node for node in await nodes(conn) if node.id == prefix.id]
        (tally,) = (await tallies(conn, [node], free_after=now)).values()
        counts = await daily_counts(conn, [node], {node.id: tally.held}, days=30, now=now)
        found = forecast_of(tally, [counts[node.id]], now)
        assert (found.state, found.days, found.per_day) == ("growing", 19, 2.0)
        assert found.exhausted_at == now + timedelta(days=(256 - 40) / 2)
        with pytest.raises(PrefixExhausted):
            for _ in range(200):
                await take(conn, [prefix], uuid4(), "public", now=now, by=BY)
        (tally,) = (await tallies(conn, [node], free_after=now)).values()
    assert forecast_of(tally, [counts[node.id]], now).state == "exhausted" and tally.utilization == 1.0


def test_series_that_began_at_different_times_are_added_up_from_their_ends() -> None:
    found = forecast_of(Tally(total=100, held=20), [[1] * 10, [0, 5, 9]], START)
    assert found.days == 9 and found.per_day == 1.0


async def test_free_space_is_told_as_the_fewest_blocks(db: Pool, lived: tuple[list[Node], datetime]) -> None:
    tree, _ = lived
    async with db.acquire() as conn:
        found = await fragments(conn, tree)
        rows = await conn.fetch("SELECT prefix_id, block FROM free_block WHERE NOT tagged")
        assert await conn.fetchval("SELECT count(*) FROM free_block") > sum(
            sum(one.blocks.values()) for one in found.values()
        )
    for node in tree:
        if node.role == "container":
            continue
        blocks = list(collapse_addresses(row["block"] for row in rows if row["prefix_id"] == node.id))
        assert found[node.id].blocks == Counter(block.prefixlen for block in blocks)
        if blocks:
            largest, whole = max(block.num_addresses for block in blocks), sum(block.num_addresses for block in blocks)
            assert found[node.id].index == 1 - largest / whole


@given(st.integers(0, 2**128 - 1), st.integers(1, 2**70), st.booleans())
def test_runs_are_cut_into_the_fewest_aligned_blocks(first: int, addresses: int, six: bool) -> None:
    bits = 128 if six else 32
    first %= 1 << bits
    addresses = min(addresses, (1 << bits) - first)
    place, blocks = first, []
    for length in aligned(ip_address(first.to_bytes(bits // 8, "big")), addresses):
        blocks.append(ip_network((place.to_bytes(bits // 8, "big"), length)))  # refuses what is not aligned
        place += size_of(6 if six else 4, length)
    assert place == first + addresses
    assert list(collapse_addresses(blocks)) == blocks  # type: ignore[type-var]


def test_one_whole_block_is_not_fragmented_and_nothing_has_no_index() -> None:
    assert Fragments(4, {24: 1}).index == 0.0
    assert Fragments(4, {25: 2}).index == 0.5
    assert Fragments(4).index is None and Fragments(4).largest is None
    assert (Fragments(4, {24: 1}) + Fragments(4, {24: 1, 31: 2})).blocks == {24: 2, 31: 2}
