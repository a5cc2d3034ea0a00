"""This process as a boot node: told to the database every few seconds, so that operators see who answers machines."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import structlog

from pxe.counters import Counters
from service.boot.feed import BootFeed
from service.store.rows import AWAY, Pool
from sql.loader import Q

log = structlog.get_logger()

_BEAT_S = 5.0
_FORGOTTEN = timedelta(days=1)


async def run_boot_node(db: Pool, feed: BootFeed, counters: Counters, address: str) -> None:
    """Tell how this node is for ever; its row goes away with it when it stops in order."""
    node_id, started_at = uuid4(), feed.clock.now()
    try:
        while True:
            try:
                await _beat(db, node_id, feed, counters, address, started_at)
            except AWAY as err:
                log.info("boot_node_unheard", reason=str(err) or type(err).__name__)
            await asyncio.sleep(_BEAT_S)
    finally:
        with contextlib.suppress(*AWAY):  # then it is forgotten in a day
            await asyncio.wait_for(db.execute(Q["boot_node_gone"], node_id), 1.0)


async def _beat(
    db: Pool, node_id: UUID, feed: BootFeed, counters: Counters, address: str, started_at: datetime
) -> None:
    now = feed.clock.now()
    await db.execute(
        Q["boot_node_heard"],
        node_id,
        socket.gethostname(),
        os.getpid(),
        address,
        started_at,
        now,
        len(feed.index),
        feed.loaded_at,
        counters.snapshot(),
    )
    await db.execute(Q["forget_boot_nodes"], now - _FORGOTTEN)
