"""One database for all tests that have VRFs of their own: making one takes longer than many of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import uuid4

import asyncpg
import pytest

from service.store.rows import Pool, open_pool
from tests.conftest import database_on


@pytest.fixture(scope="session")
def crowded_url(postgres_url: str, template: str) -> Iterator[str]:
    """A database with the whole schema, shared by many tests."""
    name = f"roundhouse_crowded_{uuid4().hex[:12]}"

    async def execute(statement: str) -> None:
        conn = await asyncpg.connect(postgres_url)
        try:
            await conn.execute(statement)
        finally:
            await conn.close()

    with asyncio.Runner() as runner:
        runner.run(execute(f"CREATE DATABASE {name} TEMPLATE {template}"))
        yield database_on(postgres_url, name)
        runner.run(execute(f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def crowded(crowded_url: str) -> AsyncIterator[Pool]:
    """A pool on the shared database."""
    pool = await open_pool(crowded_url)
    yield pool
    pool.terminate()
