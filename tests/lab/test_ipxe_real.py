"""Real firmware behind our relay: QEMU's iPXE on BIOS; OVMF's PXE and Debian's iPXE on UEFI."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface, IPv6Address
from pathlib import Path

import pytest
from aiohttp import web

from netconf.desired import Link, LinkRole
from pxe.decide import BootDecision, BootRequest, Lease, Script, Stage, Target
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from pxe.http import boot_routes
from pxe.router_advert import serve_router_advert
from pxe.tftp.server import TftpSettings, serve_tftp
from service.lab.relay import serve_tap_relay
from tests.lab.namespace import in_namespace
from tests.lab.small_service import Port

OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
SNPONLY = Path("/usr/lib/ipxe/snponly.efi")
ROM = Path("/usr/lib/ipxe/qemu/pxe-virtio.rom")
MISSING = [
    package
    for package, there in (
        ("qemu-system-x86", shutil.which("qemu-system-x86_64")),
        ("iproute2", shutil.which("ip")),
        ("ovmf", OVMF.exists()),
        ("ipxe", SNPONLY.exists()),
        ("ipxe-qemu", ROM.exists()),
    )
    if not there
]
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the packages {', '.join(MISSING)}"),
]

LEAF = IPv4Interface("10.64.0.24/31")
HOST = IPv4Address("10.64.0.25")
SERVER = IPv4Address("192.0.2.10")
FAILURES = 2


@dataclass
class Seen:
    """What the machine asked for."""

    requests: list[BootRequest] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    fetched: int = 0
    platform: str = ""
    delay: str = ""


@pytest.fixture
def leaf() -> Iterator[Path]:
    """A namespace with a tap that stands for the leaf's port, and the service's address beside it."""
    name = f"rh-tap-{os.getpid()}"
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


async def boot(files_dir: Path, *machine: str) -> Seen:
    """Power a machine on, and return when its script has told where it runs."""
    seen, told = Seen(), asyncio.Event()

    def decide(asked: BootRequest) -> BootDecision:
        seen.requests.append(asked)
        return BootDecision(Lease(IPv4Interface(f"{HOST}/31"), LEAF.ip, 600), "port", f"http://{SERVER}/boot/ipxe")

    async def script_for(source: IPv4Address | IPv6Address, _: Mapping[str, str]) -> Script:
        seen.sources.append(str(source))
        return Script(Target.CUSTOM_IPXE, custom=f"http://{SERVER}/custom")

    async def custom(_: web.Request) -> web.Response:
        seen.fetched += 1
        if seen.fetched <= FAILURES:
            return web.Response(status=503)
        return web.Response(text=f"#!ipxe\nimgfetch http://{SERVER}/told/${{platform}}/${{delay}} ||\nsleep 60\n")

    async def tell(request: web.Request) -> web.Response:
        seen.platform, seen.delay = request.match_info["platform"], request.match_info["delay"]
        told.set()
        return web.Response()

    app = web.Application()
    app.add_routes(boot_routes(script_for, {}, files_dir))
    app.add_routes([web.get("/custom", custom), web.get("/told/{platform}/{delay}", tell)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, str(SERVER), 80).start()
    dhcp = DhcpSettings(listen=str(SERVER), server_id=SERVER, tftp_server=SERVER, http_url=f"http://{SERVER}")
    port = Port("leaf1", "xe-0/0/12", [Link(LinkRole.BOOT, LEAF)], [SERVER])
    async with (
        serve_dhcp(dhcp, decide),
        serve_tftp(TftpSettings(listen=str(SERVER)), {"snponly.efi": SNPONLY.read_bytes()}),
        serve_tap_relay(port, "tap0"),
        serve_router_advert("tap0"),
    ):
        process = await asyncio.create_subprocess_exec(
            *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-m", "512", "-display", "none"),
            *("-nodefaults", "-no-user-config", "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"),
            *machine,
        )
        try:
            async with asyncio.timeout(90):
                await told.wait()
        finally:
            process.kill()
            await process.wait()
            await runner.cleanup()
    return seen


async def test_bios(leaf: Path, tmp_path: Path) -> None:
    card = "virtio-net-pci,netdev=n0,mac=52:54:00:00:01:01,bootindex=1"
    seen = await asyncio.to_thread(in_namespace, leaf, lambda: asyncio.run(boot(tmp_path, "-device", card)))
    assert (seen.platform, seen.fetched, seen.delay) == ("pcbios", FAILURES + 1, "4")
    assert set(seen.sources) == {str(HOST)}
    assert {asked.stage for asked in seen.requests} == {Stage.IPXE}
    assert {(asked.circuit_id, asked.remote_id, asked.mac) for asked in seen.requests} == {
        ("xe-0/0/12.0", "leaf1", "52:54:00:00:01:01")
    }


async def test_uefi(leaf: Path, tmp_path: Path) -> None:
    """The card has no ROM: OVMF itself asks, and fetches iPXE by TFTP."""
    variables = tmp_path / "vars.fd"
    shutil.copy(OVMF_VARS, variables)
    machine = (
        *("-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *("-device", "virtio-net-pci,netdev=n0,mac=52:54:00:00:01:01,bootindex=1,romfile="),
        *("-device", "virtio-rng-pci"),
    )
    seen = await asyncio.to_thread(in_namespace, leaf, lambda: asyncio.run(boot(tmp_path, *machine)))
    assert (seen.platform, seen.fetched, seen.delay) == ("efi", FAILURES + 1, "4")
    assert set(seen.sources) == {str(HOST)}
    assert {asked.stage for asked in seen.requests} == {Stage.FIRMWARE, Stage.IPXE}
