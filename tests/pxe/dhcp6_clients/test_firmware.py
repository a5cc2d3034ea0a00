"""Real firmware on a link with IPv6 boot: QEMU's iPXE, OVMF by PXE and by HTTP, through a relay to iPXE's script."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv6Address, IPv6Network
from pathlib import Path

import pytest
from aiohttp import web

from pxe.counters import Counters
from pxe.decide import Arch, Script, Stage, Target
from pxe.http import boot_routes
from pxe.router_advert import Advert, serve_router_advert
from pxe.tftp.server import TftpSettings, serve_tftp
from tests.pxe.dhcp6_clients.network import Network
from tests.pxe.dhcp6_clients.world import HOST, LEAF, SERVER, Decider, join, lease, missing, relay, served

OVMF = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
OVMF_VARS = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
SNPONLY = Path("/usr/lib/ipxe/snponly.efi")
ROM = Path("/usr/lib/ipxe/qemu/pxe-virtio.rom")
MISSING = [
    package
    for package, there in (
        ("qemu-system-x86", shutil.which("qemu-system-x86_64")),
        ("ovmf", OVMF.exists()),
        ("ipxe", SNPONLY.exists()),
        ("ipxe-qemu", ROM.exists()),
    )
    if not there
]
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(240),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the packages {', '.join(MISSING)}"),
    pytest.mark.skipif(bool(missing("ip", "dhcrelay")), reason=missing("ip", "dhcrelay")),
]

UUID = "00112233-4455-6677-8899-aabbccddeeff"
MAC = "52:54:00:00:01:01"
CARD = f"virtio-net-pci,netdev=n0,mac={MAC},bootindex=1"
URL = f"http://[{SERVER}]:8080"
# What iPXE needs to find its router: a prefix of 64 bits, whatever the link's is.
ADVERT = Advert(managed=True, other=True, lifetime_s=1800, prefix=IPv6Network((LEAF, 64)))


@pytest.fixture
def net() -> Iterator[Network]:
    with Network("leaf", "server") as found:
        found.tap("leaf", "p0")
        yield found


def uefi(folder: Path, *switches: str) -> list[str]:
    """OVMF on a card without a ROM, with some of its network boots switched off."""
    variables = folder / "vars.fd"
    shutil.copy(OVMF_VARS, variables)
    return [
        *("-drive", f"if=pflash,format=raw,readonly=on,file={OVMF}"),
        *("-drive", f"if=pflash,format=raw,file={variables}"),
        *(word for switch in switches for word in ("-fw_cfg", f"name=opt/org.tianocore/{switch},string=n")),
        *("-device", f"{CARD},romfile=", "-device", "virtio-rng-pci"),
    ]


async def boot(net: Network, folder: Path, decider: Decider, machine: list[str]) -> tuple[str, list[str]]:
    """Power a machine on; the platform that its iPXE tells of, and what was fetched from where."""
    fetched: list[str] = []
    told: asyncio.Queue[str] = asyncio.Queue()
    decider.script_url = f"{URL}/boot/ipxe"

    async def script_for(source: IPv4Address | IPv6Address, _: Mapping[str, str]) -> Script:
        fetched.append(f"script {source}")
        text = f"#!ipxe\nimgfetch {URL}/told/${{platform}} ||\nsleep 60\n"
        return Script(Target.CUSTOM_IPXE, custom=text)

    async def tell(request: web.Request) -> web.Response:
        told.put_nowait(request.match_info["platform"])
        return web.Response()

    async def note(request: web.Request, _: web.StreamResponse) -> None:
        if request.path.startswith("/boot/files/"):
            fetched.append(f"{request.method} {request.path} {request.remote}")

    files = {"snponly.efi": SNPONLY.read_bytes()}
    app = web.Application()
    app.on_response_prepare.append(note)
    app.add_routes(boot_routes(script_for, files, folder))
    app.add_routes([web.get("/told/{platform}", tell)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, str(SERVER), 8080).start()
    qemu = [
        *("qemu-system-x86_64", "-accel", "tcg,thread=multi", "-M", "q35", "-m", "512", "-display", "none"),
        *("-nodefaults", "-no-user-config", "-uuid", UUID, "-serial", f"file:{folder}/serial.log"),
        *("-netdev", "tap,id=n0,ifname=p0,script=no,downscript=no"),
    ]
    counters = Counters()
    async with served(decider), serve_tftp(TftpSettings(listen=str(SERVER)), files, counters):
        with ExitStack() as programs:
            programs.enter_context(net.program("leaf", *relay(), log=folder / "relay.log"))
            net.wait_for_port("leaf", 547)
            programs.enter_context(net.program("leaf", *qemu, *machine, log=folder / "qemu.log"))
            try:
                async with asyncio.timeout(200):
                    platform = await told.get()
            finally:
                await runner.cleanup()
    if sent := counters.snapshot().get("tftp_sent"):
        fetched.append(f"{sent} by TFTP")
    return platform, fetched


async def boot_on_leaf(net: Network, folder: Path, decider: Decider, machine: list[str]) -> tuple[str, list[str]]:
    """As `boot`, while the leaf answers router solicitations."""

    async def leaf() -> tuple[str, list[str]]:
        async with serve_router_advert("p0", lambda: ADVERT):
            return await net.inside("server", lambda: boot(net, folder, decider, machine))

    join(net)
    return await net.inside("leaf", leaf)


@pytest.mark.smoke
async def test_bios(net: Network, tmp_path: Path) -> None:
    """The card's ROM is iPXE."""
    decider = Decider(lease())
    platform, fetched = await boot_on_leaf(net, tmp_path, decider, ["-device", CARD])
    assert (platform, fetched) == ("pcbios", [f"script {HOST}"])
    assert {(asked.stage, asked.mac, asked.uuid) for asked in decider.asked} == {(Stage.IPXE, MAC, UUID)}


async def test_uefi_by_pxe(net: Network, tmp_path: Path) -> None:
    decider = Decider(lease())
    platform, fetched = await boot_on_leaf(net, tmp_path, decider, uefi(tmp_path, "IPv4PXESupport"))
    assert (platform, fetched) == ("efi", [f"script {HOST}", "1 by TFTP"])
    asked = {(one.stage, one.arch, one.mac, one.uuid) for one in decider.asked if one.stage is not Stage.SYSTEM}
    assert asked == {(stage, Arch.UEFI_X64, MAC, UUID) for stage in (Stage.FIRMWARE, Stage.IPXE)}


@pytest.mark.skipif(bool(missing("dnsmasq")), reason=missing("dnsmasq"))
async def test_uefi_by_http(net: Network, tmp_path: Path) -> None:
    """OVMF tries HTTP over IPv4 first, for more than a minute; a foreign DHCP server without a file ends that."""
    net.run("leaf", "ip", "address", "add", "10.9.0.1/24", "dev", "p0")
    foreign = ["dnsmasq", "-d", "--port=0", "-C", "/dev/null", "--user=root", "--interface=p0", "--bind-interfaces"]
    foreign += ["--dhcp-range=10.9.0.10,10.9.0.20", f"--dhcp-leasefile={tmp_path}/leases", "--dhcp-authoritative"]
    decider = Decider(lease())
    with net.program("leaf", *foreign, log=tmp_path / "foreign.log"):
        machine = uefi(tmp_path, "IPv4PXESupport", "IPv6PXESupport")
        platform, fetched = await boot_on_leaf(net, tmp_path, decider, machine)
    assert platform == "efi"
    fetched = [one for one in fetched if not one.startswith("HEAD")]
    assert (
        fetched
        == [f"GET /boot/files/snponly.efi {HOST}", f"script {HOST}"]
        == [one for one in fetched if "HEAD" not in one][:2]
    )
    asked = {(one.stage, one.arch, one.mac, one.uuid) for one in decider.asked if one.stage is not Stage.SYSTEM}
    assert asked == {(stage, Arch.UEFI_X64, MAC, UUID) for stage in (Stage.HTTP_FIRMWARE, Stage.IPXE)}
