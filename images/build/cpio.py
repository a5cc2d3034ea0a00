"""Writing an initramfs: the cpio "newc" format of the kernel's Documentation/driver-api/early-userspace."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """One file, folder, link or device. All belongs to root and has no date: equal input is equal output."""

    name: str  # without a leading slash
    mode: int  # with the file type's bits
    content: bytes = b""  # of a file, or a link's target
    device: tuple[int, int] = (0, 0)  # major and minor number


def encode(entries: list[Entry]) -> bytes:
    """The archive, with its trailer."""
    archive = bytearray()
    for number, entry in enumerate([*entries, Entry("TRAILER!!!", 0)], 1):
        name = entry.name.encode() + b"\0"
        links = 2 if stat.S_ISDIR(entry.mode) else 1
        fields = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
        archive += b"070701" + b"".join(b"%08X" % field for field in fields) + name
        archive += bytes(-len(archive) % 4) + entry.content
        archive += bytes(-len(archive) % 4)
    return bytes(archive)


def walk(root: Path) -> Iterator[Entry]:
    """Everything below `root`, in the order of names."""
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            yield Entry(name, mode, os.fsencode(path.readlink()))
        elif stat.S_ISREG(mode):
            yield Entry(name, mode, path.read_bytes())
        elif stat.S_ISDIR(mode):
            yield Entry(name, stat.S_IFDIR | 0o755)
