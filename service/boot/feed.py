"""The index kept fresh: read whole from the database, then port by port as changes are told.

Triggers tell each change that matters on a channel of its own (sql/migrations/0009_boot.sql). While the connection
lasts nothing is missed; whenever it was lost all is read again. Without the database the index stays as it was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any
from uuid import UUID

import structlog

from service.boot.facts import PortFacts
from service.boot.index import BootIndex
from service.clock import Clock
from service.lifecycle import MachineState
from service.store.notify import RECONNECT_S, heard, listening
from service.store.rows import AWAY, Connection
from sql.loader import Q

log = structlog.get_logger()

CHANNEL = "roundhouse_boot"
_PAGE = 500  # ports at a time: the event loop has clients that wait between two pages
_GATHER_S = 0.002  # changes of one moment are read together


def facts_of(row: Mapping[str, Any]) -> PortFacts:
    """A port from a row of `boot_facts`."""
    values = dict(row)
    for name, kind in (("link", IPv4Interface), ("link6", IPv6Interface)):
        block = values[name]
        # The leaf has the block's first address; of a /64 the link itself is a /127 (RFC 6164).
        length = None if block is None else 127 if kind is IPv6Interface else block.prefixlen
        values[name] = None if block is None else kind((int(block.network_address), length))
    values["state"] = None if values["state"] is None else MachineState(values["state"])
    return PortFacts(**values)


def boot_link_query(address: IPv4Address | IPv6Address) -> str:
    """The query that finds the port and the machine of a boot link's address."""
    return "boot_link_of_address" if address.version == 4 else "boot_link_of_address6"


@dataclass(slots=True)
class BootFeed:
    """Keeps `index` as the database is."""

    database_url: str
    index: BootIndex
    clock: Clock
    loaded_at: datetime | None = None  # when it was read whole the last time
    connected: bool = False
    ready: asyncio.Event = field(default_factory=asyncio.Event)  # it was read whole once
    _changed: set[UUID] = field(default_factory=set)
    _whole: bool = False
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Follow the database for ever, on a new connection whenever one is lost."""
        while True:
            try:
                await self._follow()
            except AWAY as err:
                log.warning("boot_feed_lost", reason=str(err) or type(err).__name__, ports=len(self.index))
            self.connected = False
            await asyncio.sleep(RECONNECT_S)

    async def _follow(self) -> None:
        async with listening(self.database_url, CHANNEL, self._told, self._news) as connection:
            await self._read_whole(connection)
            self.connected = True
            while await heard(connection, self._news):
                await asyncio.sleep(_GATHER_S)
                self._news.clear()
                if self._whole:
                    await self._read_whole(connection)
                changed, self._changed = self._changed, set()
                try:
                    await self._read_ports(connection, changed)
                except BaseException:
                    self._changed |= changed
                    raise

    def _told(self, payload: str) -> None:
        if payload:
            self._changed.add(UUID(payload))
        else:
            self._whole = True

    async def _read_whole(self, connection: Connection) -> None:
        """Read every port. What is told meanwhile is read after it, so it does not matter which state a page shows."""
        self._whole = False
        loop = asyncio.get_running_loop()
        began = loop.time()
        fresh = BootIndex()
        async with connection.transaction(readonly=True):
            # All rows are wanted: a plan that has the first ones soon takes many times as long for the rest.
            await connection.execute("SET LOCAL cursor_tuple_fraction = 1")
            cursor = await connection.cursor(Q["all_boot_facts"])
            while rows := await cursor.fetch(_PAGE, timeout=60):
                for row in rows:
                    fresh.put(facts_of(row))
        self.index.replace(fresh)
        self.loaded_at = self.clock.now()
        self.ready.set()
        log.info("boot_index_loaded", ports=len(fresh), seconds=round(loop.time() - began, 3))

    async def _read_ports(self, connection: Connection, changed: Iterable[UUID]) -> None:
        asked = list(changed)
        for at in range(0, len(asked), _PAGE):
            page = asked[at : at + _PAGE]
            rows = await connection.fetch(Q["boot_facts"], page, timeout=60)
            for port_id in set(page) - {row["port_id"] for row in rows}:
                self.index.drop(port_id)
            for row in rows:
                self.index.put(facts_of(row))
