"""The service and a virtual rack in one process, on free ports, with nothing left behind."""

from __future__ import annotations

import asyncio
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp

from service.cli.serve import seeded
from service.lab.board import LightSettings
from service.lab.first_stage import publish_light_images, write_first_stages
from service.lab.ports import free_port
from service.lab.qemu import DiskSpec, Firmware
from service.lab.rack import LOOPBACK_PLAN, NAMESPACE_PLAN, Rack, RackSettings
from service.parts import OpenUpstream
from service.settings import Settings, read_settings
from service.wiring import WORKFLOWS, Service, service
from service.workflow import Workflow

SERVICE_ADDRESS = "10.255.255.1"  # of the service, in a network namespace of its own

_READY_LIMIT_S = 300.0
_IMAGE_BYTES = 1 << 20
_BURN_IN_S = 20  # nothing here is new


class RackNotReady(RuntimeError):
    """The rack's machines did not all come to the pool."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSettings:
    """What `roundhouse lab up` is asked for."""

    machines: int = 8
    leaves: int = 2
    plan: str = "c1.small.x86"
    facility: str = "ewr1"
    commit_s: float = 0.0
    image_bytes: int = _IMAGE_BYTES
    light: LightSettings = field(default_factory=LightSettings)  # its delays; the ports are the service's
    workflows: Mapping[str, Workflow] = field(default_factory=lambda: WORKFLOWS)
    qemu: int = 0
    strangers: int = 0  # light machines at free ports, which nobody has enrolled
    qemu_strangers: int = 0  # and virtual ones
    firmware: Firmware = "bios"
    upstream: OpenUpstream = aiohttp.TCPConnector  # how package mirrors are reached
    disks: tuple[DiskSpec, ...] = (DiskSpec(),)  # of each virtual machine
    # Whether the strangers are switched on when the others are in the pool, and told of to the service.
    welcome: bool = False

    @property
    def virtual(self) -> int:
        """How many machines really boot."""
        return self.qemu + self.qemu_strangers


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab: the service, the rack, and how to reach them."""

    service: Service
    rack: Rack
    api: str
    token: str
    project: str

    def ready_line(self) -> dict[str, Any]:
        """What `roundhouse lab up` prints as one JSON line."""
        catalogue = self.service.parts.catalogue
        return {
            "api": self.api,
            "console": f"{self.api}/console/",
            "metadata": self.service.parts.boot_url,
            "token": self.token,
            "project": self.project,
            "facility": self.rack.settings.facility,
            "plans": [self.rack.settings.plan],
            "operating_systems": [entry.slug for entry in catalogue],
        }


@contextmanager
def state_folder(given: Path | None) -> Iterator[Path]:
    """The given folder, or one that goes away with the lab."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="roundhouse-lab-") as folder:
        # As root the database runs as a user of its own, which must get in.
        Path(folder).chmod(0o755)
        yield Path(folder)


def namespace_settings(
    state: Path, images: Path, *, api_port: int, sos_port: int, database_url: str | None, log_level: str
) -> Settings:
    """The service's settings in a network namespace of its own, for virtual machines: the standard ports."""
    return read_settings(
        state_dir=str(state),
        images_dir=str(images),
        database_url=database_url,
        api_port=api_port,
        sos_port=sos_port,
        boot_host=SERVICE_ADDRESS,
        boot_port=8080,
        cool_down_s=5,
        newcomer_burn_in_s=_BURN_IN_S,
        newcomer_burn_in_parts="cpu,disk,network",  # all of the memory takes minutes where it is emulated
        log_level=log_level,
    )


def lab_settings(state: Path, *, api_port: int, database_url: str | None, log_level: str) -> Settings:
    """The service's settings for a rack on loopback addresses, where no port below 1024 is needed."""
    return read_settings(
        state_dir=str(state),
        database_url=database_url,
        api_port=api_port,
        boot_port=0,
        newcomer_burn_in_s=_BURN_IN_S,
        dhcp_port=free_port(socket.SOCK_DGRAM),
        dhcp_relay_port=free_port(socket.SOCK_DGRAM),
        tftp_port=free_port(socket.SOCK_DGRAM),
        ssh_port=free_port(socket.SOCK_STREAM),
        sos_port=free_port(socket.SOCK_STREAM),
        cool_down_s=5,
        log_level=log_level,
    )


def light_settings(settings: Settings, delays: LightSettings) -> LightSettings:
    """The light machines' view of the same ports."""
    return replace(
        delays,
        dhcp_port=settings.dhcp_port,
        relay_port=settings.dhcp_relay_port,
        tftp_port=settings.tftp_port,
        ssh_port=settings.ssh_port,
    )


async def enrol_rack(api: str, token: str, rack: Rack) -> None:
    """Send the rack's inventory as an operator would. Raises RackNotReady when it is refused."""
    async with (
        aiohttp.ClientSession(headers={"X-Auth-Token": token}) as session,
        session.post(f"{api}/admin/v1/inventory", json=rack.inventory()) as answer,
    ):
        if answer.status != 200:
            raise RackNotReady(f"the inventory was refused: {answer.status} {await answer.text()}")


async def welcome_strangers(api: str, token: str, rack: Rack) -> None:
    """Say what the rack's plan is made of and where its BMCs are, and switch on what nobody has enrolled.

    Without an enrolled machine to go by, the first stranger waits for somebody to say which plan it is. Raises
    RackNotReady.
    """
    calls = [("PUT", "/bmc-access", rack.bmc_access())]
    if enrolled := [name for name in (*rack.machines, *rack.virtual) if name not in rack.strange]:
        calls.append(("PATCH", f"/plans/{rack.settings.plan}/hardware", {"like": enrolled[0]}))
    async with aiohttp.ClientSession(headers={"X-Auth-Token": token}) as session:
        for method, path, body in calls:
            async with session.request(method, f"{api}/admin/v1{path}", json=body) as answer:
                if answer.status != 200:
                    raise RackNotReady(f"{path} was refused: {answer.status} {await answer.text()}")
    for name in rack.strange:
        await (rack.machines.get(name) or rack.virtual[name]).power_on("none")


async def pooled(running: Service, machines: int, *, show: bool = False) -> None:
    """Wait until so many machines are in the pool. Raises RackNotReady with what is wrong."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _READY_LIMIT_S
    shown = -1
    while True:
        rows = await running.db.fetch("SELECT name, state, reason FROM machine ORDER BY name")
        ready = sum(row["state"] == "ready" for row in rows)
        if show and ready != shown:
            sys.stderr.write(f"machines in the pool: {ready} of {machines}\n")
            shown = ready
        if ready >= machines:
            return
        lost = [f"{row['name']}: {row['reason']}" for row in rows if row["state"] == "quarantined"]
        if lost or loop.time() > deadline:
            raise RackNotReady(
                "; ".join(lost) or f"{ready} of {machines} machines are ready after {_READY_LIMIT_S:g} s"
            )
        await asyncio.sleep(0.1)


@asynccontextmanager
async def running_lab(
    asked: LabSettings,
    settings: Settings,
    database_url: str,
    token: str,
    api_sockets: Sequence[socket.socket],
    console_sockets: Sequence[socket.socket] = (),
) -> AsyncIterator[Lab]:
    """Service and rack while the block runs, with every machine in the pool."""
    write_first_stages(settings.state_dir / "first-stage")
    await seeded(database_url, token)
    async with service(
        settings,
        database_url,
        api_sockets=api_sockets,
        console_sockets=console_sockets,
        workflows=asked.workflows,
        upstream=asked.upstream,
    ) as running:
        if not asked.virtual:
            image_slugs = [entry.slug for entry in running.parts.catalogue if entry.engine == "image"]
            publish_light_images(running.parts.images.root, image_slugs, image_bytes=asked.image_bytes)
        rack_settings = RackSettings(
            machines=asked.machines,
            leaves=asked.leaves,
            plan=asked.plan,
            facility=asked.facility,
            commit_s=asked.commit_s,
            light=light_settings(settings, asked.light),
            addresses=NAMESPACE_PLAN if asked.virtual else LOOPBACK_PLAN,
            qemu=asked.qemu,
            strangers=asked.strangers,
            qemu_strangers=asked.qemu_strangers,
            firmware=asked.firmware,
            disks=settings.state_dir / "disks",
            disk_specs=asked.disks,
        )
        async with Rack(rack_settings) as rack:
            api = f"http://127.0.0.1:{running.api_port}"
            await enrol_rack(api, token, rack)
            await pooled(running, asked.machines + asked.qemu, show=True)
            if asked.welcome:
                await welcome_strangers(api, token, rack)
            project = await running.db.fetchval("SELECT id::text FROM project ORDER BY created_at LIMIT 1")
            yield Lab(running, rack, api, token, project)
