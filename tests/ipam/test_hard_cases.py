"""Where free space, tags, corrections and changes side by side meet: cases that a random walk reaches late or never."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import pytest

from ipam.abuse import clear, tag
from ipam.committer import Committer
from ipam.elastic import merge, move, new_slot, parts_of, route, split
from ipam.errors import BadBlock, BlockTaken, IpamError, PrefixExhausted
from ipam.history import correct, history
from ipam.ledger import Want, give_back, hold, holding, take, take_all
from ipam.prefixes import Prefix, add_prefix, add_vrf, set_status
from service.store.rows import Pool

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
NO_COOL_DOWN = timedelta(0)
BY = "user:test"


async def make_prefix(db: Pool, cidr: str, role: str = "public", length: int = 32) -> Prefix:
    """A prefix in a VRF of its own."""
    async with db.acquire() as conn:
        return await add_prefix(conn, await add_vrf(conn, str(uuid4())), cidr, role, block_length=length)


async def test_a_tagged_block_is_handed_out_to_nobody_who_names_it_either(crowded: Pool) -> None:
    prefix = await make_prefix(crowded, "198.51.100.0/29")
    async with crowded.acquire() as conn:
        await tag(conn, prefix.vrf_id, ip_network("198.51.100.2/32"), "spam", "", now=START, by=BY)
        for wanted in ("198.51.100.2/32", "198.51.100.0/30"):
            with pytest.raises(BlockTaken, match="tagged"):
                await hold(conn, prefix, ip_network(wanted), Want(uuid4(), "public", BY), now=START)
        await hold(conn, prefix, ip_network("198.51.100.3/32"), Want(uuid4(), "public", BY), now=START)


async def test_a_tag_inside_a_tagged_block_leaves_the_rest_tagged(crowded: Pool) -> None:
    prefix = await make_prefix(crowded, "198.51.100.0/30")
    async with crowded.acquire() as conn:
        await tag(conn, prefix.vrf_id, ip_network("198.51.100.0/30"), "spam", "", now=START, by=BY)
        await tag(conn, prefix.vrf_id, ip_network("198.51.100.0/32"), "scan", "", now=START, by=BY)
        with pytest.raises(PrefixExhausted, match="tagged"):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        await clear(conn, prefix.vrf_id, ip_network("198.51.100.0/30"), "spam", now=START, by=BY)
        for _ in range(3):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        with pytest.raises(PrefixExhausted, match="tagged"):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)


async def test_what_a_cleared_tag_cut_is_whole_again(crowded: Pool) -> None:
    prefix = await make_prefix(crowded, "198.51.100.0/28")
    address = ip_network("198.51.100.5/32")
    async with crowded.acquire() as conn:
        await tag(conn, prefix.vrf_id, address, "spam", "", now=START, by=BY)
        await clear(conn, prefix.vrf_id, address, "spam", now=START + HOUR, by=BY)
        got = await take(conn, [prefix], uuid4(), "public", now=START + HOUR, by=BY, length=28)
    assert got.block == ip_network("198.51.100.0/28")


async def test_one_tagged_address_of_a_link_does_not_lose_the_link(crowded: Pool) -> None:
    prefix = await make_prefix(crowded, "198.51.100.0/30", length=31)
    address = ip_network("198.51.100.1/32")
    async with crowded.acquire() as conn:
        await tag(conn, prefix.vrf_id, address, "spam", "", now=START, by=BY)
        first = await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        assert first.block == ip_network("198.51.100.2/31")
        with pytest.raises(PrefixExhausted):
            await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
        await clear(conn, prefix.vrf_id, address, "spam", now=START, by=BY)
        second = await take(conn, [prefix], uuid4(), "public", now=START, by=BY)
    assert second.block == ip_network("198.51.100.0/31")


async def test_a_tag_outlasts_the_prefix_in_which_it_was_set(crowded: Pool) -> None:
    prefix = await make_prefix(crowded, "198.51.100.0/31")
    async with crowded.acquire() as conn:
        await tag(conn, prefix.vrf_id, ip_network("198.51.100.0/32"), "spam", "", now=START, by=BY)
        await set_status(conn, prefix.id, "retired")
        again = await add_prefix(conn, prefix.vrf_id, "198.51.100.0/30", "public", block_length=32)
        given = [(await take(conn, [again], uuid4(), "public", now=START, by=BY)).block for _ in range(3)]
    assert ip_network("198.51.100.0/32") not in given


async def test_space_rests_although_its_prefix_got_another_shape(crowded: Pool) -> None:
    prefix, owner = await make_prefix(crowded, "198.51.100.0/31"), uuid4()
    async with crowded.acquire() as conn:
        await take(conn, [prefix], owner, "public", now=START, by=BY)
        await give_back(conn, owner, now=START + HOUR, by=BY)
        await set_status(conn, prefix.id, "retired")
        again = await add_prefix(conn, prefix.vrf_id, "198.51.100.0/31", "public", block_length=31)
        soon, later = START + HOUR + SECOND, START + 2 * HOUR
        with pytest.raises(PrefixExhausted):
            await take(conn, [again], uuid4(), "public", now=soon, by=BY, cool_down=HOUR)
        await take(conn, [again], uuid4(), "public", now=later, by=BY, cool_down=HOUR)


async def test_larger_blocks_join_after_a_batch_that_wanted_smaller_ones(crowded: Pool) -> None:
    prefix, owner = await make_prefix(crowded, "198.51.100.0/28"), uuid4()
    async with crowded.acquire() as conn:
        await hold(conn, prefix, ip_network("198.51.100.0/29"), Want(owner, "half", BY), now=START)
        for number in range(8):
            await take(conn, [prefix], owner, f"one {number}", now=START, by=BY)
        await give_back(conn, owner, now=START + SECOND, by=BY)
        # The free half serves two of them; for the others the single addresses are joined.
        wants = [Want(owner, f"quarter {number}", BY) for number in range(3)]
        later = START + HOUR
        assert None not in await take_all(conn, [prefix], wants, now=later, cool_down=NO_COOL_DOWN, length=30)
        await give_back(conn, owner, now=later + SECOND, by=BY)
        await take(conn, [prefix], owner, "whole", now=later + HOUR, by=BY, length=28)


async def test_larger_blocks_join_also_when_they_came_back_by_a_slower_clock(crowded: Pool) -> None:
    prefix, owner = await make_prefix(crowded, "198.51.100.0/30"), uuid4()
    async with crowded.acquire() as conn:
        for number in range(4):
            await take(conn, [prefix], owner, f"one {number}", now=START, by=BY)
        with pytest.raises(PrefixExhausted):
            await take(conn, [prefix], uuid4(), "half", now=START + HOUR, by=BY, length=31)
        await give_back(conn, owner, now=START + HOUR - SECOND, by=BY)
        with pytest.raises(PrefixExhausted):
            await take(conn, [prefix], uuid4(), "too large", now=START + HOUR, by=BY, length=29)
        await take(conn, [prefix], uuid4(), "whole", now=START + HOUR, by=BY, length=30)


async def test_a_reservation_is_not_split_below_what_its_prefix_hands_out(crowded: Pool) -> None:
    prefix, project = await make_prefix(crowded, "2001:db8::/60", "elastic", 64), uuid4()
    async with crowded.acquire() as conn, conn.transaction():
        held = await take(conn, [prefix], project, new_slot(), now=START, by=BY)
        with pytest.raises(BadBlock, match="/64"):
            await split(conn, held.id, 66, now=START, by=BY)


async def test_an_end_that_is_put_right_counts_for_the_rest_of_the_block(crowded: Pool) -> None:
    prefix, owner = await make_prefix(crowded, "198.51.100.0/31", length=31), uuid4()
    async with crowded.acquire() as conn:
        tenure = await take(conn, [prefix], owner, "public", now=START, by=BY)
        await give_back(conn, owner, now=START + HOUR, by=BY)
        await correct(conn, tenure.id, "the port was shut later", by=BY, until=START + 3 * HOUR)
        for wait in (2 * HOUR, 4 * HOUR - SECOND):
            with pytest.raises(PrefixExhausted):
                await take(conn, [prefix], uuid4(), "public", now=START + wait, by=BY, cool_down=HOUR)
        await take(conn, [prefix], uuid4(), "public", now=START + 4 * HOUR, by=BY, cool_down=HOUR)


async def test_a_named_block_that_ends_ahead_of_our_clock_is_taken(crowded: Pool) -> None:
    prefix, owner = await make_prefix(crowded, "198.51.100.0/31", length=31), uuid4()
    async with crowded.acquire() as conn:
        await take(conn, [prefix], owner, "public", now=START, by=BY)
        await give_back(conn, owner, now=START + HOUR + SECOND, by=BY)  # by a process whose clock is ahead
        async with conn.transaction():
            with pytest.raises(BlockTaken, match="until"):
                await hold(conn, prefix, ip_network("198.51.100.0/31"), Want(uuid4(), "x", BY), now=START + HOUR)
        await hold(conn, prefix, ip_network("198.51.100.0/31"), Want(uuid4(), "x", BY), now=START + 2 * HOUR)


async def test_the_same_block_of_two_vrfs_to_one_device_is_refused_in_words(crowded: Pool) -> None:
    device = uuid4()
    prefixes = [await make_prefix(crowded, "198.51.100.0/31", "elastic") for _ in range(2)]
    block = ip_network("198.51.100.0/32")
    async with crowded.acquire() as conn, conn.transaction():
        held = [await hold(conn, prefix, block, Want(uuid4(), new_slot(), BY), now=START) for prefix in prefixes]
        common: dict[str, Any] = {"now": START, "by": BY, "project_id": None, "note": {}}
        await route(conn, held[0].id, block, device, **common)
        with pytest.raises(BlockTaken, match="another VRF"):
            await route(conn, held[1].id, block, device, **common)
        other = await route(conn, held[1].id, block, uuid4(), **common)
        with pytest.raises(BlockTaken):
            async with conn.transaction():
                await move(conn, other.id, device, **common)


async def test_a_device_keeps_what_is_led_to_others_too_however_it_asks_again(crowded: Pool) -> None:
    prefix, project = await make_prefix(crowded, "198.51.100.0/31", "anycast"), uuid4()
    lead: dict[str, Any] = {"now": START, "by": BY, "project_id": None, "note": {}}
    async with crowded.acquire() as conn, conn.transaction():
        held = await take(conn, [prefix], project, new_slot(), now=START, by=BY)
        parts = [await route(conn, held.id, held.block, uuid4(), anycast=True, **lead) for _ in range(4)]
        again = [await route(conn, held.id, held.block, part.owner, **lead) for part in parts]
    assert [part.id for part in again] == [part.id for part in parts]


async def test_wide_blocks_show_the_anycast_parts_and_the_corrected_ones(crowded: Pool) -> None:
    prefix, project = await make_prefix(crowded, "198.51.100.0/28", "anycast"), uuid4()
    wide, one = ip_network("198.51.100.0/24"), ip_network("198.51.100.1/32")
    async with crowded.acquire() as conn:
        held = await hold(conn, prefix, ip_network("198.51.100.0/31"), Want(project, new_slot(), BY), now=START)
        for _ in range(2):
            await route(conn, held.id, one, uuid4(), now=START, by=BY, project_id=project, note={}, anycast=True)
        await correct(conn, held.id, "another port", by=BY, note={"port": "et-0/0/1"})
        seen = await holding(conn, wide, START + HOUR, vrf_ids=[prefix.vrf_id])
        entries = await history(conn, wide, vrf_ids=[prefix.vrf_id])
    assert [tenure.kind for tenure in seen] == ["held", "anycast", "anycast"]
    assert sorted((entry.tenure.kind, entry.corrected_at is not None) for entry in entries) == [
        ("anycast", False),
        ("anycast", False),
        ("held", False),
        ("held", True),
    ]


async def _side_by_side(db: Pool, first: Any, second: Any) -> list[Any]:
    """`first` in a transaction that commits only when `second`, in its own, waits for it or is through."""
    async with db.acquire() as one, db.acquire() as two:

        async def other() -> Any:
            async with two.transaction():
                return await second(two)

        async with one.transaction():
            before = await first(one)
            task = asyncio.create_task(other())
            waiting = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted"
            pid = two.get_server_pid()
            async with db.acquire() as watcher:
                while not task.done() and not await watcher.fetchval(waiting, pid):
                    await asyncio.sleep(0.005)
        return [before, *await asyncio.gather(task, return_exceptions=True)]


async def test_giving_back_sees_what_is_led_to_a_device_at_the_same_time(crowded: Pool) -> None:
    prefix, project, device = await make_prefix(crowded, "198.51.100.0/28", "elastic"), uuid4(), uuid4()
    async with crowded.acquire() as conn:
        held = await take(conn, [prefix], project, new_slot(), now=START, by=BY)
    common: dict[str, Any] = {"now": START + HOUR, "by": BY}
    _, refused = await _side_by_side(
        crowded,
        lambda conn: route(conn, held.id, held.block, device, project_id=project, note={}, **common),
        lambda conn: give_back(conn, project, **common),
    )
    assert isinstance(refused, BlockTaken)


@pytest.mark.parametrize("merging", [True, False])
async def test_a_part_that_moves_while_its_reservation_changes_stays_in_it(crowded: Pool, merging: bool) -> None:
    prefix, project = await make_prefix(crowded, "198.51.100.0/28", "elastic"), uuid4()
    block = ip_network("198.51.100.0/32")
    common: dict[str, Any] = {"now": START + HOUR, "by": BY}
    async with crowded.acquire() as conn, conn.transaction():
        held = await take(conn, [prefix], project, new_slot(), now=START, by=BY, length=30)
        part = await route(conn, held.id, block, uuid4(), now=START, by=BY, project_id=project, note={})
        ids = [half.id for half in await split(conn, held.id, 31, now=START + SECOND, by=BY)]

    async def change(conn: Any) -> Any:
        return [await merge(conn, ids, **common)] if merging else await split(conn, ids[0], 32, **common)

    moved, made = await _side_by_side(
        crowded, lambda conn: move(conn, part.id, uuid4(), project_id=project, note={}, **common), change
    )
    async with crowded.acquire() as conn:
        assert [found.id for found in await parts_of(conn, [made[0].id])] == [moved.id]


async def test_callers_hear_of_it_when_the_reason_cannot_be_read(crowded: Pool) -> None:
    """The blocks of a batch that were committed are answered, and nobody waits for ever, whatever fails afterwards."""
    prefix = await make_prefix(crowded, "198.51.100.0/32")

    class Clock:
        def now(self) -> datetime:
            return START

    class Doors:
        """A pool that has one connection to give, and then no more."""

        def __init__(self) -> None:
            self.left = 1

        def acquire(self) -> Any:
            if not self.left:
                raise ConnectionError("no more connections")
            self.left -= 1
            return crowded.acquire()

    committer = Committer(Doors(), Clock())
    wants = [Want(uuid4(), "public", BY) for _ in range(3)]
    async with asyncio.timeout(60):
        answers = await asyncio.gather(*(committer.take([prefix], want) for want in wants), return_exceptions=True)
    assert [type(answer).__name__ for answer in answers] == ["Tenure", "ConnectionError", "ConnectionError"]
    assert not any(isinstance(answer, IpamError) for answer in answers)
