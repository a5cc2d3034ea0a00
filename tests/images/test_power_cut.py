"""An installation that dies at any of its steps leaves nothing that boots, and the next one ends as the first would."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.images.half_installed import DISK_BYTES
from tests.images.image_server import BOOT, MIB, PARTITIONS, ImageServer, content, image_server

_, _, ROOT = PARTITIONS
_FINISHED = 0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ImageServer]:
    (tmp_path / "served").mkdir()
    with image_server(tmp_path / "served") as served:
        yield served


@pytest.fixture
def disks(tmp_path: Path) -> Path:
    """Two disks that a former system can be booted from, and their partitions."""
    folder = tmp_path / "disks"
    folder.mkdir()
    sizes = {"": DISK_BYTES, "1": MIB, "2": PARTITIONS[1].bytes, "3": ROOT.bytes}
    for disk in "ab":
        for number, size in sizes.items():
            with (folder / f"{disk}{number}").open("wb") as file:
                file.write(b"former system".ljust(512, b"."))
                file.truncate(size)
    return folder


def run(folder: Path, server: ImageServer, last: int) -> int:
    command = [sys.executable, "-m", "tests.images.half_installed", str(folder), str(last), json.dumps(server.image)]
    return subprocess.run(command, check=False, timeout=60).returncode


def boots(folder: Path, disk: str) -> bool:
    """What a BIOS asks: is there code at the beginning."""
    with (folder / disk).open("rb") as file:
        return any(file.read(440))


def whole(folder: Path, disk: str) -> bool:
    """True where all that the boot code leads to is there."""
    expected = content()
    return all(
        (folder / f"{disk}{piece.number}").read_bytes() == expected[piece.start : piece.end] for piece in PARTITIONS
    )


def test_every_step(server: ImageServer, disks: Path) -> None:
    died = 0
    for last in range(100):
        ended = run(disks, server, last)
        if ended == _FINISHED:
            break
        assert ended == -signal.SIGKILL
        died += 1
        # Before its first step, and its second, it has not touched the first disk, and the second.
        assert last < 1 or not boots(disks, "a")
        assert last < 2 or not boots(disks, "b")
    assert died >= 4
    assert all(boots(disks, disk) and whole(disks, disk) for disk in "ab")
    with (disks / "a").open("rb") as file:
        assert file.read(440) == BOOT[:440]
