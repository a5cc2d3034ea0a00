"""Lists through HTTP in a project of 10,000 devices and of 100,000: first, middle and last page, sorted, narrowed down.

The bar is the first page of 10,000 in 50 ms at the 99th percentile, and that it costs the same at 100,000.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from ipam.ledger import Want, take_all
from ipam.prefixes import prefixes_for
from service.clock import WallClock
from service.secrets import load_keys, seal
from service.store.embedded import embedded_postgres
from service.store.rows import open_pool
from service.wiring import migrate_database
from tests.bench.result import Result
from tests.service.api_world import TOKEN, World, open_world

_SIZES = (10_000, 100_000)
_REQUESTS = 60
_FIRST = 10  # requests that are not counted
_WITH_ADDRESSES = 25  # of the devices at either end of the list
_DEVICES = """
    INSERT INTO device (project_id, facility_id, plan_id, operating_system, hostname, tags, root_password,
                        password_hash, deadline, state, created_at, updated_at)
    SELECT $1, (array(SELECT id FROM facility ORDER BY code))[1 + n % (SELECT count(*) FROM facility)],
           (array(SELECT id FROM plan ORDER BY slug))[1 + n % (SELECT count(*) FROM plan)], 'debian_12',
           'web' || n, CASE n % 100 WHEN 0 THEN ARRAY['tagged'] ELSE '{}' END, $4, '', now(),
           CASE n % 1000 WHEN 0 THEN 'failed' ELSE 'active' END, moment, moment
    FROM generate_series($2::int, $3::int) AS n, LATERAL (SELECT now() - (n || ' seconds')::interval AS moment) AS t
"""
_EVENTS = """
    INSERT INTO event (type, body, device_id, project_id)
    SELECT 'provisioning.' || kind, 'an event', d.id, d.project_id
    FROM device AS d, generate_series(101, 110) AS kind WHERE d.project_id = $1 AND d.hostname = 'web' || $2::int
"""
_LISTS = {
    "": "/projects/{project}/devices",
    ".middle": "/projects/{project}/devices?page={middle}",
    ".last": "/projects/{project}/devices?page={last}",
    ".facility": "/projects/{project}/devices?facility=ewr1",
    ".state": "/projects/{project}/devices?state=failed",
    ".tag": "/projects/{project}/devices?tag=tagged",
    ".hostname": "/projects/{project}/devices?hostname=web77",
    ".by_hostname": "/projects/{project}/devices?sort_by=hostname&sort_direction=asc",
    ".by_updated_at": "/projects/{project}/devices?sort_by=updated_at",
    ".by_state": "/projects/{project}/devices?sort_by=state",
    ".search": "/projects/{project}/devices?search=web77",
    ".include": "/projects/{project}/devices?include=project,ssh_keys,facility",
    ".organization": "/organizations/{organization}/devices",
    ".staff": "/admin/v1/devices",
    ".events": "/projects/{project}/events",
    ".ips": "/projects/{project}/ips?per_page=10",
    ".projects": "/projects",
}


@contextmanager
def _place() -> Iterator[tuple[Path, str]]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roundhouse-bench-")))
        folder.chmod(0o755)
        yield folder, stack.enter_context(embedded_postgres(folder / "pg"))


def lists() -> list[Result]:
    """Pages of the devices, events, addresses and projects of ever more devices."""
    with _place() as (folder, url):
        return asyncio.run(_lists(folder, url))


async def _lists(folder: Path, url: str) -> list[Result]:
    state = folder / "state"
    state.mkdir()
    await migrate_database(url)
    results: list[Result] = []
    password = seal(load_keys(state), "a password")
    async with await open_pool(url) as db, open_world(db, url, state) as world:
        have = 0
        for size in _SIZES:
            await _fill(world, password, have, size)
            have = size
            places = {"project": world.project, "organization": world.organization}
            pages = {"middle": size // 20, "last": size // 10}
            for name, path in _LISTS.items():
                results.append(await _measured(world, f"api.list.{size}{name}", path.format(**places, **pages)))
    return results


async def _fill(world: World, password: bytes, have: int, size: int) -> None:
    """More devices of the same project; those at both ends have addresses and events."""
    await world.db.execute(_DEVICES, world.project, have + 1, size, password, timeout=600)
    ends = [*range(have + 1, have + 1 + _WITH_ADDRESSES), *range(size - _WITH_ADDRESSES, size)]
    now = WallClock().now()
    for number in ends:
        await world.db.execute(_EVENTS, world.project, number)
        device: UUID = await world.db.fetchval("SELECT id FROM device WHERE hostname = $1", f"web{number}")
        async with world.db.acquire() as conn, conn.transaction():
            for slot in ("public", "private", "ipv6"):
                prefixes = await prefixes_for(conn, slot, "ewr1")
                want = Want(device, slot, "bench", world.project, {})
                await take_all(conn, prefixes, [want], now=now, cool_down=timedelta(0))
    await world.db.execute("VACUUM ANALYZE")


async def _measured(world: World, name: str, path: str) -> Result:
    times = await asyncio.to_thread(_times, world.url, path)
    slow = statistics.quantiles(times, n=100)[98]
    return Result(name, 1000 * slow, "ms, p99", 1, f"p50 {1000 * statistics.median(times):.1f} ms")


def _times(url: str, path: str) -> list[float]:
    """Seconds of each request, over one connection."""
    found = []
    connection = HTTPConnection(urlsplit(url).netloc)
    for number in range(_REQUESTS + _FIRST):
        began = time.perf_counter()
        connection.request("GET", path, headers={"X-Auth-Token": TOKEN})
        response = connection.getresponse()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"GET {path} answers {response.status}")
        if number >= _FIRST:  # the first ones see everything for the first time
            found.append(time.perf_counter() - began)
    connection.close()
    return found


PARTS = {"api.list": lists}
