"""An HTTP server for machines: its limits, and the deadlines of connections that ask nothing."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar
from weakref import WeakKeyDictionary

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

log = structlog.get_logger()

_LINE_BYTES = 8190  # of the request line, and of each header
_HEADERS = 64
_CLOSING_S = 0.5  # long polls would hold the end up; their clients ask again


# Paths whose handlers take the body themselves, however large it is.
TAKES_BODY = web.AppKey("takes_body", frozenset[str])
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """In seconds. A connection that has passed one is closed."""

    first_request: float = 20.0  # from connecting until a request is there as a whole
    # From a request's end until the next is there as a whole; longer than the 60 s that nginx keeps its connections.
    next_request: float = 75.0
    body: float = 30.0  # from a request's headers to its body's end


@asynccontextmanager
async def serve_http(
    app: web.Application, sockets: Sequence[socket.socket], deadlines: Deadlines = Deadlines()
) -> AsyncIterator[None]:
    """Serve `app` on listening sockets while the block runs; the sockets are closed with it.

    aiohttp waits without end for a request that is never finished, so half requests would use up the descriptors.
    """
    connections = _Connections(deadlines)
    app.middlewares.append(connections.middleware)
    runner = web.AppRunner(
        app,
        access_log=None,
        shutdown_timeout=_CLOSING_S,
        keepalive_timeout=deadlines.next_request,
        max_line_size=_LINE_BYTES,
        max_field_size=_LINE_BYTES,
        max_headers=_HEADERS,
    )
    await runner.setup()
    sweeper = asyncio.create_task(connections.sweep(runner), name="http deadlines")
    try:
        for sock in sockets:
            await web.SockSite(runner, sock, backlog=4096).start()
        yield
    finally:
        sweeper.cancel()
        with suppress(asyncio.CancelledError):
            await sweeper
        await runner.cleanup()


class _Connections:
    """When each connection that is asking nothing has to have asked something."""

    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._until: WeakKeyDictionary[asyncio.BaseTransport, float] = WeakKeyDictionary()

        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            return await self._handled(request, handler)

        self.middleware = middleware

    async def _handled(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._until[transport] = float("inf")
        try:
            if request.path in request.app.get(TAKES_BODY, ()):
                return await self._in_time(handler(request))
            if request.can_read_body:
                await self._in_time(request.read())
            return await handler(request)
        finally:
            self._until[transport] = asyncio.get_running_loop().time() + self._deadlines.next_request

    async def _in_time(self, reading: Awaitable[T]) -> T:
        """Have the body in memory, where the handler finds it, as large as `client_max_size` lets it be; or have the
        handler take it piece by piece."""
        try:
            async with asyncio.timeout(self._deadlines.body):
                return await reading
        except TimeoutError:
            raise web.HTTPRequestTimeout(text=f"the body was not there after {self._deadlines.body:g} s\n") from None

    async def sweep(self, runner: web.AppRunner) -> None:
        """Close what has passed its deadline, until cancelled."""
        loop = asyncio.get_running_loop()
        pause = min(self._deadlines.first_request, self._deadlines.next_request) / 4
        while runner.server is not None:
            now = loop.time()
            for connection in runner.server.connections:
                transport = connection.transport
                if transport is None:
                    continue
                if self._until.setdefault(transport, now + self._deadlines.first_request) < now:
                    log.info("http_connection_idle", peer=str(transport.get_extra_info("peername")))
                    transport.abort()
            await asyncio.sleep(pause)
