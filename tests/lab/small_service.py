"""A service of one page for the lab's tests: the real boot servers, and the agent's protocol over plain lists."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path
from typing import Any, cast

from aiohttp import web

from images import chunks
from images.protocol import InstallSpec, Work
from netconf.desired import Link, LinkRole
from pxe.decide import BootDecision, BootRequest, Lease, Script, Target
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.http import boot_routes
from pxe.tftp.files import load_files
from pxe.tftp.server import TftpSettings, serve_tftp
from service.lab.board import LightSettings
from service.lab.first_stage import packed
from service.lab.ports import free_port

DATA, MAP = packed(bytes(range(256)) * 4096)
MAP_TEXT = chunks.encode(MAP)
FIRST_STAGES = {"undionly.kpxe": b"u" * 70_000, "snponly.efi": b"s" * 174_000}


def _named(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(slots=True, eq=False)
class Port:
    """A leaf port of the tests."""

    leaf: str
    name: str
    links: list[Link] = field(default_factory=list)
    relay_to: list[IPv4Address] = field(default_factory=list)
    watchers: list[Callable[[], None]] = field(default_factory=list)

    @property
    def relay_source(self) -> IPv4Address | None:
        """The boot link's leaf side."""
        for link in self.links:
            if link.role is LinkRole.BOOT and isinstance(link.leaf, IPv4Interface):
                return link.leaf.ip
        return None

    def watch(self, changed: Callable[[], None]) -> None:
        self.watchers.append(changed)

    def add(self, link: Link) -> None:
        """As a commit on the leaf would."""
        self.links.append(link)
        for changed in self.watchers:
            changed()

    def remove(self, link: Link) -> None:
        self.links.remove(link)
        for changed in self.watchers:
            changed()


def boot_port(number: int, server: str) -> Port:
    """Port `number` of leaf1 with its boot link, relaying to `server`."""
    leaf = IPv4Interface(f"127.78.0.{2 * number}/31")
    return Port("leaf1", f"xe-0/0/{number}", [Link(LinkRole.BOOT, leaf)], [IPv4Address(server)])


def public_link(number: int) -> Link:
    """The order's public link of port `number`."""
    return Link(LinkRole.PUBLIC, IPv4Interface(f"127.78.1.{2 * number}/31"))


@dataclass(slots=True)
class SmallService:
    """What one machine after another is told, and what was heard from them."""

    server: str
    settings: LightSettings
    url: str = ""
    target: Target = Target.INSTALLER
    custom: str = ""
    requests: list[BootRequest] = field(default_factory=list)
    hellos: list[dict[str, Any]] = field(default_factory=list)
    work: list[Work] = field(default_factory=list)
    done: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, Any] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    phoned: list[tuple[str, Any]] = field(default_factory=list)
    posts: list[dict[str, str]] = field(default_factory=list)
    http_down: int = 0  # so many calls of the agent are answered 503
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def decide(self, asked: BootRequest) -> BootDecision:
        self.requests.append(asked)
        if asked.giaddr is None:
            return BootDecision(None, "not relayed")
        lease = Lease(IPv4Interface(f"{asked.giaddr + 1}/31"), asked.giaddr, 600)
        return BootDecision(lease, "port", script_url=f"{self.url}/boot/ipxe")

    async def script(self, source: IPv4Address | IPv6Address, _: Mapping[str, str]) -> Script | None:
        return Script(
            self.target,
            kernel_url=f"{self.url}/boot/files/vmlinuz",
            initrd_urls=(f"{self.url}/boot/files/initrd",),
            cmdline=f"quiet roundhouse.url={self.url} roundhouse.token=secret-{source}",
            custom=self.custom,
        )

    def spec(self, number: int, ssh_keys: list[str], **changes: Any) -> InstallSpec:
        """An order on port `number`."""
        link = public_link(number)
        spec = InstallSpec(
            image={
                "url": f"{self.url}/images/{_named(DATA)}",
                "bytes": len(DATA),
                "map_url": f"{self.url}/images/{_named(MAP_TEXT)}",
                "map_sha256": _named(MAP_TEXT),
                "disk_bytes": MAP.disk_bytes,
            },
            hostname=f"n{number}",
            ssh_keys=ssh_keys,
            password_hash="!",
            user="root",
            network_style="networkd",
            network={
                "macs": [],
                "bond": "none",
                "addresses": [{"address": str(link.host), "gateway": str(link.leaf.ip), "public": True}],
                "private_subnets": [],
                "nameservers": [],
            },
            storage={"disks": [], "raid": "none", "lvm": False, "passphrase": ""},
            metadata_url=self.url,
            phone_home_url=f"{self.url}/phone-home",
            instance_id=f"instance-{number}",
            userdata="",
            ignition="",
            handover=["switch_root", "reboot"],
        )
        return cast(InstallSpec, spec | changes)

    async def until(self, true: Callable[[], bool], within_s: float = 60) -> None:
        """Wait until something heard makes `true` true."""
        async with asyncio.timeout(within_s), self.changed:
            await self.changed.wait_for(true)

    async def heard(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def hello(self, request: web.Request) -> web.Response:
        body = await request.json()
        if body["token"] != f"secret-{request.remote}":
            return web.Response(status=403)
        self.hellos.append(body)
        await self.heard()
        return web.json_response({"session": f"session-{request.remote}", "machine": "m"})

    async def next_work(self, request: web.Request) -> web.Response:
        if self.http_down:
            self.http_down -= 1
            return web.Response(status=503)
        if request.headers.get("Authorization") != f"Bearer session-{request.remote}":
            return web.Response(status=401)
        with contextlib.suppress(TimeoutError):
            await self.until(lambda: bool(self.work), within_s=float(request.query["wait"]))
        return web.json_response(self.work[0]) if self.work else web.Response(status=204)

    async def report(self, request: web.Request) -> web.Response:
        body = await request.json()
        work, what = request.match_info["work"], request.match_info["what"]
        if work not in [known["id"] for known in self.work]:
            return web.Response(status=404)
        if what == "progress":
            self.progress.append(body)
        else:
            (self.done if what == "done" else self.failed)[work] = body
            self.work.pop(0)
        await self.heard()
        return web.Response(status=204)

    async def phone_home(self, request: web.Request) -> web.Response:
        if request.content_type == "application/json":
            self.phoned.append((request.remote or "", await request.json()))
        else:
            self.posts.append({name: str(value) for name, value in (await request.post()).items()})
        await self.heard()
        return web.Response()

    async def metadata(self, _: web.Request) -> web.Response:
        return web.json_response({"id": "instance"})


@contextlib.asynccontextmanager
async def small_service(folder: Path, server: str = "127.78.255.1", **settings: Any) -> AsyncIterator[SmallService]:
    """Run it at `server` on free ports while the block runs."""
    (folder / "files").mkdir()
    (folder / "images").mkdir()
    (folder / "files" / "vmlinuz").write_bytes(b"k" * 100_000)
    (folder / "files" / "initrd").write_bytes(b"i" * 100_000)
    for content in (DATA, MAP_TEXT):
        (folder / "images" / _named(content)).write_bytes(content)
    light = LightSettings(
        dhcp_port=free_port(socket.SOCK_DGRAM, server),
        relay_port=free_port(socket.SOCK_DGRAM),
        tftp_port=free_port(socket.SOCK_DGRAM, server),
        ssh_port=free_port(socket.SOCK_STREAM),
        **settings,
    )
    service = SmallService(server, light)
    app = web.Application()
    app.add_routes(boot_routes(service.script, load_files(folder / "files"), folder / "images"))
    app.add_routes(
        [
            web.post("/agent/v1/hello", service.hello),
            web.get("/agent/v1/work", service.next_work),
            web.post("/agent/v1/work/{work}/{what}", service.report),
            web.post("/phone-home", service.phone_home),
            web.get("/metadata", service.metadata),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, server, 0).start()
    service.url = f"http://{server}:{runner.addresses[0][1]}"
    dhcp = DhcpSettings(
        listen=server,
        port=light.dhcp_port,
        relay_port=light.relay_port,
        server_id=IPv4Address(server),
        tftp_server=IPv4Address(server),
        http_url=service.url,
    )
    tftp = TftpSettings(listen=server, port=light.tftp_port)
    try:
        async with serve_dhcp(dhcp, service.decide), serve_tftp(tftp, FIRST_STAGES):
            yield service
    finally:
        await runner.cleanup()
