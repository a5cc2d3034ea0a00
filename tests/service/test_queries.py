"""A typo or a renamed column in any query is found here, not by a customer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.store.rows import Connection
from sql.loader import Q
from tests.conftest import database_on


@pytest.fixture
async def connection(postgres_url: str, template: str) -> AsyncIterator[Connection]:
    """Straight to the template: preparing changes nothing."""
    conn = await asyncpg.connect(database_on(postgres_url, template))
    yield conn
    await conn.close()


@pytest.mark.parametrize("name", sorted(Q))
async def test_every_query_prepares(connection: Connection, name: str) -> None:
    await connection.prepare(Q[name])
