"""The installer's agent in a light machine: the protocol of `images.protocol`, on virtual disks.

It behaves as `images.agent` does: back-off for ever, except that a service which stays away long enough makes it boot
from the network again; 401 and 403 do so at once; 404 and 409 drop the piece of work.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import asyncssh
import structlog
from aiohttp import ClientError

from images import chunks
from images.agent.cmdline import Arguments
from images.protocol import (
    BurnInResult,
    BurnInSpec,
    DiskBurnIn,
    DiskErasure,
    EraseResult,
    EraseSpec,
    FirmwareResult,
    FirmwareSpec,
    Handover,
    Image,
    InstallResult,
    InstallSpec,
    RescueSpec,
    Work,
)
from pxe.decide import Stage
from service.lab.board import Board, Http, Installed, NoBoot, VirtualDisk
from service.lab.firmware import acquire

log = structlog.get_logger()

_POLL_S = 25
_SENT_TIMES = 500_000  # what it sends in a burn-in is larger than any other body
_DOWNLOADS = 5
_RESCUE_TELLS_S = 1
_BROKEN = (ClientError, OSError, TimeoutError, EOFError)


class _BootAgain(Exception):
    """Boot from the network again."""


class _WorkDropped(Exception):
    """The service no longer wants this piece of work."""


class _WorkFailed(Exception):
    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


async def run_agent(board: Board, arguments: Arguments) -> Installed | None:
    """The installer from its kernel to its end: a system to start, or None to boot from the network again."""
    await board.enter("kernel")
    await board.clock.sleep(board.settings.kernel_s)
    try:
        binding = await acquire(board, Stage.SYSTEM)
    except NoBoot:
        return None
    await board.enter("agent")
    async with board.http(binding.address.ip) as http:
        agent = _Agent(board, http, arguments.url)
        try:
            await agent.hello(arguments.token)
            while True:
                if (ended := await agent.work()) is not None:
                    return ended
                await board.enter("agent")
        except _BootAgain as reason:
            log.info("light_boots_again", machine=board.name, reason=str(reason))
            return None


@dataclass(slots=True)
class _Agent:
    board: Board
    http: Http
    url: str
    headers: dict[str, str] = field(default_factory=dict)

    async def hello(self, token: str) -> None:
        body = {"token": token, "mac": self.board.nic.mac, "inventory": inventory(self.board)}
        _, answer = await self._insist("POST", "/agent/v1/hello", body)
        self.headers = {"Authorization": f"Bearer {json.loads(answer)['session']}"}

    async def work(self) -> Installed | None:
        """Ask for a piece of work and do it. None: ask again."""
        path = f"/agent/v1/work?wait={_POLL_S}"
        status, body = await self._insist("GET", path, None, timeout_s=_POLL_S + 15)
        if status != 200:
            return None
        work = cast(Work, json.loads(body))
        try:
            match work["kind"]:
                case "install":
                    return await self._install(work["id"], cast(InstallSpec, work["spec"]))
                case "erase":
                    await self._erase(work["id"], cast(EraseSpec, work["spec"]))
                    return None
                case "burn_in":
                    await self._burn_in(work["id"], cast(BurnInSpec, work["spec"]))
                case "rescue":
                    await self._rescue(work["id"], cast(RescueSpec, work["spec"]))
                case "firmware":
                    await self._firmware(work["id"], cast(FirmwareSpec, work["spec"]))
                case "reboot":
                    await self._tell(work["id"], "done", {"result": {}})
                    raise _BootAgain("told to")
        except _WorkDropped:
            return None
        except _WorkFailed as err:
            try:
                await self._tell(work["id"], "failed", {"stage": err.stage, "reason": str(err)})
            except _WorkDropped:
                return None
        return None

    async def _install(self, work: str, spec: InstallSpec) -> Installed | None:
        board = self.board
        await board.enter("install")
        started = board.clock.now()
        disk = self._disk(spec)
        # From the first block on the disk boots no more, whatever was on it before.
        disk.installed = None
        image = spec["image"]
        for attempt in range(1, _DOWNLOADS + 1):
            try:
                await self._write_image(work, spec)
                break
            except _BROKEN as err:
                if attempt == _DOWNLOADS:
                    raise _WorkFailed("image", f"the download broke {attempt} times: {err}") from err
                await board.clock.sleep(board.back_off_s(attempt))
        key = asyncssh.generate_private_key("ssh-ed25519", comment=spec["hostname"])
        system = Installed(
            spec=spec,
            host_key=key.export_private_key().decode(),
            host_key_public=key.export_public_key().decode().strip(),
        )
        disk.installed = system
        handover: Handover = next(iter(spec["handover"]), "reboot")
        result = InstallResult(
            disk=disk.path,
            bytes_written=image["disk_bytes"],
            seconds=(board.clock.now() - started).total_seconds(),
            host_keys=[system.host_key_public],
            handover=handover,
        )
        await self._tell(work, "done", {"result": result})
        await board.enter("handover")
        if handover in board.faults.dead_ways:
            await asyncio.Event().wait()
        if handover == "reboot":
            raise _BootAgain("installed")
        return system

    def _disk(self, spec: InstallSpec) -> VirtualDisk:
        needed = spec["image"]["disk_bytes"]
        wanted = next((hint.get("path") for hint in spec["storage"]["disks"]), None)
        for disk in self.board.disks:
            if wanted in (None, disk.path) and disk.bytes >= needed:
                return disk
        raise _WorkFailed("disk", f"no disk {wanted or ''} of {needed} bytes or more")

    async def _write_image(self, work: str, spec: InstallSpec) -> None:
        """Stream the image's chunks past their hashes; at most a report a second goes out, and one at the end."""
        image, clock = spec["image"], self.board.clock
        speed = self.board.settings.disk_bytes_per_s
        reported = clock.now()
        map_ = await self._map(image)
        total = sum(chunk.raw_bytes for chunk in map_.chunks)
        await self._progress(work, 0, total)
        written = 0
        async with await self.http.stream(image["url"]) as response:
            response.raise_for_status()
            for chunk in map_.chunks:
                frame = await response.content.readexactly(chunk.frame_bytes)
                if hashlib.sha256(frame).hexdigest() != chunk.sha256:
                    raise _WorkFailed(
                        "image", f"the chunk for byte {chunk.offset} has not the sha256 that the map tells"
                    )
                written += chunk.raw_bytes
                if speed is not None:  # the disk's time
                    await clock.sleep(chunk.raw_bytes / speed)
                if (clock.now() - reported).total_seconds() >= 1:
                    reported = clock.now()
                    await self._progress(work, written, total)
        await self._progress(work, written, total)

    async def _map(self, image: Image) -> chunks.Map:
        status, text = await self.http.call("GET", image["map_url"])
        if status != 200:
            raise OSError(f"{image['map_url']}: the answer was {status}")
        if hashlib.sha256(text).hexdigest() != image["map_sha256"]:
            raise _WorkFailed("image", "the image's map does not have the sha256 that was ordered")
        try:
            return chunks.decode(text)
        except chunks.BadMap as err:
            raise _WorkFailed("image", str(err)) from err

    async def _erase(self, work: str, spec: EraseSpec) -> None:
        board = self.board
        await board.enter("erase")
        if board.faults.dirty_disk:
            raise _WorkFailed("erasing", board.faults.dirty_disk)
        found: list[DiskErasure] = []
        for disk in board.disks:
            if spec["disks"] and disk.path not in spec["disks"]:
                continue
            await board.clock.sleep(board.settings.erase_s)
            disk.installed = None
            found.append(
                DiskErasure(
                    path=disk.path,
                    serial=disk.serial,
                    bytes=disk.bytes,
                    controller="block",
                    model="",
                    firmware="",
                    method="discard-zeroes",
                    seconds=board.settings.erase_s,
                    attempts=[
                        {
                            "method": "discard-zeroes",
                            "outcome": "done",
                            "reason": "",
                            "seconds": board.settings.erase_s,
                        }
                    ],
                    hidden=[],
                    samples_read=spec["sample_count"],
                    samples_clean=spec["sample_count"],
                    samples_old=0,
                    verdict="zeros",
                )
            )
        missing = set(spec["disks"]) - {erasure["path"] for erasure in found}
        if missing:
            raise _WorkFailed("erase", f"no such disk: {', '.join(sorted(missing))}")
        await self._tell(work, "done", {"result": EraseResult(disks=found)})

    async def _burn_in(self, work: str, spec: BurnInSpec) -> None:
        """Measures what its faults say, and the network for real."""
        await self.board.enter("burn-in")
        found: BurnInResult = {}
        if "cpu" in spec["parts"]:
            found["cpu"] = {"threads": 16, "rounds": 100, "wrong": 0, "slowest_rounds_per_s": 10, "temperature_c": 60}
        if "memory" in spec["parts"]:
            errors = self.board.faults.memory_errors
            counted = {"corrected": 0, "uncorrected": 0, "passes": 1, "bytes_per_s": 10**10}
            found["memory"] = {"bytes": 32 << 30, "errors": errors, **counted}
        if "disk" in spec["parts"]:
            found["disks"] = [
                DiskBurnIn(
                    path=disk.path,
                    serial=disk.serial,
                    written_bytes=disk.bytes,
                    verified_bytes=disk.bytes,
                    write_bytes_per_s=5e8,
                    read_bytes_per_s=5e8,
                    errors=0,
                    first_error="",
                )
                for disk in self.board.disks
            ]
        if "network" in spec["parts"]:
            _, fetched = await self.http.call("GET", spec["download_url"])
            status, _ = await self.http.call("POST", spec["upload_url"], json={"some": "thing" * _SENT_TIMES})
            rates = {"download_bytes_per_s": len(fetched), "upload_bytes_per_s": 10**9}
            found["network"] = {**rates, "errors": int(status != 200), "retransmitted": 0, "link_errors": 0}
        await self._tell(work, "done", {"result": found})

    async def _rescue(self, work: str, spec: RescueSpec) -> None:
        """An SSH server at every address, until the service wants no more of it."""
        await self.board.enter("rescue")
        key = asyncssh.generate_private_key("ssh-ed25519", comment="rescue")
        result = {"host_keys": [key.export_public_key().decode().strip()], "port": spec["port"]}
        keys = asyncssh.import_authorized_keys("".join(f"{line}\n" for line in spec["ssh_keys"]))
        async with AsyncExitStack() as stack:
            for address in (one["address"].partition("/")[0] for one in spec["addresses"]):
                if ":" not in address:
                    await stack.enter_async_context(
                        asyncssh.listen(
                            address,
                            self.board.settings.ssh_port,
                            server_host_keys=[key],
                            authorized_client_keys=keys,
                            process_factory=_rescue_shell,
                        )
                    )
            while True:
                await self._progress(work, 0, 0, stage="rescue", result=result)
                await self.board.clock.sleep(_RESCUE_TELLS_S)

    async def _firmware(self, work: str, spec: FirmwareSpec) -> None:
        """Fetches the bundle for real, and says that its program ran."""
        await self.board.enter("firmware")
        status, bundle = await self.http.call("GET", spec["url"])
        if status != 200 or hashlib.sha256(bundle).hexdigest() != spec["sha256"]:
            raise _WorkFailed("firmware", f"the bundle was answered by {status}")
        told: dict[str, object] = {"program": spec["program"], "arguments": spec["arguments"]}
        result = FirmwareResult(exit_code=0, seconds=1.0, told=told, output="")
        await self._tell(work, "done", {"result": result})

    async def _progress(
        self, work: str, done: int, total: int, *, stage: str = "writing", result: Mapping[str, Any] | None = None
    ) -> None:
        """Tell how far it is, once: the next report will say more."""
        body = {
            "stage": stage,
            "percent": 100 * done // max(total, 1),
            "bytes_done": done,
            "bytes_total": total,
            "bytes_per_s": 0,
            "message": "",
            "result": result,
        }
        url = f"{self.url}/agent/v1/work/{work}/progress"
        try:
            status, _ = await self.http.call("POST", url, headers=self.headers, json=body)
        except _BROKEN:
            return
        _check(status)

    async def _tell(self, work: str, what: str, body: dict[str, Any]) -> None:
        await self._insist("POST", f"/agent/v1/work/{work}/{what}", body)

    async def _insist(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float = 30
    ) -> tuple[int, bytes]:
        """Call until the service answers in earnest. Raises _BootAgain, _WorkDropped."""
        for failures in range(self.board.settings.failures_to_reboot):
            try:
                status, answer = await self.http.call(
                    method, self.url + path, headers=self.headers, json=body, timeout_s=timeout_s
                )
            except _BROKEN as err:
                log.debug("light_call_failed", machine=self.board.name, path=path, detail=str(err))
            else:
                _check(status)
                if 200 <= status < 300:
                    return status, answer
            await self.board.clock.sleep(self.board.back_off_s(failures))
        raise _BootAgain("the service stays away")


def _rescue_shell(process: asyncssh.SSHServerProcess[str]) -> None:
    process.stdout.write(f"rescue: {process.command}\n")
    process.exit(0)


def _check(status: int) -> None:
    if status in (401, 403):
        raise _BootAgain(f"the service answered {status}")
    if status in (404, 409):
        raise _WorkDropped


def inventory(board: Board) -> dict[str, Any]:
    """What the agent of a real machine would find, in the same form (`images.agent.inventory`)."""
    leaf, port = board.faults.hears or (board.nic.port.leaf, board.nic.port.name)
    return {
        "system": {"sys_vendor": "Roundhouse", "product_name": "light", "product_serial": board.name},
        "firmware": "bios" if board.settings.arch == "bios" else "uefi",
        "kernel": "light",
        "architecture": "aarch64" if board.settings.arch == "uefi-arm64" else "x86_64",
        "cpu": {"model": "light", "packages": 1, "cores": 8, "threads": 16},
        "memory_bytes": 32 * 2**30,
        "disks": [
            {"path": disk.path, "bytes": disk.bytes, "serial": disk.serial, "model": "light", "rotational": False}
            for disk in board.disks
        ],
        "nics": [
            {
                "name": "eth0",
                "mac": board.nic.mac,
                "carrier": True,
                "speed_mbps": 10_000,
                "driver": "light",
            }
        ],
        "lldp": [{"nic": "eth0", "mac": board.nic.mac, "system": leaf, "port": port}],
    }
