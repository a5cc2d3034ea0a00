"""A process that drives one leaf as the service does, and is killed in the middle of it."""

from __future__ import annotations

import asyncio
import logging
import signal
from pathlib import Path
from uuid import UUID, uuid4

import structlog

from service.leaves.actor import LeafActor
from service.parts import Parts
from service.settings import read_settings
from service.store.notify import Hub
from service.store.rows import open_pool
from service.wiring import make_parts
from tests.netconf.killed import Moment, strike


def parts_in(folder: Path) -> Parts:
    """The same key for whoever works in the folder."""
    return make_parts(read_settings({}, state_dir=folder), boot_port=0)


def drive(database_url: str, folder: Path, leaf_id: UUID, nth: int, moment: Moment) -> None:
    """Work on the leaf, until the `nth` call to it."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    strike(nth, moment, signal.SIGKILL)
    asyncio.run(_driven(database_url, folder, leaf_id))


async def _driven(database_url: str, folder: Path, leaf_id: UUID) -> None:
    db = await open_pool(database_url, size=2)
    await LeafActor(db, parts_in(folder), Hub(database_url), leaf_id, uuid4()).run()
