"""The light machines' TFTP client: ten thousand of them fetch a first stage within a minute, so it does little."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Mapping
from ipaddress import IPv4Address

from pxe.tftp import packets
from service.lab.board import NoBoot

# As OVMF asks, but for the larger window.
_OPTIONS = {"blksize": "1468", "windowsize": "16", "tsize": "0"}
_FIRST_WAIT_S, _MOST_WAIT_S = 1.0, 8.0
_TRIES = 5
# Linux's udp(7): a whole window is received by one call where it came as one.
_UDP_GRO = 104
# Every datagram is taken out of it before the next is received, by whichever client.
_RECEIVED = memoryview(bytearray(65_536))


async def fetch_tftp(
    local: IPv4Address, server: tuple[str, int], name: str, options: Mapping[str, str] = _OPTIONS
) -> bytes:
    """Read a file by TFTP from `local`. Raises NoBoot."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        with contextlib.suppress(OSError):  # Linux before 5.0
            sock.setsockopt(socket.IPPROTO_UDP, _UDP_GRO, 1)
        sock.bind((str(local), 0))
        fetch = _Fetch(loop, sock, server, name, options)
        loop.add_reader(sock, fetch.readable)
        try:
            fetch.start()
            return await fetch.content
        finally:
            loop.remove_reader(sock)
            fetch.close()


class _Fetch:
    """One file on its way here."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        server: tuple[str, int],
        name: str,
        options: Mapping[str, str],
    ) -> None:
        self._loop = loop
        self._sock = sock
        self._server = server
        self._name = name
        self._connected = False  # to the transfer's own port, once it has answered
        self._said = packets.rrq(name, options)
        self._blksize, self._windowsize = packets.DEFAULT_BLKSIZE, 1
        self._received = bytearray()
        self._expected = 1  # the number of the next block, not taken round
        self._in_window = 0
        self._gap_told = False
        self._tries = 0
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.content: asyncio.Future[bytes] = loop.create_future()

    def start(self) -> None:
        """Send the request."""
        self._say(self._said)
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def close(self) -> None:
        """Wait no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def readable(self) -> None:
        """Take what has come."""
        try:
            if self._connected:
                size = self._sock.recv_into(_RECEIVED)
            else:
                size, source = self._sock.recvfrom_into(_RECEIVED)
                if source[0] != self._server[0]:
                    return
                self._sock.connect(source)
                self._connected = True
        except BlockingIOError:
            return
        except OSError as err:
            self._fail(f"the TFTP server has gone: {err}")
            return
        self._tries = 0
        datagram_size = self._blksize + 4
        for at in range(0, size, datagram_size):
            if self.content.done():
                return
            self._take(_RECEIVED[at : min(at + datagram_size, size)])

    def _take(self, datagram: memoryview) -> None:
        kind = datagram[0] << 8 | datagram[1] if len(datagram) >= 4 else 0
        if kind == packets.DATA:
            self._take_block(datagram[2] << 8 | datagram[3], datagram[4:])
        elif kind == packets.OACK and self._expected == 1:
            try:
                accepted = packets.read_oack(bytes(datagram))
                self._blksize = int(accepted.get("blksize", self._blksize))
                self._windowsize = int(accepted.get("windowsize", self._windowsize))
            except (packets.Malformed, ValueError) as err:
                self._fail(f"an OACK that cannot be read: {err}")
                return
            self._say(packets.ack(0))
        elif kind == packets.ERROR:
            self._fail(
                f"TFTP refused {self._name!r}: {bytes(datagram[4:]).rstrip(bytes(1)).decode('ascii', 'replace')}"
            )

    def _take_block(self, block: int, content: memoryview) -> None:
        if block != self._expected & 0xFFFF:
            if block == (self._expected - 1) & 0xFFFF:
                self._acknowledge()  # our ACK was lost
            elif (block - self._expected) & 0xFFFF < self._windowsize and not self._gap_told:
                self._gap_told = True
                self._acknowledge()
            return
        self._received += content
        self._expected += 1
        self._in_window += 1
        self._gap_told = False
        is_last = len(content) < self._blksize
        if is_last or self._in_window >= self._windowsize:
            self._acknowledge()
        if is_last:
            self.content.set_result(bytes(self._received))

    def _acknowledge(self) -> None:
        self._in_window = 0
        self._say(packets.ack(self._expected - 1))

    def _say(self, datagram: bytes) -> None:
        self._said = datagram
        self._deadline = self._loop.time() + min(_FIRST_WAIT_S * 2.0**self._tries, _MOST_WAIT_S)
        # What there is no way for now is said again later.
        with contextlib.suppress(OSError):
            if self._connected:
                self._sock.send(datagram)
            else:
                self._sock.sendto(datagram, self._server)

    def _tick(self) -> None:
        """One timer a transfer, moved on when it fires."""
        if self.content.done():
            return
        if self._loop.time() >= self._deadline:
            self._tries += 1
            if self._tries >= _TRIES:
                self._fail("no TFTP answer")
                return
            self._in_window = 0
            self._gap_told = False
            self._say(packets.ack(self._expected - 1) if self._expected > 1 else self._said)
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def _fail(self, reason: str) -> None:
        if not self.content.done():
            self.content.set_exception(NoBoot(reason))
