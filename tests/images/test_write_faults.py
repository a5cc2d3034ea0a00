"""Whatever network, image or disk do wrong: it is told with its place, and what it leaves does not boot."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from images import chunks
from images.agent import stream
from images.agent.stream import DiskFailed, ImageRefused, Target
from tests.images.image_server import BOOT, DISK, MIB, PARTITIONS, ImageServer, content, image_server

FORMER = b"former customer "
ROOT = PARTITIONS[2]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a file system")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ImageServer]:
    with image_server(tmp_path) as served:
        yield served


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "disk"
    path.write_bytes(FORMER * (DISK // len(FORMER)))
    return path


def write(server: ImageServer, path: Path) -> int:
    return stream.write_image(server.image, [Target(0, DISK, str(path), 0)], lambda done, total: None)


def assert_boots_not(path: Path) -> None:
    """Neither the boot code with the table nor the table's copy has come to the disk."""
    with path.open("rb") as file:
        assert file.read(512) == bytes(512)
        file.seek(DISK - 4096)
        assert file.read(4096) == bytes(4096)


def test_bits_that_flip_once_are_fetched_again(server: ImageServer, disk: Path) -> None:
    server.flips = [chunk.position for chunk in server.map.chunks]
    write(server, disk)
    assert disk.read_bytes() == content()
    assert server.flips == []


@pytest.mark.parametrize("number", [0, 3, -1], ids=["table", "data", "copy"])
def test_a_bit_that_stays_wrong_is_told_with_its_chunk(server: ImageServer, disk: Path, number: int) -> None:
    chunk = server.map.chunks[number]
    server.flips = [chunk.position + chunk.frame_bytes // 2] * 2
    with pytest.raises(ImageRefused, match=rf"the chunk for byte {chunk.offset} of the disk, at {chunk.position} of "):
        write(server, disk)
    with disk.open("rb") as file:
        assert file.read(512) == bytes(512)


def test_a_frame_with_the_right_hash_that_is_no_frame_or_too_short_is_refused(server: ImageServer, disk: Path) -> None:
    chunk = server.map.chunks[3]
    for junk, said in ((b"\0" * chunk.frame_bytes, "cannot decode"), (_frame_of(512, chunk.frame_bytes), "has 512 by")):
        data = bytearray(server.data)
        data[chunk.position : chunk.position + chunk.frame_bytes] = junk
        chunk.sha256 = hashlib.sha256(junk).hexdigest()
        server.data, server.map_text = bytes(data), chunks.encode(server.map)
        with pytest.raises(ImageRefused, match=f"{said}.*|chunk for byte {chunk.offset} of the disk {said}"):
            write(server, disk)
        assert_boots_not(disk)


def _frame_of(raw: int, length: int) -> bytes:
    """A frame of one raw block of zeros, then a skippable frame up to `length` (RFC 8878 §3.1)."""
    block = (raw << 3 | 1).to_bytes(3, "little") + bytes(raw)
    frame = 0xFD2FB528.to_bytes(4, "little") + b"\xa0" + raw.to_bytes(4, "little") + block
    rest = length - len(frame) - 8
    return frame + 0x184D2A50.to_bytes(4, "little") + rest.to_bytes(4, "little") + bytes(rest)


@pytest.mark.parametrize("fault", ["other map", "no map", "map for another disk", "map for other data"])
def test_without_the_right_map_no_disk_is_touched(server: ImageServer, disk: Path, fault: str) -> None:
    image = server.image
    if fault == "other map":
        server.map_text = server.map_text.replace(b'"esp"', b'"bios"')
    elif fault == "no map":
        server.map_text = server.map_text[:-1]
        image = server.image
    elif fault == "map for another disk":
        image["disk_bytes"] += 512
    else:
        image["bytes"] -= 1
    with pytest.raises(ImageRefused, match="map"):
        stream.write_image(image, [Target(0, DISK, str(disk), 0)], lambda done, total: None)
    assert disk.read_bytes() == FORMER * (DISK // len(FORMER))


@pytest.mark.parametrize("fault", ["ignores ranges", "wrong range", "404", "truncated"])
def test_a_server_that_will_never_do_it_is_told_at_once(server: ImageServer, disk: Path, fault: str) -> None:
    if fault == "ignores ranges":
        server.ignores_range, said = True, "does not know ranges"
    elif fault == "wrong range":
        server.wrong_range, said = True, "asked for bytes .* the answer has"
    elif fault == "404":
        server.missing, said = True, "answered 404"
    else:
        server.data, said = server.data[: len(server.data) // 2], "answered 416|asked for bytes .* the answer has"
    with pytest.raises(ImageRefused, match=said):
        write(server, disk)
    assert_boots_not(disk)


def test_a_server_that_stumbles_is_asked_again(server: ImageServer, disk: Path) -> None:
    server.status = [500, 503, 429]
    server.cuts = [0, 5000]
    write(server, disk)
    assert disk.read_bytes() == content()


def test_a_server_that_stays_away_is_given_up_and_the_disk_does_not_boot(tmp_path: Path) -> None:
    def give_up(fault: str) -> str:
        folder = tmp_path / fault
        folder.mkdir()
        disk = folder / "disk"
        disk.write_bytes(FORMER * (DISK // len(FORMER)))
        with image_server(folder) as server:
            if fault == "dies":
                server.dead_after = 3  # the map, and some ranges
            else:
                server.broken_after = 3
            with pytest.raises(ImageRefused) as caught:
                write(server, disk)
        assert_boots_not(disk)
        return str(caught.value)

    with ThreadPoolExecutor(2) as pool:  # each takes its whole back-off
        dead, broken = pool.map(give_up, ["dies", "errs"])
    assert "cannot fetch http://" in dead
    assert re.search("cannot fetch .*: the server answered 500", broken)


def test_a_disk_that_is_too_small_is_told_with_its_size(server: ImageServer, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.write_bytes(FORMER)
    with pytest.raises(ImageRefused, match=f"{disk} has 16 bytes, the image needs {DISK}"):
        write(server, disk)
    assert disk.read_bytes() == FORMER


@contextmanager
def small_folder(tmp_path: Path, size: str) -> Iterator[Path]:
    """A file system of that size."""
    folder = tmp_path / "small"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@root_only
def test_a_full_disk_is_told_with_the_place(server: ImageServer, tmp_path: Path) -> None:
    with small_folder(tmp_path, "6m") as folder:
        disk = folder / "disk"
        with disk.open("wb") as file:
            file.truncate(DISK)
        with pytest.raises(DiskFailed) as caught:
            write(server, disk)
        assert_boots_not(disk)
    assert (told := re.fullmatch(rf"{disk}: No space left on device at byte (\d+)", str(caught.value)))
    assert any(chunk.offset <= int(told[1]) < chunk.end for chunk in server.map.chunks)


@root_only
def test_a_failing_disk_is_told_with_the_place(server: ImageServer, tmp_path: Path) -> None:
    with small_folder(tmp_path, "6m") as folder:
        backing = folder / "backing"
        with backing.open("wb") as file:
            file.truncate(DISK)
        attached = subprocess.run(["losetup", "-f", "--show", backing], capture_output=True, text=True, check=False)
        if attached.returncode != 0:
            pytest.skip(f"no loop device: {attached.stderr.strip()}")
        device = attached.stdout.strip()
        try:
            with pytest.raises(DiskFailed) as caught:  # the loop's file cannot grow: errors of the medium to us
                write(server, Path(device))
            assert_boots_not(Path(device))
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
    assert re.match(rf"{device}: (Input/output error|No space left on device) at byte \d+$", str(caught.value))


def test_what_does_not_read_back_is_noticed(server: ImageServer, tmp_path: Path) -> None:
    # As a disk that is smaller than it says and begins again at its beginning: two ranges come to one place.
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 * MIB))
    targets = [
        Target(ROOT.start, 8 * MIB, str(disk), 0),
        Target(ROOT.start + 4 * MIB, 4 * MIB, str(disk), 0),
    ]
    with pytest.raises(DiskFailed, match=rf"{disk}: what was written at byte \d+ does not read back"):
        stream.write_image(server.image, targets, lambda done, total: None)


def test_a_write_that_was_cut_short_does_not_boot_and_is_done_again(server: ImageServer, disk: Path) -> None:
    class PowerCut(Exception):
        pass

    def cut(done: int, total: int) -> None:
        raise PowerCut

    server.stall = True
    with pytest.raises(PowerCut):
        stream.write_image(server.image, [Target(0, DISK, str(disk), 0)], cut)
    assert_boots_not(disk)
    server.stall = False
    write(server, disk)
    assert disk.read_bytes() == content()
    assert disk.read_bytes()[: len(BOOT)] == BOOT
