"""The SSH server of the consoles: keys alone open it, and consoles are all that it has."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from uuid import UUID

import asyncpg
import asyncssh
import structlog

from service.parts import Parts
from service.secrets import KeyRing
from service.sos.lease import Place, seat_of
from service.sos.lines import Lines
from service.sos.relay import KEPT, LIVE, open_relay, relayed, serve_relay
from service.sos.session import Login, Session
from service.sos.upstream import Upstream
from service.store.console import access_of
from service.store.hardware import machine_by_id
from service.store.notify import Hub
from service.store.own_keys import own_key
from service.store.rows import AWAY, Pool

log = structlog.get_logger()

HOST_KEY = "console_host_key"
_LOGIN = "roundhouse_login"  # under which a connection keeps who it is
_RELAY = "roundhouse_relay"  # … and which machine's console another process asks for
_LOGIN_S = 30.0
_KEEPALIVE_S, _MISSED = 15.0, 3  # a client that answers nothing for so long is gone
_CLOSING_S = 2.0  # for a client to read why it was cut
_CONNECTIONS = 1000
_FROM_ONE_ADDRESS = 50


def make_host_key() -> str:
    """A new host key, in OpenSSH's form."""
    return asyncssh.generate_private_key("ssh-ed25519", comment="console").export_private_key().decode()


async def public_host_key(db: Pool, keys: KeyRing) -> str:
    """The public half of the host key, as a line of known_hosts has it after the name."""
    key = asyncssh.import_private_key(await own_key(db, keys, HOST_KEY, make_host_key))
    return _line_of(key)


def _line_of(key: asyncssh.SSHKey) -> str:
    """The public half: its type and base64."""
    return " ".join(key.export_public_key().decode().split()[:2])


@asynccontextmanager
async def serve_consoles(
    db: Pool, parts: Parts, hub: Hub, tasks: asyncio.TaskGroup, sockets: Sequence[socket.socket]
) -> AsyncIterator[None]:
    """Serve consoles on listening sockets while the block runs."""
    connections = _Connections()
    key = asyncssh.import_private_key(await own_key(db, parts.key, HOST_KEY, make_host_key))
    own = _line_of(key)

    def relay(place: Place, machine_id: UUID, *, kept: bool) -> AbstractAsyncContextManager[Upstream]:
        return open_relay(place, key, machine_id, KEPT if kept else LIVE)

    lines = Lines(db, parts, await seat_of(db, parts.settings, sockets[0].getsockname()[1]), relay)

    async def began(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await _session(db, parts, hub, lines, process)

    follow = tasks.create_task(lines.run(), name="consoles")
    try:
        async with AsyncExitStack() as stack:
            for sock in sockets:
                acceptor = await asyncssh.create_server(
                    lambda: _Server(db, connections, own),
                    sock=sock,
                    server_host_keys=[key],
                    process_factory=began,
                    encoding=None,
                    line_editor=False,
                    password_auth=False,
                    kbdint_auth=False,
                    gss_host=None,
                    x11_forwarding=False,
                    agent_forwarding=False,
                    compression_algs=None,
                    login_timeout=_LOGIN_S,
                    keepalive_interval=_KEEPALIVE_S,
                    keepalive_count_max=_MISSED,
                    server_version="Roundhouse",
                )
                stack.callback(acceptor.close)
            yield
    finally:
        follow.cancel()
        for connection in list(connections.open):
            connection.abort()


async def _session(db: Pool, parts: Parts, hub: Hub, lines: Lines, process: asyncssh.SSHServerProcess[bytes]) -> None:
    login, connection = process.get_extra_info(_LOGIN), process.get_extra_info("connection")
    if (machine_id := process.get_extra_info(_RELAY)) is not None:
        with suppress(OSError, asyncssh.Error, KeyError, asyncpg.PostgresError, asyncpg.InterfaceError):
            await serve_relay(lines, machine_id, (await machine_by_id(db, machine_id)).device_id, process)
        with suppress(OSError, asyncssh.Error):
            process.exit(0)
        return
    if process.command is not None or process.subsystem is not None:
        process.stderr.write(b"This is a serial console: it carries no commands out and has no files.\r\n")
        process.exit(1)
        return
    try:
        with suppress(OSError, asyncssh.Error):
            await Session(db, parts, hub, lines, login, process).run()
    except AWAY as err:
        log.warning("console_session_failed", reason=str(err) or type(err).__name__)
    except Exception:
        log.exception("console_session_crashed")
        raise
    finally:
        with suppress(OSError, asyncssh.Error):
            process.exit(0)
        # A client that reads nothing must not keep what it may no longer see waiting for it.
        asyncio.get_running_loop().call_later(_CLOSING_S, connection.abort)


class _Connections:
    """The open connections, and how many come from each address."""

    def __init__(self) -> None:
        self.open: set[asyncssh.SSHServerConnection] = set()
        self.sources: Counter[str] = Counter()

    def full(self, source: str) -> bool:
        """Whether another one is too many."""
        return len(self.open) >= _CONNECTIONS or self.sources[source] >= _FROM_ONE_ADDRESS


class _Server(asyncssh.SSHServer):
    """One connection's login."""

    def __init__(self, db: Pool, connections: _Connections, own_key: str) -> None:
        self._db = db
        self._own_key = own_key
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None
        self._name = self._source = ""

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._source = str(conn.get_extra_info("peername")[0])
        if self._connections.full(self._source):
            log.warning("console_connections_full", source=self._source)
            conn.abort()
            return
        self._connection = conn
        self._connections.open.add(conn)
        self._connections.sources[self._source] += 1

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.open.discard(self._connection)
            self._connections.sources[self._source] -= 1
            if not self._connections.sources[self._source]:
                del self._connections.sources[self._source]

    def begin_auth(self, username: str) -> bool:
        self._name = username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        """Asked for each key that is offered, and once more with its signature: the last one is whose login it is."""
        line = _line_of(key)
        if (machine_id := relayed(username, line, self._own_key)) is not None and self._connection is not None:
            self._connection.set_extra_info(**{_RELAY: machine_id})
            return True
        try:
            access = await access_of(self._db, username, line)
        except AWAY as err:
            log.warning("console_login_waits", reason=str(err) or type(err).__name__)
            return False
        if access is None or self._connection is None:
            log.info("console_login_refused", name=username[:80], source=self._source)
            return False
        login = Login(username, line, key.get_fingerprint(), self._source, access)
        self._connection.set_extra_info(**{_LOGIN: login})
        return True
