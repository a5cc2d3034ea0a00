"""Erasing disks, and the evidence for it: blocks read back from the medium."""

from __future__ import annotations

import errno
import os
import time
from functools import partial

from images.agent import blockdev
from images.agent.errors import WorkFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.protocol import DiskErasure, EraseResult, EraseSpec

    Report = Callable[[str, int, int], None]

_BLOCK = 4 << 20
_SAMPLE = 64 << 10


def erase(spec: EraseSpec, report: Report) -> EraseResult:
    """Erase the named disks, or all. Raises WorkFailed for the first that cannot be proved clean."""
    disks = [disk for disk in blockdev.disks() if not spec["disks"] or disk.path in spec["disks"]]
    missing = set(spec["disks"]) - {disk.path for disk in disks}
    if missing:
        raise WorkFailed("erasing", f"no such disk: {', '.join(sorted(missing))}")
    total = sum(disk.bytes for disk in disks)
    erased: list[DiskErasure] = []
    for disk in disks:
        before = sum(one["bytes"] for one in erased)
        erased.append(erase_disk(disk, spec["sample_count"], partial(_report_from, report, before, total)))
    return {"disks": erased}


def _report_from(report: Report, before: int, total: int, done: int) -> None:
    report("erasing", before + done, total)


def erase_disk(disk: blockdev.Disk, sample_count: int, progress: Callable[[int], None]) -> DiskErasure:
    """Erase one disk by the best method that it has, then read samples back. Raises WorkFailed."""
    begun = time.monotonic()
    try:
        fd = blockdev.open_direct(disk.path, os.O_RDWR | os.O_EXCL)
    except OSError as err:
        raise WorkFailed("erasing", f"{disk.path}: {err.strerror}") from err
    try:
        method = _clear(fd, disk.bytes, progress)
        os.fsync(fd)
        blockdev.drop_cache(fd)
        read, clean = read_back(fd, disk.bytes, sample_count)
    except OSError as err:
        raise WorkFailed("erasing", f"{disk.path}: {err.strerror}") from err
    finally:
        os.close(fd)
    if clean < read:
        raise WorkFailed("erasing", f"{disk.path}: {read - clean} of {read} samples were not clean after {method}")
    seconds = round(time.monotonic() - begun, 2)
    return {
        "path": disk.path,
        "serial": disk.serial,
        "bytes": disk.bytes,
        "method": method,
        "seconds": seconds,
        "samples_read": read,
        "samples_clean": clean,
    }


def _clear(fd: int, size: int, progress: Callable[[int], None]) -> str:
    done = 0
    try:
        for step in blockdev.punch(fd, 0, size):
            done += step
            progress(done)
        return "discard-zeroes"
    except OSError as err:
        if err.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EIO):
            raise
    _overwrite(fd, size, progress)
    return "overwrite"


def _overwrite(fd: int, size: int, progress: Callable[[int], None]) -> None:
    blank = blockdev.Buffer(_BLOCK)
    told = 0.0
    for offset in range(0, size, _BLOCK):
        blockdev.write_all(fd, blank.view[: min(_BLOCK, size - offset)], offset)
        if time.monotonic() - told > 1:
            told = time.monotonic()
            progress(offset)
    progress(size)


def read_back(fd: int, size: int, count: int) -> tuple[int, int]:
    """Read the first, the last and `count` random samples: how many were read, how many were all zeros."""
    sample = min(_SAMPLE, size)
    places = [0, size - sample]
    # From the kernel's generator, so that a disk cannot know which blocks will be asked for.
    blocks = max(1, (size - sample) // sample)
    places += [int.from_bytes(os.urandom(8), "little") % blocks * sample for _ in range(count)]
    buffer = blockdev.Buffer(sample)
    clean = 0
    for place in places:
        if os.preadv(fd, [buffer.view], place) != sample:
            raise OSError(errno.EIO, f"short read at {place}")
        clean += buffer.is_zero(0, sample)
    return len(places), clean
