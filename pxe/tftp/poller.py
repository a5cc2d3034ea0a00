"""Readable sockets in batches: one turn of the event loop serves many, and many turns one that answers at once."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from time import monotonic

# The rest of the service waits no longer than this (and one batch).
_TURN_S = 0.0005
_BATCH = 32
# In lock-step with one client most of the time goes into falling asleep and waking up, unless the next packet is
# awaited for as long as a client next door needs for it.
_WATCH_S = 0.00005
# One wait in vain: the client is farther away, and the next so many packets are not awaited.
_UNWATCHED_PACKETS = 8


class Poller:
    """Calls what was given for each readable socket, through an epoll of its own."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._readable: dict[int, Callable[[], None]] = {}
        self._unwatched = 0
        loop.add_reader(self._epoll.fileno(), self._turn)

    def add(self, descriptor: int, readable: Callable[[], None]) -> None:
        """Watch a socket from now on."""
        self._epoll.register(descriptor, select.EPOLLIN)
        self._readable[descriptor] = readable

    def remove(self, descriptor: int) -> None:
        """Watch it no longer; to be called before it is closed."""
        del self._readable[descriptor]
        self._epoll.unregister(descriptor)

    def close(self) -> None:
        """Watch nothing any more."""
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _turn(self) -> None:
        poll, readable = self._epoll.poll, self._readable
        began = last = monotonic()
        while events := poll(0, _BATCH):
            for descriptor, _ in events:
                # One that an earlier event of this batch has closed is not there.
                if (call := readable.get(descriptor)) is not None:
                    call()
            last = monotonic()
            if last - began >= _TURN_S:
                return
            # The listening socket and one transfer.
            if len(readable) == 2 and not self._answered(last):
                return

    def _answered(self, since: float) -> bool:
        """Wait a moment for the next packet."""
        if self._unwatched:
            self._unwatched -= 1
            return False
        while not self._epoll.poll(0, 1):
            if monotonic() - since >= _WATCH_S:
                self._unwatched = _UNWATCHED_PACKETS
                return False
        return True
