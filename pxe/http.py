"""The HTTP side of boot: scripts by source address, first-stage files, and images by their hash."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path, PurePosixPath

import structlog
from aiohttp import web

from pxe import grub, ipxe
from pxe.counters import Counters
from pxe.decide import Script, ScriptFor
from pxe.http_source import comes_by_proxy, source_address
from pxe.pacing import Rates, Shares
from pxe.ranges import Part, Unsatisfiable, has_already, means_another, part_asked
from pxe.sending import Ended, Source, from_file, from_memory, send

__all__ = ["HttpSettings", "boot_routes", "source_address"]

log = structlog.get_logger()

RackOf = Callable[[IPv4Address | IPv6Address], str | None]

_SHA256 = re.compile(r"[0-9a-f]{64}")
_SO_MAX_PACING_RATE = 47  # Linux: bytes/s that TCP sends at most on this socket; Python's socket module lacks the name
_UNLIMITED = 2**64 - 1
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
# UEFI 2.10 §24.7: HTTP Boot goes by the media type, and by the name's ending only where that tells nothing.
_TYPES = {".efi": "application/efi", ".cfg": "text/plain", ".ipxe": "text/plain"}


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """How images are sent."""

    rates: Rates = field(default_factory=Rates)
    stall_s: float = 60.0  # a reader that takes nothing for so long is given up
    # Where nginx, named in TRUSTED_PROXIES, has `images_dir` for itself, as "/internal/images"; empty: we send.
    accel_location: str = ""


def boot_routes(
    script_for: ScriptFor,
    files: Mapping[str, bytes],
    images_dir: Path,
    settings: HttpSettings = HttpSettings(),
    *,
    rack_of: RackOf = lambda _source: None,
    counters: Counters | None = None,
) -> list[web.RouteDef]:
    """The routes that machines boot from, for an aiohttp application.

    GET /boot/ipxe            the script of the port that asks, told by its source address; the query goes along
    GET /boot/grub            the same as a configuration for GRUB
    GET /boot/files/{name}    one of `files`, which TFTP serves as well; a name may have slashes
    GET /images/{sha256}      a file right under `images_dir`, named by its hash; cacheable for ever

    HEAD answers the same without a body. Files and images take one range; see `pxe.ranges` for all others.
    """
    boot = _Boot(script_for, files, images_dir, settings, rack_of, counters or Counters())
    return [
        web.get("/boot/ipxe", boot.ipxe),
        web.get("/boot/grub", boot.grub),
        web.get("/boot/files/{name:.+}", boot.file),
        web.get("/images/{sha256}", boot.image),
    ]


class _Boot:
    def __init__(
        self,
        script_for: ScriptFor,
        files: Mapping[str, bytes],
        images_dir: Path,
        settings: HttpSettings,
        rack_of: RackOf,
        counters: Counters,
    ) -> None:
        self._script_for = script_for
        self._files = files
        self._images_dir = images_dir
        self._settings = settings
        self._rack_of = rack_of
        self._counters = counters
        self._shares = Shares(settings.rates)
        self._etags: dict[str, tuple[bytes, str]] = {}

    async def ipxe(self, request: web.Request) -> web.StreamResponse:
        return await self._script(request, ipxe.render)

    async def grub(self, request: web.Request) -> web.StreamResponse:
        return await self._script(request, grub.render)

    async def _script(self, request: web.Request, render: Callable[[Script], str]) -> web.StreamResponse:
        source = source_address(request)
        found = await self._script_for(source, request.query) if source is not None else None
        if found is None:
            log.info("boot_script_unknown", source=str(source), path=request.path)
            raise self._refused(web.HTTPNotFound(text=f"no boot script for {source}\n"))
        try:
            text = render(found)
        except ipxe.Unsafe as err:
            log.error("boot_script_unsafe", source=str(source), path=request.path, reason=str(err))
            raise self._refused(web.HTTPInternalServerError(text=f"{err}\n")) from None
        log.info("boot_script_sent", source=str(source), path=request.path, target=str(found.target))
        self._counters.count("http_scripts")
        # The next boot may lead elsewhere: no cache on the way may keep it.
        return web.Response(text=text, headers={"Cache-Control": "no-store"})

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        content = self._files.get(name)
        if content is None:
            log.info("boot_file_unknown", source=str(source_address(request)), name=name)
            raise self._refused(web.HTTPNotFound(text="no such file\n"))
        kind = _TYPES.get(PurePosixPath(name).suffix, "application/octet-stream")
        # A name's content changes when its package does: whoever keeps it asks by its entity tag.
        headers = {"Content-Type": kind, "Cache-Control": "no-cache"}
        etag = self._etag(name, content)
        asked = self._asked(request, etag, len(content), headers)
        if isinstance(asked, web.Response):
            return asked
        self._counters.count("http_files")
        return await self._send(request, from_memory(content), asked, headers, name)

    def _etag(self, name: str, content: bytes) -> str:
        known = self._etags.get(name)
        if known is None or known[0] is not content:
            known = self._etags[name] = (content, f'"{hashlib.sha256(content).hexdigest()}"')
        return known[1]

    async def image(self, request: web.Request) -> web.StreamResponse:
        source = source_address(request)
        sha256 = request.match_info["sha256"]
        # What is open stays whole: a store that puts another file in its place does not touch this one.
        with _opened(self._images_dir, sha256) as opened:
            if source is None or opened is None:
                log.warning("image_unknown", source=str(source), sha256=sha256)
                raise self._refused(web.HTTPNotFound(text="no such image\n"))
            fd, size = opened
            headers = {"Content-Type": "application/octet-stream", **_IMMUTABLE}
            asked = self._asked(request, f'"{sha256}"', size, headers)
            if isinstance(asked, web.Response):
                return asked
            self._counters.count("http_images")
            if self._settings.accel_location and comes_by_proxy(request) and _nginx_knows(request):
                return self._hand_over(request, source, asked, headers)
            with self._paced(request, source):
                return await self._send(request, from_file(fd), asked, headers, sha256)

    def _asked(self, request: web.Request, etag: str, size: int, headers: dict[str, str]) -> Part | web.Response:
        """The bytes to send, or the answer that needs none. Raises 412 and 416. Adds to `headers`."""
        headers |= {"ETag": etag, "Accept-Ranges": "bytes"}
        if means_another(request.headers, etag):
            raise self._refused(web.HTTPPreconditionFailed(text=f"the entity tag is {etag}\n"))
        if has_already(request.headers, etag):
            return web.Response(status=304, headers={name: headers[name] for name in ("ETag", "Cache-Control")})
        try:
            part = part_asked(request.headers, etag, size) if request.method == "GET" else None
        except Unsatisfiable as err:
            text, told = f"{err}\n", {"Content-Range": f"bytes */{size}"}
            raise self._refused(web.HTTPRequestRangeNotSatisfiable(text=text, headers=told)) from None
        return part or Part(0, size, size)

    def _refused(self, answer: web.HTTPException) -> web.HTTPException:
        self._counters.count("http_refused")
        return answer

    async def _send(
        self, request: web.Request, source: Source, part: Part, headers: Mapping[str, str], name: str
    ) -> web.StreamResponse:
        partial = part.stop - part.start < part.size
        response = web.StreamResponse(status=206 if partial else 200, headers=headers)
        if partial:
            response.headers["Content-Range"] = part.content_range
        response.content_length = part.stop - part.start
        transport = request.transport
        if transport is None or request.method == "HEAD" or not part.size:
            return response
        ended, sent = Ended.STALLED, 0
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.stall_s):
                # The body goes past the transport, so all that was written before has to have left it.
                transport.set_write_buffer_limits(high=0)
                writer = await response.prepare(request)
                if writer is not None:
                    await writer.drain()
            ended, sent = await send(transport, source, part.start, part.stop, stall_s=self._settings.stall_s)
        self._counters.count("http_bytes", sent)
        if ended is not Ended.WHOLE:
            wrong = ended in (Ended.TRUNCATED, Ended.UNREADABLE)
            event = log.error if wrong else log.info
            event("http_cut_off", source=str(source_address(request)), name=name, sent=sent, reason=str(ended))
            transport.abort()
        return response

    @contextmanager
    def _paced(self, request: web.Request, source: IPv4Address | IPv6Address) -> Iterator[None]:
        """Keep the connection at its share of the rates while the block runs. A HEAD has no share."""
        if self._settings.rates == Rates() or request.method == "HEAD" or request.transport is None:
            yield
            return
        connection: socket.socket = request.transport.get_extra_info("socket")

        def apply(rate: int) -> None:
            if connection.fileno() >= 0:
                connection.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, struct.pack("@Q", rate or _UNLIMITED))

        download = self._shares.begin(source, self._rack_of(source), apply)
        try:
            yield
        finally:
            self._shares.end(download)

    def _hand_over(
        self, request: web.Request, source: IPv4Address | IPv6Address, part: Part, headers: Mapping[str, str]
    ) -> web.StreamResponse:
        """Let nginx send the image. It looks at the range itself, and it keeps the rate that it is given now."""
        told = {**headers, "X-Accel-Redirect": f"{self._settings.accel_location}/{request.match_info['sha256']}"}
        if self._settings.rates != Rates() and request.method == "GET":
            download = self._shares.begin(source, self._rack_of(source), lambda _rate: None)
            seconds = 0.0
            if download.rate:
                told["X-Accel-Limit-Rate"] = str(download.rate)
                # nginx does not tell when it is done, but it is not done before the rate lets it.
                seconds = (part.stop - part.start) / download.rate
            asyncio.get_running_loop().call_later(seconds, self._shares.end, download)
        return web.Response(headers=told)


def _nginx_knows(request: web.Request) -> bool:
    """Whether nginx answers as we would: these it would hold against the file's own time, and answer 412."""
    return "If-Match" not in request.headers and "If-Unmodified-Since" not in request.headers


@contextmanager
def _opened(directory: Path, sha256: str) -> Iterator[tuple[int, int] | None]:
    """The file `sha256` right under `directory`, as descriptor and size; None for any other name, a link, no file."""
    if not _SHA256.fullmatch(sha256):
        yield None
        return
    try:
        fd = os.open(directory / sha256, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        found = os.fstat(fd)
        yield (fd, found.st_size) if stat.S_ISREG(found.st_mode) else None
    finally:
        os.close(fd)
