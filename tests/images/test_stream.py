"""Writing an image to disks: what arrives is the image, and holes hide nothing."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.agent import blockdev, stream
from images.agent.stream import Target
from tests.images.image_server import DISK, MIB, PARTITIONS, ImageServer, content, image_server

FORMER = b"former customer "


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ImageServer]:
    with image_server(tmp_path) as served:
        yield served


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk full of a former customer's data, larger than the image."""
    path = tmp_path / "disk"
    path.write_bytes(FORMER * (48 * MIB // len(FORMER)))
    return path


def silent(done: int, total: int) -> None:
    """No progress is wanted."""


def test_the_disk_is_the_image_and_holes_hide_nothing(server: ImageServer, disk: Path) -> None:
    told: list[tuple[int, int]] = []
    written = stream.write_image(
        server.image, [Target(0, DISK, str(disk), 0)], lambda done, total: told.append((done, total))
    )
    assert disk.read_bytes()[:DISK] == content()
    total = sum(chunk.raw_bytes for chunk in server.map.chunks)
    assert written == total < 12 * MIB
    assert told[-1] == (total, total)
    # Where firmware would find the copy of an older partition table there is nothing any more.
    assert disk.read_bytes()[-MIB:] == bytes(MIB)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system")
def test_a_disk_that_promises_no_zeros_gets_them_written(server: ImageServer, tmp_path: Path) -> None:
    folder = tmp_path / "ramfs"  # knows neither holes nor O_DIRECT
    folder.mkdir()
    subprocess.run(["mount", "-t", "ramfs", "ramfs", folder], check=True)
    try:
        disk = folder / "disk"
        disk.write_bytes(FORMER * (DISK // len(FORMER)))
        with disk.open("r+b") as file, pytest.raises(OSError, match="not supported"):
            list(blockdev.punch(file.fileno(), 0, MIB))
        stream.write_image(server.image, [Target(0, DISK, str(disk), 0)], silent)
        assert disk.read_bytes() == content()
    finally:
        subprocess.run(["umount", folder], check=True)


def test_connections_that_break_are_gone_on_with_where_they_were(server: ImageServer, disk: Path) -> None:
    server.cuts = [100_000, 1, 300_000, 0]
    stream.write_image(server.image, [Target(0, DISK, str(disk), 0)], silent)
    assert disk.read_bytes()[:DISK] == content()
    assert server.cuts == []
    starts = {int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.asked}
    assert not starts <= {chunk.position for chunk in server.map.chunks}


def test_partitions_go_where_they_are_wanted_and_nothing_else_is_fetched(server: ImageServer, tmp_path: Path) -> None:
    _, esp, root = PARTITIONS
    one, two, array = (tmp_path / name for name in ("one", "two", "array"))
    for path, size in ((one, 8 * MIB), (two, 8 * MIB), (array, root.bytes)):
        path.write_bytes(FORMER * (size // len(FORMER)))
    targets = [
        Target(esp.start, esp.bytes, str(one), MIB),
        Target(esp.start, esp.bytes, str(two), 512),  # in the middle of a block, too
        Target(root.start, root.bytes, str(array), 0),
    ]
    written = stream.write_image(server.image, targets, silent)
    esp_content = content()[esp.start : esp.end]
    former = FORMER * (8 * MIB // len(FORMER))
    assert one.read_bytes() == former[:MIB] + esp_content + former[5 * MIB :]
    assert two.read_bytes() == former[:512] + esp_content + former[4 * MIB + 512 :]
    assert array.read_bytes() == content()[root.start : root.end]
    raw = {chunk.offset: chunk.raw_bytes for chunk in server.map.chunks}
    assert written == sum(
        size * (2 if start < esp.end else 1) for start, size in raw.items() if esp.start <= start < root.end
    )
    spans = [asked.removeprefix("bytes=").split("-") for asked in server.asked]
    fetched = sum(int(last) + 1 - int(first) for first, last in spans)
    assert fetched == sum(c.frame_bytes for c in server.map.chunks if esp.start <= c.offset < root.end)


def test_the_map_can_be_had_before_anything_is_written(server: ImageServer) -> None:
    map_ = stream.fetch_map(server.image)
    assert (root := map_.partition("root")) is not None
    assert (root.number, root.start, root.bytes, root.filesystem) == (3, 6 * MIB, 33 * MIB, "ext4")
    assert map_.partition("boot") is None


def test_what_the_progress_raises_ends_the_work(server: ImageServer, disk: Path) -> None:
    class Dropped(Exception):
        pass

    def drop(done: int, total: int) -> None:
        raise Dropped

    server.cuts = [0] * 6  # more than a second's worth of back-off
    with pytest.raises(Dropped):
        stream.write_image(server.image, [Target(0, DISK, str(disk), 0)], drop)
    assert disk.read_bytes()[:512] == bytes(512)
