"""Blocks of a disk looked at before and after its erase: the evidence.

Places are those where data is known to lie (partition tables and their backups, the ends where RAID and LVM keep
theirs, the ends of partitions), those where random looks found data, and fresh random ones that nobody could foresee.
"""

from __future__ import annotations

import hashlib
import os

from images.agent import blockdev

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from images.agent.erase_node import Node

SAMPLE = 16 << 10
_SECTOR = 512
_ENDS = 1 << 20  # at both ends of a disk: every partition table, RAID and LVM label lies within
_EDGE = 128 << 10  # of a partition: ext4's and XFS's first block, Btrfs' at 64 KiB, old RAID at the end
_TRIES = 8  # random looks for each place with data that is wanted
_STAMP_EVERY = 4096


class OldBytes(Exception):
    """What the disk was to be rid of is still there; `offset` is where the first of it lies."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(f"{what} at offset {offset}")
        self.offset = offset


class Before:
    """What lay at some places before the erase: sectors by their offset, those that are all one byte left out."""

    __slots__ = ("places", "sectors")

    def __init__(self) -> None:
        self.places: list[int] = []
        self.sectors: dict[int, bytes] = {}  # offset: digest

    def remember(self, offset: int, data: memoryview) -> bool:
        """Keep a sample; whether there was anything in it."""
        held = False
        for at in range(0, len(data), _SECTOR):
            sector = bytes(data[at : at + _SECTOR])
            if not is_blank(sector):
                self.sectors[offset + at] = _digest(sector)
                held = True
        if held:
            self.places.append(offset)
        return held

    def lies_in(self, offset: int, data: memoryview) -> int | None:
        """Where the first sector lies that is as it was before; None when there is none."""
        for at in range(0, len(data), _SECTOR):
            known = self.sectors.get(offset + at)
            if known is not None and _digest(bytes(data[at : at + _SECTOR])) == known:
                return offset + at
        return None


def is_blank(sector: bytes) -> bool:
    """True for a sector of one byte all over: it tells nothing of what was there."""
    return sector.count(sector[:1]) == len(sector)


def _digest(sector: bytes) -> bytes:
    return hashlib.sha256(sector).digest()[:16]


def fixed_places(size: int, partitions: Iterable[tuple[int, int]]) -> list[int]:
    """Offsets of the samples where data is expected; partitions are pairs of offset and length in bytes."""
    regions = [(0, _ENDS), (size - _ENDS, _ENDS)]
    for start, length in partitions:
        regions += [(start, _EDGE), (start + length - _EDGE, _EDGE)]
    last = size - SAMPLE
    places = {max(0, last)}
    for start, length in regions:
        for offset in range(start, start + length, SAMPLE):
            places.add(min(max(0, offset // _STAMP_EVERY * _STAMP_EVERY), max(0, last)))
    return sorted(places)


def partitions_of(path: str, sys_block: str = "/sys/block") -> list[tuple[int, int]]:
    """Offset and length in bytes of the partitions that the kernel sees on a disk."""
    folder = f"{sys_block}/{os.path.basename(path)}"
    found = []
    for name in os.listdir(folder) if os.path.isdir(folder) else ():
        start, size = blockdev.read_text(f"{folder}/{name}/start"), blockdev.read_text(f"{folder}/{name}/size")
        if start.isdigit() and size.isdigit():
            found.append((int(start) * 512, int(size) * 512))
    return found


def random_place(size: int) -> int:
    """An offset from the kernel's generator, so that a disk cannot know which blocks will be asked for."""
    blocks = max(1, (size - SAMPLE) // _STAMP_EVERY + 1)
    return int.from_bytes(os.urandom(8), "little") % blocks * _STAMP_EVERY


def take(node: Node, places: Iterable[int], wanted: int) -> Before:
    """Look at the given places, and at random ones until `wanted` of them held data or luck has run out.

    A place that cannot be read is passed over: a disk with a bad block still has to be erased.
    """
    before, buffer = Before(), blockdev.Buffer(min(SAMPLE, node.disk.bytes))
    for place in places:
        _remember(node, before, place, buffer)
    found = tries = 0
    while found < wanted and tries < _TRIES * wanted:
        found += _remember(node, before, random_place(node.disk.bytes), buffer)
        tries += 1
    return before


def _remember(node: Node, before: Before, place: int, buffer: blockdev.Buffer) -> bool:
    try:
        node.read(place, buffer)
    except OSError:
        return False
    return not buffer.is_zero(0, len(buffer.view)) and before.remember(place, buffer.view)


class Evidence:
    """What was read after an erase: how many places, how many of them were all zeros."""

    __slots__ = ("read", "zero")

    def __init__(self) -> None:
        self.read = self.zero = 0


def check(
    node: Node, places: Iterable[int], before: Before, expected: Callable[[int, memoryview], bool] | None
) -> Evidence:
    """Read the places and see that nothing of before is there, no file system's mark, and where told what is expected.

    Raises OldBytes with the first place where it is not so, OSError where a place cannot be read.
    """
    evidence, buffer = Evidence(), blockdev.Buffer(min(SAMPLE, node.disk.bytes))
    for place in places:
        node.read(place, buffer)
        evidence.read += 1
        if buffer.is_zero(0, len(buffer.view)):
            evidence.zero += 1
            if expected is None or expected is zeros:
                continue
        if (at := before.lies_in(place, buffer.view)) is not None:
            raise OldBytes(at, "the bytes of before")
        if expected is not None and not expected(place, buffer.view):
            raise OldBytes(place, "other bytes than the method leaves")
        if expected is None and (mark := mark_in(buffer.view)):
            raise OldBytes(place, f"the mark of {mark}")
    return evidence


def zeros(place: int, data: memoryview) -> bool:
    """Whether these are zeros."""
    return not any(data)


_MARKS = (  # name, place from the beginning of a sample, the bytes
    ("a partition table", 512, b"EFI PART"),
    ("a partition table", 4096, b"EFI PART"),
    ("LVM", 512, b"LABELONE"),
    ("LUKS", 0, b"LUKS\xba\xbe"),
    ("XFS", 0, b"XFSB"),
    ("software RAID", 0, b"\xfc\x4e\x2b\xa9"),
    ("software RAID", 4096, b"\xfc\x4e\x2b\xa9"),
    ("Btrfs", 0x40, b"_BHRfS_M"),
    ("NTFS", 3, b"NTFS    "),
    ("swap", 4086, b"SWAPSPACE2"),
    ("firmware RAID", 0, b"Intel Raid ISM Cfg"),
    ("firmware RAID", 0, b"\xde\x11\xde\x11"),
)


def mark_in(data: memoryview) -> str:
    """The file system, table or RAID whose mark stands in a sample; empty when none does."""
    for name, at, mark in _MARKS:
        if bytes(data[at : at + len(mark)]) == mark:
            return name
    return ""


class Pattern:
    """Random bytes that a disk can neither compress nor find twice: each 4 KiB carries its own place."""

    __slots__ = ("_random", "buffer")

    def __init__(self, size: int) -> None:
        self._random = os.urandom(size)
        self.buffer = blockdev.Buffer(size)
        self.buffer.view[:] = self._random

    def stamp(self, offset: int) -> None:
        """Make the buffer what belongs at `offset`, a multiple of its size."""
        view = self.buffer.view
        for at in range(0, len(view), _STAMP_EVERY):
            view[at : at + 8] = (offset + at).to_bytes(8, "little")

    def matches(self, place: int, data: memoryview) -> bool:
        """Whether a sample read at `place` is what was written there."""
        at = place // _STAMP_EVERY * _STAMP_EVERY
        expected = bytearray()
        while at + len(expected) < place + len(data):
            stamped = at + len(expected)
            inside = stamped % len(self._random)
            expected += stamped.to_bytes(8, "little") + self._random[inside + 8 : inside + _STAMP_EVERY]
        return bytes(expected[place - at : place - at + len(data)]) == bytes(data)
