"""The virtual leaf's front door: asyncssh on sockets that it accepts itself, so that it can be away for a while."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress

import asyncssh

from service.lab.ssh_connections import Connected

Serve = Callable[[asyncssh.SSHServerProcess[bytes]], Awaitable[None]]


class _Server(Connected):
    def __init__(self, login: tuple[str, str], connections: set[asyncssh.SSHServerConnection]) -> None:
        self._login = login
        super().__init__(connections)

    def begin_auth(self, username: str) -> bool:
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == self._login


class Listener:
    """Listens while it is up; `reachable` is cleared while packets get lost on the way."""

    def __init__(self, login: tuple[str, str], serve: Serve) -> None:
        self.reachable = asyncio.Event()
        self.reachable.set()
        self.address: tuple[str, int] = ("", 0)
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._options = asyncssh.SSHServerConnectionOptions(
            server_factory=lambda: _Server(login, self._connections),
            server_host_keys=[self._key],
            process_factory=serve,
            encoding=None,
            line_editor=False,
        )

    @property
    def host_key(self) -> str:
        """The host key, in OpenSSH form."""
        return self._key.export_public_key("openssh").decode().strip()

    def up(self, host: str, port: int) -> None:
        """Listen. Port 0 takes a free one."""
        listening = socket.create_server((host, port), backlog=100)
        listening.setblocking(False)
        self.address = listening.getsockname()[:2]
        self._accepting = asyncio.create_task(self._accept(listening))

    async def down(self) -> None:
        """Listen no more, and cut every connection."""
        tasks = [*self._handshakes, *([] if self._accepting is None else [self._accepting])]
        for task in tasks:
            task.cancel()
        for connection in list(self._connections):
            connection.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        with listening:
            while True:
                peer, _ = await loop.sock_accept(listening)
                handshake = asyncio.create_task(self._welcome(peer))
                self._handshakes.add(handshake)
                handshake.add_done_callback(self._handshakes.discard)

    async def _welcome(self, peer: socket.socket) -> None:
        try:
            await self.reachable.wait()
            with suppress(OSError, asyncssh.Error):
                await asyncssh.run_server(peer, options=self._options)
        except asyncio.CancelledError:
            peer.close()
            raise
