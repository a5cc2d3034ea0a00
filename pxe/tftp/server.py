"""The TFTP server: one listening socket, and one connected socket for each transfer."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import structlog

from pxe.tftp import packets
from pxe.tftp.sender import Sender

log = structlog.get_logger()

_MOST_TRANSFERS = 4096
# Linux's ip(7); the socket module has no name for it.
_IP_PKTINFO = 8

Address = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class TftpSettings:
    """Where the server listens; with "0.0.0.0" each transfer answers from the address that its request came to."""

    listen: str
    port: int = 69


def load_files(directory: Path) -> dict[str, bytes]:
    """Read the regular files right under `directory` into memory, by name; symbolic links and folders are left out."""
    files: dict[str, bytes] = {}
    for path in directory.iterdir():
        if not stat.S_ISREG(path.lstat().st_mode):
            continue
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as opened:
            files[path.name] = opened.read()
    return files


class TftpServer:
    """Serves a mapping of names to contents, read-only. There is no path to escape from: a name is in it or is not."""

    def __init__(self, sock: socket.socket, files: Mapping[str, bytes]) -> None:
        self._sock = sock
        self._files = files
        self._transfers: dict[Address, asyncio.Task[None]] = {}

    def start(self) -> None:
        """Take requests from now on."""
        asyncio.get_running_loop().add_reader(self._sock, self._readable)

    async def close(self) -> None:
        """Stop, and end the transfers under way."""
        asyncio.get_running_loop().remove_reader(self._sock)
        self._sock.close()
        tasks = list(self._transfers.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _readable(self) -> None:
        for _ in range(64):  # then the event loop's turn: requests must not starve the transfers
            try:
                datagram, ancillary, _, peer = self._sock.recvmsg(2048, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as err:  # an ICMP error for an earlier reply
                log.debug("tftp_receive_failed", detail=str(err))
                return
            # A client that repeats its RRQ is served by the transfer it has: the Sender's timer repeats the answer.
            if peer in self._transfers or len(self._transfers) >= _MOST_TRANSFERS:
                continue
            local = self._sock.getsockname()[0]
            for level, kind, value in ancillary:
                if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                    local = socket.inet_ntoa(value[4:8])
            task = asyncio.create_task(self._serve(datagram, peer, local))
            self._transfers[peer] = task
            task.add_done_callback(partial(self._forget, peer))

    def _forget(self, peer: Address, _: asyncio.Task[None]) -> None:
        del self._transfers[peer]

    async def _serve(self, datagram: bytes, peer: Address, local: str) -> None:
        try:
            request = packets.read_request(datagram)
        except packets.Malformed as err:
            log.debug("tftp_malformed", peer=peer[0], detail=str(err))
            return
        except packets.NotARead as err:
            log.warning("tftp_refused", peer=peer[0], reason=str(err))
            await self._refuse(packets.ILLEGAL_OPERATION, peer, local)
            return
        # Firmware writes "/name" as often as "name".
        content = self._files.get(request.name.lstrip("/"))
        if content is None:
            log.warning("tftp_refused", peer=peer[0], reason="no such file", file=request.name)
            await self._refuse(packets.FILE_NOT_FOUND, peer, local)
            return
        sender = Sender(content, packets.negotiate(request.options, len(content)))
        loop = asyncio.get_running_loop()
        transport, transfer = await loop.create_datagram_endpoint(
            lambda: _Transfer(sender), local_addr=(local, 0), remote_addr=peer
        )
        started = loop.time()
        try:
            await transfer.ended
        finally:
            transport.close()
        log.info(
            "tftp_sent" if sender.finished else "tftp_ended",
            peer=peer[0],
            file=request.name,
            bytes=len(content),
            seconds=round(loop.time() - started, 3),
            given_up=sender.given_up,
        )

    async def _refuse(self, code: int, peer: Address, local: str) -> None:
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=(local, 0), remote_addr=peer
        )
        transport.sendto(packets.error(code))
        transport.close()


class _Transfer(asyncio.DatagramProtocol):
    """The socket and the timer of one transfer; its socket is connected, so the kernel drops foreign packets."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        self._deadline = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.DatagramTransport, transport)
        self._send(self._sender.start(self._loop.time()))
        self._timer = self._loop.call_at(self._deadline, self._tick)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        block = packets.acknowledged_block(data)
        if block is not None:
            self._send(self._sender.acknowledged(block, self._loop.time()))
        elif packets.opcode(data) == packets.ERROR:
            # OVMF asks twice: first only for the OACK's tsize, which it ends with an ERROR. No fault.
            self._end()

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, ConnectionRefusedError):  # the client has closed its port
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _tick(self) -> None:
        """One timer a transfer, moved on when it fires: arming one anew for each ACK would cost more than the ACK."""
        now = self._loop.time()
        if now >= self._deadline:
            self._send(self._sender.timed_out(now))
        if not self.ended.done():
            self._timer = self._loop.call_at(self._deadline, self._tick)

    def _send(self, datagrams: list[bytes]) -> None:
        if self._sender.finished or self._sender.given_up:
            self._end()
            return
        if not datagrams or self._transport is None:
            return
        self._deadline = self._loop.time() + self._sender.patience_s
        for datagram in datagrams:
            self._transport.sendto(datagram)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self.ended.done():
            self.ended.set_result(None)


@asynccontextmanager
async def serve_tftp(settings: TftpSettings, files: Mapping[str, bytes]) -> AsyncIterator[TftpServer]:
    """Serve `files` while the block runs. Raises OSError where the address or the port cannot be had."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind((settings.listen, settings.port))
    except BaseException:
        sock.close()
        raise
    server = TftpServer(sock, files)
    server.start()
    try:
        yield server
    finally:
        await server.close()
