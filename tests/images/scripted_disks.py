"""Disks that do what a test says, over a file. Their controllers (`scripted_nvme`, `scripted_scsi`) answer commands as
the standards tell them to, or lie.

The same disks stand behind the agent's own code (`FileNode`) and behind a SCSI target that a real kernel talks to.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from images.agent import blockdev
from images.agent.erase_node import Node

BLOCK = 512


@dataclass(slots=True)
class Medium:
    """What lies on the disk."""

    path: Path

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def read(self, offset: int, length: int) -> bytes:
        with self.path.open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def write(self, offset: int, data: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(data)

    def become(self, what: str) -> None:
        """All of it: "zeros", "random", or "same"."""
        if what == "zeros":
            self.write(0, bytes(self.size))
        elif what == "random":
            self.write(0, os.urandom(self.size))


def secret(path: Path, size: int) -> bytes:
    """Make a disk full of a customer's data; the data."""
    data = os.urandom(size)
    path.write_bytes(data)
    return data


class FileNode(Node):
    """A disk without commands, as virtio's: it takes writes, and zeros by discard where `zeroes` says so.

    A liar says that it has done what it was told, and keeps its data.
    """

    def __init__(
        self, path: Path, *, zeroes: bool = False, liar: bool = False, broken_at: int | None = None, flash: bool = True
    ) -> None:
        super().__init__(blockdev.Disk(str(path), path.stat().st_size, f"S-{path.name}", "scripted", not flash))
        self.medium = Medium(path)
        self.zeroes, self.liar, self.broken_at = zeroes, liar, broken_at

    def write(self, offset: int, view: memoryview) -> None:
        if self.broken_at is not None and offset <= self.broken_at < offset + len(view):
            raise OSError(errno.EIO, "Input/output error")
        if not self.liar:
            super().write(offset, view)

    def punch(self) -> Iterator[int]:
        if not self.zeroes:
            raise OSError(errno.EOPNOTSUPP, "Operation not supported")
        if not self.liar:
            self.medium.become("zeros")
        yield self.disk.bytes

    def pause(self, seconds: float) -> None:
        return


def level0(taken: bool) -> bytes:
    """The answer to a Level 0 discovery: a TPer feature, then the locking feature."""
    features = bytes([0, 1, 0x10, 12]) + bytes(12) + bytes([0, 2, 0x10, 12, 1 | taken << 1]) + bytes(11)
    return ((44 + len(features)).to_bytes(4, "big") + bytes(44) + features).ljust(512, b"\0")
