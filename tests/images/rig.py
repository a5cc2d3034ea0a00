"""A rack of one: a private namespace, dnsmasq for DHCP and TFTP, the installer's service, and one virtual machine.

`python -m tests.images.rig --store DIR --slug debian_12 --firmware bios` installs the slug's image for real, logs in
by SSH with the host key that the installer reported, and prints the seconds of each stage as JSON. Run as a program of
its own, because a network namespace must be entered before the first thread.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from aiohttp import web

from images import store
from netconf.desired import Link, LinkRole
from service.lab import netns
from service.lab.parts import Nic
from service.lab.qemu import Firmware, QemuMachine

SERVICE = IPv4Address("192.0.2.10")
TAP = "tap0"
MAC = "52:54:00:00:01:01"
BOOT = Link(LinkRole.BOOT, IPv4Interface("10.64.0.0/31"))
PUBLIC = Link(LinkRole.PUBLIC, IPv4Interface("198.51.100.4/31"))
PRIVATE = Link(LinkRole.PRIVATE, IPv4Interface("10.1.0.4/31"))


@dataclass
class FixedPort:
    """A leaf port whose configuration does not change."""

    leaf: str = "leaf1"
    name: str = "xe-0/0/0"
    links: Sequence[Link] = (BOOT, PUBLIC, PRIVATE)
    relay_to: Sequence[IPv4Address] = (SERVICE,)
    relay_source: IPv4Address | None = field(default=None)

    def watch(self, changed: Callable[[], None]) -> None:
        """Nothing to watch."""


class Service:
    """The service's side of images.protocol for one machine with one piece of work, and an iPXE script."""

    def __init__(self, folder: Path, artefact: store.Artefact, work: dict[str, Any]) -> None:
        self._folder, self._artefact, self._work = folder, artefact, work
        self._began = time.monotonic()
        self.stages: dict[str, float] = {}
        self.result: dict[str, Any] | None = None
        self.failure: dict[str, Any] | None = None
        self.inventory: dict[str, Any] = {}
        self.homes: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.changed = asyncio.Event()
        self.installed = False

    def mark(self, stage: str) -> None:
        """Note the first time that a stage is seen."""
        if stage not in self.stages:
            self.stages[stage] = round(time.monotonic() - self._began, 1)
            sys.stderr.write(f"{self.stages[stage]:6.1f} s  {stage}\n")
            sys.stderr.flush()
        self.changed.set()

    def app(self) -> web.Application:
        """The routes."""
        app = web.Application()
        app.router.add_get("/boot.ipxe", self._script)
        app.router.add_get("/sha256/{name}", self._file)
        app.router.add_post("/agent/v1/hello", self._hello)
        app.router.add_get("/agent/v1/work", self._next)
        app.router.add_post("/agent/v1/work/w1/{what}", self._told)
        app.router.add_put("/phone-home", self._home)
        return app

    async def _script(self, request: web.Request) -> web.Response:
        if self.installed:
            self.mark("iPXE told to boot the disk")
            return web.Response(text="#!ipxe\nexit 1\n")
        self.mark("iPXE script")
        base = f"http://{SERVICE}:8080"
        arguments = f"quiet console=tty0 console=ttyS0,115200 roundhouse.url={base} roundhouse.token=t1"
        return web.Response(
            text=f"#!ipxe\nkernel {base}/{self._artefact.kernel.file} initrd=initrd {arguments} BOOTIF=01-${{mac:hexhyp}}\n"
            f"initrd --name initrd {base}/{self._artefact.initrd.file}\nboot\n"
        )

    async def _file(self, request: web.Request) -> web.StreamResponse:
        self.mark(f"fetch {self._name_of(request.match_info['name'])}")
        return web.FileResponse(self._folder / "sha256" / request.match_info["name"])

    def _name_of(self, digest: str) -> str:
        image = self._artefact.image
        names = {self._artefact.kernel.sha256: "kernel", self._artefact.initrd.sha256: "initrd"}
        return names.get(digest, "image" if image and digest == image.sha256 else "?")

    async def _hello(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["token"] == "t1" and body["mac"] == MAC, body
        self.inventory = body["inventory"]
        self.mark("hello")
        return web.json_response({"session": "s1", "machine": "m1"})

    async def _next(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer s1"
        if self.result is None and self.failure is None:
            self.mark("work taken")
            return web.json_response(self._work)
        await asyncio.sleep(float(request.query["wait"]))
        return web.Response(status=204)

    async def _told(self, request: web.Request) -> web.Response:
        body = await request.json()
        what = request.match_info["what"]
        if what == "done":
            self.result, self.installed = body["result"], True
        elif what == "failed":
            self.failure = body
        self.mark(body["stage"] if what == "progress" else what)
        return web.Response(status=204)

    async def _home(self, request: web.Request) -> web.Response:
        self.homes.put_nowait(await request.json())
        self.mark("phone home")
        return web.Response()


def install_work(artefact: store.Artefact, public_key: str, handover: str, userdata: str) -> dict[str, Any]:
    """One order as the service would word it."""
    assert artefact.image is not None
    addresses = [
        {"address": str(link.host), "gateway": str(link.leaf.ip), "public": link is PUBLIC} for link in (PUBLIC, PRIVATE)
    ]
    network = {"mac": MAC, "addresses": addresses, "private_subnets": ["10.0.0.0/8"], "nameservers": [str(SERVICE)]}
    image = artefact.image
    spec = {
        "image": {
            "url": f"http://{SERVICE}:8080/{image.file}",
            "sha256": image.sha256,
            "bytes": image.bytes,
            "disk_bytes": image.disk_bytes,
        },
        "disk": None,
        "hostname": "web1",
        "ssh_keys": [public_key],
        "password_hash": "",
        "network": network,
        "metadata_url": f"http://{SERVICE}:8080",
        "phone_home_url": f"http://{SERVICE}:8080/phone-home",
        "instance_id": "i-1",
        "userdata": userdata,
        "handover": handover.split(","),
    }
    return {"id": "w1", "kind": "install", "spec": spec}


async def dnsmasq(folder: Path) -> asyncio.subprocess.Process:
    """DHCP for the one boot link, router advertisements and UEFI's first stage by TFTP."""
    config = folder / "dnsmasq.conf"
    tftp = folder / "tftp"
    tftp.mkdir()
    (tftp / "snponly.efi").write_bytes(Path("/usr/lib/ipxe/snponly.efi").read_bytes())
    config.write_text(
        f"""port=0
interface={TAP}
bind-dynamic
dhcp-range={BOOT.host.ip},{BOOT.host.ip},255.255.255.254,1h
dhcp-option=option:router,{BOOT.leaf}
dhcp-option=121,{SERVICE}/32,{BOOT.leaf.ip},0.0.0.0/0,{BOOT.leaf.ip}
dhcp-option=encap:175,176,1b
dhcp-userclass=set:ipxe,iPXE
dhcp-match=set:efi,option:client-arch,7
dhcp-boot=tag:ipxe,http://{SERVICE}:8080/boot.ipxe
dhcp-boot=tag:efi,tag:!ipxe,snponly.efi
enable-tftp
tftp-root={tftp}
enable-ra
dhcp-range=fd77::,ra-only,64
ra-param={TAP},0,0
leasefile-ro
no-ping
log-dhcp
log-facility={folder}/dnsmasq.log
""".replace(f"dhcp-option=option:router,{BOOT.leaf}", f"dhcp-option=option:router,{BOOT.leaf.ip}"),
        encoding="utf-8",
    )
    return await asyncio.create_subprocess_exec("dnsmasq", "--keep-in-foreground", f"--conf-file={config}", "--user=root")


async def login(key: Path, host_key: str, folder: Path, command: str) -> str:
    """Run a command by SSH, trusting no host key but the reported one."""
    known = folder / "known_hosts"
    known.write_text(f"{PUBLIC.host.ip} {host_key}\n", encoding="utf-8")
    options = [f"UserKnownHostsFile={known}", "StrictHostKeyChecking=yes", "BatchMode=yes", "ConnectTimeout=20"]
    words = [word for option in options for word in ("-o", option)]
    process = await asyncio.create_subprocess_exec(
        *("ssh", "-F", "none", "-i", str(key), *words, f"root@{PUBLIC.host.ip}", command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"ssh: {err.decode().strip()}")
    return out.decode()


async def install(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One order from power-on to SSH login."""
    artefact = store.load(options.store)[options.slug]
    key = folder / "key"
    keygen = await asyncio.create_subprocess_exec("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    assert await keygen.wait() == 0
    public_key = key.with_suffix(".pub").read_text(encoding="utf-8").strip()

    port = FixedPort()
    netns.create_tap(TAP)
    netns.ip("address", "add", "fd77::1/64", "dev", TAP, "nodad")
    netns.ip("address", "add", "fe80::1/64", "dev", TAP, "nodad")
    netns.add_service_address(IPv4Interface(f"{SERVICE}/32"))
    plane = netns.DataPlane(port, TAP)
    await plane.settled()
    service = Service(options.store, artefact, install_work(artefact, public_key, options.handover, options.userdata))
    runner = web.AppRunner(service.app())
    await runner.setup()
    await web.TCPSite(runner, str(SERVICE), 8080).start()
    server = await dnsmasq(folder)
    machine = QemuMachine("m1", Nic(MAC, port), TAP, folder / "m1.disk", options.firmware)
    try:
        service.mark("power on")
        await machine.power_on("pxe")
        async with asyncio.timeout(options.limit):
            while service.failure is None and service.homes.empty():
                service.changed.clear()
                await service.changed.wait()
            if service.failure is not None:
                raise RuntimeError(f"the installer failed: {service.failure}")
            home = service.homes.get_nowait()
            assert service.result is not None
            facts = await login(key, service.result["host_keys"][0], folder, options.command)
            service.mark("ssh login")
        return {
            "firmware": options.firmware,
            "stages": service.stages,
            "result": service.result,
            "home": home,
            "facts": facts,
            "inventory": service.inventory,
        }
    except BaseException:
        sys.stderr.write(machine.console_tail() + "\n")
        raise
    finally:
        if options.console:
            Path(options.console).write_bytes(machine.console_log.read_bytes())
        await machine.power_off()
        server.terminate()
        await server.wait()
        await plane.close()
        await runner.cleanup()


def main() -> int:
    """Print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--slug", default="debian_12")
    parser.add_argument("--firmware", choices=Firmware.__args__, default="bios")  # type: ignore[attr-defined]
    parser.add_argument("--handover", default="switch_root,kexec,reboot")
    parser.add_argument("--userdata", default="")
    parser.add_argument("--command", default="uname -r; hostname; df -h --output=size / | tail -1; ip -4 -br a; ip r")
    parser.add_argument("--limit", type=float, default=300)
    parser.add_argument("--console", default="")
    options = parser.parse_args()
    netns.enter_private_namespace()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        result = asyncio.run(install(options, Path(folder)))
    sys.stdout.write(json.dumps(result, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
