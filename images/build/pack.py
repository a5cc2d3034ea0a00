"""Cutting a raw disk into the chunks of an image (`images.chunks`): holes left out, all else in frames of their own.

The same disk gives the same two files on any number of cores, with the same libzstd.
"""

from __future__ import annotations

import ctypes
import errno
import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from images import chunks
from images.build.host import BuildError
from images.chunks import Chunk, Map, Partition

_RAW = 4 << 20  # of a chunk: half as much packs 1 % worse, twice as much leaves the cache and decodes 6 % slower
_PIECE = 64 << 10  # the smallest hole: as many bytes are left out as by 4 KiB, by fewer chunks
_LEVEL = 9  # beyond it nothing gets smaller, and it decodes as fast as 3 and above; 1 decodes 10 % faster, 22 % larger

_lib = ctypes.CDLL("libzstd.so.1")
_lib.ZSTD_compressBound.argtypes = (ctypes.c_size_t,)
_lib.ZSTD_compressBound.restype = ctypes.c_size_t
_lib.ZSTD_compress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_int)
_lib.ZSTD_compress.restype = ctypes.c_size_t
_lib.ZSTD_isError.argtypes = (ctypes.c_size_t,)

Told = Callable[[int, int], None]


def _silent(_done: int, _size: int) -> None:
    """Progress that nobody reads."""


def pack(
    raw: Path, partitions: Sequence[Partition], data: Path, map_: Path, cores: int | None = None, told: Told = _silent
) -> Map:
    """Write the data file and the map of the disk `raw`; the map as it was written.

    `cores` is how many compress at a time (all by default). `told` gets the bytes of the disk that are done, and all.
    Raises BuildError for a disk or partitions that no map can describe, OSError.
    """
    cores = cores or len(os.sched_getaffinity(0))
    found: list[Chunk] = []
    with raw.open("rb") as disk, data.open("wb") as out, ThreadPoolExecutor(cores) as pool:
        size = os.fstat(disk.fileno()).st_size
        waiting: deque[tuple[int, int, Future[tuple[bytes, str]]]] = deque()

        def take_first() -> None:
            offset, length, frame = waiting.popleft()
            content, sha256 = frame.result()
            found.append(Chunk(offset, length, out.tell(), len(content), sha256))
            out.write(content)
            told(offset + length, size)

        for offset, piece in _pieces(disk.fileno(), size, partitions):
            waiting.append((offset, len(piece), pool.submit(_frame, piece)))
            if len(waiting) > 2 * cores:
                take_first()
        while waiting:
            take_first()
    encoded = chunks.encode(Map(size, found, partitions))
    try:
        checked = chunks.decode(encoded)
    except chunks.BadMap as err:
        raise BuildError(f"{raw} cannot be an image: {err}") from err
    map_.write_bytes(encoded)
    return checked


def _frame(piece: bytes) -> tuple[bytes, str]:
    """One chunk as a zstd frame, and the frame's sha256."""
    room = _lib.ZSTD_compressBound(len(piece))
    buffer = ctypes.create_string_buffer(room)
    length = _lib.ZSTD_compress(buffer, room, piece, len(piece), _LEVEL)
    if _lib.ZSTD_isError(length):
        raise MemoryError("zstd could not compress a chunk")
    frame = ctypes.string_at(buffer, length)
    return frame, hashlib.sha256(frame).hexdigest()


def _pieces(fd: int, size: int, partitions: Sequence[Partition]) -> Iterator[tuple[int, bytes]]:
    """All that is not zero, in order, in runs of at most a chunk that do not cross the edge of a partition."""
    edges = {0, size, *(edge for one in partitions for edge in (one.start, one.end) if 0 < edge < size)}
    ordered = sorted(edges)
    for start, end in pairwise(ordered):
        yield from _runs(fd, start, end)


def _runs(fd: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    zeros = bytes(_PIECE)
    at = start
    run: list[bytes] = []
    length = 0
    while at < end:
        # On the partition's own grid, so that a partition by itself is written in aligned blocks, too.
        if (data := start + (_next_data(fd, at, end) - start) // _PIECE * _PIECE) > at:
            if run:
                yield at - length, b"".join(run)
                run, length = [], 0
            at = data
            continue
        piece = os.pread(fd, min(_PIECE, end - at), at)
        if not piece:
            raise OSError(errno.EIO, f"the disk ends at {at}, before {end}")
        at += len(piece)
        if piece != zeros[: len(piece)]:
            run.append(piece)
            length += len(piece)
            if length < _RAW:
                continue
            yield at - length, b"".join(run)
        elif run:
            yield at - len(piece) - length, b"".join(run)
        run, length = [], 0
    if run:
        yield at - length, b"".join(run)


def _next_data(fd: int, at: int, end: int) -> int:
    """Where a sparse file's next data begin; `end` when none come before it."""
    try:
        return min(end, os.lseek(fd, at, os.SEEK_DATA))
    except OSError as err:
        if err.errno != errno.ENXIO:  # nothing but a hole up to the file's end
            raise
        return end
