"""GUID partition tables (UEFI 2.10 §5.3), read and written. Pure but for `read`; positions and sizes are in bytes."""

from __future__ import annotations

import os
import struct
from binascii import crc32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

_SIGNATURE: Final = b"EFI PART"
_HEADER: Final = struct.Struct("<8sIIIIQQQQ16sQIII")
_ENTRIES, _ENTRY_BYTES = 128, 128  # UEFI asks for room for 128 entries; every firmware expects just that
_REVISION: Final = 0x10000

BIOS_BOOT: Final = "21686148-6449-6e6f-744e-656564454649"
ESP: Final = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
LINUX: Final = "0fc63daf-8483-4772-8e79-3d69d8477de4"
LINUX_ROOT: Final = "4f68bce3-e8cd-4db1-96e7-fbcaf984b709"  # x86-64; UAPI Discoverable Partitions
RAID: Final = "a19d880f-05fc-4d3b-a006-743f0f84911e"
LVM: Final = "e6d6d379-f507-44c2-a23c-238f2a3df928"
LUKS: Final = "ca7d7ccb-63ed-4c53-861c-1742536059cc"


class NoTable(ValueError):
    """There is no GUID partition table, or none that makes sense."""


class Partition:
    """One entry. `type` and `guid` are GUIDs in lower case; `guid` is the partition's own."""

    __slots__ = ("bytes", "guid", "name", "number", "start", "type")

    def __init__(self, number: int, start: int, size: int, kind: str = LINUX, guid: str = "", name: str = "") -> None:
        self.number, self.start, self.bytes = number, start, size
        self.type, self.guid, self.name = kind, guid, name

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.bytes


def device_of(disk: str, number: int) -> str:
    """`/dev/vda` and 3: `/dev/vda3`; `/dev/nvme0n1` and 3: `/dev/nvme0n1p3`."""
    return f"{disk}p{number}" if disk[-1].isdigit() else f"{disk}{number}"


def packed_guid(guid: str) -> bytes:
    """A GUID as it stands on the disk: the first three fields little-endian (UEFI 2.10 appendix A)."""
    raw = bytes.fromhex(guid.replace("-", ""))
    return raw[3::-1] + raw[5:3:-1] + raw[7:5:-1] + raw[8:]


def written_guid(packed: bytes) -> str:
    """The reverse of `packed_guid`, in lower case."""
    raw = (packed[3::-1] + packed[5:3:-1] + packed[7:5:-1] + packed[8:]).hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def read(fd: int, sector: int = 512) -> list[Partition]:
    """The partitions in the order of their numbers, by the first copy of the table. Raises NoTable."""
    header = os.pread(fd, 92, sector)
    if header[:8] != _SIGNATURE or len(header) < 92:
        raise NoTable("the disk has no GUID partition table")
    table, count, size = struct.unpack_from("<QII", header, 72)
    if not 128 <= size <= 4096 or count > 4096:
        raise NoTable(f"the partition table claims {count} entries of {size} bytes")
    try:
        entries = os.pread(fd, count * size, table * sector)
    except (OSError, OverflowError) as err:
        raise NoTable(f"the partition table cannot be read: {err}") from err
    found = []
    for number in range(len(entries) // size):
        entry = entries[number * size : (number + 1) * size]
        if any(entry[:16]):
            first, last = struct.unpack_from("<QQ", entry, 32)
            name = "".join(map(chr, struct.unpack_from("<36H", entry, 56))).split("\0")[0]
            kind, guid = written_guid(entry[:16]), written_guid(entry[16:32])
            found.append(Partition(number + 1, first * sector, (last - first + 1) * sector, kind, guid, name))
    return found


def table_sectors(sector: int) -> int:
    """How many sectors the entries take."""
    return -(-_ENTRIES * _ENTRY_BYTES // sector)


def encode(disk_bytes: int, sector: int, guid: str, partitions: Sequence[Partition]) -> list[tuple[int, bytes]]:
    """What to write where on a disk: the protective MBR without boot code, both copies of the table.

    Raises NoTable where a partition does not lie on sectors, or not between the two copies.
    """
    sectors, room = disk_bytes // sector, table_sectors(sector)
    first, last = 2 + room, sectors - room - 2
    entries = bytearray(room * sector)
    for one in partitions:
        if one.start % sector or one.bytes % sector or one.bytes <= 0:
            raise NoTable(f"partition {one.number} does not lie on sectors of {sector} bytes")
        if one.start < first * sector or one.end > (last + 1) * sector or not 1 <= one.number <= _ENTRIES:
            raise NoTable(f"partition {one.number} does not fit the disk of {disk_bytes} bytes")
        # UTF-16, whose codec the installer's Python has not; our names have nothing beyond its first plane.
        name = b"".join(struct.pack("<H", ord(letter)) for letter in one.name)[:72].ljust(72, b"\0")
        places = struct.pack("<QQQ", one.start // sector, one.end // sector - 1, 0)
        entry = packed_guid(one.type) + packed_guid(one.guid) + places + name
        entries[(one.number - 1) * _ENTRY_BYTES : one.number * _ENTRY_BYTES] = entry
    digest = crc32(entries[: _ENTRIES * _ENTRY_BYTES])

    def header(here: int, other: int, table: int) -> bytes:
        def packed(own: int) -> bytes:
            start = (_SIGNATURE, _REVISION, 92, own, 0, here, other, first, last)
            return _HEADER.pack(*start, packed_guid(guid), table, _ENTRIES, _ENTRY_BYTES, digest)

        return packed(crc32(packed(0))).ljust(sector, b"\0")

    mbr = bytearray(sector)
    # One partition of type 0xEE over the whole disk, as far as 32 bits reach (UEFI 2.10 §5.2.3).
    mbr[446:462] = struct.pack("<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(sectors - 1, 0xFFFFFFFF))
    mbr[510:512] = b"\x55\xaa"
    front = bytes(mbr) + header(1, sectors - 1, 2) + bytes(entries)
    back = bytes(entries) + header(sectors - 1, 1, sectors - room - 1)
    return [(0, front), ((sectors - room - 1) * sector, back)]
