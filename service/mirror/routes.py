"""GET and HEAD /mirror/NAME/PATH: a file of an upstream mirror, kept for whoever asks next."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address

import aiohttp
import structlog
from aiohttp import web

from pxe.counters import Counters
from pxe.http import source_address
from pxe.ranges import Part, Unsatisfiable, has_already, part_asked
from pxe.sending import Ended, Source, send
from service.clock import Clock
from service.mirror.cache import About, Cache, Kept
from service.mirror.fetch import Fetches, Incoming, NotThere, Same, UpstreamLost
from service.mirror.paths import LIFE, NoSuchFile, Upstream, read_mirrors, upstream_of
from service.parts import Parts

log = structlog.get_logger()

_STALL_S = 60.0  # a reader that takes nothing for so long is given up

# Who asked for which file, and with which status that ends.
Heard = Callable[[IPv4Address | IPv6Address, Upstream, int], Awaitable[None]]


class Mirror:
    """The routes under /mirror."""

    def __init__(
        self, mirrors: Mapping[str, str], cache: Cache, fetches: Fetches, clock: Clock, counters: Counters, heard: Heard
    ) -> None:
        self._mirrors = mirrors
        self._cache = cache
        self._fetches = fetches
        self._clock = clock
        self._counters = counters
        self._heard = heard

    def routes(self) -> list[web.RouteDef]:
        """For the boot application."""
        return [web.get("/mirror/{name}/{path:.*}", self._file)]

    async def _file(self, request: web.Request) -> web.StreamResponse:
        try:
            upstream = upstream_of(self._mirrors, request.match_info["name"], request.match_info["path"])
        except NoSuchFile as err:
            raise web.HTTPNotFound(text=f"{err}\n") from None
        try:
            response = await self._answer(request, upstream)
        except UpstreamLost as err:
            response = web.Response(status=502, text=f"{err}\n")
        status = response.status
        source = source_address(request)
        log.info("mirror_asked", source=str(source), name=upstream.name, method=request.method, status=status)
        if source is not None:
            await self._heard(source, upstream, status)
        return response

    async def _answer(self, request: web.Request, upstream: Upstream) -> web.StreamResponse:
        kept = self._cache.find(upstream.name)
        try:
            if kept is not None and self._fresh(request, upstream, kept):
                self._counters.count("mirror_kept")
                return await self._send_kept(request, kept)
            try:
                return await self._ask(request, upstream, kept)
            except UpstreamLost as err:
                if kept is None:
                    raise
                log.warning("mirror_answers_as_it_was", name=upstream.name, reason=str(err))
                return await self._send_kept(request, kept)
        finally:
            if kept is not None:
                os.close(kept.fd)

    def _fresh(self, request: web.Request, upstream: Upstream, kept: Kept) -> bool:
        """Whether the upstream mirror need not be asked; a client may insist (RFC 9111 §5.2.1)."""
        insists = {part.strip().lower() for part in request.headers.get("Cache-Control", "").split(",")}
        age = self._clock.now() - kept.checked_at
        return "no-cache" not in insists and (upstream.immutable or timedelta() <= age < LIFE)

    async def _ask(self, request: web.Request, upstream: Upstream, kept: Kept | None) -> web.StreamResponse:
        if request.method == "HEAD" and kept is None:
            return await self._head(upstream)
        self._counters.count("mirror_asked_upstream")
        async with self._fetches.asked(upstream, None if kept is None else kept.about) as found:
            match found:
                case NotThere():
                    self._cache.drop(upstream.name)
                    return _not_there(upstream)
                case Same():
                    return await self._same(request, upstream, kept)
                case Incoming():
                    return await self._send_incoming(request, found)

    async def _same(self, request: web.Request, upstream: Upstream, kept: Kept | None) -> web.StreamResponse:
        if kept is not None:
            return await self._send_kept(request, self._cache.checked(kept, now=self._clock.now()))
        # Somebody else had the file when this request had not; by now it is there, or it was removed to make room.
        found = self._cache.find(upstream.name)
        if found is None:
            raise UpstreamLost(f"{upstream.name} was removed; ask again")
        try:
            return await self._send_kept(request, found)
        finally:
            os.close(found.fd)

    async def _head(self, upstream: Upstream) -> web.StreamResponse:
        found = await self._fetches.head(upstream)
        if isinstance(found, NotThere):
            return _not_there(upstream)
        about, size = found
        headers = _headers(about) | ({} if size is None else {"Content-Length": str(size)})
        return web.Response(headers=headers)

    async def _send_kept(self, request: web.Request, kept: Kept) -> web.StreamResponse:
        self._cache.used(kept, now=self._clock.now())

        async def there(_at: int) -> int:
            return kept.size

        return await self._send(request, kept.about, kept.size, _from(kept.fd, kept.start), there)

    async def _send_incoming(self, request: web.Request, incoming: Incoming) -> web.StreamResponse:
        size = incoming.size if incoming.size is not None else await incoming.whole()
        return await self._send(
            request, incoming.about, size, _from(incoming.draft.fd, incoming.draft.start), incoming.beyond
        )

    async def _send(
        self, request: web.Request, about: About, size: int, source: Source, there: Callable[[int], Awaitable[int]]
    ) -> web.StreamResponse:
        """Send what is asked of a file, of which as much is there as `there` says."""
        headers = _headers(about)
        if _has_already(request, about):
            return web.Response(status=304, headers=headers)
        try:
            part = part_asked(request.headers, about.etag, size) if request.method == "GET" else None
        except Unsatisfiable as err:
            return web.Response(status=416, text=f"{err}\n", headers={"Content-Range": f"bytes */{size}"})
        part, partial = part or Part(0, size, size), part is not None
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        if partial:
            response.headers["Content-Range"] = part.content_range
        response.content_length = part.stop - part.start
        if request.method == "GET" and part.stop > part.start:
            await self._stream(request, response, part, source, there)
        return response

    async def _stream(
        self,
        request: web.Request,
        response: web.StreamResponse,
        part: Part,
        source: Source,
        there: Callable[[int], Awaitable[int]],
    ) -> None:
        transport = request.transport
        if transport is None:
            return
        ended, at = Ended.STALLED, part.start
        with suppress(TimeoutError):
            async with asyncio.timeout(_STALL_S):
                # The body goes past the transport, so all that was written before has to have left it.
                transport.set_write_buffer_limits(high=0)
                writer = await response.prepare(request)
                if writer is not None:
                    await writer.drain()
            while at < part.stop:
                try:
                    upto = min(part.stop, await there(at))
                except UpstreamLost:
                    ended = Ended.TRUNCATED
                    break
                ended, sent = await send(transport, source, at, upto, stall_s=_STALL_S)
                at += sent
                if ended is not Ended.WHOLE:
                    break
        self._counters.count("mirror_bytes", at - part.start)
        if at < part.stop:
            log.info("mirror_cut_off", source=str(source_address(request)), sent=at - part.start, reason=str(ended))
            transport.abort()


@asynccontextmanager
async def open_mirror(parts: Parts, counters: Counters, heard: Heard) -> AsyncIterator[Mirror]:
    """The mirrors that the settings name, while the block runs. Raises BadSetting and OSError."""
    settings = parts.settings
    mirrors = read_mirrors(settings.package_mirrors)
    cache = Cache(settings.state_dir / "packages", settings.package_cache_bytes)
    await asyncio.to_thread(cache.forget_drafts)
    # What is kept and told is what the upstream mirror has, not another form of it.
    async with aiohttp.ClientSession(
        connector=parts.upstream(), auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as session:
        fetches = Fetches(session, cache, parts.clock, settings.package_proxy)
        try:
            yield Mirror(mirrors, cache, fetches, parts.clock, counters, heard)
        finally:
            await fetches.close()


def _from(fd: int, start: int) -> Source:
    """The content of a file of the cache, which begins at `start`."""

    def send_on(to: int, at: int, count: int) -> int:
        return os.sendfile(to, fd, start + at, count)

    return send_on


def _headers(about: About) -> dict[str, str]:
    # Whoever asks comes back for what may have changed; what lies between us and them must not keep it longer.
    headers = {"Content-Type": about.kind, "Accept-Ranges": "bytes", "Cache-Control": "no-cache"}
    told = {"ETag": about.etag, "Last-Modified": about.modified}
    return headers | {name: value for name, value in told.items() if value}


def _has_already(request: web.Request, about: About) -> bool:
    """Whether the client has this file (RFC 9110 §13.1.2 and §13.1.3)."""
    if "If-None-Match" in request.headers:
        return bool(about.etag) and has_already(request.headers, about.etag)
    since = request.headers.get("If-Modified-Since")
    return since is not None and since == about.modified


def _not_there(upstream: Upstream) -> web.Response:
    return web.Response(status=404, text=f"the mirror has no {upstream.name}\n")
