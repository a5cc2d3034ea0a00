"""Memory: all that is free is filled with patterns, locked, and compared."""

from __future__ import annotations

import ctypes
import glob
import mmap
import os
import time

from images.agent import children
from images.agent.blockdev import read_text
from images.agent.errors import WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_libc = ctypes.CDLL(None, use_errno=True)
_libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)
_libc.memcpy.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.mlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)

_CHUNK = 1 << 20
_KEPT = 256 << 20  # for the agent and the kernel
_SHARE = 0.9  # of what is free: page tables and network buffers need some, too
_FILLS = (0x00, 0xFF, 0x55, 0xAA)


def burn(seconds: float, most: int, tell: Callable[[int], None]) -> dict[str, float]:
    """Patterns over the free memory, `most` bytes of it at most (0: all), for so many seconds but once at least.

    A pass is every pattern once: zeros, ones, both chequered ones, and random bytes that lie at another offset in each
    MiB, so that two addresses which are one are found. `errors` counts MiB that came back otherwise; `corrected` and
    `uncorrected` are what the memory controller counted meanwhile. Raises WorkFailed, and what `tell` raises.
    """
    room = int(_available() * _SHARE) - _KEPT
    if most:
        room = min(room, most)
    processors = sorted(os.sched_getaffinity(0))
    each = room // len(processors) // _CHUNK * _CHUNK
    if each < _CHUNK:
        raise WorkFailed("burn-in", f"there is no memory to try: {_available()} bytes are free")
    before = ecc_counts()
    found = children.run([_job(processor, each, seconds) for processor in processors], seconds, tell)
    after = ecc_counts()
    moved = sum(count for _, _, count, _ in found)
    return {
        "bytes": each * len(processors),
        "passes": min(passes for passes, _, _, _ in found),
        "errors": sum(errors for _, errors, _, _ in found),
        "bytes_per_s": round(moved / max(took for _, _, _, took in found)),
        "corrected": after[0] - before[0],
        "uncorrected": after[1] - before[1],
    }


def _job(processor: int, size: int, seconds: float) -> Callable[[Callable[[int], None]], tuple[int, int, int, float]]:
    def work(tell: Callable[[int], None]) -> tuple[int, int, int, float]:
        os.sched_setaffinity(0, {processor})
        area = mmap.mmap(-1, size)
        address = ctypes.addressof(ctypes.c_char.from_buffer(area))
        if _libc.mlock(address, size) != 0:
            raise OSError(ctypes.get_errno(), f"{size} bytes cannot be locked")
        begun = time.monotonic()
        passes = errors = moved = 0
        while passes == 0 or time.monotonic() - begun < seconds:
            for pattern in (*_FILLS, None):
                source, step = _pattern(pattern)
                _fill(address, size, source, step)
                errors += _compare(address, size, source, step)
                moved += 2 * size
                tell(moved)
            passes += 1
        return passes, errors, moved, time.monotonic() - begun

    return work


def _pattern(fill: int | None) -> tuple[ctypes.Array[ctypes.c_char], int]:
    """What each MiB is compared with, and by how much its start moves on from one to the next."""
    if fill is not None:
        return ctypes.create_string_buffer(bytes((fill,)) * _CHUNK, _CHUNK), 0
    block = os.urandom(_CHUNK)
    return ctypes.create_string_buffer(block + block, 2 * _CHUNK), 4099  # a prime: no two MiB of 1 TiB are alike


def _fill(address: int, size: int, source: ctypes.Array[ctypes.c_char], step: int) -> None:
    start = ctypes.addressof(source)
    for number, offset in enumerate(range(0, size, _CHUNK)):
        _libc.memcpy(address + offset, start + number * step % _CHUNK, _CHUNK)


def _compare(address: int, size: int, source: ctypes.Array[ctypes.c_char], step: int) -> int:
    start = ctypes.addressof(source)
    chunks = enumerate(range(0, size, _CHUNK))
    return sum(_libc.memcmp(address + at, start + number * step % _CHUNK, _CHUNK) != 0 for number, at in chunks)


def _available() -> int:
    for line in read_text("/proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return 0


def ecc_counts(root: str = "/sys") -> tuple[int, int]:
    """How many errors the memory controllers have corrected, and how many they could not."""

    def total(name: str) -> int:
        counts = (read_text(path) for path in glob.glob(f"{root}/devices/system/edac/mc/mc*/{name}"))
        return sum(int(count) for count in counts if count.isdigit())

    return total("ce_count"), total("ue_count")
