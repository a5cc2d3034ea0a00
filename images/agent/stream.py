"""Streaming a compressed disk image from HTTP to a disk: fetch and hash in one thread, decode and write in another.

The first block, which holds the boot code and the partition table, is kept back until the hash of everything has been
compared. Until then the disk is not bootable, whatever breaks or loses power.
"""

from __future__ import annotations

import errno
import hashlib
import os
import queue
import threading
import time

from images.agent import blockdev, wire, zstd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.protocol import Image

    Progress = Callable[[int, int], None]  # bytes done, bytes in all; may raise to end the work

_CHUNK = 1 << 20  # compressed bytes that pass between the threads at a time
_BLOCK = 4 << 20  # decoded bytes a round
_PIECE = 256 << 10  # what is not written when it is all zeros
_SECTOR = 4096  # O_DIRECT's alignment on any disk
_FETCH_TRIES = 8  # in a row without a byte: about a minute of back-off


class ImageRefused(Exception):
    """The image is not what was promised, or does not fit; the disk was left unbootable."""


class _Fetcher(threading.Thread):
    """Downloads, hashes and passes on chunks; goes on where it was when the connection breaks."""

    def __init__(self, image: Image) -> None:
        super().__init__(name="fetch", daemon=True)
        self._image = image
        self.chunks: queue.Queue[tuple[bytearray, int] | BaseException | None] = queue.Queue(8)
        self.digest = hashlib.sha256()
        self._got = 0
        self._stop = threading.Event()

    def run(self) -> None:
        try:
            self._fetch()
        except BaseException as err:
            self._put(err)
        else:
            self._put(None)

    def stop(self) -> None:
        """Give up; unblocks the thread."""
        self._stop.set()

    def _put(self, item: tuple[bytearray, int] | BaseException | None) -> None:
        while not self._stop.is_set():
            try:
                return self.chunks.put(item, timeout=0.5)
            except queue.Full:
                continue
        return None

    def _fetch(self) -> None:
        failures = 0
        while self._got < self._image["bytes"] and not self._stop.is_set():
            before = self._got
            try:
                self._fetch_on()
            except wire.WireError as err:
                failures = failures + 1 if self._got == before else 1
                if failures >= _FETCH_TRIES:
                    raise ImageRefused(f"cannot fetch {self._image['url']}: {err}") from err
                self._stop.wait(min(0.2 * 2**failures, 15))

    def _fetch_on(self) -> None:
        ranges = {"Range": f"bytes={self._got}-"} if self._got else {}
        with wire.request("GET", self._image["url"], headers=ranges) as response:
            if response.status != (206 if self._got else 200):
                raise wire.WireError(f"the image server answered {response.status}")
            while not self._stop.is_set():
                data = bytearray(_CHUNK)
                count = response.readinto(memoryview(data))
                if count == 0:
                    break
                self._got += count
                if self._got > self._image["bytes"]:
                    raise ImageRefused(f"more than the {self._image['bytes']} bytes that were announced")
                self.digest.update(memoryview(data)[:count])
                self._put((data, count))
        if self._got < self._image["bytes"]:
            raise wire.WireError(f"{self._got} of {self._image['bytes']} bytes came")


class _Writer:
    """Takes decoded blocks to the disk, leaving out zeros where the disk has them already."""

    def __init__(self, fd: int, disk_bytes: int, zeroed: bool) -> None:
        self._fd, self._size, self._zeroed = fd, disk_bytes, zeroed
        self.block = blockdev.Buffer(_BLOCK)
        self._first: blockdev.Buffer | None = None
        self._first_length = 0
        self.offset = 0
        self.written = 0

    def flush(self, length: int) -> None:
        """Write the first `length` bytes of `block` at the current offset. Raises ImageRefused beyond the image."""
        if self.offset + length > self._size:
            raise ImageRefused(f"the image is larger than the {self._size} bytes that were announced")
        if self.offset == 0:
            self._first, self._first_length = self.block, length
            self.block = blockdev.Buffer(_BLOCK)
        else:
            self._write(self.block, self.offset, length)
        self.offset += length

    def commit(self) -> None:
        """Write the first block after everything else is on the disk: this makes it bootable."""
        os.fsync(self._fd)
        if self._first is not None:
            self._write(self._first, 0, self._first_length)
            os.fsync(self._fd)

    def _write(self, block: blockdev.Buffer, offset: int, length: int) -> None:
        padded = -(-length // _SECTOR) * _SECTOR
        block.view[length:padded] = bytes(padded - length)
        run = 0
        for start in range(0, padded, _PIECE):
            size = min(_PIECE, padded - start)
            if self._zeroed and block.is_zero(start, size):
                self._put(block, offset, run, start)
                run = start + size
        self._put(block, offset, run, padded)

    def _put(self, block: blockdev.Buffer, offset: int, start: int, end: int) -> None:
        if end > start:
            blockdev.write_all(self._fd, block.view[start:end], offset + start)
            self.written += end - start


def write_image(image: Image, path: str, progress: Progress) -> int:
    """Put the image on the disk at `path`; the count of bytes that were written (zeros left out).

    Raises ImageRefused (wrong hash, wrong size, no zstd stream, cannot be fetched, disk too small), OSError from the
    disk, and whatever `progress` raises. After any of them the disk does not boot.
    """
    fd = blockdev.open_direct(path, os.O_RDWR)
    fetcher = _Fetcher(image)
    try:
        room = blockdev.size_of(fd)
        if room < image["disk_bytes"]:
            raise ImageRefused(f"{path} has {room} bytes, the image needs {image['disk_bytes']}")
        fetcher.start()  # before the discard: the first chunks arrive meanwhile
        zeroed = _prepare(fd, image["disk_bytes"])
        writer = _Writer(fd, image["disk_bytes"], zeroed)
        _decode(fetcher, writer, image["disk_bytes"], progress)
        if (digest := fetcher.digest.hexdigest()) != image["sha256"]:
            raise ImageRefused(f"sha256 is {digest}, expected {image['sha256']}")
        writer.commit()
        return writer.written
    except zstd.CorruptStream as err:
        raise ImageRefused(f"cannot decode the image: {err}") from err
    finally:
        fetcher.stop()
        os.close(fd)


def _prepare(fd: int, disk_bytes: int) -> bool:
    """Discard where the image will be; True when it then reads as zeros. The old boot sector goes in any case."""
    blank = blockdev.Buffer(_BLOCK)
    blockdev.write_all(fd, blank.view[: min(_BLOCK, disk_bytes // _SECTOR * _SECTOR)], 0)
    try:
        for _ in blockdev.punch(fd, 0, disk_bytes // _SECTOR * _SECTOR):
            pass
    except OSError as err:
        if err.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
            raise
        return False
    return disk_bytes % _SECTOR == 0


def _decode(fetcher: _Fetcher, writer: _Writer, disk_bytes: int, progress: Progress) -> None:
    decoder = zstd.Decoder()
    filled = 0
    told = 0.0
    try:
        while (item := fetcher.chunks.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            decoder.feed(*item)
            while (filled := decoder.fill(writer.block.address, _BLOCK, filled)) == _BLOCK:
                writer.flush(_BLOCK)
                filled = 0
                if time.monotonic() - told > 1:
                    told = time.monotonic()
                    progress(writer.offset, disk_bytes)
        decoder.finish()
        if filled:
            writer.flush(filled)
        if writer.offset != disk_bytes:
            raise ImageRefused(f"the image has {writer.offset} bytes, {disk_bytes} were announced")
        progress(disk_bytes, disk_bytes)
    finally:
        decoder.close()
