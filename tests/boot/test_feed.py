"""The index follows the database: what any statement changes is there soon, and it outlives the database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest

from ipam.ledger import give_back, take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from service.boot.feed import BootFeed, facts_of
from service.boot.index import BootIndex
from service.clock import WallClock
from service.lifecycle import MachineState
from service.store.rows import Pool
from sql.loader import Q
from tests.service.api_world import World

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@asynccontextmanager
async def followed(url: str) -> AsyncIterator[BootFeed]:
    """A feed that has read everything once."""
    feed = BootFeed(url, BootIndex(), WallClock())
    running = asyncio.create_task(feed.run())
    try:
        await asyncio.wait_for(feed.ready.wait(), 60)
        yield feed
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    """Wait until the news has come."""
    async with asyncio.timeout(60):
        while not true():
            await asyncio.sleep(0.005)


async def as_in(db: Pool, index: BootIndex) -> bool:
    """Whether the index is what the database says."""
    rows = await db.fetch(Q["all_boot_facts"])
    facts = [facts_of(row) for row in rows]
    return {one.port_id for one in facts} == set(index.known()) and all(
        index.by_id(one.port_id) == one for one in facts
    )


CHANGES = (
    "UPDATE machine SET state = 'in_use' WHERE name = 'm1'",
    "UPDATE machine SET installed = true WHERE name = 'm1'",
    "UPDATE machine SET mac = '02:aa:00:00:00:01' WHERE name = 'm1'",
    "UPDATE machine SET arch = 'arm64', secure_boot = true WHERE name = 'm1'",
    "UPDATE machine SET name = 'renamed' WHERE name = 'm1'",
    "UPDATE machine SET port_id = (SELECT port_id FROM machine WHERE name = 'm0') WHERE name = 'm1' "
    "AND NOT EXISTS (SELECT FROM machine WHERE name = 'm0')",
    "UPDATE leaf_port SET booted_mac = '02:bb:00:00:00:01' WHERE name = 'xe-0/0/2'",
    "UPDATE leaf_port SET name = 'xe-0/0/9' WHERE name = 'xe-0/0/2'",
    "UPDATE leaf SET name = 'other-leaf'",
    "DELETE FROM machine WHERE name = 'm2'",
    "INSERT INTO leaf_port (leaf_id, name) SELECT id, 'xe-0/0/40' FROM leaf",
    "DELETE FROM leaf_port WHERE id NOT IN (SELECT port_id FROM machine)",
)


async def test_every_change_of_what_decides_is_followed(world: World, database_url: str) -> None:
    await world.add_machines(3)
    async with followed(database_url) as feed:
        index = feed.index
        assert len(index) == 3 and await as_in(world.db, index)
        for change in CHANGES:
            before = feed.loaded_at
            changed = await world.db.execute(change)
            async with asyncio.timeout(60):
                while not await as_in(world.db, index):
                    await asyncio.sleep(0.005)
            # A leaf's name stands in all its ports: everything is read anew, and nothing else makes that needful.
            assert change.startswith("UPDATE leaf SET") or feed.loaded_at == before, (change, changed)


async def test_two_machines_that_are_swapped_in_one_statement_are_found_at_their_new_ports(
    world: World, database_url: str
) -> None:
    await world.add_machines(2)
    async with followed(database_url) as feed:
        await world.db.execute("UPDATE machine AS m SET port_id = o.port_id FROM machine AS o WHERE o.name <> m.name")
        await until(lambda: getattr(feed.index.home_of("02:00:00:00:00:00"), "port", "") == "xe-0/0/1")
        assert await as_in(world.db, feed.index)


async def test_a_device_that_boots_another_way_and_a_boot_link_that_comes_and_goes_are_followed(
    world: World, database_url: str
) -> None:
    (machine_id,) = await world.add_machines(1)
    device = (await world.order()).body["id"]
    await world.db.execute("UPDATE machine SET device_id = $1, state = 'in_use' WHERE id = $2", device, machine_id)
    async with followed(database_url) as feed:
        port_id = next(iter(feed.index.known()))

        def facts(name: str) -> object:
            return getattr(feed.index.by_id(port_id), name)

        assert (facts("state"), facts("always_pxe"), facts("link")) == (MachineState.IN_USE, False, None)
        await world.db.execute("UPDATE device SET always_pxe = true, operating_system = 'custom_ipxe'")
        await until(lambda: (facts("always_pxe"), facts("operating_system")) == (True, "custom_ipxe"))
        async with world.db.acquire() as conn, conn.transaction():
            vrf = await add_vrf(conn, "default")
            for cidr, role, length in (("10.64.0.0/24", "boot", 31), ("2001:db8:6400::/56", "boot6", 64)):
                await add_prefix(conn, vrf, cidr, role, block_length=length, facility="ewr1")
                prefixes = await prefixes_for(conn, role, "ewr1")
                await take(conn, prefixes, port_id, role, now=NOW, by="test")
        await until(lambda: facts("link6") is not None and facts("link") is not None)
        assert (str(facts("link")), str(facts("link6"))) == ("10.64.0.0/31", "2001:db8:6400::/127")
        async with world.db.acquire() as conn, conn.transaction():
            await give_back(conn, port_id, now=datetime.now(UTC), by="test")
        await until(lambda: facts("link") is None)


async def test_it_answers_on_while_the_database_is_away_and_catches_up(world: World, database_url: str) -> None:
    await world.add_machines(2)
    async with followed(database_url) as feed:
        known = feed.index.home_of("02:00:00:00:00:01")
        assert known is not None and feed.connected
        await world.db.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        await until(lambda: not feed.connected)
        assert feed.index.home_of("02:00:00:00:00:01") == known
        await world.db.expire_connections()  # not all of them may have seen their end yet
        await world.db.execute("UPDATE machine SET state = 'maintenance' WHERE name = 'm1'")
        await until(lambda: getattr(feed.index.home_of("02:00:00:00:00:01"), "state", None) == "maintenance")


async def test_many_ports_are_read_in_pages_and_none_is_left_out(db: Pool, database_url: str) -> None:
    await db.execute("INSERT INTO metro (code, name, country) VALUES ('ny', 'ny', 'US')")
    await db.execute("INSERT INTO facility (metro_id, code, name) SELECT id, 'ewr1', 'ewr1' FROM metro")
    await db.execute(
        "INSERT INTO leaf (facility_id, name, host, username, secret, host_key)"
        " SELECT id, 'leaf1', '', '', '', '' FROM facility"
    )
    await db.execute(
        "INSERT INTO leaf_port (leaf_id, name) SELECT id, 'xe-0/0/' || n FROM leaf, generate_series(0, 4999) AS n"
    )
    async with followed(database_url) as feed:
        assert len(feed.index) == 5000
        assert await as_in(db, feed.index)


@pytest.mark.parametrize("address", ["10.64.0.1", "2001:db8:6400::1"])
async def test_a_boot_links_address_leads_to_its_port(world: World, address: str) -> None:
    (machine_id,) = await world.add_machines(1)
    port_id = await world.db.fetchval("SELECT port_id FROM machine WHERE id = $1", machine_id)
    async with world.db.acquire() as conn, conn.transaction():
        vrf = await add_vrf(conn, "default")
        for cidr, role, length in (("10.64.0.0/24", "boot", 31), ("2001:db8:6400::/56", "boot6", 64)):
            await add_prefix(conn, vrf, cidr, role, block_length=length, facility="ewr1")
            await take(conn, await prefixes_for(conn, role, "ewr1"), port_id, role, now=NOW, by="test")
    query = "boot_link_of_address6" if ":" in address else "boot_link_of_address"
    row = await world.db.fetchrow(Q[query], address)
    assert (row["port_id"], row["machine_id"], row["mac"]) == (port_id, machine_id, "02:00:00:00:00:00")
    # A port's /64 is its own as a whole; the next one is not.
    assert await world.db.fetchrow(Q[query], "2001:db8:6400:1::1" if ":" in address else "10.64.0.9") is None


async def test_a_database_that_refuses_is_asked_again() -> None:
    feed = BootFeed("postgresql://nobody@127.0.0.1:1/nowhere", BootIndex(), WallClock())
    running = asyncio.create_task(feed.run())
    await asyncio.sleep(0.2)
    assert not running.done() and not feed.ready.is_set()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
