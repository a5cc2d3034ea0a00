"""How large the in-RAM installer is, and how long it takes from its kernel's start until it waits for work."""

from __future__ import annotations

import asyncio
import re
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from images.store import Artefact, load
from pxe.decide import Script, Target
from service.lab.qemu import Firmware
from tests.bench.result import Result
from tests.firmware.scene import IMAGES, TOKEN, URL, leaf, scene, why_not
from tests.lab.namespace import in_namespace

_RUNS = 3
_FIRMWARE: tuple[Firmware, ...] = ("bios", "uefi")
_INIT = re.compile(r"roundhouse: init \(([\d.]+) s")
_WAITING = re.compile(r"roundhouse: waiting for work \(([\d.]+) s")


def _script(installer: Artefact) -> Script:
    return Script(
        Target.INSTALLER,
        kernel_url=f"{URL}/images/{installer.kernel.sha256}",
        initrd_urls=(f"{URL}/images/{installer.initrd.sha256}",),
        cmdline=f"console=ttyS0,115200 roundhouse.url={URL} roundhouse.token={TOKEN}",
    )


def _run(installer: Artefact, firmware: Firmware) -> tuple[float, float]:
    """Seconds from the kernel's start to the first program, and to the wait for work."""

    async def course(folder: Path) -> tuple[float, float]:
        async with scene(folder, firmware, _script(installer)) as here:
            await here.power_on()
            await here.until(lambda: _WAITING.search(here.console()) is not None)
            init, waiting = _INIT.search(here.console()), _WAITING.search(here.console())
            return float(init[1]) if init else 0.0, float(waiting[1]) if waiting else 0.0

    with leaf() as namespace, tempfile.TemporaryDirectory() as folder:
        return in_namespace(namespace, lambda: asyncio.run(course(Path(folder))))


def _measure(firmware: Firmware) -> Callable[[], list[Result]]:
    def measured() -> list[Result]:
        name = f"images.installer.{firmware}"
        installer = load(IMAGES).get("installer")
        if (why := why_not(firmware)) or installer is None:
            print(f"{name} is left out: {why or f'there is none in {IMAGES}'}", file=sys.stderr)
            return []
        runs = [_run(installer, firmware) for _ in range(_RUNS)]
        init, waiting = (statistics.median(times) for times in zip(*runs, strict=True))
        sizes = ", ".join(f"{part} {stored.bytes / 1e6:.1f} MB" for part, stored in installer.files.items())
        note = (
            f"from the start of {installer.kernel_release}, median of {_RUNS}; {init:.1f} s of it the kernel; {sizes}"
        )
        return [Result(name, waiting, "s", note=note)]

    return measured


PARTS = {f"images.installer.{firmware}": _measure(firmware) for firmware in _FIRMWARE}
