"""Where the bytes of an image come down: disks, partitions, arrays, volumes, or files, written past the page cache."""

from __future__ import annotations

import errno
import os

from images.agent import blockdev
from images.agent.errors import ImageRefused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from images.chunks import Map

BLOCK = 4096  # what O_DIRECT must be aligned to on any disk
_SMALL_HOLE = 1 << 20  # that is written sooner than a device is told of it
_TABLE = 1 << 20  # at the end of a disk, where the partition table's copy is
_NO_PROMISE = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS)


class DiskFailed(OSError):
    """The disk did not take what was written, or gave back something else; the text has path and offset."""


class Target:
    """The bytes [`start`, `start` + `bytes`) of an image go to `path`, from its byte `at` on."""

    __slots__ = ("at", "bytes", "path", "start")

    def __init__(self, start: int, size: int, path: str, at: int) -> None:
        self.start, self.bytes, self.path, self.at = start, size, path, at


class Landing:
    """A target that is open. Several threads may `put` at once."""

    def __init__(self, target: Target) -> None:
        """Raises OSError, and ImageRefused where there is not enough room."""
        self.start, self.end, self._at = target.start, target.start + target.bytes, target.at
        self.path = target.path
        self._direct = blockdev.open_direct(self.path, os.O_RDWR)
        # For what does not fill whole blocks: the page cache completes them. No block is written both ways.
        self._cached = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        self._size = blockdev.size_of(self._direct)
        self._promises_zeros = True  # until it says no
        if self._size < self._at + target.bytes:
            self.close()
            needed = self._at + target.bytes
            raise ImageRefused(f"{self.path} has {self._size} bytes, the image needs {needed}")

    def close(self) -> None:
        """Close the files."""
        os.close(self._direct)
        os.close(self._cached)

    def put(self, view: memoryview, offset: int) -> int:
        """Write what the image has from `offset` on, as far as it belongs here; how many bytes that were.

        `view` begins at a page of memory. Raises DiskFailed.
        """
        low, high = max(offset, self.start), min(offset + len(view), self.end)
        if low >= high:
            return 0
        self._write(view, low - offset, high - offset, low - self.start + self._at)
        return high - low

    def flush(self) -> None:
        """Wait until all that was written is on the medium. Raises DiskFailed."""
        for fd in (self._cached, self._direct):
            try:
                os.fsync(fd)
            except OSError as err:
                raise DiskFailed(f"{self.path}: {err.strerror} while flushing what was written") from err

    def blank(self, low: int, high: int) -> None:
        """Write zeros where the bytes [low, high) of the image will be. Raises DiskFailed."""
        for _ in self._zeros(max(low, self.start), min(high, self.end)):
            pass

    def blank_end(self) -> None:
        """Write zeros to the end of the disk, where firmware looks for the copy of a partition table."""
        shift = self.start - self._at
        for _ in self._zeros(max(self.end, self._size + shift - _TABLE), self._size + shift):
            pass

    @property
    def is_disk(self) -> bool:
        """True where the image begins at the beginning: boot code, then the partition table."""
        return self.start == self._at == 0

    def compare(self, offset: int, expected: bytes) -> None:
        """Read back one block, which the image has at `offset`. Raises DiskFailed when the disk has something else."""
        if not self.start <= offset <= self.end - len(expected):
            return
        place = offset - self.start + self._at
        fd = self._cached if place % BLOCK else self._direct
        buffer = blockdev.Buffer(len(expected))
        try:
            os.preadv(fd, [buffer.view], place)
        except OSError as err:
            raise DiskFailed(f"{self.path}: {err.strerror} at byte {place} while reading back") from err
        if buffer.view.tobytes() != expected:
            raise DiskFailed(f"{self.path}: what was written at byte {place} does not read back")

    def clear_holes(self, map_: Map) -> Iterator[int]:
        """Make zeros of the image's holes: by the device where it promises them, else by writing.

        Yields the bytes of each step. Chunks may be put meanwhile. Raises DiskFailed.
        """
        for low, high in map_.holes(self.start, self.end):
            shift = self._at - self.start
            first, last = -(-(low + shift) // BLOCK) * BLOCK, (high + shift) // BLOCK * BLOCK
            if not self._promises_zeros or last - first < _SMALL_HOLE:
                yield from self._zeros(low, high)
                continue
            yield from self._zeros(low, first - shift)
            yield from self._punch(first, last)
            yield from self._zeros(last - shift, high)

    def _punch(self, first: int, last: int) -> Iterator[int]:
        done = first
        try:
            for step in blockdev.punch(self._direct, first, last - first):
                done += step
                yield step
        except OSError as err:
            if err.errno not in _NO_PROMISE:
                raise DiskFailed(f"{self.path}: {err.strerror} while making zeros of {done} to {last}") from err
            self._promises_zeros = False
            yield from self._zeros(done - self._at + self.start, last - self._at + self.start)

    def _zeros(self, low: int, high: int) -> Iterator[int]:
        zeros = blockdev.Buffer.zeros
        while low < high:
            place = low - self.start + self._at
            skew = place % BLOCK
            size = min(high - low, len(zeros) - skew)
            self._write(zeros, skew, skew + size, place)
            low += size
            yield size

    def _write(self, view: memoryview, low: int, high: int, place: int) -> None:
        """Write view[low:high] at `place`: whole blocks past the cache where the memory's alignment allows it."""
        if (place - low) % BLOCK:
            return self._write_all(self._cached, view[low:high], place)
        first, last = low + -place % BLOCK, high - (place + high - low) % BLOCK
        if first >= last:
            return self._write_all(self._cached, view[low:high], place)
        self._write_all(self._cached, view[low:first], place)
        self._write_all(self._direct, view[first:last], place + first - low)
        return self._write_all(self._cached, view[last:high], place + last - low)

    def _write_all(self, fd: int, view: memoryview, place: int) -> None:
        while view:
            try:
                count = os.pwrite(fd, view, place)
            except OSError as err:
                where = _first_bad(fd, view, place)
                raise DiskFailed(f"{self.path}: {err.strerror} at byte {where}") from err
            view, place = view[count:], place + count


def _first_bad(fd: int, view: memoryview, place: int) -> int:
    """Where exactly a write of many blocks went wrong; the beginning when it cannot be seen again."""
    for start in range(0, len(view), BLOCK):
        piece = view[start : start + BLOCK]
        try:
            if os.pwrite(fd, piece, place + start) < len(piece):
                return place + start
        except OSError:
            return place + start
    return place
