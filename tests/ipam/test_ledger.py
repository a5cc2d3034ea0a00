"""The ledger against the real database: idempotent, without overlap, whatever the order of take and give back."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ipam.errors import BadPrefix, NoPrefix, PrefixExhausted, PrefixOverlaps
from ipam.ledger import give_back, held_by, holder, take, with_room
from ipam.prefixes import Prefix, add_prefix, add_vrf, prefix_by_id, prefixes_for, usage
from service.store.rows import Pool

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NO_COOL_DOWN = timedelta(0)
BY = "user:test"


async def make_prefix(db: Pool, cidr: str = "198.51.100.0/28", role: str = "public", length: int = 31) -> Prefix:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        return await add_prefix(conn, vrf, cidr, role, block_length=length, facility="ewr1")


async def test_the_same_owner_and_slot_get_the_same_block(db: Pool) -> None:
    prefix, owner = await make_prefix(db), uuid4()
    async with db.acquire() as conn, conn.transaction():
        first = await take(conn, [prefix], owner, "public", now=START, by=BY)
        again = await take(conn, [prefix], owner, "public", now=START + timedelta(seconds=5), by=BY)
    assert again == first
    assert (str(first.leaf), str(first.host)) == ("198.51.100.0/31", "198.51.100.1/31")


async def test_a_host_with_a_whole_64_has_a_127_to_its_leaf(db: Pool) -> None:
    prefix = await make_prefix(db, "2001:db8::/48", "ipv6", 64)
    async with db.acquire() as conn, conn.transaction():
        await take(conn, [prefix], uuid4(), "ipv6", now=START, by=BY)
        second = await take(conn, [prefix], uuid4(), "ipv6", now=START, by=BY)
    assert str(second.block) == "2001:db8:0:1::/64"
    assert (str(second.leaf), str(second.host)) == ("2001:db8:0:1::/127", "2001:db8:0:1::1/127")


async def test_exhausted_says_so_and_takes_nothing(db: Pool) -> None:
    prefix = await make_prefix(db, "198.51.100.0/30")
    async with db.acquire() as conn:
        for _ in range(2):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        assert not await with_room(conn, [prefix], now=START, cool_down=NO_COOL_DOWN)
        with pytest.raises(PrefixExhausted, match=r"198\.51\.100\.0/30 has no free /31"):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        assert [use.taken for use in await usage(conn)] == [2]


async def test_a_block_rests_before_it_is_given_out_again_the_longest_free_first(db: Pool) -> None:
    prefix = await make_prefix(db, "198.51.100.0/30")
    first, second = uuid4(), uuid4()
    hour = timedelta(hours=1)
    async with db.acquire() as conn:
        for owner in (first, second):
            await take(conn, [prefix], owner, "public", now=START, by=BY)
        freed_second = await give_back(conn, second, now=START + timedelta(minutes=1), by=BY)
        freed_first = await give_back(conn, first, now=START + timedelta(minutes=2), by=BY)
        with pytest.raises(PrefixExhausted):
            await take(conn, [prefix], uuid4(), "public", now=START + timedelta(minutes=30), by=BY, cool_down=hour)
        taken = [
            (await take(conn, [prefix], uuid4(), "public", now=START + 2 * hour, by=BY, cool_down=hour)).block
            for _ in range(2)
        ]
    assert taken == [*freed_second, *freed_first]


async def test_the_ledger_says_who_held_an_address_when(db: Pool) -> None:
    prefix, first, second = await make_prefix(db, "198.51.100.0/31"), uuid4(), uuid4()
    day = timedelta(days=1)
    async with db.acquire() as conn:
        await take(conn, [prefix], first, "public", now=START, by=BY)
        await give_back(conn, first, now=START + day, by=BY)
        await take(conn, [prefix], second, "public", now=START + 2 * day, by=BY)
        assert await give_back(conn, first, now=START + 3 * day, by=BY) == []
        seen = [
            await holder(conn, "198.51.100.1", START + share * day, vrf_ids=[prefix.vrf_id])
            for share in (0.5, 1.5, 2.5)
        ]
    assert [tenure.owner if tenure else None for tenure in seen] == [first, None, second]


async def test_two_tenures_of_one_block_at_one_time_are_refused_by_the_database(db: Pool) -> None:
    prefix = await make_prefix(db)
    statement = (
        "INSERT INTO tenure (vrf_id, prefix_id, prefix_cidr, block, owner, slot, during)"
        " VALUES ($1, $2, '198.51.100.0/28', $3::text::cidr, $4, 'public', tstzrange($5, $6))"
    )
    async with db.acquire() as conn:
        await conn.execute(statement, prefix.vrf_id, prefix.id, "198.51.100.2/31", uuid4(), START, None)
        with pytest.raises(asyncpg.ExclusionViolationError):
            await conn.execute(
                statement, prefix.vrf_id, prefix.id, "198.51.100.3/32", uuid4(), START, START + timedelta(days=1)
            )


async def test_the_tree_keeps_its_shape(db: Pool) -> None:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        leaf = await add_prefix(conn, vrf, "10.1.0.0/16", "private", block_length=31)
        # A container that is put above takes over what lies in it.
        root = await add_prefix(conn, vrf, "10.0.0.0/8", "container")
        assert (await prefix_by_id(conn, leaf.id)).parent_id == root.id
        with pytest.raises(PrefixOverlaps, match=r"10\.1\.0\.0/16"):
            await add_prefix(conn, vrf, "10.1.2.0/24", "private")
        with pytest.raises(PrefixOverlaps):
            await add_prefix(conn, vrf, "10.0.0.0/15", "private")
        half = await add_prefix(conn, vrf, "10.0.0.0/9", "container")
        assert (half.parent_id, (await prefix_by_id(conn, leaf.id)).parent_id) == (root.id, half.id)
        for cidr, length, wrong in [
            ("10.0.0.1/8", 31, "host bits"),
            ("ten", 31, "no prefix"),
            ("10.2.0.0/16", 8, "/8"),
        ]:
            with pytest.raises(BadPrefix, match=wrong):
                await add_prefix(conn, vrf, cidr, "private", block_length=length)
        other = await add_vrf(conn, "customer")
        await add_prefix(conn, other, "10.0.0.0/8", "container")
        with pytest.raises(NoPrefix, match="ams1"):
            await prefixes_for(conn, "public", "ams1")


async def test_a_crowd_gets_each_block_once(db: Pool) -> None:
    prefix = await make_prefix(db, "198.51.100.0/24")

    async def one(owner: UUID) -> str:
        async with db.acquire() as conn, conn.transaction():
            return str((await take(conn, [prefix], owner, "public", now=START, by=BY)).block)

    owners = [uuid4() for _ in range(128)]
    # Each asks twice, as a client does whose first answer was lost.
    blocks = await asyncio.gather(*(one(owner) for owner in owners + owners))
    assert Counter(Counter(blocks).values()) == {2: 128}


@settings(max_examples=25)
@given(acts=st.lists(st.tuples(st.booleans(), st.integers(0, 5)), max_size=40))
async def test_any_order_of_take_and_give_back_keeps_blocks_disjoint(db: Pool, acts: list[tuple[bool, int]]) -> None:
    run = uuid4().int & 0xFFFF
    owners = [uuid4() for _ in range(6)]
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, f"run {uuid4()}")
        prefix = await add_prefix(conn, vrf, f"10.{run >> 8}.{run & 0xFF}.0/29", "public", block_length=31)
        held: dict[int, str] = {}
        for step, (taking, number) in enumerate(acts):
            now = START + timedelta(seconds=step)
            if taking:
                try:
                    got = str((await take(conn, [prefix], owners[number], "public", now=now, by=BY)).block)
                except PrefixExhausted:
                    assert len(held) == 4
                    assert number not in held
                    continue
                assert held.get(number, got) == got
                held[number] = got
            else:
                freed = await give_back(conn, owners[number], now=now, by=BY)
                assert [str(block) for block in freed] == ([held.pop(number)] if number in held else [])
            assert len(set(held.values())) == len(held)
            for owner in owners:
                assert len(await held_by(conn, owner)) <= 1
