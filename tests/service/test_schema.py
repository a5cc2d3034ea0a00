"""sql/schema.sql is what the migrations make, and a migration that was applied may not change."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import pytest

from service.store.dump import dump
from sql.migrate import MigrationChanged, migrate

SCHEMA = Path(__file__).parents[2] / "sql" / "schema.sql"


async def test_the_dump_is_the_schema(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    version = conn.get_server_version().major
    await conn.close()
    if version < 18:
        pytest.skip(f"schema.sql is told by PostgreSQL 18's pg_dump, this server is {version}")
    assert SCHEMA.read_text(encoding="utf-8") == await asyncio.to_thread(dump, database_url)


async def test_migrations_run_once_and_side_by_side(database_url: str) -> None:
    conns = [await asyncpg.connect(database_url) for _ in range(3)]
    assert await asyncio.gather(*(migrate(conn) for conn in conns)) == [[], [], []]
    for conn in conns:
        await conn.close()


async def test_an_edited_migration_is_refused(database_url: str) -> None:
    conn = await asyncpg.connect(database_url)
    await conn.execute("UPDATE schema_migration SET checksum = 'other' WHERE number = 1")
    with pytest.raises(MigrationChanged, match="0001 foundation"):
        await migrate(conn)
    await conn.close()
