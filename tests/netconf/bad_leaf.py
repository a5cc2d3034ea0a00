"""A NETCONF server that answers what it was told to, or falls silent where it was told to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from enum import StrEnum

import asyncssh
from lxml import etree

from netconf.framing import Framing, framed
from netconf.owned import NETCONF, tag_of
from netconf.session import LeafAddress

_BASE = "urn:ietf:params:netconf:base:"
CAPABILITIES = (
    f"{_BASE}1.0",
    f"{_BASE}1.1",
    "urn:ietf:params:netconf:capability:candidate:1.0",
    "urn:ietf:params:netconf:capability:confirmed-commit:1.1",
)


class Silent(StrEnum):
    """After which step of connecting there comes nothing more."""

    CONNECTED = "TCP connection"
    GREETED = "SSH version"
    KEYS_EXCHANGED = "key exchange"
    PASSWORD_SENT = "password"
    LOGGED_IN = "login"
    CHANNEL_OPEN = "subsystem request"
    HALF_A_HELLO = "half a hello"


def hello(*capabilities: str, session_id: str = "<session-id>7</session-id>") -> bytes:
    offered = "".join(f"<capability>{one}</capability>" for one in capabilities)
    return f'<hello xmlns="{NETCONF}"><capabilities>{offered}</capabilities>{session_id}</hello>'.encode()


class BadLeaf:
    """What it says, and what it heard."""

    def __init__(self, silent: Silent | None) -> None:
        self.silent = silent
        self.hello = hello(*CAPABILITIES)
        self.answers: dict[str, bytes] = {}  # what is in the reply to an operation; else `<ok/>`
        self.before: bytes = b""  # what is sent before each reply, as it is
        self.piece = 1 << 20  # a chunk of a reply has so many bytes at most
        self.calls: list[bytes] = []
        self.keys: list[str] = []  # that were offered
        self.connections: list[asyncssh.SSHServerConnection] = []
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.port = 0

    @property
    def address(self) -> LeafAddress:
        return LeafAddress("127.0.0.1", self.port, "rh", "secret", self.key.export_public_key().decode().strip())

    async def greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection that gets no further than this."""
        if self.silent is Silent.GREETED:
            writer.write(b"SSH-2.0-OpenSSH_7.5\r\n")
        while await reader.read(65536):
            pass
        writer.close()

    async def serve(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        if self.silent is Silent.CHANNEL_OPEN:
            await _for_ever()
        whole = framed(self.hello, chunked=False)
        process.stdout.write(whole[: len(whole) // 2] if self.silent is Silent.HALF_A_HELLO else whole)
        framing = Framing()
        while data := await process.stdin.read(65536):
            framing.feed(data)
            while (message := framing.next_message()) is not None:
                self.calls.append(message)
                call = etree.fromstring(message)
                if tag_of(call) == "hello":
                    framing.chunked = f"{_BASE}1.1".encode() in self.hello
                else:
                    self._answer(process, call, chunked=framing.chunked)
        process.exit(0)

    def _answer(self, process: asyncssh.SSHServerProcess[bytes], call: etree._Element, *, chunked: bool) -> None:
        content = self.answers.get(tag_of(call[0]), b"<ok/>")
        head = f'<rpc-reply xmlns="{NETCONF}" message-id="{call.get("message-id")}">'.encode()
        reply = head + content + b"</rpc-reply>"
        if not chunked:
            process.stdout.write(framed(reply, chunked=False))
            return
        pieces = [reply[at : at + self.piece] for at in range(0, len(reply), self.piece)]
        process.stdout.write(self.before + b"".join(b"\n#%d\n%s" % (len(one), one) for one in pieces) + b"\n##\n")


class _Server(asyncssh.SSHServer):
    def __init__(self, leaf: BadLeaf) -> None:
        self._leaf = leaf

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._leaf.connections.append(conn)

    async def begin_auth(self, username: str) -> bool:
        if self._leaf.silent is Silent.KEYS_EXCHANGED:
            await _for_ever()
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        self._leaf.keys.append(key.export_public_key().decode())
        return False

    def password_auth_supported(self) -> bool:
        return True

    async def validate_password(self, username: str, password: str) -> bool:
        if self._leaf.silent is Silent.PASSWORD_SENT:
            await _for_ever()
        return password == "secret"

    def session_requested(self) -> Awaitable[asyncssh.SSHServerSession[bytes]]:
        return _for_ever()


async def _for_ever() -> asyncssh.SSHServerSession[bytes]:
    await asyncio.Event().wait()
    raise AssertionError


@asynccontextmanager
async def bad_leaf(silent: Silent | None = None) -> AsyncIterator[BadLeaf]:
    """It listens while the block runs."""
    leaf = BadLeaf(silent)
    if silent in (Silent.CONNECTED, Silent.GREETED):
        server = await asyncio.start_server(leaf.greet, "127.0.0.1", 0)
        leaf.port = server.sockets[0].getsockname()[1]
        async with server:
            yield leaf
        return
    listening = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_factory=lambda: _Server(leaf),
        server_host_keys=[leaf.key],
        process_factory=None if silent is Silent.LOGGED_IN else leaf.serve,
        encoding=None,
        line_editor=False,
    )
    leaf.port = listening.get_port()
    try:
        yield leaf
    finally:
        for connection in leaf.connections:
            connection.abort()
        listening.close()
        await listening.wait_closed()
