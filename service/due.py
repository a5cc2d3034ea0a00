"""What falls due by itself: devices and reservations that end, orders that came together, the spot market.

Each thing is done in a transaction of its own that looks again whether it is still to be done, so that any number of
processes may do this, and be killed at it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from service import batches, intents, market, reservations
from service.api.ordering import Ground
from service.store.events import add_event
from service.store.notify import Hub
from service.store.rows import Pool
from sql.loader import Q

log = structlog.get_logger()

_LOOK_S = 1.0
_RARE_LOOKS = 3600
_MARKET_LOOKS = 5  # the market is looked at each so many looks: all devices are counted for it


async def end_devices(db: Pool, ground: Ground) -> None:
    """Delete the devices whose termination time has come. What is locked waits until it is unlocked."""
    for row in await db.fetch(Q["devices_to_terminate"], ground.clock.now()):
        async with db.acquire() as conn, conn.transaction():
            await conn.execute(Q["lock_course"], row["id"])
            if not await conn.fetchval(Q["due_for_termination"], row["id"], ground.clock.now()):
                continue
            await add_event(conn, "instance.terminated", "The termination time has come", device_id=row["id"])
            await intents.delete_device(
                conn, row["id"], settings=ground.settings, clock=ground.clock, by="termination time"
            )


async def end_reservations(db: Pool, ground: Ground) -> None:
    """End the reservations whose time has come and that no device uses."""
    for row in await db.fetch(Q["reservations_over"], ground.clock.now()):
        async with db.acquire() as conn, conn.transaction():
            try:
                await reservations.end(conn, row["id"], now=ground.clock.now())
            except reservations.ReservationRefused:
                continue  # a device was ordered on it in the meantime; it is looked at again


async def place_batches(db: Pool, ground: Ground) -> None:
    """Order what batches wait for."""
    await batches.place_waiting(db, ground)


async def forget_traffic(db: Pool, ground: Ground) -> None:
    """Remove what was sampled of counters long ago."""
    keep = timedelta(days=ground.settings.traffic_keep_days)
    await db.execute(Q["forget_traffic"], ground.clock.now() - keep)


Duty = Callable[[Pool, Ground], Awaitable[None]]
_EACH_LOOK: tuple[Duty, ...] = (end_devices, end_reservations, place_batches)
_RARELY: tuple[Duty, ...] = (forget_traffic,)
_MARKET: tuple[Duty, ...] = (market.write_prices, market.take_back, market.fill_requests)


async def run_due(db: Pool, ground: Ground, hub: Hub) -> None:
    """Do what is due, as soon as it is. Runs until cancelled."""
    looks = 0
    async with hub.watch("due") as watch:
        while True:
            told = await watch.changed(_LOOK_S)
            duties = _EACH_LOOK + (_MARKET if told or looks % _MARKET_LOOKS == 0 else ())
            duties += _RARELY if looks % _RARE_LOOKS == 0 else ()
            for duty in duties:
                try:
                    await duty(db, ground)
                except Exception:
                    log.warning("duty_failed", duty=duty.__name__, exc_info=True)
            looks += 1
