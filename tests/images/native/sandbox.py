"""Runs a rendered script as its installer's shell would, on a machine with made-up disks."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

GB = 1_000_000_000


@dataclass(frozen=True, slots=True)
class FakeDisk:
    """What the kernel tells of one disk."""

    name: str
    size_bytes: int
    serial: str = ""
    rotational: bool = False
    removable: bool = False
    vpd: str = ""  # the unit's serial number as SCSI disks tell it


DISKS = (
    FakeDisk("loop0", 999 * GB),
    FakeDisk("sda", 2 * GB, removable=True, serial="USB"),
    FakeDisk("sdb", 480 * GB, vpd="  S1 B-2"),
    FakeDisk("sdc", 4000 * GB, rotational=True, vpd="H1"),
    FakeDisk("sdd", 0, serial="card reader"),
    FakeDisk("sde", 480 * GB, vpd="S2"),
    FakeDisk("nvme0n1", 960 * GB, serial="N1  "),
    FakeDisk("nvme0c0n1", 960 * GB, serial="N1"),
    FakeDisk("vda", 30 * GB, serial="V1", rotational=True),
)


def machine(root: Path, disks: tuple[FakeDisk, ...] = DISKS, *, uefi: bool = False) -> dict[str, str]:
    """Lay out /sys and /dev below `root`; the environment that leads a script there."""
    for disk in disks:
        folder = root / "sys/block" / disk.name
        (folder / "queue").mkdir(parents=True)
        (folder / "device").mkdir()
        (folder / "size").write_text(f"{disk.size_bytes // 512}\n")
        (folder / "ro").write_text("0\n")
        (folder / "removable").write_text(f"{int(disk.removable)}\n")
        (folder / "queue/rotational").write_text(f"{int(disk.rotational)}\n")
        if disk.serial:
            # Where the driver puts it.
            where = "serial" if disk.name.startswith("vd") else "device/serial"
            (folder / where).write_text(f"{disk.serial}\n")
        if disk.vpd:
            (folder / "device/vpd_pg80").write_bytes(bytes([0, 0x80, 0, len(disk.vpd)]) + disk.vpd.encode())
        (root / "dev").mkdir(exist_ok=True)
        (root / "dev" / disk.name).write_text("")
    if uefi:
        (root / "sys/firmware/efi").mkdir(parents=True)
    return {**os.environ, "ROUNDHOUSE_SYS": str(root / "sys"), "ROUNDHOUSE_DEV": str(root / "dev")}


def run(argv: list[str], script: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script's text, given on standard input's place, with a limit of two minutes."""
    return subprocess.run(
        [*argv, "-c", script], env=environment, capture_output=True, text=True, timeout=120, check=False
    )
