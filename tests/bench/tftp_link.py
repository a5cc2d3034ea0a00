"""A link that loses datagrams, for TFTP: a forwarder between clients and a server."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

_Address = tuple[str, int]


class _Link:
    """Clients talk to `address`; each gets a port of its own here towards the server, and one towards itself."""

    def __init__(self, server: _Address, lose: float, seed: int, stack: ExitStack) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._lose = lose
        self._random = random.Random(seed)
        self._stack = stack
        self._requests: dict[_Address, socket.socket] = {}

    def port(self, host: str) -> socket.socket:
        sock = self._stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
        sock.bind((host, 0))
        self._stack.callback(self._loop.remove_reader, sock)
        return sock

    def listen(self, sock: socket.socket) -> None:
        """Take requests. A repeated one leaves from the same port, so that the server knows it again."""

        def readable() -> None:
            datagram, client = sock.recvfrom(65_536)
            if client not in self._requests:
                self._requests[client] = self._pair(sock.getsockname()[0], client)
            self._forward(datagram, self._requests[client], self._server)

        self._loop.add_reader(sock, readable)

    def _pair(self, host: str, client: _Address) -> socket.socket:
        to_server, to_client = self.port(host), self.port(host)
        transfer: list[_Address] = []

        def from_server() -> None:
            datagram, peer = to_server.recvfrom(65_536)
            transfer[:] = [peer]
            self._forward(datagram, to_client, client)

        def from_client() -> None:
            datagram, _ = to_client.recvfrom(65_536)
            self._forward(datagram, to_server, transfer[0])

        self._loop.add_reader(to_server, from_server)
        self._loop.add_reader(to_client, from_client)
        return to_server

    def _forward(self, datagram: bytes, sock: socket.socket, peer: _Address) -> None:
        if self._random.random() >= self._lose:
            sock.sendto(datagram, peer)


@asynccontextmanager
async def serve_lossy(host: str, server: _Address, lose: float, seed: int) -> AsyncIterator[_Address]:
    """Forward to `server` what comes to the address that this gives; of a hundred datagrams, each way, `100 * lose`
    are lost."""
    with ExitStack() as stack:
        link = _Link(server, lose, seed, stack)
        listening = link.port(host)
        link.listen(listening)
        yield listening.getsockname()
