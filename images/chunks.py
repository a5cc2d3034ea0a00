"""The map of a chunked disk image: which pieces of a disk lie where in the data file, and which partitions they make.

An image is two files. The data file is one zstd frame (RFC 8878) after another, each a chunk of the disk that can be
checked and decoded by itself. The map is a JSON object that names every chunk with its sha256, so that whoever trusts
the map's own sha256 can trust every byte before it is decoded. What no chunk covers reads as zeros.

    {"version": 1, "disk_bytes": N,
     "chunks": [[OFFSET, RAW_BYTES, POSITION, FRAME_BYTES, SHA256], …],
     "partitions": [{"number", "start", "bytes", "type", "role", "filesystem", "uuid"}, …]}

All positions and lengths are in bytes. Chunks are sorted by their offset on the disk, and their frames follow each
other without a gap in the same order. The in-RAM installer reads maps, too: standard library only, few imports.
"""

from __future__ import annotations

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

VERSION = 1
SECTOR = 512
MAX_RAW = 16 << 20  # of one chunk: bounds the memory of whoever decodes it
MAX_MAP_BYTES = 32 << 20  # of the JSON text: some 300,000 chunks
MAX_DISK = 1 << 50
ROLES = ("bios", "esp", "boot", "root", "")  # "": anything else
_HEX = frozenset("0123456789abcdef")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_+.-")
_ID = frozenset("0123456789abcdefABCDEF-")


class BadMap(Exception):
    """The map is not one, or contradicts itself; the text names the entry."""


class Chunk:
    """`raw_bytes` of the disk at `offset`, made from `frame_bytes` of the data file at `position`."""

    __slots__ = ("frame_bytes", "offset", "position", "raw_bytes", "sha256")

    def __init__(self, offset: int, raw_bytes: int, position: int, frame_bytes: int, sha256: str) -> None:
        self.offset, self.raw_bytes, self.position, self.frame_bytes = offset, raw_bytes, position, frame_bytes
        self.sha256 = sha256  # of the frame

    @property
    def end(self) -> int:
        """Where it ends on the disk."""
        return self.offset + self.raw_bytes


class Partition:
    """One partition: `number` counts from 1, `start` and `bytes` are on the disk.

    `type` is the GUID of its type in lower case ("" in a table without GUIDs), `role` one of `ROLES`. `filesystem` and
    `uuid` are what blkid calls them, "" where there is none.
    """

    __slots__ = ("bytes", "filesystem", "number", "role", "start", "type", "uuid")

    def __init__(
        self, number: int, start: int, size: int, type_: str, role: str = "", filesystem: str = "", uuid: str = ""
    ) -> None:
        self.number, self.start, self.bytes, self.type = number, start, size, type_
        self.role, self.filesystem, self.uuid = role, filesystem, uuid

    @property
    def end(self) -> int:
        """Where it ends on the disk."""
        return self.start + self.bytes


class Map:
    """What a disk of `disk_bytes` is made of. Chunks and partitions are sorted by their place on the disk."""

    __slots__ = ("chunks", "disk_bytes", "partitions")

    def __init__(self, disk_bytes: int, chunks: Sequence[Chunk], partitions: Sequence[Partition]) -> None:
        self.disk_bytes, self.chunks, self.partitions = disk_bytes, tuple(chunks), tuple(partitions)

    @property
    def data_bytes(self) -> int:
        """The size of the data file."""
        return self.chunks[-1].position + self.chunks[-1].frame_bytes if self.chunks else 0

    def partition(self, role: str) -> Partition | None:
        """The first partition with that role."""
        return next((one for one in self.partitions if one.role == role), None)

    def holes(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Where the disk is zero between `start` and `end`: each hole's start and end, in order."""
        for chunk in self.chunks:
            if chunk.end <= start:
                continue
            if chunk.offset >= end:
                break
            if chunk.offset > start:
                yield start, chunk.offset
            start = chunk.end
        if start < end:
            yield start, end


def frame_limit(raw_bytes: int) -> int:
    """The most bytes that a frame of so many bytes may have, a little above zstd's own bound."""
    return raw_bytes + (raw_bytes >> 7) + 512


def encode(map_: Map) -> bytes:
    """The map as JSON; the same map gives the same bytes."""
    return json.dumps(
        {
            "version": VERSION,
            "disk_bytes": map_.disk_bytes,
            "chunks": [[c.offset, c.raw_bytes, c.position, c.frame_bytes, c.sha256] for c in map_.chunks],
            "partitions": [
                {
                    "number": p.number,
                    "start": p.start,
                    "bytes": p.bytes,
                    "type": p.type,
                    "role": p.role,
                    "filesystem": p.filesystem,
                    "uuid": p.uuid,
                }
                for p in map_.partitions
            ],
        },
        separators=(",", ":"),
    ).encode()


def decode(data: bytes) -> Map:
    """Read a map. Raises BadMap for whatever is not exactly one."""
    if len(data) > MAX_MAP_BYTES:
        raise BadMap(f"the map has {len(data)} bytes, more than {MAX_MAP_BYTES}")
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as err:
        raise BadMap(f"the map is no JSON: {err}") from None
    version, disk_bytes, chunks, partitions = _fields(raw, "the map", ("version", "disk_bytes", "chunks", "partitions"))
    _count(version, "version", VERSION, VERSION)
    size = _count(disk_bytes, "disk_bytes", SECTOR, MAX_DISK, SECTOR)
    slices = _partitions(partitions, size)
    return Map(size, _chunks(chunks, size, slices), slices)


def _fields(raw: Any, what: str, names: tuple[str, ...]) -> list[Any]:
    if not isinstance(raw, dict) or set(raw) != set(names):
        raise BadMap(f"{what} is not an object of {', '.join(names)}")
    return [raw[name] for name in names]


def _count(raw: Any, what: str, low: int, high: int, unit: int = 1) -> int:
    if type(raw) is not int or not low <= raw <= high or raw % unit:
        raise BadMap(f"{what} is {raw!r}: not a multiple of {unit} from {low} to {high}")
    return raw


def _text(raw: Any, what: str, letters: frozenset[str], length: int) -> str:
    if not isinstance(raw, str) or len(raw) > length or not letters.issuperset(raw):
        raise BadMap(f"{what} is {raw!r}")
    return raw


def _partitions(raw: Any, disk_bytes: int) -> list[Partition]:
    if not isinstance(raw, list) or len(raw) > 128:
        raise BadMap("partitions is not a list of at most 128")
    found: list[Partition] = []
    end = 0
    for index, entry in enumerate(raw):
        what = f"partitions[{index}]"
        names = ("number", "start", "bytes", "type", "role", "filesystem", "uuid")
        number, start, size, type_, role, filesystem, uuid = _fields(entry, what, names)
        start = _count(start, f"{what}.start", end, disk_bytes, SECTOR)
        size = _count(size, f"{what}.bytes", SECTOR, disk_bytes - start, SECTOR)
        number = _count(number, f"{what}.number", 1, 128)
        if any(one.number == number for one in found):
            raise BadMap(f"{what}.number is {number} once more")
        if role not in ROLES:
            raise BadMap(f"{what}.role is {role!r}")
        type_ = _text(type_, f"{what}.type", _ID, 36)
        filesystem = _text(filesystem, f"{what}.filesystem", _WORD | set("LVM"), 32)
        found.append(Partition(number, start, size, type_, role, filesystem, _text(uuid, f"{what}.uuid", _ID, 64)))
        end = start + size
    return found


def _chunks(raw: Any, disk_bytes: int, partitions: Sequence[Partition]) -> list[Chunk]:
    if not isinstance(raw, list):
        raise BadMap("chunks is not a list")
    found = []
    end = position = 0
    edges = sorted({edge for one in partitions for edge in (one.start, one.end)})
    for index, entry in enumerate(raw):
        what = f"chunks[{index}]"
        if not isinstance(entry, list) or len(entry) != 5:
            raise BadMap(f"{what} is not a list of five")
        offset = _count(entry[0], f"{what}: offset", end, disk_bytes - SECTOR, SECTOR)
        size = _count(entry[1], f"{what}: raw bytes", SECTOR, min(MAX_RAW, disk_bytes - offset), SECTOR)
        _count(entry[2], f"{what}: position", position, position)
        length = _count(entry[3], f"{what}: frame bytes", 1, frame_limit(size))
        sha256 = entry[4]
        if not isinstance(sha256, str) or len(sha256) != 64 or not _HEX.issuperset(sha256):
            raise BadMap(f"{what}: sha256 is {sha256!r}")
        end = offset + size
        while edges and edges[0] <= offset:
            edges.pop(0)
        if edges and edges[0] < end:
            raise BadMap(f"{what} crosses the edge of a partition at {edges[0]}")
        found.append(Chunk(offset, size, position, length, sha256))
        position += length
    return found
