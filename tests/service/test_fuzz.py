"""Schemathesis finds nothing: the short run; `python -m tests.service.fuzz` is the long one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service.api_world import World
from tests.service.fuzz import fuzz, ids_of


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["staff", "customer"])
async def test_nothing_is_found(world: World, tmp_path: Path, kind: str) -> None:
    ids = await ids_of(world)
    found = await fuzz(world, ids, kind, tmp_path, "--phases", "fuzzing", "--max-examples", "1", "--seed", "7")
    assert found.cases >= 100 and found.clean, found.text
