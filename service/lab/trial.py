"""A test boot: a copy of an image is started in QEMU and has to come to its login prompt on the serial port.

It gets no network and no seed: cloud-init, where an image has it, finds no source of data and does nothing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from images.build.restoring import map_of, restore
from images.store import StoredImage
from service.lab.qemu import PLATFORMS, Firmware, MachineError, Platform

_THERE = re.compile(rb"[\w.-]+ login: ")  # agetty's prompt
_HOPELESS = {
    rb"Kernel panic": "its kernel panics",
    rb"You are in emergency mode": "it ends in emergency mode",
    rb"grub rescue>|Minimal BASH-like line editing": "GRUB finds no configuration",
    rb"No bootable device|BdsDxe: No bootable option": "the firmware finds nothing to start",
    rb"dracut-initqueue.*timeout|ALERT!.*does not exist": "its initramfs does not find the root file system",
}
_TAIL_BYTES = 1500
_DISK_BYTES = 8 << 30  # at least, so that the image finds room to grow as on a real disk


@dataclass(frozen=True, slots=True)
class Trial:
    """How a test boot ended. `reason` is empty when the system came up."""

    firmware: Firmware
    seconds: float  # from power on
    reason: str
    console: str  # the end of what was printed on the serial port

    @property
    def booted(self) -> bool:
        """True when the system came up."""
        return not self.reason


def firmwares_of(store: Path, image: StoredImage) -> list[Firmware]:
    """Which firmware an image has a boot partition for. Raises StoreError."""
    roles = {one.role for one in map_of(store, image).partitions}
    kinds: dict[str, Firmware] = {"bios": "bios", "esp": "uefi"}
    return [firmware for role, firmware in kinds.items() if role in roles]


def boot(store: Path, image: StoredImage, firmware: Firmware, limit_s: float, watch: Callable[[str], None]) -> Trial:
    """Start a copy of the image; `watch` is told each line that it prints.

    Raises MachineError, StoreError.
    """
    platform = PLATFORMS[firmware]
    if missing := platform.missing_packages():
        raise MachineError(f"packages are missing; as root: apt-get install {' '.join(missing)}")
    with tempfile.TemporaryDirectory(prefix=".trial-", dir=store) as work:
        folder = Path(work)
        disk = folder / "disk"
        restore(store, image, disk)
        if image.disk_bytes < _DISK_BYTES:
            with disk.open("r+b") as file:
                file.truncate(_DISK_BYTES)
        return _watched(firmware, _command(platform, folder), folder, limit_s, watch)


def _command(platform: Platform, folder: Path) -> list[str]:
    firmware: list[str] = []
    if platform.code is not None and platform.variables is not None:
        variables = folder / "variables"
        shutil.copyfile(platform.variables, variables)
        firmware = [
            *("-drive", f"if=pflash,format=raw,unit=0,readonly=on,file={platform.code}"),
            *("-drive", f"if=pflash,format=raw,unit=1,file={variables}"),
        ]
    return [
        *("setpriv", "--pdeathsig", "KILL", platform.program),
        # Never KVM: a device file says nothing about whether a guest boots on it.
        *("-accel", "tcg,thread=multi", *platform.arguments, "-smp", "2", "-m", "2048"),
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-serial", f"file:{folder / 'console'}"),
        *firmware,
        *("-drive", f"if=none,id=disk,file={folder / 'disk'},format=raw,cache=unsafe,discard=unmap"),
        *("-device", "virtio-blk-pci,drive=disk,bootindex=1"),
        *("-object", "rng-random,id=rng,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=rng"),
    ]


def _watched(
    firmware: Firmware, command: list[str], folder: Path, limit_s: float, watch: Callable[[str], None]
) -> Trial:
    console = folder / "console"
    console.touch()
    begun = time.monotonic()
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            printed, reason = b"", ""
            told = 0
            while not _THERE.search(printed) and not reason:
                time.sleep(0.1)
                ended = process.poll() is not None
                printed = console.read_bytes()
                for line in printed[told:].split(b"\n")[:-1]:
                    told += len(line) + 1
                    watch(line.decode("utf-8", "replace").strip("\r"))
                reason = next((why for sign, why in _HOPELESS.items() if re.search(sign, printed)), "")
                if ended and not reason:
                    reason = "the machine went off"
                elif time.monotonic() - begun > limit_s:
                    reason = f"no login prompt within {limit_s:g} s"
            seconds = time.monotonic() - begun
        finally:
            process.kill()
        if not printed and process.stderr is not None:
            reason = f"{reason}: {process.stderr.read().decode(errors='replace').strip()}".removesuffix(": ")
    if _THERE.search(printed):
        reason = ""
    tail = printed[-_TAIL_BYTES:].decode("utf-8", "replace").replace("\r", "")
    return Trial(firmware, round(seconds, 1), reason, tail)
