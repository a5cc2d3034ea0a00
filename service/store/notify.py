"""Waking whoever waits: one connection per process listens on the channel `roundhouse`; a payload is a topic.

A notification is a hint and nothing more. The waiter looks at the row again, and is woken as well whenever the
connection was down for a while and something may have been missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg
import structlog

from service.store.rows import AWAY, Connection

log = structlog.get_logger()

CHANNEL = "roundhouse"
RECONNECT_S = 1.0
_PROBE_S = 15.0  # a connection that was cut without a word is found out after so long


@asynccontextmanager
async def listening(
    database_url: str, channel: str, told: Callable[[str], None], news: asyncio.Event
) -> AsyncIterator[Connection]:
    """A connection on which each payload of a channel goes to `told`; `news` is set with it, and when it is lost."""
    connection: Connection = await asyncpg.connect(database_url, timeout=_PROBE_S)

    def hear(_connection: Connection, _pid: int, _channel: str, payload: str) -> None:
        told(payload)
        news.set()

    try:
        connection.add_termination_listener(lambda _connection: news.set())
        await connection.add_listener(channel, hear)
        yield connection
    finally:
        connection.terminate()


async def heard(connection: Connection, news: asyncio.Event) -> bool:
    """Wait for news on a listening connection; False when the server has closed it. Raises AWAY when it is dead."""
    while not connection.is_closed():
        try:
            # Not wait_for: it swallows a cancellation that comes together with news (fixed in Python 3.12).
            async with asyncio.timeout(_PROBE_S):
                await news.wait()
        except TimeoutError:
            await connection.execute("SELECT 1", timeout=_PROBE_S)
            continue
        return not connection.is_closed()
    return False


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
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self) -> None:
        news = asyncio.Event()
        async with listening(self._url, CHANNEL, self._notified, news) as connection:
            for watch in {watch for watches in self._watches.values() for watch in watches}:
                watch.wake()
            while await heard(connection, news):
                news.clear()
        log.warning("listener_lost", reason="the server closed the connection")

    def _notified(self, topic: str) -> None:
        for watch in self._watches.get(topic, ()):
            watch.wake()
