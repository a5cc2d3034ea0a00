"""How long real firmware takes in QEMU, from power-on until the machine has its script or configuration."""

from __future__ import annotations

import asyncio
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from pxe.decide import Script, Target
from service.lab.qemu import Firmware
from tests.bench.result import Result
from tests.firmware.scene import Scene, leaf, scene, why_not
from tests.lab.namespace import in_namespace

_RUNS = 3
_LIMIT_S = 120
# The stages whose times are told, and the one that ends it.
_STAGES: dict[Firmware, tuple[str, ...]] = {
    "bios": ("dhcp ipxe", "http GET /boot/ipxe"),
    "uefi": ("dhcp firmware", "tftp snponly.efi", "dhcp ipxe", "http GET /boot/ipxe"),
    "uefi-http": ("dhcp http-firmware", "http GET /boot/files/snponly.efi", "dhcp ipxe", "http GET /boot/ipxe"),
    "uefi-secure": ("dhcp firmware", "tftp shimx64.efi", "tftp grubx64.efi", "tftp grub/grub.cfg", "tftp boot/grub"),
}
_BARS_S: dict[Firmware, float] = {"bios": 3.0, "uefi": 12.0}


def _run(firmware: Firmware) -> list[float]:
    """Seconds since power-on until each stage."""
    stages = _STAGES[firmware]

    async def course(folder: Path) -> list[float]:
        async with scene(folder, firmware, Script(Target.WAIT), signed=firmware == "uefi-secure") as here:
            await here.power_on()
            await _heard(here, stages[-1])
            return [here.first_at(stage) for stage in stages]

    with leaf() as namespace, tempfile.TemporaryDirectory() as folder:
        return in_namespace(namespace, lambda: asyncio.run(course(Path(folder))))


async def _heard(here: Scene, what: str) -> None:
    async with asyncio.timeout(_LIMIT_S):
        while what not in here.heard:
            await asyncio.sleep(0.02)


def _script(firmware: Firmware) -> Callable[[], list[Result]]:
    def measured() -> list[Result]:
        if why := why_not(firmware):
            print(f"firmware.script.{firmware} is left out: {why}", file=sys.stderr)
            return []
        runs = [_run(firmware) for _ in range(_RUNS)]
        medians = [statistics.median(times) for times in zip(*runs, strict=True)]
        stages = ", ".join(f"{stage} {at:.2f}" for stage, at in zip(_STAGES[firmware], medians, strict=True))
        bar = _BARS_S.get(firmware)
        note = f"median of {_RUNS}: {stages}" + (f"; bar: under {bar:.0f}" if bar else "")
        return [Result(f"firmware.script.{firmware}", medians[-1], "s", note=note)]

    return measured


PARTS = {f"firmware.{firmware}": _script(firmware) for firmware in _STAGES}
