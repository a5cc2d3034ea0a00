"""Which process is at a machine's console. A BMC has one session, so one process has it, by a lease in the database.

It is renewed while the process lives, and ends by itself when it was killed. While the database is away it is neither
renewed nor taken by anybody.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import structlog

from service.settings import Settings
from service.store.rows import AWAY, Pool
from sql.loader import Q

log = structlog.get_logger()

LEASE_S = 15.0
RENEW_S = 5.0
_LEASE = timedelta(seconds=LEASE_S)
_EVERYWHERE = ("0.0.0.0", "::", "")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process's consoles are reached by the others."""

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class Seat:
    """This process, as the others know it."""

    id: UUID
    place: Place


async def seat_of(db: Pool, settings: Settings, port: int) -> Seat:
    """This process with its consoles at `port`. Where it listens at every address, others reach it at the one by which
    it reaches the database.
    """
    host = settings.sos_peer_host or settings.sos_host
    if host in _EVERYWHERE:
        host = await db.fetchval(Q["own_address"]) or "127.0.0.1"
    return Seat(uuid4(), Place(host, port))


async def take(db: Pool, machine_id: UUID, seat: Seat) -> Place | None:
    """Be at the machine's console: None when it is ours now, else where it is another's."""
    place = seat.place
    while not await db.fetchval(Q["take_console"], machine_id, seat.id, place.host, place.port, _LEASE):
        if (row := await db.fetchrow(Q["console_holder"], machine_id)) is not None:
            return Place(**row)
    return None


@asynccontextmanager
async def keeping(db: Pool, machine_id: UUID, seat: Seat) -> AsyncIterator[None]:
    """Keep what was taken while the block runs, and give it back. The block ends with TimeoutError when it is lost."""
    async with asyncio.timeout(None) as limit:
        renewing = asyncio.create_task(_renew(db, machine_id, seat, limit), name=f"console lease {machine_id}")
        try:
            yield
        finally:
            renewing.cancel()
            with suppress(*AWAY):
                await db.execute(Q["leave_console"], machine_id, seat.id)


async def _renew(db: Pool, machine_id: UUID, seat: Seat, limit: asyncio.Timeout) -> None:
    while True:
        await asyncio.sleep(RENEW_S)
        try:
            if not await db.fetchval(Q["keep_console"], machine_id, seat.id, _LEASE):
                log.warning("console_lease_lost", machine_id=str(machine_id))
                limit.reschedule(asyncio.get_running_loop().time())
                return
        except AWAY as err:
            log.warning("console_lease_not_renewed", reason=str(err) or type(err).__name__)
