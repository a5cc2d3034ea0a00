"""Before any statement of one act, another session does the whole of another act, or waits until it may.

Who locks several prefixes does it in the order that he prefers, or in their own order: two may wait for each other.
Then the server ends one of them, and he does it again, as the committer and the API do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import asyncpg
import pytest

from ipam.errors import IpamError
from service.store.rows import Pool
from tests.ipam.checks import assert_sound
from tests.ipam.statements import Watched
from tests.ipam.test_crash import ACTS, make_scene

# Pairs that lock the same rows in ways of their own.
PAIRS = [
    ("split", "move"),
    ("split", "rehome"),
    ("split", "give_back"),
    ("merge", "route"),
    ("move", "split"),
    ("rehome", "unroute"),
    ("route", "give_back_project"),
    ("give_back_project", "route"),
    ("release", "route"),
    ("tag_widely", "take_elsewhere_first"),
    ("take_elsewhere_first", "tag_widely"),
    ("set_status", "take_elsewhere_first"),
    ("give_back", "tag"),
    ("correct", "hold"),
    ("correct", "take_joined"),
    ("add_container", "take_all"),
]


class Interrupted(Watched):
    """A connection that does something else before its n-th statement."""

    def __init__(self, conn: Any, at: int, between: Callable[[], Awaitable[None]]) -> None:
        super().__init__(conn)
        self._at, self._between = at, between

    async def before(self) -> None:
        if self.statements == self._at:
            await self._between()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        async with self._conn.transaction():
            yield


async def _interleaved(db: Pool, first: str, second: str, at: int) -> int:
    """Both acts on a fresh scene. Returns how many statements the first one has."""
    scene = await make_scene(db)
    async with db.acquire() as one, db.acquire() as two, db.acquire() as watcher:
        for conn in (one, two):
            # Only a superuser may; without it, the server takes its second to see that two wait for each other.
            with suppress(asyncpg.InsufficientPrivilegeError):
                await conn.execute("SET deadlock_timeout = '50ms'")

        async def done(conn: Any, name: str) -> None:
            for left in reversed(range(5)):
                try:
                    async with conn.transaction():
                        await ACTS[name][0](conn, scene)
                    return
                except asyncpg.DeadlockDetectedError:
                    if "take_elsewhere_first" not in (first, second) or not left:
                        raise

        task: asyncio.Task[None] | None = None

        async def between() -> None:
            nonlocal task
            task = asyncio.create_task(done(two, second))
            waiting, pid = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted", two.get_server_pid()
            while not task.done() and not await watcher.fetchval(waiting, pid):
                await asyncio.sleep(0.002)

        interrupted = Interrupted(one, at, between)
        told = list(await asyncio.gather(done(interrupted, first), return_exceptions=True))
        if task is not None:
            told += await asyncio.gather(task, return_exceptions=True)
        wrong = [err for err in told if err is not None and not isinstance(err, IpamError)]
        assert not wrong, f"{first} with {second} before statement {at}: {wrong}"
        await assert_sound(watcher, [scene.vrf_id], whole_ledger=True)
        return interrupted.statements


@pytest.mark.parametrize(("first", "second"), PAIRS)
async def test_acts_side_by_side_leave_the_ledger_sound_and_fail_in_words(
    crowded: Pool, first: str, second: str
) -> None:
    at = 0
    while at < await _interleaved(crowded, first, second, at):
        at += 1
