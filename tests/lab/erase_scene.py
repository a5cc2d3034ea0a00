"""A virtual machine in the in-RAM installer, with the agent of this tree, and a service that only has work to erase."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import py_compile
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from images.build import cpio
from images.protocol import EraseSpec, Work
from images.store import load

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
_AGENT = Path(__file__).parents[2] / "images" / "agent"
_IN_INSTALLER = "usr/lib/python3.11/images/agent"


def why_not() -> str | None:
    """What is missing to start such a machine; None when nothing is."""
    if shutil.which("qemu-system-x86_64") is None:
        return "needs the Debian package qemu-system-x86"
    if "installer" not in load(IMAGES):
        return f"needs the installer in {IMAGES} (make images)"
    return None


def agent_archive(target: Path) -> Path:
    """An archive that the kernel unpacks over the installer's: the agent as it is in this tree."""
    entries = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in sorted(_AGENT.glob("*.py")):
            compiled = Path(scratch, f"{source.stem}.pyc")
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(str(source), str(compiled), source.name, True, 2, mode)
            name = f"{_IN_INSTALLER}/{source.stem}.pyc"
            entries.append(cpio.Entry(name, stat.S_IFREG | 0o644, compiled.read_bytes()))
    assert importlib.util.MAGIC_NUMBER[:2] == b"\xa7\x0d"  # Python 3.11's, as the installer's
    target.write_bytes(cpio.encode(entries))
    return target


@dataclass(slots=True)
class EraseService:
    """The agent's calls, answered: one piece of work after another, and what was said of each."""

    work: list[Work] = field(default_factory=list)
    told: dict[str, Any] = field(default_factory=dict)
    progress: list[dict[str, Any]] = field(default_factory=list)
    port: int = 0
    hellos: int = 0
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    def erase(self, *disks: str, sample_count: int = 64, limit_s: float = 600) -> str:
        """Have the next agent that asks erase these, or all; the work's id."""
        work_id = f"w{len(self.work) + len(self.told)}"
        spec = EraseSpec(disks=list(disks), sample_count=sample_count, limit_s=limit_s)
        self.work.append({"id": work_id, "kind": "erase", "spec": spec})
        return work_id

    async def until(self, true: Callable[[], bool], within_s: float = 150) -> None:
        async with asyncio.timeout(within_s), self.changed:
            await self.changed.wait_for(true)

    async def until_erased(self, percent: float) -> None:
        """Wait until the agent has told that it is further than that."""
        await self.until(lambda: any(one["percent"] > percent for one in self.progress))

    async def end_of(self, work_id: str, within_s: float = 150) -> Any:
        """What the agent said at the end of a piece of work."""
        await self.until(lambda: work_id in self.told, within_s)
        return self.told[work_id]

    async def _heard(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def hello(self, _: web.Request) -> web.Response:
        self.hellos += 1
        await self._heard()
        return web.json_response({"session": "s", "machine": "m"})

    async def next_work(self, request: web.Request) -> web.Response:
        for _ in range(int(request.query["wait"]) * 5):
            if self.work:
                return web.json_response(self.work[0])
            await asyncio.sleep(0.2)
        return web.Response(status=204)

    async def report(self, request: web.Request) -> web.Response:
        body, work, what = await request.json(), request.match_info["work"], request.match_info["what"]
        if work not in [one["id"] for one in self.work]:
            return web.Response(status=404)
        if what == "progress":
            self.progress.append(body)
        else:
            self.told[work] = body["result"] if what == "done" else body["reason"]
            self.work.pop(0)
        await self._heard()
        return web.Response(status=204)


@contextlib.asynccontextmanager
async def erase_service() -> AsyncIterator[EraseService]:
    """Run it on a free port of loopback while the block runs."""
    service = EraseService()
    app = web.Application()
    app.add_routes(
        [
            web.post("/agent/v1/hello", service.hello),
            web.get("/agent/v1/work", service.next_work),
            web.post("/agent/v1/work/{work}/{what}", service.report),
        ]
    )
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        service.port = runner.addresses[0][1]
        yield service
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def machine(folder: Path, port: int, disks: Sequence[str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """A machine with these disks (QEMU's arguments), on from here to the block's end, whose power is then cut.

    It reaches the service through QEMU's own network, so that it needs no privilege.
    """
    installer = load(IMAGES)["installer"]
    kernel, initrd = IMAGES / installer.kernel.file, IMAGES / installer.initrd.file
    both = folder / "initrd"
    archive = agent_archive(folder / "agent.cpio").read_bytes()
    # The kernel takes archives one after another, compressed or not, each at a multiple of four bytes.
    packed = initrd.read_bytes()
    both.write_bytes(packed + bytes(-len(packed) % 4) + archive)
    process = await asyncio.create_subprocess_exec(
        *(
            "setpriv",
            "--pdeathsig",
            "KILL",
            "qemu-system-x86_64",
            "-accel",
            "tcg,thread=multi",
            "-M",
            "q35,graphics=off",
        ),
        *("-smp", "2", "-m", "1024", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-chardev", f"file,id=console,path={folder}/console.log,append=on", "-serial", "chardev:console"),
        *("-kernel", kernel, "-initrd", both),
        "-append",
        f"console=ttyS0 quiet roundhouse.url=http://10.0.2.2:{port} roundhouse.token=t",
        *("-netdev", "user,id=net0", "-device", "virtio-net-pci,netdev=net0,romfile="),
        *("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng0"),
        *disks,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=(folder / "qemu.err").open("ab"),
    )
    try:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 1)
            raise AssertionError(f"QEMU did not start: {console(folder)}")
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def console(folder: Path) -> str:
    """What the machine has printed, for a test that fails."""
    texts = (folder / name for name in ("console.log", "qemu.err"))
    return "".join(text.read_text(errors="replace")[-6000:] for text in texts if text.exists())


def drive(number: int, file: Path | str, device: str, options: str = "discard=unmap") -> list[str]:
    """QEMU's arguments for one disk; `device` has a place for the drive's name."""
    backing = f"if=none,id=d{number},file={file},format=raw,cache=unsafe,{options}"
    return ["-drive", backing, "-device", device.format(f"drive=d{number}")]
