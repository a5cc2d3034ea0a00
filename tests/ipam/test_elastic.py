"""Elastic blocks in the ledger: split, merged, led and moved, no address is lost, and none is led two ways at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from ipaddress import ip_network
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from ipam.elastic import merge, move, new_slot, parts_of, rehome, release, route, split, unroute
from ipam.errors import BadBlock, BlockTaken, IpamError, NoTenure, PrefixClosed
from ipam.ledger import Tenure, held_by, take, tenure_by_id
from ipam.prefixes import Prefix, add_prefix, add_vrf, set_status
from ipam.space import free_within
from service.store.rows import Pool

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BY = "user:test"
CUSTOMER = uuid4()


async def make_prefix(db: Pool, cidr: str = "192.0.2.0/24", role: str = "elastic") -> Prefix:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        length = 32 if ":" not in cidr else 128
        return await add_prefix(conn, vrf, cidr, role, block_length=length)


async def reserve(db: Pool, prefix: Prefix, length: int, *, owner: UUID = CUSTOMER) -> Tenure:
    async with db.acquire() as conn, conn.transaction():
        return await take(
            conn, [prefix], owner, new_slot(), now=NOW, by=BY, length=length, project_id=owner, note={"n": "1"}
        )


async def lead(db: Pool, held: UUID, block: str, device: UUID, *, now: datetime = NOW, anycast: bool = False) -> Tenure:
    async with db.acquire() as conn, conn.transaction():
        note = {"device": str(device)}
        return await route(
            conn, held, ip_network(block), device, now=now, by=BY, project_id=CUSTOMER, note=note, anycast=anycast
        )


async def test_a_split_and_a_merge_are_one_moment_and_keep_what_is_led(db: Pool) -> None:
    prefix = await make_prefix(db)
    whole, device, later = await reserve(db, prefix, 29), uuid4(), NOW + timedelta(minutes=1)
    part = await lead(db, whole.id, "192.0.2.4/31", device)
    async with db.acquire() as conn, conn.transaction():
        halves = await split(conn, whole.id, 30, now=later, by=BY)
    assert [str(one.block) for one in halves] == ["192.0.2.0/30", "192.0.2.4/30"]
    ended = await tenure_by_id(db, whole.id)
    assert ended is not None and {one.since for one in halves} == {ended.until}
    assert {(one.owner, one.project_id, str(one.note)) for one in halves} == {(CUSTOMER, CUSTOMER, "{'n': '1'}")}
    assert [one.id for one in await parts_of(db, [halves[1].id])] == [part.id]
    async with db.acquire() as conn, conn.transaction():
        merged = await merge(conn, [one.id for one in halves], now=later, by=BY)
    assert str(merged.block) == "192.0.2.0/29" and [one.id for one in await parts_of(db, [merged.id])] == [part.id]
    assert [one.id for one in await held_by(db, CUSTOMER)] == [merged.id]
    assert await db.fetchval("SELECT count(*) FROM free_block WHERE block && '192.0.2.0/29'::cidr") == 0


async def test_what_cannot_be_split_or_merged(db: Pool) -> None:
    prefix, other = await make_prefix(db), await make_prefix(db, "198.51.100.0/24")
    one, two, third = [await reserve(db, prefix, 30) for _ in range(3)]
    far, theirs = await reserve(db, other, 30), await reserve(db, prefix, 30, owner=uuid4())
    await lead(db, one.id, "192.0.2.0/31", uuid4())

    async def refused(error: type[IpamError], match: str, act: Callable[[Any], Awaitable[object]]) -> None:
        with pytest.raises(error, match=match):
            async with db.acquire() as conn, conn.transaction():
                await act(conn)

    for ids, match in (
        ([one.id], "two reservations or more"),
        ([one.id, one.id], "two reservations or more"),
        ([two.id, third.id], "do not make up one block"),  # side by side, but not aligned
        ([one.id, third.id], "do not make up one block"),
        ([third.id, theirs.id], "not of one owner"),
        ([one.id, far.id], "not of one owner and one prefix"),
    ):
        await refused(BadBlock, match, partial(merge, tenure_ids=ids, now=NOW, by=BY))
    await refused(BlockTaken, r"192\.0\.2\.0/31 is led to", lambda conn: split(conn, one.id, 32, now=NOW, by=BY))
    for length in (30, 29, 33):
        await refused(BadBlock, "cannot be split", partial(split, tenure_id=one.id, length=length, now=NOW, by=BY))
    await refused(NoTenure, "no tenure", lambda conn: split(conn, uuid4(), 32, now=NOW, by=BY))
    await refused(BlockTaken, "is led to", lambda conn: release(conn, one.id, now=NOW, by=BY))
    async with db.acquire() as conn:
        await set_status(conn, other.id, "frozen")
    await refused(PrefixClosed, "is frozen", lambda conn: split(conn, far.id, 32, now=NOW, by=BY))
    await refused(PrefixClosed, "is frozen", lambda conn: release(conn, far.id, now=NOW, by=BY))


async def test_led_moved_and_taken_away(db: Pool) -> None:
    prefix = await make_prefix(db, "2001:db8:e000::/44")
    held, first, second = await reserve(db, prefix, 56), uuid4(), uuid4()
    part = await lead(db, held.id, "2001:db8:e000::/64", first)
    assert await lead(db, held.id, "2001:db8:e000::/64", first) == part
    for block in ("2001:db8:e000::/64", "2001:db8:e000::1/128", "2001:db8:e000::/60"):
        with pytest.raises(BlockTaken, match=str(first)):
            await lead(db, held.id, block, second)
    with pytest.raises(BadBlock, match="does not lie inside"):
        await lead(db, held.id, "2001:db8:e001::/64", second)
    later = NOW + timedelta(seconds=5)
    async with db.acquire() as conn, conn.transaction():
        moved = await move(conn, part.id, second, now=later, by=BY, project_id=CUSTOMER, note={"device": "second"})
        assert await move(conn, moved.id, second, now=later, by=BY, project_id=CUSTOMER, note={}) == moved
        again = await rehome(conn, second, {"machine": "m2"}, now=later + timedelta(seconds=1), by=BY)
        assert await rehome(conn, second, {"machine": "m2"}, now=later, by=BY) == []
    ended = await tenure_by_id(db, part.id)
    assert ended is not None and (ended.until, moved.since) == (later, later)
    assert [(one.block, one.note["machine"]) for one in again] == [(part.block, "m2")]
    async with db.acquire() as conn, conn.transaction():
        await unroute(conn, again[0].id, now=later + timedelta(seconds=2), by=BY)
        with pytest.raises(NoTenure):
            await unroute(conn, again[0].id, now=later, by=BY)
        with pytest.raises(BadBlock, match="leads to no device"):
            await unroute(conn, held.id, now=later, by=BY)
        await release(conn, held.id, now=later + timedelta(seconds=3), by=BY)
    assert await held_by(db, CUSTOMER) == []
    assert await db.fetchval("SELECT count(*) FROM free_block WHERE free_since = $1", later + timedelta(seconds=3)) == 1


async def test_anycast_leads_to_many_but_each_way_only_once(db: Pool) -> None:
    prefix = await make_prefix(db, "198.18.0.0/24", "anycast")
    held, devices = await reserve(db, prefix, 31), [uuid4() for _ in range(5)]
    await asyncio.gather(*(lead(db, held.id, "198.18.0.0/32", device, anycast=True) for device in devices * 2))
    assert {one.owner for one in await parts_of(db, [held.id])} == set(devices)
    with pytest.raises(BlockTaken):  # another size would lead the same address elsewhere
        await lead(db, held.id, "198.18.0.0/31", uuid4(), anycast=True)
    with pytest.raises(BlockTaken):
        await lead(db, held.id, "198.18.0.0/32", uuid4())
    (one, *_) = await parts_of(db, [held.id])
    async with db.acquire() as conn, conn.transaction():
        with pytest.raises(BlockTaken, match="already"):
            await move(
                conn,
                one.id,
                devices[-1] if one.owner != devices[-1] else devices[0],
                now=NOW,
                by=BY,
                project_id=CUSTOMER,
                note={},
            )


async def test_a_crowd_that_wants_one_block_leads_it_once(db: Pool) -> None:
    prefix = await make_prefix(db)
    held = await reserve(db, prefix, 30)
    blocks = ["192.0.2.0/30", "192.0.2.0/31", "192.0.2.2/31", "192.0.2.1/32", "192.0.2.3/32"]
    answers = await asyncio.gather(*(lead(db, held.id, block, uuid4()) for block in blocks * 6), return_exceptions=True)
    assert {type(answer) for answer in answers} == {Tenure, BlockTaken}
    led = [one.block for one in await parts_of(db, [held.id])]
    assert sorted(one.block for one in answers if isinstance(one, Tenure)) == led
    assert sum(block.num_addresses for block in led) == len({address for block in led for address in block})


async def test_split_merged_led_and_released_at_once_by_many_nothing_is_lost(db: Pool) -> None:
    prefix, devices = await make_prefix(db, "192.0.2.0/26"), [uuid4() for _ in range(4)]
    whole = await reserve(db, prefix, 27)
    clock = iter(range(10_000))

    async def once(act: Callable[[Any, datetime], Awaitable[object]]) -> None:
        for _ in range(20):
            try:
                async with db.acquire() as conn, conn.transaction():
                    await act(conn, NOW + timedelta(seconds=next(clock)))
            except asyncpg.DeadlockDetectedError:
                continue
            except (IpamError, IndexError):  # others were faster: there is nothing of the kind now
                pass
            return

    async def splitting(conn: Any, now: datetime) -> None:
        for one in await held_by(conn, CUSTOMER):
            if one.block.prefixlen < 29:
                await split(conn, one.id, one.block.prefixlen + 1, now=now, by=BY)
                return

    async def merging(conn: Any, now: datetime) -> None:
        held = sorted(await held_by(conn, CUSTOMER), key=lambda one: one.block)
        await merge(conn, [one.id for one in held[:2]], now=now, by=BY)

    async def leading(conn: Any, now: datetime) -> None:
        one = (await held_by(conn, CUSTOMER))[-1]
        block = ip_network(one.block.network_address)
        await route(conn, one.id, block, devices[0], now=now, by=BY, project_id=CUSTOMER, note={})

    async def moving(conn: Any, now: datetime) -> None:
        parts = await parts_of(conn, [one.id for one in await held_by(conn, CUSTOMER)])
        target = devices[now.second % len(devices)]
        await move(conn, parts[0].id, target, now=now, by=BY, project_id=CUSTOMER, note={})

    async def leaving(conn: Any, now: datetime) -> None:
        parts = await parts_of(conn, [one.id for one in await held_by(conn, CUSTOMER)])
        await unroute(conn, parts[-1].id, now=now, by=BY)

    acts = [splitting, merging, leading, moving, leading, leaving]
    await asyncio.gather(*(once(acts[number % len(acts)]) for number in range(90)))

    held = await held_by(db, CUSTOMER)
    addresses = [address for one in held for address in one.block]
    assert len(addresses) == len(set(addresses)) == 32 and set(addresses) == set(whole.block)
    parts = await parts_of(db, [one.id for one in held])
    open_parts = await db.fetchval("SELECT count(*) FROM tenure WHERE kind = 'routed' AND upper_inf(during)")
    assert len(parts) == open_parts  # none is left within a reservation that has ended
    by_id = {one.id: one for one in held}
    assert all(part.within in by_id and part.block.subnet_of(by_id[part.within].block) for part in parts)  # type: ignore[arg-type]
    async with db.acquire() as conn, conn.transaction():
        end = NOW + timedelta(days=1)
        for part in parts:
            await unroute(conn, part.id, now=end, by=BY)
        for one in held:
            await release(conn, one.id, now=end, by=BY)
    free = [row["block"] for row in await db.fetch("SELECT block FROM free_block")]
    assert sum(block.num_addresses for block in free) == 64


def test_free_subnets_touch_nothing_that_is_used() -> None:
    whole = ip_network("192.0.2.0/28")
    used = [ip_network("192.0.2.4/30"), ip_network("192.0.2.9/32")]
    assert [str(one) for one in free_within(whole, used, 31, 99)] == [
        "192.0.2.0/31",
        "192.0.2.2/31",
        "192.0.2.10/31",
        "192.0.2.12/31",
        "192.0.2.14/31",
    ]
    assert [str(one) for one in free_within(whole, used, 29, 99)] == []
    assert [str(one) for one in free_within(whole, [], 29, 1)] == ["192.0.2.0/29"]
    assert free_within(whole, [ip_network("192.0.2.0/24")], 32, 99) == []
    huge = free_within(ip_network("2001:db8::/48"), [ip_network("2001:db8::/64")], 128, 2)
    assert [str(one) for one in huge] == ["2001:db8:0:1::/128", "2001:db8:0:1::1/128"]
