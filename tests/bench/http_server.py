"""The boot routes in a process of their own: `python -m tests.bench.http_server IMAGES`; one line says the port."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import structlog
from aiohttp import web

from pxe.decide import Script, Target
from pxe.http import boot_routes
from pxe.http_server import serve_http

SMALL = "small.efi"
SMALL_BYTES = 4096


async def _script_for(_source: IPv4Address | IPv6Address, _query: Mapping[str, str]) -> Script:
    return Script(Target.LOCAL_DISK)


async def _serve(images: Path) -> None:
    app = web.Application()
    app.add_routes(boot_routes(_script_for, {SMALL: bytes(SMALL_BYTES)}, images))
    sock = socket.create_server(("127.0.0.1", 0), backlog=1024)
    async with serve_http(app, [sock]):
        print(sock.getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    # The service logs as it always does; nobody reads it here.
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=nowhere))
        asyncio.run(_serve(Path(sys.argv[1])))
