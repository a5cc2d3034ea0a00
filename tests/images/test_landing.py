"""Where the bytes of an image come down: any range at any place, aligned or not, and nothing beside it."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from images.agent.blockdev import Buffer
from images.agent.errors import ImageRefused
from images.agent.landing import Landing, Target
from images.chunks import Chunk, Map

SECTOR = 512
MIB = 1 << 20


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)


@st.composite
def maps(draw: st.DrawFn) -> Map:
    """Chunks apart from each other by anything from nothing to more than a large hole."""
    found = []
    end = 0
    for _ in range(draw(st.integers(0, 5))):
        start = end + SECTOR * draw(st.sampled_from([0, 1, 7, 8, 9, 128, 2048, 2100]))
        raw = SECTOR * draw(st.sampled_from([1, 7, 8, 9, 16, 129, 256]))
        found.append(Chunk(start, raw, 0, 1, "0" * 64))
        end = start + raw
    return Map(end + SECTOR * draw(st.sampled_from([1, 8, 2048, 4096])), found, ())


@settings(deadline=None)
@given(map_=maps(), place=st.data())
def test_a_range_comes_to_its_place_and_nothing_else_changes(folder: Path, map_: Map, place: st.DataObject) -> None:
    sectors = map_.disk_bytes // SECTOR
    start = place.draw(st.integers(0, sectors - 1)) * SECTOR
    size = place.draw(st.integers(1, sectors - start // SECTOR)) * SECTOR
    at = place.draw(st.integers(0, 20)) * SECTOR
    dice = random.Random(start ^ size ^ at)
    image = bytearray(map_.disk_bytes)
    for chunk in map_.chunks:
        image[chunk.offset : chunk.end] = dice.randbytes(chunk.raw_bytes)
    before = b"\xee" * (at + size + 3 * SECTOR)
    path = folder / "disk"
    path.write_bytes(before)

    landing = Landing(Target(start, size, str(path), at))
    room = Buffer(MIB)
    written = 0
    for chunk in dice.sample(map_.chunks, len(map_.chunks)):
        room.view[: chunk.raw_bytes] = image[chunk.offset : chunk.end]
        written += landing.put(room.view[: chunk.raw_bytes], chunk.offset)
    cleared = sum(landing.clear_holes(map_))
    landing.flush()
    for offset in range(start, start + size - 4096, 4096 * 5):
        landing.compare(offset, bytes(image[offset : offset + 4096]))
    landing.close()

    assert path.read_bytes() == before[:at] + image[start : start + size] + before[at + size :]
    assert written + cleared == size


def test_blanking_stays_inside_the_target_and_the_end_of_the_disk_is_the_disks(folder: Path) -> None:
    path = folder / "disk"
    path.write_bytes(b"\xee" * 4 * MIB)
    landing = Landing(Target(0, MIB, str(path), 0))
    landing.blank(SECTOR, 3 * MIB)
    landing.blank_end()
    landing.close()
    content = path.read_bytes()
    assert content[:SECTOR] == b"\xee" * SECTOR
    assert content[SECTOR:MIB] == bytes(MIB - SECTOR)
    assert content[MIB : 3 * MIB] == b"\xee" * 2 * MIB
    assert content[3 * MIB :] == bytes(MIB)


def test_no_file_stays_open_when_there_is_not_enough_room(folder: Path) -> None:
    path = folder / "small"
    path.write_bytes(bytes(SECTOR))
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(ImageRefused, match="has 512 bytes, the image needs 1024"):
        Landing(Target(0, SECTOR, str(path), SECTOR))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
