"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.store.rows import Pool
from tests.service.api_world import World, open_world
from tests.service.elastic_world import add_elastic_space


@pytest.fixture
async def world(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API on a real socket with seeded rows and addresses, and no machines."""
    async with open_world(db, database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def elastic(world: World) -> World:
    """The API's world with elastic space."""
    await add_elastic_space(world)
    return world
