"""The consoles that somebody looks at here: one connection to each machine's BMC, or to the process that is at it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Protocol
from uuid import UUID

import asyncssh
import structlog

from service.parts import Parts
from service.sos.lease import LEASE_S, RENEW_S, Place, Seat, keeping, take
from service.sos.ring import Ring
from service.sos.upstream import NoConsole, Upstream, open_console
from service.store.notify import Watch
from service.store.rows import AWAY, Pool
from sql.loader import Q

log = structlog.get_logger()

LINGER_S = 900.0  # after the last one has looked away, so that who comes back finds what happened meanwhile
_FOLLOW_S = 2.0
_FOLLOWED = 500  # machines under installation that are recorded at once by one process
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_STUCK_S = 5.0  # for a BMC to take what is typed


class OpenRelay(Protocol):
    """Opens the console that another process is at. Raises NoConsole."""

    def __call__(self, place: Place, machine_id: UUID, *, kept: bool) -> AbstractAsyncContextManager[Upstream]:
        """`kept`: with what was printed before."""


class Line:
    """One machine's console: what it printed last, and who looks."""

    def __init__(self, machine_id: UUID) -> None:
        self.machine_id = machine_id
        self.ring = Ring()
        self.watches: set[Watch] = set()
        self.unwatched_at = asyncio.get_running_loop().time()
        self.trouble = "is being reached"  # why there is no connection now; empty: there is one
        self.upstream: Upstream | None = None
        self.own = False  # whether that leads to the BMC, and not to another process
        self.sought = asyncio.Event()  # somebody has begun to look
        self.looked = False  # whether anybody ever has
        self._tenant: UUID | None = None
        self._tenant_from = 0

    def place_for(self, device_id: UUID | None) -> int:
        """From where on somebody may look: all that is kept, or what was printed since the machine is the device's."""
        if device_id is None:
            return self.ring.start
        self.belongs_to(device_id)
        return max(self.ring.start, self._tenant_from)

    def belongs_to(self, device_id: UUID | None) -> None:
        """Whose the machine is: what was printed before it was is not for them."""
        if device_id != self._tenant:
            self._tenant, self._tenant_from = device_id, self.ring.end

    @property
    def vain(self) -> bool:
        """Whether there is nothing to keep it for: it was never had, and nobody has asked for it."""
        return not self.looked and self.upstream is None and self.ring.end == 0

    def wake(self) -> None:
        """Tell everybody who looks."""
        for watch in self.watches:
            watch.wake()

    async def type(self, data: bytes) -> bool:
        """Type at the console; False where it is not there, or does not take it."""
        return await self._to_upstream(lambda upstream: upstream.write(data))

    async def send_break(self) -> bool:
        """Send a BREAK; False where that cannot be."""

        async def send(upstream: Upstream) -> None:
            upstream.send_break()

        return await self._to_upstream(send)

    async def _to_upstream(self, send: Callable[[Upstream], Awaitable[None]]) -> bool:
        if self.upstream is None:
            return False
        try:
            async with asyncio.timeout(_STUCK_S):
                await send(self.upstream)
        except (asyncssh.Error, OSError):
            return False
        return True


class Lines:
    """Opens consoles that somebody looks at, and those of machines under installation."""

    def __init__(self, db: Pool, parts: Parts, seat: Seat, relay: OpenRelay) -> None:
        self._db = db
        self._parts = parts
        self._seat = seat
        self._relay = relay
        self._lines: dict[UUID, Line] = {}
        self._tasks: dict[UUID, asyncio.Task[None]] = {}

    def look(self, machine_id: UUID, watch: Watch) -> Line:
        """Look at a machine's console: `watch` is woken whenever it has printed something, until `leave`."""
        line = self._line(machine_id)
        line.watches.add(watch)
        line.looked = True
        line.sought.set()
        return line

    def held(self, machine_id: UUID) -> Line | None:
        """The machine's line, if this process is at its console now."""
        line = self._lines.get(machine_id)
        return line if line is not None and line.own and line.upstream is not None else None

    def leave(self, line: Line, watch: Watch) -> None:
        """Look away."""
        line.watches.discard(watch)
        line.unwatched_at = asyncio.get_running_loop().time()

    async def run(self) -> None:
        """Follow installations and close what nobody has looked at for long, until cancelled."""
        try:
            while True:
                try:
                    rows = await self._db.fetch(Q["consoles_to_follow"], list(self._lines), _FOLLOWED)
                except AWAY as err:
                    log.warning("consoles_wait", reason=str(err) or type(err).__name__)
                else:
                    self._follow({row["machine_id"]: row["device_id"] for row in rows if row["installing"]})
                    for row in rows:
                        if (line := self._lines.get(row["machine_id"])) is not None:
                            line.belongs_to(row["device_id"])
                await asyncio.sleep(_FOLLOW_S)
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def _follow(self, installing: dict[UUID, UUID | None]) -> None:
        for machine_id in installing:
            self._line(machine_id)
        now = asyncio.get_running_loop().time()
        for machine_id, line in list(self._lines.items()):
            if line.watches or machine_id in installing:
                continue
            # A BMC that has no console is asked while its machine is installed, and not for long after.
            if line.vain or now - line.unwatched_at > LINGER_S:
                del self._lines[machine_id]
                self._tasks.pop(machine_id).cancel()

    def _line(self, machine_id: UUID) -> Line:
        line = self._lines.get(machine_id)
        if line is None:
            line = self._lines[machine_id] = Line(machine_id)
            self._tasks[machine_id] = asyncio.create_task(self._attend(line), name=f"console {machine_id}")
        return line

    async def _attend(self, line: Line) -> None:
        """Keep the connection up, with growing pauses where it cannot be had."""
        pause = _FIRST_PAUSE_S
        while True:
            line.sought.clear()
            trouble, longest = "cannot be reached", _LONGEST_PAUSE_S
            try:
                place = await take(self._db, line.machine_id, self._seat)
                if place is None:
                    async with (
                        keeping(self._db, line.machine_id, self._seat),
                        open_console(self._db, self._parts, line.machine_id) as upstream,
                    ):
                        pause = _FIRST_PAUSE_S
                        await _show(line, upstream, own=True)
                    trouble = "was ended by the machine's BMC"
                else:
                    longest = RENEW_S  # the lease of a process that was killed ends soon
                    trouble = await self._at_another(line, place)
            except (NoConsole, *AWAY) as err:
                log.info("console_not_reached", machine_id=str(line.machine_id), reason=str(err) or type(err).__name__)
            finally:
                line.upstream, line.own = None, False
            line.trouble = trouble
            line.wake()
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    async def _at_another(self, line: Line, place: Place) -> str:
        """Look at it through the process that is at it, if anybody looks; why that ended."""
        if line.watches:
            # What was printed before is asked for once: it comes from the BMC no second time either.
            async with self._relay(place, line.machine_id, kept=line.ring.end == 0) as upstream:
                await _show(line, upstream, own=False)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(LEASE_S):
                    await line.sought.wait()
        return "is being reached"


async def _show(line: Line, upstream: Upstream, *, own: bool) -> None:
    line.upstream, line.own, line.trouble = upstream, own, ""
    line.wake()
    await _copy(upstream, line)


async def _copy(upstream: Upstream, line: Line) -> None:
    with suppress(asyncssh.Error, OSError):
        while data := await upstream.read():
            line.ring.append(data)
            line.wake()
