"""Who boots where, written down: a cable in the wrong place is named within seconds, and what hangs on it is stopped.

The MAC is no identity, so nothing is given to anybody for it. It tells that a port has another machine than the one
recorded there; a machine that no device is on then leaves the pool, and its port is closed to all but the boot
services. A device in use is not cut off by a message that its own software may have made up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from service.clock import Clock
from service.lifecycle import MachineEvent, MachineState
from service.store.events import add_event
from service.store.hardware import StateMoved, machine_by_id, move_machine, set_port
from service.store.rows import Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_GATHER_S = 0.1  # a row of racks that is powered on is one statement, not a thousand
_RETRY_S = 2.0
_MOST = 100_000
_PAGE = 1000


class Sightings:
    """Takes what the boot decisions saw and writes it down, in the background. `run` must be running."""

    def __init__(self, db: Pool, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._seen: dict[UUID, str] = {}
        self._news = asyncio.Event()

    def saw(self, port_id: UUID, mac: str) -> None:
        """A card booted at a port where another one did before (`service.boot.decider.Saw`)."""
        if len(self._seen) < _MOST:
            self._seen[port_id] = mac
            self._news.set()

    async def run(self) -> None:
        """Write for ever; what cannot be written now is tried again."""
        while True:
            await self._news.wait()
            await asyncio.sleep(_GATHER_S)
            self._news.clear()
            while self._seen:
                page = dict(list(self._seen.items())[:_PAGE])
                try:
                    await self._write(page)
                except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as err:
                    log.warning("sightings_wait", ports=len(self._seen), reason=str(err) or type(err).__name__)
                    await asyncio.sleep(_RETRY_S)
                    continue
                for port_id, mac in page.items():
                    if self._seen.get(port_id) == mac:
                        del self._seen[port_id]

    async def _write(self, seen: Mapping[UUID, str]) -> None:
        now = self._clock.now()
        ports, macs = list(seen), list(seen.values())
        concerned: list[UUID | None] = []
        async with self._db.acquire() as conn, conn.transaction():
            # Machines before ports, as everywhere, and each in one order: nobody waits crosswise.
            await conn.fetch(Q["lock_booted_machines"], ports, macs)
            await conn.fetch(Q["lock_booted"], ports, macs)
            await conn.execute(Q["card_moved"], ports, macs, now)
            news = [row["id"] for row in await conn.fetch(Q["card_booted"], ports, macs, now)]
            for cable in await conn.fetch(Q["wrong_cables"], news):
                await _name(conn, cable, now=now)
                concerned += [cable["machine_id"], cable["device_id"], cable["home_id"], cable["home_device_id"]]
        # The runs that wait for one of these machines look at once.
        await signal_all(self._db, dict.fromkeys(concerned), now=now)


async def _name(conn: Connection, cable: Mapping[str, Any], *, now: datetime) -> None:
    """Say it, and stop what would go on with the wrong machine."""
    sentence = wrong_cable(cable)
    log.warning("wrong_cable", leaf=cable["leaf"], port=cable["port"], mac=cable["booted_mac"], finding=sentence)
    subject = cable["machine_id"] or cable["home_id"]
    await add_event(conn, "machine.wrong_cable", sentence, machine_id=subject, private=True)
    for machine_id in (cable["machine_id"], cable["home_id"]):
        if machine_id is not None:
            machine = await machine_by_id(conn, machine_id)
            if machine.state is MachineState.READY:
                try:
                    await move_machine(conn, machine, MachineEvent.FAIL, now=now, reason=sentence)
                except StateMoved:
                    continue  # an order was faster; its run finds the same sentence
                await set_port(conn, machine.port_id, "quarantine", None, now=now)


def wrong_cable(cable: Mapping[str, Any]) -> str:
    """The finding as a sentence, from a row of `wrong_cables`."""
    seen = f"{cable['leaf']} {cable['port']}"
    who = f"{cable['home_machine']} ({cable['booted_mac']})" if cable["home_machine"] else f"MAC {cable['booted_mac']}"
    expected = f"{cable['home_leaf']} {cable['home_port']}" if cable["home_machine"] else "no port"
    belongs = f", where {cable['machine']} ({cable['mac']}) belongs" if cable["machine"] else ", which has no machine"
    return f"{who}: expected {expected}, seen {seen}{belongs}"
