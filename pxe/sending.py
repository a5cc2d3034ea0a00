"""The bytes of a file or of memory onto a connection, at the connection's own speed and without a copy in between.

asyncio's own sendfile hands the kernel the whole rest of the file each time, so one fast reader holds the event loop
for as long as it reads, and a reader that has stopped is waited for without end. Here each turn of the loop sends a
bounded piece, and a reader that takes nothing for some time is given up.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from enum import StrEnum

# As much as one reader gets at a turn of the event loop: under half a millisecond of work, so that DHCP, which the same
# loop answers, does not wait long. Half of it costs a fifth more CPU for the same bytes to 50 readers.
_PIECE = 2 << 20

# Sends `count` bytes from offset `at` on to the socket with that descriptor; returns how many went.
Source = Callable[[int, int, int], int]


class Ended(StrEnum):
    """How sending came to its end."""

    WHOLE = "whole"
    GONE = "the reader has gone"
    STALLED = "the reader has stopped reading"
    UNREADABLE = "the file cannot be read"
    TRUNCATED = "the file is shorter than it was"


def from_file(fd: int) -> Source:
    """An open file's bytes, sent by the kernel itself (sendfile)."""

    def send(to: int, at: int, count: int) -> int:
        return os.sendfile(to, fd, at, count)

    return send


def from_memory(content: bytes) -> Source:
    """Bytes that are there for as long as they are needed; none is copied but into the socket."""
    view = memoryview(content)

    def send(to: int, at: int, count: int) -> int:
        return os.write(to, view[at : at + count])

    return send


async def send(
    transport: asyncio.Transport, source: Source, start: int, stop: int, *, stall_s: float
) -> tuple[Ended, int]:
    """Send the bytes from `start` up to `stop`; returns how it ended, and how many bytes the kernel took.

    What was written to the transport before has to have left it. A reader that takes nothing for `stall_s` is given
    up. The connection stays open: unless the end is WHOLE, it is of no use any more.
    """
    sending = _Sending(transport, source, start, stop)
    try:
        return await sending.run(stall_s), sending.at - start
    finally:
        sending.close()


class _Sending:
    def __init__(self, transport: asyncio.Transport, source: Source, start: int, stop: int) -> None:
        self.at = start
        self._stop = stop
        self._source = source
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[Ended] = self._loop.create_future()
        # The event loop watches one descriptor for one purpose only, and the transport reads from its own.
        self._socket: socket.socket = transport.get_extra_info("socket").dup()
        self._watching = False

    async def run(self, stall_s: float) -> Ended:
        self._writable()
        if not self._done.done():
            self._loop.add_writer(self._socket, self._writable)
            self._watching = True
        while not self._done.done():
            before = self.at
            await asyncio.wait((self._done,), timeout=stall_s)
            if self.at == before and not self._done.done():
                return Ended.STALLED
        return self._done.result()

    def _writable(self) -> None:
        if self._done.done():
            return
        if self._transport.is_closing():
            self._done.set_result(Ended.GONE)
            return
        try:
            sent = self._source(self._socket.fileno(), self.at, min(_PIECE, self._stop - self.at))
        except (BlockingIOError, InterruptedError):
            return
        except OSError as err:
            self._done.set_result(Ended.UNREADABLE if err.errno == errno.EIO else Ended.GONE)
            return
        self.at += sent
        if self.at == self._stop:
            self._done.set_result(Ended.WHOLE)
        elif not sent:
            self._done.set_result(Ended.TRUNCATED)

    def close(self) -> None:
        if self._watching:
            self._loop.remove_writer(self._socket)
        self._socket.close()
