"""What disks say of their own health: NVMe's log page 02h, and the ATA attributes. Decoding is pure.

NVM Express Base Specification 1.4 §5.14.1.2; ATA ACS-3 §7.48 (SMART) through SCSI's ATA PASS-THROUGH (SAT-3 §12.2.2).
"""

from __future__ import annotations

import ctypes
import fcntl
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_NVME_ADMIN = 0xC0484E41  # NVME_IOCTL_ADMIN_CMD, linux/nvme_ioctl.h
_GET_LOG_PAGE, _HEALTH, _ALL_NAMESPACES = 0x02, 0x02, 0xFFFFFFFF
_SG_IO, _FROM_DEVICE = 0x2285, -3  # scsi/sg.h
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


class _NvmeCommand(ctypes.Structure):
    """struct nvme_passthru_cmd."""

    _fields_ = (
        ("opcode", ctypes.c_uint8),
        ("flags", ctypes.c_uint8),
        ("rsvd1", ctypes.c_uint16),
        ("nsid", ctypes.c_uint32),
        ("cdw2", ctypes.c_uint32),
        ("cdw3", ctypes.c_uint32),
        ("metadata", ctypes.c_uint64),
        ("addr", ctypes.c_uint64),
        ("metadata_len", ctypes.c_uint32),
        ("data_len", ctypes.c_uint32),
        ("cdw10", ctypes.c_uint32),
        ("cdw11", ctypes.c_uint32),
        ("cdw12", ctypes.c_uint32),
        ("cdw13", ctypes.c_uint32),
        ("cdw14", ctypes.c_uint32),
        ("cdw15", ctypes.c_uint32),
        ("timeout_ms", ctypes.c_uint32),
        ("result", ctypes.c_uint32),
    )


class _ScsiCommand(ctypes.Structure):
    """struct sg_io_hdr."""

    _fields_ = (
        ("interface_id", ctypes.c_int),
        ("dxfer_direction", ctypes.c_int),
        ("cmd_len", ctypes.c_uint8),
        ("mx_sb_len", ctypes.c_uint8),
        ("iovec_count", ctypes.c_uint16),
        ("dxfer_len", ctypes.c_uint32),
        ("dxferp", ctypes.c_void_p),
        ("cmdp", ctypes.c_void_p),
        ("sbp", ctypes.c_void_p),
        ("timeout", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("pack_id", ctypes.c_int),
        ("usr_ptr", ctypes.c_void_p),
        ("status", ctypes.c_uint8),
        ("masked_status", ctypes.c_uint8),
        ("msg_status", ctypes.c_uint8),
        ("sb_len_wr", ctypes.c_uint8),
        ("host_status", ctypes.c_uint16),
        ("driver_status", ctypes.c_uint16),
        ("resid", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
    )


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
    page = ctypes.create_string_buffer(_PAGE)
    command = _NvmeCommand(
        opcode=_GET_LOG_PAGE,
        nsid=_ALL_NAMESPACES,
        addr=ctypes.addressof(page),
        data_len=_PAGE,
        cdw10=(_PAGE // 4 - 1) << 16 | _HEALTH,
        timeout_ms=_LIMIT_MS,
    )
    if status := fcntl.ioctl(fd, _NVME_ADMIN, command):
        raise Malformed(f"NVMe status {status:#x}")
    return page.raw


def _ata_page(fd: int) -> bytes:
    page, sense = ctypes.create_string_buffer(_PAGE), ctypes.create_string_buffer(64)
    # ATA PASS-THROUGH (16), PIO data-in, one block: SMART (B0h), READ DATA (D0h), with its signature in the LBA.
    words = (0x85, 4 << 1, 0x0E, 0, 0xD0, 0, 1, 0, 0, 0, 0x4F, 0, 0xC2, 0, 0xB0, 0)
    order = ctypes.create_string_buffer(bytes(words), len(words))
    command = _ScsiCommand(
        interface_id=ord("S"),
        dxfer_direction=_FROM_DEVICE,
        cmd_len=len(words),
        mx_sb_len=len(sense),
        dxfer_len=_PAGE,
        dxferp=ctypes.addressof(page),
        cmdp=ctypes.addressof(order),
        sbp=ctypes.addressof(sense),
        timeout=_LIMIT_MS,
    )
    fcntl.ioctl(fd, _SG_IO, command)
    if command.status or command.host_status or command.driver_status:
        raise Malformed(f"SCSI status {command.status:#x}")
    return page.raw
