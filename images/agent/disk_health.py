"""What disks say of their own health: NVMe's log page 02h, and the ATA attributes. Decoding is pure.

NVM Express Base Specification 1.4 §5.14.1.2; ATA ACS-3 §7.48 (SMART) through SCSI's ATA PASS-THROUGH (SAT-3 §12.2.2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os

from images.agent import nvme as nvme_codec
from images.agent import scsi

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_GET_LOG_PAGE, _HEALTH, _ALL_NAMESPACES = 0x02, 0x02, 0xFFFFFFFF
_LIMIT_MS = 5000
_PAGE = 512
_UNIT = 512_000  # NVMe counts data in thousands of 512 bytes
_WARNINGS = ("spare", "temperature", "reliability", "read-only", "backup", "persistent memory")  # bits 0 to 5

# Attributes that all makers use in one way, by number.
_ATTRIBUTES = {
    5: "reallocated_sectors",
    9: "power_on_hours",
    12: "power_cycles",
    187: "uncorrectable_errors",
    197: "pending_sectors",
    198: "offline_uncorrectable",
    199: "crc_errors",
}
_TEMPERATURES = (194, 190)


class Malformed(ValueError):
    """The page is none, or of the wrong length."""


def of_disk(path: str) -> dict[str, Any]:
    """The health of the disk at `path`; empty where it does not tell."""
    name = os.path.basename(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return {}
    try:
        if name.startswith("nvme"):
            return nvme(_nvme_page(fd))
        return ata(_ata_page(fd)) if name.startswith("sd") else {}
    except (OSError, Malformed):
        return {}
    finally:
        os.close(fd)


def nvme(page: bytes) -> dict[str, Any]:
    """Decode the health log: counts, percent, bytes, °C. Raises Malformed."""
    if len(page) != _PAGE:
        raise Malformed(f"a health log of {len(page)} bytes")

    def number(offset: int, size: int) -> int:
        return int.from_bytes(page[offset : offset + size], "little")

    warning, kelvin = page[0], number(1, 2)
    return {
        "warnings": [name for bit, name in enumerate(_WARNINGS) if warning >> bit & 1],
        "temperature_c": kelvin - 273 if kelvin else None,
        "spare_percent": page[3],
        "spare_threshold_percent": page[4],
        "used_percent": page[5],
        "read_bytes": number(32, 16) * _UNIT,
        "written_bytes": number(48, 16) * _UNIT,
        "power_cycles": number(112, 16),
        "power_on_hours": number(128, 16),
        "unsafe_shutdowns": number(144, 16),
        "media_errors": number(160, 16),
    }


def ata(page: bytes) -> dict[str, Any]:
    """Decode SMART READ DATA: thirty attributes of 12 bytes from offset 2 on, and a checksum. Raises Malformed."""
    if len(page) != _PAGE:
        raise Malformed(f"SMART data of {len(page)} bytes")
    if sum(page) % 256:
        raise Malformed("the checksum of the SMART data is wrong")
    raw = {page[at]: int.from_bytes(page[at + 5 : at + 11], "little") for at in range(2, 362, 12) if page[at]}
    found: dict[str, Any] = {name: raw[number] for number, name in _ATTRIBUTES.items() if number in raw}
    if "power_on_hours" in found:
        found["power_on_hours"] &= 0xFFFFFFFF  # some makers count fractions above
    temperature = next((raw[number] & 0xFF for number in _TEMPERATURES if number in raw), None)
    return found | {"temperature_c": temperature}


def _nvme_page(fd: int) -> bytes:
    command = nvme_codec.Command(_GET_LOG_PAGE, _ALL_NAMESPACES, (_PAGE // 4 - 1) << 16 | _HEALTH, data_bytes=_PAGE)
    page = ctypes.create_string_buffer(_PAGE)
    argument = bytearray(command.encode(ctypes.addressof(page), _LIMIT_MS))
    if status := fcntl.ioctl(fd, nvme_codec.IOCTL_ADMIN, argument, True):
        raise Malformed(nvme_codec.status_text(status))
    return page.raw


def _ata_page(fd: int) -> bytes:
    # ATA PASS-THROUGH (16), PIO data-in, one block: SMART (B0h), READ DATA (D0h), with its signature in the LBA.
    words = bytes((0x85, 4 << 1, 0x0E, 0, 0xD0, 0, 1, 0, 0, 0, 0x4F, 0, 0xC2, 0, 0xB0, 0))
    command = scsi.Command(words, data_in_bytes=_PAGE)
    page, order = ctypes.create_string_buffer(_PAGE), ctypes.create_string_buffer(words, len(words))
    sense = ctypes.create_string_buffer(scsi.SENSE_BYTES)
    where = (ctypes.addressof(page), ctypes.addressof(order), ctypes.addressof(sense))
    header = bytearray(command.encode(*where, _LIMIT_MS))
    fcntl.ioctl(fd, scsi.IOCTL_SG_IO, header, True)
    ended = scsi.Completion(bytes(header))
    if ended.status or ended.host_status:
        raise Malformed(f"SCSI status {ended.status:#x}")
    return page.raw
