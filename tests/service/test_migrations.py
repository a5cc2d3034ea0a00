"""A database of an earlier version is brought forward with what is in it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import collapse_addresses, ip_network
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from ipam.ledger import take
from ipam.prefixes import prefix_by_id
from sql.migrate import migrate, migrations
from tests.conftest import database_on

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
async def empty(postgres_url: str) -> AsyncIterator[str]:
    """A database without anything."""
    name = f"roundhouse_old_{uuid4().hex[:12]}"
    conn = await asyncpg.connect(postgres_url)
    await conn.execute(f"CREATE DATABASE {name}")
    yield database_on(postgres_url, name)
    await conn.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await conn.close()


async def version_2(url: str) -> Any:
    """The schema before the address manager, as its own program left it."""
    conn = await asyncpg.connect(url)
    await conn.execute(
        "CREATE TABLE schema_migration (number int PRIMARY KEY, title text NOT NULL, checksum text NOT NULL,"
        " applied_at timestamptz NOT NULL DEFAULT now())"
    )
    for migration in migrations()[:2]:
        await conn.execute(migration.text)
        await conn.execute(
            "INSERT INTO schema_migration (number, title, checksum) VALUES ($1, $2, $3)",
            migration.number,
            migration.title,
            migration.checksum,
        )
    return conn


@pytest.mark.parametrize(
    ("cidr", "length", "cursor"),
    [
        ("198.51.100.0/24", 31, 0),
        ("198.51.100.0/24", 31, 5),
        ("198.51.100.0/24", 31, 128),
        ("198.51.100.0/31", 31, 1),
        ("2001:db8::/48", 64, 77),
        ("2001:db8::/32", 128, 1),
    ],
)
async def test_what_was_held_is_held_and_the_rest_is_free(empty: str, cidr: str, length: int, cursor: int) -> None:
    conn = await version_2(empty)
    whole = ip_network(cidr)
    await conn.execute("INSERT INTO vrf (name) VALUES ('default')")
    prefix_id = await conn.fetchval(
        "INSERT INTO prefix (vrf_id, cidr, role, facility, block_length, cursor)"
        " VALUES (1, $1, 'public', 'ewr1', $2, $3) RETURNING id",
        whole,
        length,
        cursor,
    )
    used = [ip_network((whole[number << (whole.max_prefixlen - length)], length)) for number in range(cursor)]
    for number, block in enumerate(used):
        if number % 3 == 2:
            await conn.execute("INSERT INTO free_block VALUES ($1, $2, $3)", prefix_id, block, NOW)
        else:
            await conn.execute(
                "INSERT INTO tenure (vrf_id, prefix_id, block, owner, slot, during)"
                " VALUES (1, $1, $2, $3, 'public', tstzrange($4, NULL))",
                prefix_id,
                block,
                uuid4(),
                NOW,
            )
    assert await migrate(conn) == [migration.title for migration in migrations()[2:]]
    held = [row["block"] for row in await conn.fetch("SELECT block FROM tenure")]
    free = [row["block"] for row in await conn.fetch("SELECT block FROM free_block")]
    assert sum(block.num_addresses for block in (*held, *free)) == whole.num_addresses
    assert list(collapse_addresses((*held, *free))) == [whole]
    if cursor < 2 ** (length - whole.prefixlen):
        await conn.set_type_codec("jsonb", encoder=str, decoder=str, schema="pg_catalog")
        prefix = await prefix_by_id(conn, prefix_id)
        async with conn.transaction():
            taken = await take(conn, [prefix], uuid4(), "public", now=NOW, by="user:test", cool_down=timedelta(hours=1))
        assert taken.block not in used
    await conn.close()
