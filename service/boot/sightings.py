"""Who boots where, written down: a cable in the wrong place is named within seconds, and what hangs on it is stopped.

The MAC is no identity, so nothing is given to anybody for it. It tells that a port has another machine than the one
recorded there; a machine that no device is on then leaves the pool, and its port is closed to all but the boot
services. What comes from the port of a device in use may be made up by its own software: it is said, and nothing else
happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

import structlog

from pxe.decide import BootRequest, BootRequest6
from service.clock import Clock
from service.lifecycle import MachineEvent, MachineState
from service.store.boot import WrongCable, wrong_cables_of
from service.store.events import add_event
from service.store.hardware import machine_by_id, move_machine, set_port
from service.store.rows import AWAY, Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_GATHER_S = 0.1  # a row of racks that is powered on is one statement, not a thousand
_RETRY_S = 2.0
_MOST = 100_000
_PAGE = 1000
_AGAIN = timedelta(hours=1)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Sightings:
    """Takes what the boot decisions saw and writes it down, in the background. `run` must be running."""

    def __init__(self, db: Pool, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._seen: dict[UUID, str] = {}
        self._said: dict[tuple[UUID, str], datetime] = {}
        self._news = asyncio.Event()

    def saw(self, port_id: UUID, mac: str) -> None:
        """A card booted at a port where another one did before (`service.boot.decider.Saw`)."""
        if len(self._seen) < _MOST:
            self._seen[port_id] = mac
            self._news.set()

    def declined(self, request: BootRequest) -> None:
        """A client found its address in use by somebody else, which on a link of two is a matter for an operator."""
        log.warning("address_declined", mac=request.mac, giaddr=str(request.giaddr), circuit_id=request.circuit_id)

    def declined6(self, request: BootRequest6) -> None:
        """The same over IPv6."""
        link, port = str(request.link_address), request.interface_id
        log.warning("address_declined", mac=request.mac, link_address=link, interface_id=port)

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
                except AWAY as err:
                    log.warning("sightings_wait", ports=len(self._seen), reason=str(err) or type(err).__name__)
                    await asyncio.sleep(_RETRY_S)
                    continue
                for port_id, mac in page.items():
                    if self._seen.get(port_id) == mac:
                        del self._seen[port_id]

    async def _write(self, seen: Mapping[UUID, str]) -> None:
        now = self._clock.now()
        concerned: list[UUID | None] = []
        async with self._db.acquire() as conn, conn.transaction():
            # Machines before ports, as everywhere, and each in one order: nobody waits crosswise.
            await conn.fetch(Q["lock_booted_machines"], *_columns(seen))
            before = {row["id"]: row["mac"] for row in await conn.fetch(Q["lock_booted"], *_columns(seen))}
            doubtful = {row["id"]: row["mac"] for row in await conn.fetch(Q["doubtful_sightings"], *_columns(seen))}
            believed = {port_id: mac for port_id, mac in seen.items() if port_id not in doubtful}
            await conn.execute(Q["card_moved"], *_columns(believed), now)
            await conn.execute(Q["card_booted"], *_columns(believed), now)
            for cable in await wrong_cables_of(conn, believed):
                if before.get(cable.port_id) != cable.seen_mac:
                    await _say(conn, cable)
                await _stop(conn, cable, now=now)
                concerned += [cable.machine_id, cable.device_id, cable.home_id, cable.home_device_id]
            for cable in await wrong_cables_of(conn, self._unsaid(doubtful, now)):
                await _say(conn, cable)
        # The runs that wait for one of these machines look at once.
        await signal_all(self._db, dict.fromkeys(concerned), now=now)

    def _unsaid(self, doubtful: Mapping[UUID, str], now: datetime) -> dict[UUID, str]:
        """Those of the doubtful that were not said within the hour: a device may make up as many as it likes."""
        fresh = {
            port_id: mac
            for port_id, mac in doubtful.items()
            if now - self._said.get((port_id, mac), _LONG_AGO) > _AGAIN
        }
        if len(self._said) + len(fresh) > _MOST:
            self._said.clear()
        self._said |= dict.fromkeys(fresh.items(), now)
        return fresh


def _columns(seen: Mapping[UUID, str]) -> tuple[list[UUID], list[str]]:
    return list(seen), list(seen.values())


async def _say(conn: Connection, cable: WrongCable) -> None:
    log.warning("wrong_cable", leaf=cable.leaf, port=cable.port, mac=cable.seen_mac, finding=cable.sentence)
    subject = cable.machine_id or cable.home_id
    await add_event(conn, "machine.wrong_cable", cable.sentence, machine_id=subject, private=True)


async def _stop(conn: Connection, cable: WrongCable, *, now: datetime) -> None:
    """Take the machine that is recorded at the port out of the pool. The one that was seen is not touched: that it is
    elsewhere is its MAC's word alone."""
    if cable.machine_id is None:
        return
    machine = await machine_by_id(conn, cable.machine_id)
    if machine.state is MachineState.READY:
        await move_machine(conn, machine, MachineEvent.FAIL, now=now, reason=cable.sentence)
        await set_port(conn, machine.port_id, "quarantine", None, now=now)
