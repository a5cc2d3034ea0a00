"""The map of a chunked image: what we write we read, and what contradicts itself is refused by name."""

from __future__ import annotations

import hashlib
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import chunks
from images.agent import zstd
from images.agent.blockdev import Buffer
from images.build.pack import pack
from images.chunks import SECTOR, BadMap, Chunk, Map, Partition
from tests.images.image_server import DISK, MIB, PARTITIONS, content

GUID = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"


@st.composite
def maps(draw: st.DrawFn) -> Map:
    """Maps that keep all the rules: partitions apart, chunks inside them or between."""
    partitions: list[Partition] = []
    end = 0
    for number in draw(st.lists(st.integers(1, 128), unique=True, max_size=4)):
        start = end + SECTOR * draw(st.integers(0, 9))
        size = SECTOR * draw(st.integers(1, 99))
        role, filesystem = (
            draw(st.sampled_from(chunks.ROLES)),
            draw(st.sampled_from(["", "ext4", "vfat", "LVM2_member"])),
        )
        partitions.append(Partition(number, start, size, draw(st.sampled_from(["", GUID])), role, filesystem, "F5-D"))
        end = start + size
    disk = end + SECTOR * draw(st.integers(1, 9))
    edges = sorted({0, disk, *(edge for one in partitions for edge in (one.start, one.end))})
    found: list[Chunk] = []
    position = 0
    for low, high in pairwise(edges):
        cuts = draw(st.lists(st.integers(low // SECTOR, high // SECTOR), unique=True, max_size=6).map(sorted))
        for first, last in zip(cuts[::2], cuts[1::2], strict=False):
            raw = (last - first) * SECTOR
            length = draw(st.integers(1, chunks.frame_limit(raw)))
            found.append(
                Chunk(first * SECTOR, raw, position, length, draw(st.sampled_from(["0", "af"])).ljust(64, "9"))
            )
            position += length
    return Map(disk, found, partitions)


def shown(map_: Map) -> list[Any]:
    """A map as values that compare."""
    parts: list[Chunk | Partition] = [*map_.chunks, *map_.partitions]
    return [map_.disk_bytes, *([getattr(part, name) for name in part.__slots__] for part in parts)]


@given(maps())
def test_what_we_write_we_read(map_: Map) -> None:
    assert shown(chunks.decode(chunks.encode(map_))) == shown(map_)
    assert map_.data_bytes == sum(chunk.frame_bytes for chunk in map_.chunks)


@given(maps(), st.integers(0, 400), st.integers(0, 400))
def test_holes_and_chunks_together_are_the_range(map_: Map, low: int, size: int) -> None:
    end = low + size
    covered = list(map_.holes(low, end))
    for chunk in map_.chunks:
        first, last = max(chunk.offset, low), min(chunk.end, end)
        if first < last:
            covered.append((first, last))
    covered.sort()
    for first, last in covered:
        assert first == low < last
        low = last
    assert low == end


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
    )
)
def test_other_json_is_refused(raw: Any) -> None:
    with pytest.raises(BadMap):
        chunks.decode(json.dumps(raw).encode())


@given(st.binary())
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(BadMap):
        chunks.decode(junk)


@given(maps(), st.data())
def test_one_wrong_value_makes_a_map_or_bad_map_and_nothing_else(map_: Map, data: st.DataObject) -> None:
    raw = json.loads(chunks.encode(map_))
    places: list[tuple[Any, Any]] = [(raw, key) for key in raw]
    places += [(part, key) for part in raw["partitions"] for key in part]
    places += [(part, key) for part in raw["chunks"] for key in range(5)]
    holder, key = data.draw(st.sampled_from(range(len(places))).map(places.__getitem__))
    holder[key] = data.draw(
        st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(max_size=3) | st.just([])
    )
    try:
        chunks.decode(json.dumps(raw).encode())
    except BadMap as err:
        assert str(err)


def valid() -> dict[str, Any]:
    """Two chunks in one partition, and one before it."""
    names = ("number", "start", "bytes", "type", "role", "filesystem", "uuid")
    return {
        "version": 1,
        "disk_bytes": 64 * SECTOR,
        "chunks": [
            [0, SECTOR, 0, 9, "0" * 64],
            [8 * SECTOR, 2 * SECTOR, 9, 20, "1" * 64],
            [12 * SECTOR, 2 * SECTOR, 29, 20, "2" * 64],
        ],
        "partitions": [dict(zip(names, (1, 8 * SECTOR, 32 * SECTOR, GUID, "root", "ext4", ""), strict=True))],
    }


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("version",), 2, "version is 2"),
        (("version",), True, "version is True"),
        (("disk_bytes",), 0, "disk_bytes is 0"),
        (("disk_bytes",), -SECTOR, "disk_bytes is -512"),
        (("disk_bytes",), 1 << 60, "disk_bytes is 1152921504606846976"),
        (("disk_bytes",), 64 * SECTOR + 1, "disk_bytes is 32769"),
        (("disk_bytes",), 13 * SECTOR, "partitions.0..bytes"),
        (("chunks", 1, 0), 0, "chunks.1.: offset is 0"),
        (("chunks", 2, 0), 9 * SECTOR, "chunks.2.: offset is 4608"),
        (("chunks", 2, 0), 64 * SECTOR, "chunks.2.: offset is 32768"),
        (("chunks", 2, 1), 0, "chunks.2.: raw bytes is 0"),
        (("chunks", 2, 1), 60 * SECTOR, "chunks.2.: raw bytes is 30720"),
        (("chunks", 2, 1), 30 * SECTOR, "chunks.2. crosses the edge of a partition at 20480"),
        (("chunks", 0, 1), 8.0 * SECTOR, "chunks.0.: raw bytes is 4096.0"),
        (("chunks", 2, 2), 28, "chunks.2.: position is 28"),
        (("chunks", 2, 2), 30, "chunks.2.: position is 30"),
        (("chunks", 2, 3), 0, "chunks.2.: frame bytes is 0"),
        (("chunks", 2, 3), 1 << 20, "chunks.2.: frame bytes is 1048576"),
        (("chunks", 2, 4), "2" * 63 + "G", "chunks.2.: sha256 is"),
        (("chunks", 2), [1, 2], "chunks.2. is not a list of five"),
        (("partitions", 0, "role"), "swap", "partitions.0..role is 'swap'"),
        (("partitions", 0, "number"), 0, "partitions.0..number is 0"),
        (("partitions", 0, "uuid"), "a/b", "partitions.0..uuid is 'a/b'"),
        (("partitions", 0, "filesystem"), "ext4\n", "partitions.0..filesystem is"),
        (("partitions", 0), {}, "partitions.0. is not an object"),
    ],
)
def test_a_contradiction_is_told_by_name(path: tuple[Any, ...], value: Any, said: str) -> None:
    chunks.decode(json.dumps(valid()).encode())
    raw = valid()
    holder: Any = raw
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    with pytest.raises(BadMap, match=said):
        chunks.decode(json.dumps(raw).encode())


def test_a_map_that_is_too_long_is_not_read() -> None:
    with pytest.raises(BadMap, match="more than"):
        chunks.decode(b"[" * (chunks.MAX_MAP_BYTES + 1))
    with pytest.raises(BadMap, match="no JSON"):
        chunks.decode(b"[" * 1_000_000)


def packed(tmp_path: Path, disk: bytes, name: str, cores: int) -> tuple[bytes, bytes]:
    """The data and the map of a disk, packed on so many cores."""
    raw, data, map_ = (tmp_path / f"{name}{kind}" for kind in (".raw", ".data", ".map"))
    raw.write_bytes(disk)
    pack(raw, PARTITIONS, data, map_, cores)
    return data.read_bytes(), map_.read_bytes()


def test_packing_is_the_same_on_any_number_of_cores_and_unpacks_to_the_disk(tmp_path: Path) -> None:
    data, text = packed(tmp_path, content(), "one", 1)
    assert packed(tmp_path, content(), "three", 3) == (data, text)
    map_ = chunks.decode(text)
    disk = bytearray(DISK)
    decoder, room = zstd.FrameDecoder(), Buffer(chunks.MAX_RAW)
    for chunk in map_.chunks:
        frame = bytearray(data[chunk.position : chunk.position + chunk.frame_bytes])
        assert hashlib.sha256(frame).hexdigest() == chunk.sha256
        source = Buffer(len(frame))
        source.view[:] = frame
        assert decoder.decode(source.address, len(frame), room.address, chunk.raw_bytes) == chunk.raw_bytes
        disk[chunk.offset : chunk.end] = room.view[: chunk.raw_bytes]
    decoder.close()
    assert disk == content()
    assert len(data) == map_.data_bytes


def test_a_sparse_file_packs_as_a_full_one(tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    disk = content()
    with sparse.open("wb") as file:
        for start in range(0, DISK, 4096):
            if any(piece := disk[start : start + 4096]):
                file.seek(start)
                file.write(piece)
        file.truncate(DISK)
    assert sparse.stat().st_blocks * 512 < DISK // 2
    pack(sparse, PARTITIONS, tmp_path / "data", tmp_path / "map")
    assert packed(tmp_path, disk, "full", 2) == ((tmp_path / "data").read_bytes(), (tmp_path / "map").read_bytes())


def test_no_chunk_is_longer_than_the_memory_that_is_meant_for_it(tmp_path: Path) -> None:
    map_ = chunks.decode(packed(tmp_path, content(), "disk", 2)[1])
    assert max(chunk.raw_bytes for chunk in map_.chunks) <= 4 * MIB
    assert all(
        chunk.offset < edge.start or chunk.offset >= edge.end or chunk.end <= edge.end
        for chunk in map_.chunks
        for edge in PARTITIONS
    )
