"""What tests of reverse DNS stand on: devices and blocks to be named, a fast clock, and the loop that keeps zones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from uuid import UUID

from ipam import elastic
from ipam.ledger import Tenure, take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from service.addresses.dns_updates import ReverseDns, dns_server, run_reverse_dns
from service.parts import Parts
from service.settings import Settings
from service.store.rows import Pool
from tests.service.api_world import World
from tests.service.named import KEY_NAME, KEY_SECRET, Named
from tests.service.parts import make_parts

NOW = datetime.now(UTC)
BY = "user:test"
TEMPLATE = "{hostname}.{facility}.example.net"


@dataclass(frozen=True, slots=True)
class FastClock:
    """A clock on which a second takes two milliseconds."""

    began: float = field(default_factory=monotonic)

    def now(self) -> datetime:
        return NOW + timedelta(seconds=(monotonic() - self.began) * 500)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 500)


def settings_for(world: World, named: Named, **given: object) -> Settings:
    return replace(
        Settings(
            dns_server=f"127.0.0.1:{named.port}",
            dns_key_name=KEY_NAME,
            dns_key_secret=KEY_SECRET,
            ptr_template=TEMPLATE,
        ),
        **given,  # type: ignore[arg-type]
    )


def parts_for(settings: Settings, tmp_path: Path) -> Parts:
    return replace(make_parts(replace(settings, state_dir=tmp_path)), clock=FastClock())


def reverse_dns(db: Pool, parts: Parts) -> ReverseDns:
    server = dns_server(parts.settings)
    assert server is not None
    return ReverseDns(db, parts, server)


@asynccontextmanager
async def running(db: Pool, parts: Parts) -> AsyncIterator[None]:
    task = asyncio.create_task(run_reverse_dns(db, parts))
    try:
        yield
    finally:
        assert not task.done(), task
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def until(check: Callable[[], object]) -> None:
    for _ in range(2400):
        found = check()
        if asyncio.iscoroutine(found):
            found = await found
        if found:
            return
        await asyncio.sleep(0.025)
    raise AssertionError("it did not come to pass")


async def add_device(world: World, hostname: str, *slots: str) -> tuple[UUID, list[Tenure]]:
    """A device with its links, as `place` leaves it."""
    await world.add_machines(1)
    device = UUID((await world.order(hostname=hostname)).body["id"])
    async with world.db.acquire() as conn, conn.transaction():
        links = [
            await take(
                conn,
                await prefixes_for(conn, slot, "ewr1"),
                device,
                slot,
                now=NOW - timedelta(days=1),
                by=BY,
                project_id=world.project,
            )
            for slot in slots
        ]
    return device, links


async def add_elastic(world: World, cidr: str, length: int) -> Tenure:
    async with world.db.acquire() as conn, conn.transaction():
        prefix = await add_prefix(conn, await add_vrf(conn, "default"), cidr, "elastic", block_length=32)
        return await take(
            conn,
            [prefix],
            world.project,
            elastic.new_slot(),
            now=NOW - timedelta(days=1),
            by=BY,
            length=length,
            project_id=world.project,
        )


async def faults(db: Pool) -> dict[str, str | None]:
    return {row["name"]: row["fault"] for row in await db.fetch("SELECT name, fault FROM dns_zone")}
