"""The SSH server of the virtual rack's BMCs: a shell whose one command leads to a machine's serial line."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from contextlib import suppress

import asyncssh

from service.lab.console import SerialLine
from service.lab.ssh_connections import Connected

PROMPT = b"-> "
_START = "start "
_UNREAD_BYTES = 1 << 20  # that a slow reader may leave: what comes then is lost to it, and the machine goes on

Find = Callable[[str], SerialLine | None]
Allowed = Callable[[str, str], bool]  # username and password


def entry_command(name: str) -> str:
    """What leads to the machine's line, as Redfish tells it."""
    return f"{_START}{name}"


class BmcConsole:
    """One server for all machines, on a port of its own; `async with` stops it."""

    def __init__(self, host: str, username: str, password: str, find: Find) -> None:
        self._host = host
        self._username, self._password = username, password
        self._find = find
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()

    async def __aenter__(self) -> BmcConsole:
        await self._listen(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stop()

    @property
    def port(self) -> int:
        """Where it listens."""
        assert self._acceptor is not None
        return self._acceptor.get_port()

    async def change_host_key(self) -> None:
        """Be another server at the same port, as after a BMC was replaced."""
        port = self.port
        await self._stop()
        self._key = asyncssh.generate_private_key("ssh-ed25519")
        await self._listen(port)

    async def _listen(self, port: int) -> None:
        self._acceptor = await asyncssh.create_server(
            lambda: _Server(self._allowed, self._connections),
            self._host,
            port,
            server_host_keys=[self._key],
            process_factory=self._shell,
            encoding=None,
            line_editor=False,
        )

    async def _stop(self) -> None:
        for connection in list(self._connections):
            connection.abort()
        if self._acceptor is not None:
            self._acceptor.close()
            await self._acceptor.wait_closed()

    def _allowed(self, username: str, password: str) -> bool:
        wanted = f"{self._username}\0{self._password}"
        return hmac.compare_digest(wanted.encode(), f"{username}\0{password}".encode())

    async def _shell(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = bytearray()
        process.stdout.write(PROMPT)
        with suppress(asyncssh.Error, OSError):
            while data := await _typed(process):
                for byte in data:
                    if byte not in b"\r\n":
                        command.append(byte)
                        process.stdout.write(bytes([byte]))
                        continue
                    line = self._find(command.decode(errors="replace").removeprefix(_START))
                    if line is not None:
                        process.stdout.write(b"\r\n")
                        await _bridge(process, line)
                        return
                    process.stdout.write(b"\r\nno such command\r\n" + PROMPT)
                    command.clear()


async def _bridge(process: asyncssh.SSHServerProcess[bytes], line: SerialLine) -> None:
    def printed(data: bytes) -> None:
        if process.channel.get_write_buffer_size() < _UNREAD_BYTES:
            with suppress(BrokenPipeError):
                process.stdout.write(data)

    leave = line.look(printed)
    try:
        while data := await _typed(process):
            line.type(data)
    finally:
        leave()


async def _typed(process: asyncssh.SSHServerProcess[bytes]) -> bytes:
    while True:
        try:
            return await process.stdin.read(4096)
        except (asyncssh.TerminalSizeChanged, asyncssh.SignalReceived, asyncssh.BreakReceived):
            await asyncio.sleep(0)


class _Server(Connected):
    """Lets in by password."""

    def __init__(self, allowed: Allowed, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._allowed = allowed
        super().__init__(connections)

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return self._allowed(username, password)
