"""The loop that numbers events, tells hooks and asks them. Any number of processes may run it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import structlog

from service.clock import Clock
from service.hooks import asking, telling
from service.hooks.senders import Process, Senders, senders
from service.store.event_log import LOGGED, NEWS, number_events
from service.store.notify import Hub
from service.store.rows import AWAY, Pool
from sql.loader import Q

log = structlog.get_logger()

_LOOK_S, _LEAST_S = 1.0, 0.01
_AWAY_S = 1.0
_AT_ONCE = 16  # deliveries and questions under way in one process
_PRUNE_S = 3600.0


async def run_hooks(db: Pool, process: Process, hub: Hub) -> None:
    """Run until cancelled. Raises ValueError when the setting webhook_networks is no list of networks."""
    async with senders(process) as ways, asyncio.TaskGroup() as tasks:
        tasks.create_task(_number(db, hub))
        tasks.create_task(_prune(db, process))
        await _Work(db, process.clock, ways).run(hub)


async def _number(db: Pool, hub: Hub) -> None:
    async with hub.watch(NEWS) as watch:
        while True:
            try:
                await number_events(db)
            except AWAY as err:
                log.warning("events_not_numbered", reason=str(err) or type(err).__name__)
                await asyncio.sleep(_AWAY_S)
            await watch.changed(_LOOK_S)


async def _prune(db: Pool, process: Process) -> None:
    """What has arrived is forgotten after a while; dead letters are kept."""
    keep = timedelta(days=process.settings.hook_keep_days)
    while True:
        try:
            await db.execute(Q["prune_deliveries"], process.clock.now() - keep)
        except AWAY as err:
            log.warning("deliveries_not_pruned", reason=str(err) or type(err).__name__)
        await process.clock.sleep(_PRUNE_S)


class _Work:
    """What is due, some at a time. Questions go first: somebody waits for them."""

    def __init__(self, db: Pool, clock: Clock, ways: Senders) -> None:
        self._db = db
        self._clock = clock
        self._ways = ways
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def run(self, hub: Hub) -> None:
        """Begin what is due as soon as it is."""
        async with asyncio.TaskGroup() as tasks, hub.watch(asking.NEWS, LOGGED) as watch:
            while True:
                await self._free.acquire()
                work, pause = None, _LOOK_S
                try:
                    # One look tells whether anything is due, which mostly nothing is.
                    pause = await self._pause()
                    work = await self._next() if pause <= 0 else None
                except AWAY as err:
                    log.warning("hooks_wait", reason=str(err) or type(err).__name__)
                    await asyncio.sleep(_AWAY_S)
                if work is not None:
                    tasks.create_task(self._done(work))
                    continue
                self._free.release()
                await watch.changed(max(pause, _LEAST_S))

    async def _next(self) -> Coroutine[Any, Any, None] | None:
        now = self._clock.now()
        if (question := await asking.claim(self._db, now)) is not None:
            return asking.put(self._db, self._ways, question)
        if (hook := await telling.claim(self._db, now)) is not None:
            return telling.tell(self._db, self._ways, hook)
        return None

    async def _pause(self) -> float:
        """Until the next is due, a second at most: what another process leaves behind is found by looking."""
        due = await self._db.fetchval(Q["hook_next_at"])
        return _LOOK_S if due is None else min((due - self._clock.now()).total_seconds(), _LOOK_S)

    async def _done(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:
            # Its row is held until its limit is over; then it is somebody's again.
            log.warning("hook_work_failed", exc_info=True)
        finally:
            self._free.release()
