"""An image from HTTP to disks: lanes that each fetch ranges of it, check, decode and write chunk after chunk.

A lane is a thread with one connection and two buffers. There are more lanes than cores: while some wait for the
network or a disk, others decode. Memory is bounded by the lanes: each has room for the largest chunk as it is fetched
and as it is written, 33 MiB at the very most.

What lies outside the partitions (boot code, partition table and its copy) is blanked first and written last, when all
else is on the medium. Until then the disk is not bootable, whatever breaks or loses power.
"""

from __future__ import annotations

import os
import threading
import time

from images.agent import blockdev, zstd
from images.agent.errors import ImageRefused
from images.agent.fetch import Line, fetch_map
from images.agent.landing import BLOCK, DiskFailed, Landing, Target

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeVar

    from images.chunks import Chunk, Map
    from images.protocol import Image

    Progress = Callable[[int, int], None]  # bytes done, bytes in all; may raise to end the work
    _T = TypeVar("_T")

__all__ = ["DiskFailed", "ImageRefused", "Target", "fetch_map", "write_image"]

_LANES_A_CORE = 2
_MOST_LANES = 8
_RANGE = 24 << 20  # compressed bytes of one request, as long as there is much to do
_SMALLEST_RANGE = 1 << 20
_TELL_S = 1.0
_SAMPLES = 32  # blocks of data that are read back, and as many of holes


class _Course:
    """What the lanes share: the chunks that are still to do, how far all are, and the first error."""

    def __init__(self, wanted: Sequence[Chunk]) -> None:
        self.wanted = wanted
        self._next = 0
        self._left = sum(chunk.frame_bytes for chunk in wanted)
        self._lanes = self._running = 0
        self._changed = threading.Condition()
        self.may_write = threading.Event()
        self.error: BaseException | None = None
        self.done = 0  # bytes of the image
        self.written = 0  # bytes on disks, more than `done` where a range goes to several
        self.samples: dict[int, bytes] = {}  # blocks to be read back, by their offset on the image
        self._sampled = {chunk.offset for chunk in _some([one for one in wanted if one.raw_bytes >= BLOCK])}

    def begin(self, lanes: int) -> None:
        """So many lanes are about to start."""
        self._lanes = self._running = lanes

    def wait(self, seconds: float) -> bool:
        """Wait until all lanes have ended or one has failed, at most so long; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self.error is not None or not self._running, seconds)

    def take(self) -> Sequence[Chunk]:
        """The next chunks that follow each other in the data file: fewer towards the end, that all lanes end at once.

        Empty when there are none, or something has failed.
        """
        with self._changed:
            if self.error is not None:
                return ()
            size = min(_RANGE, max(_SMALLEST_RANGE, self._left // (2 * self._lanes)))
            first = self._next
            taken = 0
            while self._next < len(self.wanted) and taken < size:
                chunk = self.wanted[self._next]
                before = self.wanted[self._next - 1]
                if self._next > first and before.position + before.frame_bytes != chunk.position:
                    break
                taken += chunk.frame_bytes
                self._next += 1
            self._left -= taken
            return self.wanted[first : self._next]

    def landed(self, chunk: Chunk, view: memoryview, written: int) -> None:
        """A chunk is on its disks."""
        with self._changed:
            self.done += len(view)
            self.written += written
            if chunk.offset in self._sampled:
                start = _below(len(view) // BLOCK) * BLOCK
                self.samples[chunk.offset + start] = view[start : start + BLOCK].tobytes()

    def fail(self, error: BaseException) -> None:
        """Let all lanes end; the first error is the one that counts."""
        with self._changed:
            self.error = self.error or error
            self._changed.notify_all()
        self.may_write.set()

    def leave(self) -> None:
        """A lane has ended."""
        with self._changed:
            self._running -= 1
            self._changed.notify_all()


class _Lane(threading.Thread):
    """Does one range after another until none is left."""

    def __init__(self, course: _Course, image: Image, landings: Sequence[Landing], frame: int, raw: int) -> None:
        super().__init__(name="lane", daemon=True)
        self._course, self._landings = course, landings
        self._total = image["bytes"]
        self._sizes = frame, raw
        self.line = Line(image["url"])

    def run(self) -> None:
        try:
            self._work()
        except BaseException as err:
            self._course.fail(err)
        finally:
            self._course.leave()

    def _work(self) -> None:
        frame, raw = (blockdev.Buffer(size) for size in self._sizes)
        decoder = zstd.FrameDecoder()
        try:
            while wanted := self._course.take():
                for chunk in self.line.frames(wanted, self._total, frame.view):
                    self._land(chunk, decoder, frame, raw)
        finally:
            decoder.close()

    def _land(self, chunk: Chunk, decoder: zstd.FrameDecoder, frame: blockdev.Buffer, raw: blockdev.Buffer) -> None:
        try:
            size = decoder.decode(frame.address, chunk.frame_bytes, raw.address, chunk.raw_bytes)
        except zstd.CorruptStream as err:
            raise ImageRefused(f"cannot decode the chunk for byte {chunk.offset} of the disk: {err}") from err
        if size != chunk.raw_bytes:
            raise ImageRefused(f"the chunk for byte {chunk.offset} of the disk has {size} bytes, not {chunk.raw_bytes}")
        self._course.may_write.wait()
        if self._course.error is None:
            view = raw.view[:size]
            self._course.landed(chunk, view, sum([landing.put(view, chunk.offset) for landing in self._landings]))


def write_image(image: Image, targets: Sequence[Target], progress: Progress) -> int:
    """Put an image where the targets say; how many bytes of it were written, holes not counted.

    What no target covers is not fetched. `progress` is told bytes of the image, about once a second.
    Raises ImageRefused, DiskFailed or another OSError from a disk, and whatever `progress` raises. After any of them
    a target that takes the image's partition table is as it was, or does not boot.
    """
    map_ = fetch_map(image)
    landings: list[Landing] = []
    try:
        for target in targets:
            landings.append(Landing(target))
        wanted = [c for c in map_.chunks if any(c.offset < one.end and one.start < c.end for one in landings)]
        last = [chunk for chunk in wanted if _makes_bootable(chunk, map_)]
        course = _Course([chunk for chunk in wanted if chunk not in last])
        total = sum(chunk.raw_bytes for chunk in wanted)
        lanes = min(_MOST_LANES, _LANES_A_CORE * len(os.sched_getaffinity(0)))
        clear = _clear(landings, map_, last, course.may_write)
        _run(course, lanes, image, landings, clear, lambda: progress(course.done, total))
        _flush(landings)
        _read_back(landings, map_, course.samples)
        ending = _Course(last[::-1])  # one by one, the boot code last of all
        ending.may_write.set()
        _run(ending, 1, image, landings, iter(()), lambda: None)
        _flush(landings)
        progress(total, total)
        return course.written + ending.written
    finally:
        for landing in landings:
            landing.close()


def _makes_bootable(chunk: Chunk, map_: Map) -> bool:
    """True for what lies outside the partitions; on a disk without any, for its beginning."""
    if map_.partitions:
        return all(chunk.end <= one.start or one.end <= chunk.offset for one in map_.partitions)
    return chunk.offset == 0


def _clear(
    landings: Sequence[Landing], map_: Map, last: Sequence[Chunk], may_write: threading.Event
) -> Iterator[object]:
    """Make the targets unbootable, set `may_write`, then make their holes zeros."""
    for landing in landings:
        for chunk in last:
            landing.blank(chunk.offset, chunk.end)
        if landing.is_disk:
            landing.blank_end()
    _flush(landings)
    may_write.set()
    for landing in landings:
        yield from landing.clear_holes(map_)


def _run(
    course: _Course,
    count: int,
    image: Image,
    landings: Sequence[Landing],
    beside: Iterator[object],
    tell: Callable[[], None],
) -> None:
    """Have the course done by at most `count` lanes while this thread does what is `beside` it."""
    wanted = course.wanted
    frame = max((chunk.frame_bytes for chunk in wanted), default=0)
    raw = max((chunk.raw_bytes for chunk in wanted), default=0)
    lanes = [_Lane(course, image, landings, frame, raw) for _ in range(min(count, len(wanted)))]
    course.begin(len(lanes))
    for lane in lanes:
        lane.start()
    try:
        told = time.monotonic()
        for _ in beside:
            if course.error is not None:
                break
            if time.monotonic() - told > _TELL_S:
                told = time.monotonic()
                tell()
        while not course.wait(_TELL_S):
            tell()
    except BaseException as err:
        course.fail(err)
    if course.error is not None:
        for lane in lanes:
            lane.line.stop()
    for lane in lanes:
        lane.join()
    if course.error is not None:
        raise course.error


def _flush(landings: Sequence[Landing]) -> None:
    for landing in landings:
        landing.flush()


def _read_back(landings: Sequence[Landing], map_: Map, samples: Mapping[int, bytes]) -> None:
    """Compare some blocks, which the disk could not know before, with what it has: data and holes.

    It costs some milliseconds, and finds disks that have not the size that they say, drop writes, or do not keep the
    promise of zeros.
    """
    expected = dict(samples)
    holes = [(low, high) for low, high in map_.holes(0, map_.disk_bytes) if high - low >= BLOCK]
    for low, high in _some(holes):
        expected[low + _below((high - low) // BLOCK) * BLOCK] = bytes(BLOCK)
    for offset in sorted(expected):
        for landing in landings:
            landing.compare(offset, expected[offset])


def _some(all_: Sequence[_T]) -> list[_T]:
    """At most `_SAMPLES` of them, by chance."""
    if len(all_) <= _SAMPLES:
        return list(all_)
    return [all_[_below(len(all_))] for _ in range(_SAMPLES)]


def _below(limit: int) -> int:
    return int.from_bytes(os.urandom(8), "little") % limit
