"""What partitions a disk has: tables made by sfdisk, file systems by their own tools."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from images.build.layout import TOOLS, partitions_of

MIB = 1 << 20
pytestmark = [
    pytest.mark.skipif(shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None, reason=f"needs {package}")
    for program, package in {**TOOLS, "mkfs.ext4": "e2fsprogs", "mkfs.vfat": "dosfstools"}.items()
]


def disk(path: Path, table: str) -> Path:
    """A disk of 128 MiB with that table."""
    with path.open("wb") as file:
        file.truncate(128 * MIB)
    subprocess.run(["/usr/sbin/sfdisk", "--quiet", path], input=table, text=True, check=True)
    return path


def ext4(path: Path, start_mib: int, size_mib: int, label: str) -> None:
    """A file system there."""
    options = ["-q", "-F", "-L", label, "-E", f"offset={start_mib * MIB}"]
    subprocess.run(["/usr/sbin/mkfs.ext4", *options, path, f"{size_mib}M"], check=True, capture_output=True)


def test_a_gpt_by_its_types_and_contents(tmp_path: Path) -> None:
    # Numbers out of order, as cloud images have them.
    raw = disk(
        tmp_path / "disk1",  # a name that ends in a digit gets a "p" before the partition's number
        "label: gpt\n"
        "1: start=50MiB, size=70MiB, type=L\n"
        "14: start=1MiB, size=4MiB, type=21686148-6449-6E6F-744E-656564454649\n"
        "15: start=5MiB, size=40MiB, type=U\n",
    )
    ext4(raw, 50, 70, "cloudimg")
    esp = tmp_path / "esp"
    with esp.open("wb") as file:
        file.truncate(40 * MIB)
    subprocess.run(["/usr/sbin/mkfs.vfat", "-i", "ABCD1234", esp], check=True, capture_output=True)
    with raw.open("r+b") as file:
        file.seek(5 * MIB)
        file.write(esp.read_bytes())
    found = partitions_of(raw)
    assert [(p.number, p.start // MIB, p.bytes // MIB, p.role, p.filesystem) for p in found] == [
        (14, 1, 4, "bios", ""),
        (15, 5, 40, "esp", "vfat"),
        (1, 50, 70, "root", "ext4"),
    ]
    assert found[1].uuid == "ABCD-1234"
    assert found[1].type == "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
    assert len(found[2].uuid) == 36


def test_an_mbr_and_a_boot_partition_that_is_larger_than_the_root(tmp_path: Path) -> None:
    raw = disk(tmp_path / "disk", "label: dos\nstart=1MiB, size=70MiB, type=83\nstart=80MiB, size=40MiB, type=83\n")
    ext4(raw, 1, 70, "BOOT")
    ext4(raw, 80, 40, "")
    assert [(p.number, p.type, p.role) for p in partitions_of(raw)] == [(1, "", "boot"), (2, "", "root")]


def test_a_disk_without_a_table_has_none(tmp_path: Path) -> None:
    raw = tmp_path / "disk"
    with raw.open("wb") as file:
        file.truncate(64 * MIB)
    assert partitions_of(raw) == []
    ext4(raw, 0, 64, "root")
    assert partitions_of(raw) == []
