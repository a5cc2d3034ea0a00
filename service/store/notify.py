"""Waking whoever waits: one connection per process listens on the channel `roundhouse`; a payload is a topic.

A notification is a hint and nothing more. The waiter looks at the row again, and is woken as well whenever the
connection was down for a while and something may have been missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import structlog

from service.store.rows import AWAY, Connection

log = structlog.get_logger()

CHANNEL = "roundhouse"
_RECONNECT_S = 1.0
_PROBE_S = 15.0  # a connection that was cut without a word is found out after so long


class Watch:
    """One waiter's flag for its topics."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def wake(self) -> None:
        """Something may have changed."""
        self._event.set()

    async def changed(self, timeout: float) -> bool:
        """Return True as soon as a topic was notified since the last call, False after `timeout` seconds."""
        try:
            async with asyncio.timeout(max(timeout, 0.0)):
                await self._event.wait()
        except TimeoutError:
            return False
        self._event.clear()
        return True


class Hub:
    """Spreads notifications to the watchers of this process. `run` must be running for them to come."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._watches: dict[str, set[Watch]] = {}

    @asynccontextmanager
    async def watch(self, *topics: str) -> AsyncIterator[Watch]:
        """Watch topics such as "device:ID". Begin to watch first and look at the row then: so nothing is missed."""
        watch = Watch()
        for topic in topics:
            self._watches.setdefault(topic, set()).add(watch)
        try:
            yield watch
        finally:
            for topic in topics:
                self._watches[topic].discard(watch)
                if not self._watches[topic]:
                    del self._watches[topic]

    async def run(self) -> None:
        """Listen for ever, on a new connection whenever one is lost."""
        while True:
            try:
                await self._listen()
            except AWAY as err:
                log.warning("listener_lost", reason=str(err) or type(err).__name__)
            await asyncio.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        connection: Connection = await asyncpg.connect(self._url)
        try:
            lost = asyncio.Event()
            connection.add_termination_listener(lambda _connection: lost.set())
            await connection.add_listener(CHANNEL, self._notified)
            for watch in {watch for watches in self._watches.values() for watch in watches}:
                watch.wake()
            while not lost.is_set():
                try:
                    await asyncio.wait_for(lost.wait(), _PROBE_S)
                except TimeoutError:
                    await connection.execute("SELECT 1", timeout=_PROBE_S)
            log.warning("listener_lost", reason="the server closed the connection")
        finally:
            connection.terminate()

    def _notified(self, _connection: Connection, _pid: int, _channel: str, topic: str) -> None:
        for watch in self._watches.get(topic, ()):
            watch.wake()
