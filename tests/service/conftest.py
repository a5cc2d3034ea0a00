"""Fixtures of the service's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog

from service.store.rows import Pool
from tests.service.api_world import TOKEN, World, open_world
from tests.service.elastic_world import add_elastic_space
from tests.service.shell import Shell


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


@pytest.fixture
def shell(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Shell]:
    """A shell whose roundhouse talks to the API under test."""
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    monkeypatch.delenv("ROUNDHOUSE_PROJECT", raising=False)
    with structlog.testing.capture_logs():  # the API's log is not the command's output
        yield Shell(capsys)
