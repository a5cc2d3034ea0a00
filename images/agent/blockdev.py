"""Block devices: finding them in /sys, making ranges read as zeros, re-reading partition tables.

The functions that take a file descriptor also work on regular files, which is how they are tested.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_libc = ctypes.CDLL(None, use_errno=True)
_libc.memcmp.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t)
_libc.fallocate.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)

_FALLOC_KEEP_SIZE, _FALLOC_PUNCH_HOLE = 0x01, 0x02  # linux/falloc.h
_BLKRRPART, _BLKFLSBUF, _BLKGETSIZE64 = 0x125F, 0x1261, 0x80081272  # linux/fs.h
_PUNCH_STEP = 1 << 30  # some controllers take minutes over a whole disk in one command

# Not disks that anybody would install to: RAM disks, loops, optical drives, floppies, device mapper, software RAID.
_NOT_DISKS = ("ram", "loop", "sr", "fd", "dm-", "md", "zram", "nbd")


class Disk:
    """A disk as /sys describes it."""

    __slots__ = ("bytes", "model", "path", "rotational", "sector", "serial")

    def __init__(self, path: str, size: int, serial: str, model: str, rotational: bool, sector: int = 512) -> None:
        self.path, self.bytes, self.serial, self.model, self.rotational = path, size, serial, model, rotational
        self.sector = sector  # the logical one, in bytes


def read_text(path: str) -> str:
    """A file of /sys as text without its line end; empty when there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0 \n")
    except OSError:
        return ""


def _serial(folder: str) -> str:
    """The serial number, where the driver puts it: NVMe, virtio, or SCSI and SATA by page 80h (SPC-4 §7.8.16)."""
    if told := read_text(f"{folder}/device/serial") or read_text(f"{folder}/serial"):
        return told
    try:
        with open(f"{folder}/device/vpd_pg80", "rb") as file:
            page = file.read()
    except OSError:
        return ""
    return page[4 : 4 + page[3]].decode("ascii", "replace").strip("\0 ") if len(page) > 4 else ""


def disks(sys_block: str = "/sys/block", dev: str = "/dev") -> list[Disk]:
    """Every writable disk with a medium, in the kernel's order of names."""
    found = []
    for name in sorted(os.listdir(sys_block), key=lambda name: (len(name), name)):
        folder = f"{sys_block}/{name}"
        size = int(read_text(f"{folder}/size") or 0) * 512  # /sys counts in 512 bytes whatever the sector size
        if name.startswith(_NOT_DISKS) or size == 0 or read_text(f"{folder}/ro") == "1":
            continue
        serial = _serial(folder)
        rotational = read_text(f"{folder}/queue/rotational") == "1"
        sector = int(read_text(f"{folder}/queue/logical_block_size") or 512)
        model = read_text(f"{folder}/device/model")
        found.append(Disk(f"{dev}/{name}", size, serial, model, rotational, sector))
    return found


def size_of(fd: int) -> int:
    """The size in bytes of a block device or a regular file."""
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        size: int = struct.unpack("Q", fcntl.ioctl(fd, _BLKGETSIZE64, bytes(8)))[0]
        return size
    return os.fstat(fd).st_size


def open_direct(path: str, flags: int) -> int:
    """Open past the page cache, whose copies cost five times the write; with it where the file system refuses."""
    try:
        return os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as err:
        if err.errno != errno.EINVAL:
            raise
        return os.open(path, flags | os.O_CLOEXEC)


def punch(fd: int, offset: int, length: int) -> Iterator[int]:
    """Make a range read as zeros by discard or write-zeroes, without sending the zeros; yields the bytes done.

    Raises OSError (EOPNOTSUPP) where the device cannot promise zeros: `discard` alone promises nothing, so the kernel
    is asked for a hole (FALLOC_FL_PUNCH_HOLE on a block device never falls back to writing).
    """
    end = offset + length
    while offset < end:
        step = min(_PUNCH_STEP, end - offset)
        if _libc.fallocate(fd, _FALLOC_PUNCH_HOLE | _FALLOC_KEEP_SIZE, offset, step) != 0:
            code = ctypes.get_errno()
            if code == errno.EINTR:
                continue
            raise OSError(code, os.strerror(code))
        offset += step
        yield step


def reread_partitions(path: str) -> None:
    """Let the kernel see the partition table that was just written. Nothing to do for a regular file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if stat.S_ISBLK(os.fstat(fd).st_mode):
            fcntl.ioctl(fd, _BLKRRPART)
    finally:
        os.close(fd)


def drop_cache(fd: int) -> None:
    """Make the next reads come from the disk and not from memory."""
    if stat.S_ISBLK(os.fstat(fd).st_mode):
        fcntl.ioctl(fd, _BLKFLSBUF)
    else:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)


class Buffer:
    """Page-aligned memory, as O_DIRECT wants it, that can tell where it is all zeros."""

    __slots__ = ("_map", "_zeros", "address", "view")

    _zero_map = mmap.mmap(-1, 4 << 20)
    zeros = memoryview(_zero_map)  # only to be read

    def __init__(self, size: int) -> None:
        self._map = mmap.mmap(-1, size)
        self.view = memoryview(self._map)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        self._zeros = ctypes.addressof(ctypes.c_char.from_buffer(Buffer._zero_map))

    def is_zero(self, start: int, length: int) -> bool:
        """True where all of `length` bytes from `start` are zero. Raises ValueError for more than 4 MiB."""
        if length > len(Buffer._zero_map):
            raise ValueError("buffers are compared with 4 MiB of zeros")
        return bool(_libc.memcmp(self.address + start, self._zeros, length) == 0)


def write_all(fd: int, view: memoryview, offset: int) -> None:
    """Write the whole of `view` at byte `offset`. Raises OSError."""
    while view:
        count = os.pwrite(fd, view, offset)
        view, offset = view[count:], offset + count
