"""Fetching files from upstream mirrors: one fetch for however many ask, which can be read while it goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import structlog

from service.clock import Clock
from service.mirror.cache import About, Cache, Draft
from service.mirror.paths import Upstream

log = structlog.get_logger()

_PIECE = 1 << 18
_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=60)
_GONE = (404, 410)
_REDIRECTS = 5


class UpstreamLost(Exception):
    """The upstream mirror cannot be reached, or answers as none should."""


@dataclass(frozen=True, slots=True)
class NotThere:
    """The upstream mirror has no such file."""


@dataclass(frozen=True, slots=True)
class Same:
    """The upstream mirror has the file that is kept."""


class Incoming:
    """A file that is coming in; `size` is None where the upstream mirror does not tell it before the end."""

    def __init__(self, about: About, draft: Draft, size: int | None) -> None:
        self.about = about
        self.draft = draft
        self.size = size
        self.got = 0
        self.failure: str | None = None
        self._ended = False
        self._news = asyncio.Event()

    def add(self, piece: bytes) -> None:
        """More of its content."""
        view = memoryview(piece)
        while view:
            written = os.pwrite(self.draft.fd, view, self.draft.start + self.got)
            self.got += written
            view = view[written:]
        self._tell()

    def end(self, failure: str | None) -> None:
        """It is whole, or it will never be."""
        if failure is None and self.size is None:
            self.size = self.got
        self.failure, self._ended = failure, True
        self._tell()

    def _tell(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    async def beyond(self, at: int) -> int:
        """How much is there, as soon as that is more than `at`. Raises UpstreamLost where no more will come."""
        while self.got <= at and not self._ended:
            await self._news.wait()
        if self.got <= at:
            raise UpstreamLost(self.failure or f"the file ends at {self.got}")
        return self.got

    async def whole(self) -> int:
        """Its size, when it is there as a whole. Raises UpstreamLost."""
        while not self._ended:
            await self._news.wait()
        if self.failure is not None:
            raise UpstreamLost(self.failure)
        return self.got


Found = Incoming | Same | NotThere


class _Flight:
    """One fetch, and how many use what it brings."""

    def __init__(self) -> None:
        self.found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.incoming: Incoming | None = None
        self._users = 0

    def __enter__(self) -> None:
        self._users += 1

    def __exit__(self, *_: object) -> None:
        self._users -= 1
        if not self._users and self.incoming is not None:
            os.close(self.incoming.draft.fd)


class Fetches:
    """All fetches under way."""

    def __init__(self, session: aiohttp.ClientSession, cache: Cache, clock: Clock, proxy: str) -> None:
        """`proxy` is the URL of a proxy before the upstream mirrors; empty: none."""
        self._session = session
        self._cache = cache
        self._clock = clock
        self._proxy = proxy or None
        self._flights: dict[str, _Flight] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @asynccontextmanager
    async def asked(self, upstream: Upstream, kept: About | None) -> AsyncIterator[Found]:
        """The file, as soon as its upstream mirror has said what it is, to be read within the block.

        With `kept`, only if it is another than that. Raises UpstreamLost.
        """
        flight = self._flights.get(upstream.name)
        if flight is None:
            flight = self._flights[upstream.name] = _Flight()
            task = asyncio.create_task(self._fly(upstream, kept, flight), name=f"mirror {upstream.name}")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        with flight:
            yield await asyncio.shield(flight.found)

    async def head(self, upstream: Upstream) -> tuple[About, int | None] | NotThere:
        """What the file is, and its size where that is told. Raises UpstreamLost."""
        try:
            async with self._session.head(
                upstream.url, timeout=_TIMEOUT, proxy=self._proxy, max_redirects=_REDIRECTS, allow_redirects=True
            ) as answer:
                if answer.status in _GONE:
                    return NotThere()
                if answer.status != 200:
                    raise UpstreamLost(f"{upstream.mirror} answers {answer.status}")
                return _about(upstream, answer.headers), answer.content_length
        except (aiohttp.ClientError, TimeoutError, OSError) as err:
            raise _lost(upstream, err) from None

    async def _fly(self, upstream: Upstream, kept: About | None, flight: _Flight) -> None:
        with flight:
            try:
                await self._fetch(upstream, kept, flight)
            except (aiohttp.ClientError, TimeoutError, OSError, UpstreamLost) as err:
                self._lost(upstream, flight, err)
            except BaseException:
                self._lost(upstream, flight, UpstreamLost("the service ends"))
                raise
            finally:
                self._flights.pop(upstream.name, None)

    def _lost(self, upstream: Upstream, flight: _Flight, err: Exception) -> None:
        lost = err if isinstance(err, UpstreamLost) else _lost(upstream, err)
        incoming = flight.incoming
        got = 0 if incoming is None else incoming.got
        log.warning("mirror_upstream_lost", name=upstream.name, got=got, reason=str(lost))
        if incoming is not None:
            incoming.draft.path.unlink(missing_ok=True)
            incoming.end(str(lost))
        elif not flight.found.done():
            flight.found.set_exception(lost)
            flight.found.exception()  # whoever asked may have gone

    async def _fetch(self, upstream: Upstream, kept: About | None, flight: _Flight) -> None:
        # Where a mirror sends its clients is its own choice, and its operator chose the mirror.
        async with self._session.get(
            upstream.url, headers=_conditions(kept), timeout=_TIMEOUT, proxy=self._proxy, max_redirects=_REDIRECTS
        ) as answer:
            if answer.status == 304 and kept is not None:
                flight.found.set_result(Same())
            elif answer.status in _GONE:
                flight.found.set_result(NotThere())
            elif answer.status != 200:
                raise UpstreamLost(f"{upstream.mirror} answers {answer.status}")
            else:
                about = _about(upstream, answer.headers)
                flight.incoming = Incoming(about, self._cache.draft(about), answer.content_length)
                flight.found.set_result(flight.incoming)
                await self._take(answer, flight.incoming)

    async def _take(self, answer: aiohttp.ClientResponse, incoming: Incoming) -> None:
        async for piece in answer.content.iter_chunked(_PIECE):
            incoming.add(piece)
        if incoming.size is not None and incoming.got != incoming.size:
            raise aiohttp.ClientPayloadError(f"{incoming.got} of {incoming.size} bytes came")
        await asyncio.to_thread(self._cache.keep, incoming.draft, incoming.about.name, now=self._clock.now())
        incoming.end(None)


def _conditions(kept: About | None) -> dict[str, str]:
    if kept is None:
        return {}
    return {
        name: value for name, value in (("If-None-Match", kept.etag), ("If-Modified-Since", kept.modified)) if value
    }


def _about(upstream: Upstream, headers: Mapping[str, str]) -> About:
    etag = headers.get("ETag", "")
    return About(
        upstream.name,
        "" if etag.startswith("W/") else etag,
        headers.get("Last-Modified", ""),
        headers.get("Content-Type", "application/octet-stream"),
    )


def _lost(upstream: Upstream, err: BaseException) -> UpstreamLost:
    return UpstreamLost(f"{upstream.mirror}: {str(err) or type(err).__name__}")
