"""docs/hooks.md: its receiver is run as it stands there, and what it says of settings is so."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.hooks.asking import ASKABLE
from service.settings import Settings
from service.store.rows import Pool
from tests.service.api_world import World, open_world
from tests.service.test_webhooks import LOOPBACK, happen, hooks_run

PAGE = (Path(__file__).parents[2] / "docs" / "hooks.md").read_text(encoding="utf-8")


@pytest.fixture
async def hooked(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(db, database_url, tmp_path, **LOOPBACK) as opened, hooks_run(db, database_url, tmp_path):
        yield opened


async def test_the_receiver_verifies_what_comes(hooked: World) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    path = f"/projects/{hooked.project}/webhooks"
    made = (await hooked.call("POST", path, {"url": f"http://127.0.0.1:{port}/hook"})).body
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        env=os.environ | {"WEBHOOK_SECRET": made["secret"], "PORT": str(port)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        await happen(hooked, type_="user.1007")
        async with asyncio.timeout(30):
            assert await process.stdout.readline() == b"user.1007\n"
        await hooked.call("POST", f"{made['href']}/secret", {"overlap_s": 0})
        refused = (await hooked.call("POST", f"{made['href']}/test")).body
        assert (refused["state"], refused["status"]) == ("dead", 400)
    finally:
        process.kill()
        await process.wait()


def test_the_page_has_every_transition_that_is_asked_and_no_setting_that_is_none() -> None:
    for transition in ASKABLE:
        assert f"| `{transition}` |" in PAGE
    for name in re.findall(r"`((?:hook|webhook|hooks)_\w+)`", PAGE):
        assert hasattr(Settings(), name), name
