"""Connections to the rack's SSH servers, so that they can be cut."""

from __future__ import annotations

import asyncssh


class Connected(asyncssh.SSHServer):
    """One connection to a server; it is in the server's set of them while it is open."""

    def __init__(self, connections: set[asyncssh.SSHServerConnection]) -> None:
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._connections.discard(self._connection)
