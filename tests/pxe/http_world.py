"""The boot routes behind a real socket, and a client that says exactly what it is told to."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import struct
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from aiohttp import web

from pxe.counters import Counters
from pxe.decide import Script, Target
from pxe.http import HttpSettings, RackOf, boot_routes
from pxe.http_server import Deadlines, serve_http
from pxe.http_source import TRUSTED_PROXIES

IMAGE = bytes(range(256)) * 1000
SHA256 = hashlib.sha256(IMAGE).hexdigest()
FILES = {
    "snponly.efi": b"first stage" * 1000,
    "grub/grub.cfg": b"source there",
    "empty": b"",
    "large": bytes(5_000_000),
}
HOST = "127.77.2.25"
HOST6 = "::1"
SO_MAX_PACING_RATE = 47


@dataclass
class Served:
    """A server that runs."""

    host: str
    port: int
    images: Path
    counters: Counters = field(default_factory=Counters)
    sources: list[str] = field(default_factory=list)
    queries: list[Mapping[str, str]] = field(default_factory=list)
    rates: list[int] = field(default_factory=list)  # bytes/s that the kernel holds each answered connection to

    @property
    def url(self) -> str:
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def add_image(self, content: bytes) -> str:
        """Its hash."""
        sha256 = hashlib.sha256(content).hexdigest()
        (self.images / sha256).write_bytes(content)
        return sha256

    async def connect(
        self, local: str | None = None, **limits: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from the address `local`."""
        return await asyncio.open_connection(self.host, self.port, local_addr=(local, 0) if local else None, **limits)

    async def say(self, data: bytes, local: str | None = None) -> bytes:
        """All that the server says to `data` until it closes the connection."""
        reader, writer = await self.connect(local)
        try:
            writer.write(data)
            return await reader.read()
        finally:
            writer.close()

    async def get(self, path: str, *headers: str, local: str | None = None, method: str = "GET") -> Answer:
        """One request on a connection of its own."""
        lines = (f"{method} {path} HTTP/1.1", "Host: boot", "Connection: close", *headers, "", "")
        return Answer.parsed(await self.say("\r\n".join(lines).encode(), local))


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @classmethod
    def parsed(cls, data: bytes) -> Answer:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return cls(int(first.split()[1]), headers, body)


@asynccontextmanager
async def serving(
    folder: Path,
    settings: HttpSettings | None = None,
    *,
    host: str = "127.0.0.1",
    deadlines: Deadlines | None = None,
    proxies: frozenset[str] = frozenset(),
    rack_of: RackOf = lambda _source: None,
) -> AsyncIterator[Served]:
    """The boot routes at `host`; only HOST and HOST6 have a script."""
    images = folder / "images"
    images.mkdir(exist_ok=True)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.create_server((host, 0), family=family, dualstack_ipv6=host == "::")
    served = Served("127.0.0.1" if host == "::" else host, sock.getsockname()[1], images)
    served.add_image(IMAGE)

    async def script_for(source: IPv4Address | IPv6Address, query: Mapping[str, str]) -> Script | None:
        served.sources.append(str(source))
        served.queries.append(query)
        return Script(Target.LOCAL_DISK) if str(source) in (HOST, HOST6) else None

    async def body_size(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async def see_rate(request: web.Request, _response: web.StreamResponse) -> None:
        if request.transport is not None:
            held = request.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, SO_MAX_PACING_RATE, 8)
            served.rates += struct.unpack("@Q", held)

    app = web.Application(client_max_size=100_000)
    app[TRUSTED_PROXIES] = frozenset(ip_address(proxy) for proxy in proxies)
    options = settings or HttpSettings()
    app.add_routes(boot_routes(script_for, FILES, images, options, rack_of=rack_of, counters=served.counters))
    app.add_routes([web.post("/size", body_size)])
    app.on_response_prepare.append(see_rate)
    async with serve_http(app, [sock], deadlines or Deadlines()):
        yield served
