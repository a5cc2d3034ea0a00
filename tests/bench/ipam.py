"""The address manager's speed on the embedded PostgreSQL, with durable commits: allocation and the ledger."""

from __future__ import annotations

import asyncio
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, ip_network
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
from aiohttp import web

from images.catalogue import load_catalogue
from ipam.committer import Committer
from ipam.ledger import Want, holding, take_all
from ipam.prefixes import Prefix, add_prefix, add_vrf
from service.api.app import make_api
from service.clock import WallClock
from service.seed import seed
from service.settings import Settings
from service.store.embedded import embedded_postgres
from service.store.notify import Hub
from service.store.rows import Pool, open_pool
from service.wiring import make_parts
from sql.migrate import migrate
from tests.bench.result import Result

_SECONDS = 5.0
_FILLS = (0, 50_000, 1_000_000)
_CLIENTS = (1, 16, 256)
_COOL_DOWN = timedelta(hours=1)
_NOTE = {"machine": "m1234", "leaf": "leaf12", "port": "xe-0/0/12", "mac": "02:00:00:00:12:34", "hostname": "web1"}
_TENURES = 10_000_000
_PER_BLOCK = 10  # tenures of each block, a day each
_FIRST_DAY = datetime(2026, 1, 1, tzinfo=UTC)
_LOOKUPS = 5_000
_WHAT = ("vrf_id", "prefix_id", "prefix_cidr", "block", "owner", "slot", "project_id", "opened_by")
_COLUMNS = (*_WHAT, "closed_by", "closed_at", "note", "during")


@contextmanager
def _postgres() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="roundhouse-bench-") as folder:
        Path(folder).chmod(0o755)
        with embedded_postgres(Path(folder) / "pg") as url:
            yield url


@asynccontextmanager
async def _database(url: str) -> AsyncIterator[Pool]:
    conn = await asyncpg.connect(url)
    await migrate(conn)
    await conn.close()
    pool = await open_pool(url)
    try:
        yield pool
    finally:
        await pool.close()


def _part(measure: Callable[[str], Coroutine[Any, Any, list[Result]]]) -> Callable[[], list[Result]]:
    def run() -> list[Result]:
        with _postgres() as url:
            return asyncio.run(measure(url))

    return run


async def _prefix(db: Pool) -> Prefix:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        return await add_prefix(conn, vrf, "10.0.0.0/8", "private", block_length=31, facility="ewr1")


async def _bare_commits(db: Pool) -> float:
    """Commits of one small row a second, one after the other: what the disk allows to whoever does not share."""
    async with db.acquire() as conn:
        await conn.execute("CREATE TABLE IF NOT EXISTS bare (id bigint)")
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < _SECONDS / 2:
            await conn.execute("INSERT INTO bare VALUES (1)")
            count += 1
        return count / (time.perf_counter() - began)


async def _fill(db: Pool, prefix: Prefix, count: int) -> None:
    while count > 0:
        size = min(count, 5000)
        wants = [Want(uuid4(), "private", "user:bench", None, _NOTE) for _ in range(size)]
        async with db.acquire() as conn, conn.transaction():
            await take_all(conn, [prefix], wants, now=datetime.now(UTC), cool_down=_COOL_DOWN)
        count -= size
        if count % 100_000 == 0:
            print(f"  {count:,} assignments to go", file=sys.stderr, flush=True)


async def _rate(committer: Committer, prefix: Prefix, clients: int) -> float:
    blocks: list[str] = []
    end = time.perf_counter() + _SECONDS

    async def client() -> None:
        while time.perf_counter() < end:
            want = Want(uuid4(), "private", "user:bench", None, _NOTE)
            blocks.append(str((await committer.take([prefix], want, cool_down=_COOL_DOWN)).block))

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    took = time.perf_counter() - began
    if len(set(blocks)) != len(blocks):
        raise AssertionError("a block was given out twice")
    return len(blocks) / took


async def _allocate(url: str) -> list[Result]:
    found = []
    async with _database(url) as db:
        prefix, committer, filled = await _prefix(db), Committer(db, WallClock()), 0
        bare = await _bare_commits(db)
        found.append(Result("ipam.commit.bare", bare, "1/s", note="one row a commit, this machine's disk"))
        empty: dict[int, float] = {}
        for fill in _FILLS:
            filled = await db.fetchval("SELECT count(*) FROM tenure")
            await _fill(db, prefix, fill - filled)
            for clients in _CLIENTS:
                rate = await _rate(committer, prefix, clients)
                empty.setdefault(clients, rate)
                note = f"durable; {rate / empty[clients]:.2f} of the empty prefix"
                name = f"ipam.allocate.{clients}.{fill}"
                found.append(Result(name, rate, "1/s", clients, note, "bare commits", rate / bare))
    return found


async def _http(url: str) -> list[Result]:
    clients, token, found = 16, "bench", []
    async with _database(url) as db:
        prefix = await _prefix(db)
        bare = await _bare_commits(db)
        catalogue = load_catalogue()
        async with db.acquire() as conn:
            await seed(conn, token=token, operating_systems=[entry.slug for entry in catalogue])
        with tempfile.TemporaryDirectory() as state:
            app = make_api(db, make_parts(Settings(state_dir=Path(state)), boot_port=0), Hub(url))
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            path = f"/ipam/v1/prefixes/{prefix.id}/tenures"
            program = [sys.executable, "-m", "tests.bench.http_client", str(port), path, token, str(clients)]
            client = await asyncio.create_subprocess_exec(*program, str(_SECONDS), stdout=asyncio.subprocess.PIPE)
            out, _ = await client.communicate()
            rate, failed = (float(word) for word in out.split())
            await runner.cleanup()
        note = f"POST …/tenures, client in a process of its own, {failed:.0f} refused"
        found.append(Result("ipam.allocate.http.16.0", rate, "1/s", clients, note, "bare commits", rate / bare))
    return found


async def _copy(db: Pool, prefix: Prefix) -> None:
    """Ten million tenures by COPY; the constraint is put back afterwards, so that all of them are checked by it."""
    days = [
        f'["{_FIRST_DAY + timedelta(days=day)}","{_FIRST_DAY + timedelta(days=day + 1)}")' for day in range(_PER_BLOCK)
    ]
    days[-1] = f'["{_FIRST_DAY + timedelta(days=_PER_BLOCK - 1)}",)'
    note = '{"machine": "m1234", "leaf": "leaf12", "port": "xe-0/0/12", "mac": "02:00:00:00:12:34"}'
    quoted = note.replace('"', '""')
    head = f"{prefix.vrf_id},{prefix.id},{prefix.cidr}"
    first = int(IPv4Address(prefix.cidr.first))

    async def rows() -> AsyncIterator[bytes]:
        for start in range(0, _TENURES // _PER_BLOCK, 2000):
            lines = []
            for number in range(start, start + 2000):
                block = f"{IPv4Address(first + 2 * number)}/31"
                project = uuid4()
                for day in days:
                    during = day.replace('"', '""')
                    end = ",," if day.endswith(",)") else "run:bench,2026-02-01,"
                    lines.append(f'{head},{block},{uuid4()},private,{project},run:bench,{end}"{quoted}","{during}"\n')
            if start % 100_000 == 0:
                print(f"  {start * _PER_BLOCK:,} tenures copied", file=sys.stderr, flush=True)
            yield "".join(lines).encode()

    async with db.acquire() as conn:
        definition = await conn.fetchval(
            "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'tenure_overlap4'"
        )
        await conn.execute("ALTER TABLE tenure DROP CONSTRAINT tenure_overlap4")
        await conn.copy_to_table("tenure", source=rows(), columns=_COLUMNS, format="csv")
        print("  building the constraint", file=sys.stderr, flush=True)
        await conn.execute("SET maintenance_work_mem = '1GB'")
        await conn.execute(f"ALTER TABLE tenure ADD CONSTRAINT tenure_overlap4 {definition}", timeout=3600)
        await conn.execute("ANALYZE tenure")


async def _ledger(url: str) -> list[Result]:
    dice = random.Random(7)
    async with _database(url) as db:
        prefix = await _prefix(db)
        began = time.perf_counter()
        await _copy(db, prefix)
        loaded = time.perf_counter() - began
        took = []
        async with db.acquire() as conn:
            for _ in range(_LOOKUPS):
                address = IPv4Address(int(prefix.cidr.first) + dice.randrange(_TENURES // _PER_BLOCK * 2))
                at = _FIRST_DAY + timedelta(hours=dice.randrange(24 * (_PER_BLOCK + 2)))
                began = time.perf_counter()
                found = await holding(conn, ip_network(address), at, vrf_ids=[prefix.vrf_id])
                took.append((time.perf_counter() - began) * 1000)
                if len(found) != 1:
                    raise AssertionError(f"{address} at {at}: {found}")
        committer = Committer(db, WallClock())
        other = await _other_prefix(db)
        rate = await _rate(committer, other, 256)
    took.sort()
    note = f"{_TENURES:,} tenures, loaded and checked in {loaded:.0f} s"
    return [
        Result("ipam.ledger.at.10000000.p50", took[len(took) // 2], "ms", 1, note),
        Result("ipam.ledger.at.10000000.p99", took[len(took) * 99 // 100], "ms", 1, note, "bar: 5 ms", took[-50] / 5),
        Result("ipam.allocate.256.ledger10000000", rate, "1/s", 256, "an empty prefix beside that ledger"),
    ]


async def _other_prefix(db: Pool) -> Prefix:
    async with db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        return await add_prefix(conn, vrf, "11.0.0.0/8", "private", block_length=31, facility="ewr1")


PARTS: dict[str, Callable[[], list[Result]]] = {
    "ipam.allocate": _part(_allocate),
    "ipam.http": _part(_http),
    "ipam.ledger": _part(_ledger),
}
