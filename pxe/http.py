"""The HTTP side of boot: scripts by source address, first-stage files, and images by their hash."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

import structlog
from aiohttp import ETag, web

from pxe.decide import Script
from pxe.ipxe import render

log = structlog.get_logger()

ScriptFor = Callable[[IPv4Address | IPv6Address, Mapping[str, str]], Awaitable[Script | None]]

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def boot_routes(script_for: ScriptFor, files_dir: Path, images_dir: Path) -> list[web.RouteDef]:
    """The routes that machines boot from, for an aiohttp application.

    GET /boot/ipxe            the script of the port that asks, told by its source address; the query goes along
    GET /boot/files/{name}    a file right under `files_dir`
    GET /images/{sha256}      a file right under `images_dir`, named by its hash; ranges, cacheable for ever
    """

    async def script(request: web.Request) -> web.StreamResponse:
        source = source_address(request)
        found = await script_for(source, request.query) if source is not None else None
        if found is None:
            log.info("ipxe_script_unknown", source=str(source))
            return web.Response(status=404, text=f"no boot script for {source}\n")
        log.info("ipxe_script_sent", source=str(source), target=str(found.target))
        # The next boot may lead elsewhere: no cache on the way may keep it.
        return web.Response(text=render(found), headers={"Cache-Control": "no-store"})

    async def file(request: web.Request) -> web.StreamResponse:
        return web.FileResponse(_inside(files_dir, request.match_info["name"], _FILE_NAME))

    async def image(request: web.Request) -> web.StreamResponse:
        sha256 = request.match_info["sha256"]
        path = _inside(images_dir, sha256, _SHA256)
        headers = {"Cache-Control": "public, max-age=31536000, immutable"}
        asked = request.if_none_match or ()
        if any(etag.value in (sha256, "*") for etag in asked):
            return web.Response(status=304, headers=headers | {"ETag": f'"{sha256}"'})
        return _HashedFile(path, sha256, headers)

    return [
        web.get("/boot/ipxe", script),
        web.get("/boot/files/{name}", file),
        web.get("/images/{sha256}", image),
    ]


def source_address(request: web.Request) -> IPv4Address | IPv6Address | None:
    """The address that the request came from; one of IPv4 stays one where the socket listens on IPv6 for both."""
    try:
        address = ip_address(request.remote or "")
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        return address.ipv4_mapped or address
    return address


class _HashedFile(web.FileResponse):
    """A file whose ETag is its content's hash, so that two mirrors' copies are one to every cache."""

    def __init__(self, path: Path, sha256: str, headers: Mapping[str, str]) -> None:
        super().__init__(path, headers={**headers, "Content-Type": "application/octet-stream"})
        self._sha256 = sha256

    @property
    def etag(self) -> ETag | None:
        return ETag(self._sha256)

    @etag.setter
    def etag(self, value: ETag | str | None) -> None:
        """FileResponse sets one of its own making, from the file's time and size."""
        self.headers["ETag"] = f'"{self._sha256}"'


def _inside(directory: Path, name: str, allowed: re.Pattern[str]) -> Path:
    """The file `name` right under `directory`. Raises 404 for any other name, a symbolic link, or what is no file."""
    path = directory / name
    if not allowed.fullmatch(name) or path.is_symlink() or not path.is_file():
        raise web.HTTPNotFound(text="no such file\n")
    return path
