"""The disk that is being erased: its blocks past every cache of ours, and its controller's commands by ioctl."""

from __future__ import annotations

import ctypes
import fcntl
import os
import time

from images.agent import blockdev, nvme, scsi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_WAIT_MS = 60_000  # for commands that answer at once


class Refused(Exception):
    """The controller, or the kernel on its behalf, did not carry a command out; says why."""


class Answer:
    """A SCSI command's data, and its sense where there is any."""

    __slots__ = ("data", "sense")

    def __init__(self, data: bytes, sense: scsi.Sense | None) -> None:
        self.data, self.sense = data, sense


class Node:
    """An open disk. Closed by `close`."""

    __slots__ = ("disk", "fd")

    def __init__(self, disk: blockdev.Disk) -> None:
        """Open it for nobody else: OSError (EBUSY) where something on this machine uses it."""
        self.disk = disk
        self.fd = blockdev.open_direct(disk.path, os.O_RDWR | os.O_EXCL)

    def close(self) -> None:
        """Close the disk."""
        os.close(self.fd)

    def read(self, offset: int, buffer: blockdev.Buffer) -> None:
        """Fill the whole buffer from the medium. Raises OSError."""
        if os.preadv(self.fd, [buffer.view], offset) != len(buffer.view):
            raise OSError(5, f"short read at offset {offset}")

    def write(self, offset: int, view: memoryview) -> None:
        """Write the whole view. Raises OSError."""
        blockdev.write_all(self.fd, view, offset)

    def punch(self) -> Iterator[int]:
        """Have the disk make all of itself zeros; yields the bytes done. Raises OSError where it promises none."""
        yield from blockdev.punch(self.fd, 0, self.disk.bytes)

    def settle(self) -> None:
        """Wait until what was written is on the medium, and forget what the kernel has cached of it."""
        os.fsync(self.fd)
        blockdev.drop_cache(self.fd)

    def nsid(self) -> int:
        """The namespace that this disk is. Raises Refused."""
        try:
            found: int = fcntl.ioctl(self.fd, nvme.IOCTL_ID)
        except OSError as err:
            raise Refused(f"the kernel answered: {err.strerror}") from err
        return found

    def admin(self, command: nvme.Command, limit_s: float = 0) -> bytes:
        """Send an NVMe admin command and wait for its end, `limit_s` seconds at most. Raises Refused."""
        data = ctypes.create_string_buffer(max(command.data_bytes, 1))
        address = ctypes.addressof(data) if command.data_bytes else 0
        argument = bytearray(command.encode(address, int(limit_s * 1000) or _WAIT_MS))
        try:
            status = fcntl.ioctl(self.fd, nvme.IOCTL_ADMIN, argument, True)
        except OSError as err:
            raise Refused(f"the kernel answered: {err.strerror}") from err
        if status:
            raise Refused(f"the controller answered: {nvme.status_text(status)}")
        return data.raw[: command.data_bytes]

    def scsi(self, command: scsi.Command, limit_s: float = 0) -> Answer:
        """Send a SCSI command and wait for its end. Raises Refused, unless its sense only says how things stand."""
        size = len(command.data_out) or command.data_in_bytes
        data = ctypes.create_string_buffer(command.data_out.ljust(max(size, 1), b"\0"), max(size, 1))
        cdb = ctypes.create_string_buffer(command.cdb, len(command.cdb))
        sense = ctypes.create_string_buffer(scsi.SENSE_BYTES)
        where = (ctypes.addressof(data) if size else 0, ctypes.addressof(cdb), ctypes.addressof(sense))
        header = bytearray(command.encode(*where, int(limit_s * 1000) or _WAIT_MS))
        try:
            fcntl.ioctl(self.fd, scsi.IOCTL_SG_IO, header, True)
        except OSError as err:
            raise Refused(f"the kernel answered: {err.strerror}") from err
        ended = scsi.Completion(bytes(header))
        if ended.host_status:
            raise Refused(f"the host adapter answered {ended.host_status:#04x}")
        told = scsi.Sense(sense.raw[: ended.sense_bytes]) if ended.sense_bytes else None
        return answer_of(ended.status, told, data.raw[: max(0, command.data_in_bytes - ended.residual)])

    def rescan(self) -> None:
        """Have the kernel ask the disk for its size again, and take it over. Raises Refused."""
        name = os.path.basename(self.disk.path)
        try:
            with open(f"/sys/block/{name}/device/rescan", "w", encoding="ascii") as file:
                file.write("1")
        except OSError as err:
            raise Refused(f"its size cannot be read again: {err.strerror}") from err
        self.disk.bytes = blockdev.size_of(self.fd)

    def pause(self, seconds: float) -> None:
        """Wait before the disk is asked again how far it is."""
        time.sleep(seconds)


def answer_of(status: int, sense: scsi.Sense | None, data: bytes) -> Answer:
    """What a command's end amounts to. Raises Refused."""
    if status == 0 or (sense and (sense.ata or sense.sanitizing or sense.formatting or sense.key <= 1)):
        return Answer(data, sense)
    raise Refused(f"the disk answered: {sense.text if sense else f'status {status:#04x}'}")
