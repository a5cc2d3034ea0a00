"""The written disk's partition table: finding the root file system, and growing it to the end of the disk."""

from __future__ import annotations

import os
import struct

from images.agent import blockdev
from images.agent.shell import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

_GPT_SIGNATURE: Final = b"EFI PART"
_EXT_MAGIC_AT, _EXT_MAGIC = 1024 + 0x38, b"\x53\xef"  # ext4's superblock: s_magic, s_uuid
_EXT_UUID_AT = 1024 + 0x68


class NoRoot(Exception):
    """The image has no root file system that the agent can use."""


class Partition:
    """One entry of a GPT; positions in bytes."""

    __slots__ = ("bytes", "number", "start")

    def __init__(self, number: int, start: int, size: int) -> None:
        self.number, self.start, self.bytes = number, start, size


def read_gpt(fd: int, sector: int = 512) -> list[Partition]:
    """The partitions in the order of their numbers (UEFI 2.10 §5.3). Raises NoRoot without a GPT."""
    header = os.pread(fd, 92, sector)
    if header[:8] != _GPT_SIGNATURE:
        raise NoRoot("the image has no GUID partition table")
    table, count, size = struct.unpack_from("<QII", header, 72)
    if size < 128 or count > 4096:
        raise NoRoot(f"the partition table claims {count} entries of {size} bytes")
    entries = os.pread(fd, count * size, table * sector)
    found = []
    for number in range(count):
        entry = entries[number * size : (number + 1) * size]
        if any(entry[:16]):
            first, last = struct.unpack_from("<QQ", entry, 32)
            found.append(Partition(number + 1, first * sector, (last - first + 1) * sector))
    return found


def find_root(fd: int) -> tuple[Partition, str, bool]:
    """The largest ext4 partition, its UUID, and whether nothing lies behind it. Raises NoRoot."""
    partitions = read_gpt(fd)
    roots = [p for p in partitions if os.pread(fd, 2, p.start + _EXT_MAGIC_AT) == _EXT_MAGIC]
    if not roots:
        raise NoRoot("the image has no ext4 partition")
    root = max(roots, key=lambda p: p.bytes)
    raw = os.pread(fd, 16, root.start + _EXT_UUID_AT).hex()
    uuid = f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"
    return root, uuid, all(p.start <= root.start for p in partitions)


def device_of(disk: str, number: int) -> str:
    """`/dev/vda` and 3: `/dev/vda3`; `/dev/nvme0n1` and 3: `/dev/nvme0n1p3`."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def locate(disk: str) -> tuple[Partition, str, bool]:
    """As `find_root`, for a disk by its path."""
    fd = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return find_root(fd)
    finally:
        os.close(fd)


def grow(disk: str, number: int) -> None:
    """Move the end of a disk's last partition, and the second copy of its table, to the disk's end.

    Raises CommandFailed from sfdisk.
    """
    run(["sfdisk", "--quiet", "--no-tell-kernel", "--wipe=never", "-N", str(number), disk], feed=",+\n")
    blockdev.reread_partitions(disk)
