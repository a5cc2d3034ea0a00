"""One machine with real firmware on a leaf's port: the boot servers behind the leaf's relay, and what they hear."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from images.store import load
from netconf.desired import Link, LinkRole
from pxe.decide import BootDecision, BootRequest, Lease, Script, Target
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.first_stage import collect_first_stages
from pxe.grub_files import GrubFiles
from pxe.http import boot_routes
from pxe.router_advert import serve_router_advert
from pxe.tftp.files import load_files
from pxe.tftp.server import TftpSettings, serve_tftp
from service.lab.parts import BootSource, Nic
from service.lab.qemu import PLATFORMS, DiskSpec, Firmware, QemuMachine
from service.lab.relay import serve_tap_relay
from tests.lab.small_service import Port

LEAF = IPv4Interface("10.64.0.24/31")
HOST = IPv4Address("10.64.0.25")
SERVER = IPv4Address("192.0.2.10")
URL = f"http://{SERVER}"
MAC = "52:54:00:00:01:01"
IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
TOKEN = "token-of-this-boot"

_numbers = count()


def why_not(*firmware: Firmware, installer: bool = False) -> str | None:
    """Why a machine with such firmware cannot be started here."""
    if os.geteuid() != 0:
        return "needs root, for a network namespace"
    if missing := sorted({package for one in firmware for package in PLATFORMS[one].missing_packages()}):
        return f"needs the packages {', '.join(missing)}"
    if installer and "installer" not in load(IMAGES):
        return f"needs the installer in {IMAGES} (make images)"
    return None


def skip_unless(*firmware: Firmware, installer: bool = False) -> None:
    """Skip the test where such a machine cannot be started."""
    if why := why_not(*firmware, installer=installer):
        pytest.skip(why)


@contextmanager
def leaf() -> Iterator[Path]:
    """A namespace with a tap that stands for the leaf's port, and the service's address beside it."""
    name = f"fw-{os.getpid()}-{next(_numbers)}"
    commands = (
        f"netns add {name}",
        f"-n {name} link set lo up",
        f"-n {name} address add {SERVER}/32 dev lo",
        f"-n {name} tuntap add dev tap0 mode tap",
        f"-n {name} link set tap0 addrgenmode none",
        f"-n {name} link set tap0 up",
        f"-n {name} address add {LEAF} dev tap0",
    )
    try:
        for command in commands:
            subprocess.run(["ip", *command.split()], check=True, capture_output=True)
        yield Path("/run/netns", name)
    finally:
        subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)


@dataclass(eq=False)
class Scene:
    """What the machine is told, and what was heard from it."""

    machine: QemuMachine
    files: dict[str, bytes]
    script: Script
    heard: list[str] = field(default_factory=list)  # "dhcp firmware", "tftp NAME", "http METHOD PATH", in their order
    at_s: list[float] = field(default_factory=list)  # when, in seconds since the machine was switched on
    requests: list[BootRequest] = field(default_factory=list)
    sources: set[str] = field(default_factory=set)
    hellos: list[dict[str, Any]] = field(default_factory=list)
    failures: int = 0  # so many of what a script leads to are answered 503 before one is given
    signed: bool = False
    _began: float = 0.0

    async def power_on(self, boot: BootSource = "pxe") -> None:
        """Switch the machine on; times count from here."""
        self._began = time.monotonic()
        await self.machine.power_on(boot)

    async def until(self, true: Callable[[], bool], within_s: float = 240) -> None:
        """Wait until what was heard, or the console, makes `true` true; tells both when it does not."""
        try:
            async with asyncio.timeout(within_s):
                while not true():
                    await asyncio.sleep(0.1)
        except TimeoutError:
            told = "\n".join(f"{at:7.2f} {what}" for at, what in zip(self.at_s, self.heard, strict=True))
            pytest.fail(f"{self.machine.name} did not come so far; heard:\n{told}\nconsole:\n{self.console()[-3000:]}")

    def console(self) -> str:
        """All that the machine has printed."""
        try:
            return self.machine.console_log.read_text(errors="replace").replace("\r", "")
        except FileNotFoundError:
            return ""

    def hear(self, what: str) -> None:
        """Note what came in now."""
        self.heard.append(what)
        self.at_s.append(time.monotonic() - self._began)

    def first_at(self, what: str) -> float:
        """Seconds from power-on until `what` was heard first."""
        return self.at_s[self.heard.index(what)]

    def names(self, kind: str) -> list[str]:
        """What was asked for in one way ("tftp", "http GET"), in order, repeats in a row left out."""
        names = [what.removeprefix(f"{kind} ") for what in self.heard if what.startswith(f"{kind} ")]
        return [name for name, before in zip(names, ["", *names], strict=False) if name != before]

    def decide(self, asked: BootRequest) -> BootDecision:
        """The port's lease, whatever is asked."""
        self.requests.append(asked)
        self.hear(f"dhcp {asked.stage}")
        lease = Lease(IPv4Interface(f"{HOST}/31"), LEAF.ip, 600)
        return BootDecision(lease, "port", f"{URL}/boot/ipxe", signed=self.signed)

    async def script_for(self, source: IPv4Address | IPv6Address, _: Mapping[str, str]) -> Script | None:
        """The machine's script, and nobody else's."""
        self.sources.add(str(source))
        return self.script if source == HOST else None


class TftpFiles(Mapping[str, bytes]):
    """The first stages, by the names that TFTP clients ask for."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __getitem__(self, name: str) -> bytes:
        self._scene.hear(f"tftp {name}")
        return self._scene.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._scene.files)

    def __len__(self) -> int:
        return len(self._scene.files)


def installer() -> Script:
    """The script of the in-RAM installer of the image store."""
    found = load(IMAGES)["installer"]
    return Script(
        Target.INSTALLER,
        kernel_url=f"{URL}/images/{found.kernel.sha256}",
        initrd_urls=(f"{URL}/images/{found.initrd.sha256}",),
        cmdline=f"console=ttyS0,115200 roundhouse.url={URL} roundhouse.token={TOKEN}",
    )


@asynccontextmanager
async def scene(
    folder: Path, firmware: Firmware, script: Script, *, signed: bool = False, disk: Path | None = None
) -> AsyncIterator[Scene]:
    """The boot servers and a machine that is still off. To be entered with the thread inside the leaf's namespace."""
    port = Port("leaf1", "xe-0/0/12", [Link(LinkRole.BOOT, LEAF)], [SERVER])
    collect_first_stages(folder / "first-stage")
    disk = disk or folder / "disk.img"
    machine = QemuMachine("m1", Nic(MAC, port), "tap0", disk, firmware, memory_mb=1024, disks=(DiskSpec(1 << 30),))
    here = Scene(machine, load_files(folder / "first-stage"), script, signed=signed)

    @web.middleware
    async def listen(request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        here.hear(f"http {request.method} {request.path}")
        if here.failures and request.path.startswith(("/images/", "/custom")):
            here.failures -= 1
            return web.Response(status=503)
        answer: web.StreamResponse = await handler(request)
        return answer

    async def told(_: web.Request) -> web.Response:
        return web.Response(text="#!ipxe\n")

    async def custom(_: web.Request) -> web.Response:
        return web.Response(text=f"#!ipxe\nimgfetch {URL}/told/${{platform}}/${{delay}} ||\nsleep 60\n")

    async def hello(request: web.Request) -> web.Response:
        here.hellos.append({**await request.json(), "source": request.remote})
        return web.json_response({"session": "session", "machine": "m1"})

    async def work(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response(status=204)

    app = web.Application(middlewares=[listen])
    app.add_routes(boot_routes(here.script_for, here.files, IMAGES / "sha256"))
    app.add_routes([web.get("/custom", custom), web.get("/told/{platform}/{delay}", told)])
    app.add_routes([web.post("/agent/v1/hello", hello), web.get("/agent/v1/work", work)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, str(SERVER), 80).start()
    dhcp = DhcpSettings(listen=str(SERVER), server_id=SERVER, tftp_server=SERVER, http_url=URL)
    try:
        async with (
            serve_dhcp(dhcp, here.decide),
            serve_tftp(
                TftpSettings(listen=str(SERVER)),
                TftpFiles(here),
                ask=GrubFiles(here.script_for, IMAGES / "sha256"),
            ),
            serve_tap_relay(port, "tap0"),
            serve_router_advert("tap0"),
        ):
            yield here
    finally:
        await machine.power_off()
        await runner.cleanup()
