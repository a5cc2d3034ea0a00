"""Schemathesis finds nothing: the short run; `python -m tests.service.fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.api_world import World
from tests.service.fuzz import fuzz, ids_of

# Each where it is at home: a customer meets little but 403 where only staff may go. What waits is left to the long run.
_PLACES = {"staff": "^/(admin|ipam)/", "customer": "^/(?!admin/|ipam/).*(?<!/wait)$"}


@pytest.mark.parametrize("kind", list(_PLACES))
async def test_nothing_is_found(world: World, tmp_path: Path, kind: str) -> None:
    options = ("--include-path-regex", _PLACES[kind], "--phases", "fuzzing", "--max-examples", "1", "--seed", "7")
    found = await fuzz(world, await ids_of(world), kind, tmp_path, *options)
    assert found.cases >= 100 and found.clean, found.text
