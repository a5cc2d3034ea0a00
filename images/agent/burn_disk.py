"""Disks: blocks all over each are written, and read back from the medium; all disks at once."""

from __future__ import annotations

import os
import time

from images.agent import blockdev, children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from images.protocol import DiskBurnIn

_BLOCK = 4 << 20
_RUN = 4  # blocks in a row: on disks that turn, the way there should cost little
_MOVED = 4096  # by so much the random bytes lie otherwise in each block


def burn(seconds: float, tell: Callable[[int], None]) -> list[DiskBurnIn]:
    """Write for half of the time, and read what was written for as long as it takes.

    A disk that is done in less was written whole. A disk that fails is told as such. Raises WorkFailed where a process
    dies, and what `tell` raises.
    """
    disks = blockdev.disks()
    if not disks:
        return []
    found: list[DiskBurnIn] = children.run([_job(disk, seconds / 2) for disk in disks], seconds, tell)
    return found


def _job(disk: blockdev.Disk, seconds: float) -> Callable[[Callable[[int], None]], Any]:
    return lambda tell: try_disk(disk, seconds, tell)


def places(size: int) -> list[int]:
    """Where runs of blocks begin, in an order in which any first part of them lies all over the disk."""
    count = max(1, size // (_RUN * _BLOCK))
    bits = max(1, (count - 1).bit_length())
    turned = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [number * _RUN * _BLOCK for number in turned if number < count]


def try_disk(disk: blockdev.Disk, seconds: float, tell: Callable[[int], None]) -> DiskBurnIn:
    """Write random bytes for `seconds`, then read and compare them."""
    found: DiskBurnIn = {
        "path": disk.path,
        "serial": disk.serial,
        "written_bytes": 0,
        "verified_bytes": 0,
        "write_bytes_per_s": 0.0,
        "read_bytes_per_s": 0.0,
        "errors": 0,
        "first_error": "",
    }

    def failed(place: int, why: str) -> None:
        found["errors"] += 1
        found["first_error"] = found["first_error"] or f"at {place}: {why}"

    try:
        fd = blockdev.open_direct(disk.path, os.O_RDWR | os.O_EXCL)
    except OSError as err:
        failed(0, str(err.strerror))
        return found
    # Random bytes twice over: a block's content begins at an offset that its place gives.
    source = blockdev.Buffer(_BLOCK)
    source.view[:] = os.urandom(_BLOCK)
    doubled = bytes(source.view) * 2
    block, back = blockdev.Buffer(_BLOCK), blockdev.Buffer(_BLOCK)
    written: list[int] = []
    try:
        begun = time.monotonic()
        for place in places(disk.bytes):
            if written and time.monotonic() - begun >= seconds:
                break
            try:
                for offset in _blocks(place, disk.bytes):
                    _content(block, doubled, offset)
                    blockdev.write_all(fd, block.view[: min(_BLOCK, disk.bytes - offset)], offset)
                    found["written_bytes"] += min(_BLOCK, disk.bytes - offset)
                written.append(place)
            except OSError as err:
                failed(place, f"cannot be written: {err.strerror}")
                if found["errors"] > 100:
                    return found
            tell(found["written_bytes"])
        try:
            os.fsync(fd)
        except OSError as err:
            failed(0, f"cannot be flushed: {err.strerror}")
        found["write_bytes_per_s"] = round(found["written_bytes"] / (time.monotonic() - begun))
        blockdev.drop_cache(fd)
        begun = time.monotonic()
        for place in written:
            try:
                for offset in _blocks(place, disk.bytes):
                    room = min(_BLOCK, disk.bytes - offset)
                    if os.preadv(fd, [back.view[:room]], offset) != room:
                        raise OSError(5, "short read")
                    _content(block, doubled, offset)
                    if back.view[:room] != block.view[:room]:
                        raise OSError(5, "other bytes than were written")
                    found["verified_bytes"] += room
            except OSError as err:
                failed(place, str(err.strerror))
            tell(found["written_bytes"] + found["verified_bytes"])
        found["read_bytes_per_s"] = round(found["verified_bytes"] / (time.monotonic() - begun))
    finally:
        os.close(fd)
    return found


def _blocks(place: int, size: int) -> range:
    return range(place, min(place + _RUN * _BLOCK, size), _BLOCK)


def _content(block: blockdev.Buffer, doubled: bytes, offset: int) -> None:
    start = offset // _BLOCK * _MOVED % _BLOCK
    block.view[:] = doubled[start : start + _BLOCK]
    block.view[:8] = offset.to_bytes(8, "little")
