"""Two processes, each with a committer of its own, allocate and give back side by side from the same prefixes."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from ipam.errors import PrefixExhausted
from ipam.ledger import Want, give_back, take_all, take_each
from ipam.prefixes import Prefix, add_prefix, add_vrf
from service.store.rows import Pool
from tests.ipam.checks import assert_sound
from tests.ipam.contender import Order, as_argument


@dataclass(slots=True)
class Process:
    """A contender and what it has told so far."""

    process: asyncio.subprocess.Process
    told: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    async def started(cls, order: Order) -> Process:
        made = cls(
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.ipam.contender", as_argument(order)),
                cwd=Path(__file__).parents[2],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
        )
        assert (await made.next_line())["kind"] == "ready"
        return made

    async def next_line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if not line.endswith(b"\n"):
            return {"kind": "gone"}
        told: dict[str, Any] = json.loads(line)
        self.told.append(told)
        return told

    def go(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")

    async def read_on(self, lines: int | None = None) -> None:
        """Listen until it is through or gone, or for that many lines."""
        while (lines is None or len(self.told) < lines) and (await self.next_line())["kind"] not in ("through", "gone"):
            pass

    async def end(self) -> None:
        """Nothing of it is left."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.communicate()

    def of_kind(self, kind: str) -> list[dict[str, Any]]:
        return [told for told in self.told if told["kind"] == kind]


async def _prefixes(db: Pool, *cidrs: str, role: str = "public", length: int = 31) -> list[Prefix]:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        return [await add_prefix(conn, vrf, cidr, role, block_length=length) for cidr in cidrs]


@asynccontextmanager
async def _both(*orders: Order) -> AsyncIterator[list[Process]]:
    """Contenders that begin at the same moment, and are gone afterwards."""
    processes = list(await asyncio.gather(*(Process.started(order) for order in orders)))
    try:
        for process in processes:
            process.go()
        yield processes
    finally:
        for process in processes:
            await process.end()


async def _assert_confirmed(db: Pool, vrf_id: int, processes: list[Process]) -> list[Any]:
    """What was confirmed to anybody stands in the ledger, which is sound. Returns its rows."""
    async with db.acquire() as conn:
        rows = await assert_sound(conn, [vrf_id], whole_ledger=True)
    ledger = {str(row["id"]): row for row in rows}
    for told in [told for process in processes for told in process.of_kind("taken")]:
        row = ledger[told["id"]]
        assert (str(row["block"]), str(row["owner"])) == (told["block"], told["owner"])
    ended = Counter((str(row["owner"]), str(row["block"])) for row in rows if row["until"] is not None)
    freed = Counter((told["owner"], told["block"]) for process in processes for told in process.of_kind("freed"))
    assert all(ended[what] >= times for what, times in freed.items())
    return rows


async def test_the_same_owners_get_the_same_blocks_from_both_to_the_last_block(db: Pool, database_url: str) -> None:
    prefixes = await _prefixes(db, "198.51.100.0/25", "203.0.113.0/25")
    owners = [str(uuid4()) for _ in range(128)]
    ids = [prefix.id for prefix in prefixes]
    common: dict[str, Any] = {"url": database_url, "owners": owners, "tasks": 1, "rounds": 1}
    # One prefers the one prefix, one the other: they wait for each other crosswise, and nobody hears of it.
    one, other = Order(seed=1, prefix_ids=ids, **common), Order(seed=2, prefix_ids=list(reversed(ids)), **common)
    async with _both(one, other) as processes:
        await asyncio.gather(*(process.read_on() for process in processes))
    assert [process.of_kind("error") for process in processes] == [[], []]
    answers: dict[str, set[str]] = defaultdict(set)
    for process in processes:
        for told in process.of_kind("taken"):
            answers[told["owner"]].add(told["block"])
    assert sorted(answers) == sorted(owners)
    assert all(len(blocks) == 1 for blocks in answers.values())
    assert len({block for blocks in answers.values() for block in blocks}) == 128
    assert len(await _assert_confirmed(db, prefixes[0].vrf_id, processes)) == 128


async def test_taking_and_giving_back_side_by_side_fails_nobody(db: Pool, database_url: str) -> None:
    prefixes = await _prefixes(db, "198.51.100.0/26", "203.0.113.0/26")
    (elastic,) = await _prefixes(db, "192.0.2.0/24", role="elastic", length=32)
    owners = [str(uuid4()) for _ in range(60)]
    common: dict[str, Any] = {"url": database_url, "tasks": 12, "rounds": 40, "giving": 4, "elastic_id": elastic.id}
    ids = [prefix.id for prefix in prefixes]
    seed = random.randrange(2**32)
    one = Order(seed=seed, prefix_ids=ids, owners=owners[:45], **common)
    other = Order(seed=seed + 1, prefix_ids=ids, owners=owners[15:], **common)
    async with _both(one, other) as processes:
        await asyncio.gather(*(process.read_on() for process in processes))
    assert [process.of_kind("error") for process in processes] == [[], []]
    rows = await _assert_confirmed(db, prefixes[0].vrf_id, processes)
    assert len(rows) > 300
    # Each of them really came upon blocks that the other had given back.
    assert all(len(process.of_kind("freed")) > 30 for process in processes)


async def test_what_a_killed_process_was_told_is_in_the_ledger_and_the_other_goes_on(
    db: Pool, database_url: str
) -> None:
    prefixes = await _prefixes(db, "198.51.100.0/26")
    owners = [str(uuid4()) for _ in range(30)]
    common: dict[str, Any] = {"url": database_url, "owners": owners, "tasks": 8, "giving": 4}
    orders = [
        Order(seed=3, prefix_ids=[prefixes[0].id], rounds=1_000_000, **common),
        Order(seed=4, prefix_ids=[prefixes[0].id], rounds=50, **common),
    ]
    async with _both(*orders) as (killed, other):
        going_on = asyncio.create_task(other.read_on())
        await killed.read_on(lines=150)
        killed.process.kill()
        await killed.process.wait()
        await killed.read_on()  # what was in the pipe was confirmed as well
        await going_on
    assert other.of_kind("error") == []
    assert other.told[-1]["kind"] == "through"
    rows = await _assert_confirmed(db, prefixes[0].vrf_id, [killed, other])
    held = {row["owner"] for row in rows if row["until"] is None}
    assert held <= {UUID(owner) for owner in owners}


async def test_who_takes_crosswise_waits_for_the_other_and_nobody_is_thrown_out(db: Pool) -> None:
    first, second = await _prefixes(db, "198.51.100.0/30", "203.0.113.0/30")
    common: dict[str, Any] = {"now": datetime.now(UTC), "cool_down": timedelta(0)}

    async def take_four(prefixes: list[Prefix]) -> list[Any]:
        wants = [Want(uuid4(), "public", "user:crosswise") for _ in range(2)]
        async with db.acquire() as conn, conn.transaction():
            # No lock is ever waited for in a circle: PostgreSQL would find it within this time, and end one of them.
            await conn.execute("SET LOCAL deadlock_timeout = '10ms'")
            return await take_all(conn, prefixes, wants, **common)

    for _ in range(50):
        taken = await asyncio.gather(*(take_four(way) for way in ([first, second], [second, first]) for _ in range(2)))
        owners = [tenure.owner if tenure else None for tenures in taken for tenure in tenures]
        async with db.acquire() as conn:
            for owner in filter(None, owners):
                await give_back(conn, owner, now=datetime.now(UTC), by="user:crosswise")
            common["now"] = datetime.now(UTC)


async def test_orders_that_take_from_two_prefixes_crosswise_get_all_of_their_blocks_or_none(db: Pool) -> None:
    first, second = await _prefixes(db, "198.51.100.0/29", "203.0.113.0/30")
    common: dict[str, Any] = {"now": datetime.now(UTC), "cool_down": timedelta(0)}

    async def order(*ways: Prefix) -> list[Any] | None:
        owner = uuid4()
        asked = [(Want(owner, slot, "user:crosswise"), [way]) for slot, way in zip("ab", ways, strict=True)]
        try:
            async with db.acquire() as conn, conn.transaction():
                await conn.execute("SET LOCAL deadlock_timeout = '10ms'")
                return await take_each(conn, asked, **common)
        except PrefixExhausted as err:
            assert "203.0.113.0/30" in str(err)
            return None

    for _ in range(20):
        ways = [(first, second), (second, first)] * 2
        taken = [tenures for tenures in await asyncio.gather(*(order(*way) for way in ways)) if tenures is not None]
        # The smaller prefix serves two of the four; what the others took of the larger one went back with them.
        assert len(taken) == 2 and all(len(tenures) == 2 for tenures in taken)
        async with db.acquire() as conn:
            assert await conn.fetchval("SELECT count(*) FROM tenure WHERE upper_inf(during)") == 4
            for tenures in taken:
                await give_back(conn, tenures[0].owner, now=datetime.now(UTC), by="user:crosswise")
            common["now"] = datetime.now(UTC)
