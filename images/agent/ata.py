"""ATA commands for erasing, as bytes: ACS-3 and ACS-4, sent as SAT-4's ATA PASS-THROUGH (16).

Pure: nothing here talks to a device. Decoders raise Malformed, and nothing else, for what they cannot read.
"""

from __future__ import annotations

from images.agent.errors import Malformed
from images.agent.scsi import Command

_NON_DATA, _DATA_IN, _DATA_OUT = 3, 4, 5  # protocols of SAT-4 table 146; data goes by PIO
_SECTOR = 512

_IDENTIFY, _SANITIZE = 0xEC, 0xB4
_SET_PASSWORD, _ERASE_PREPARE, _ERASE_UNIT, _DISABLE_PASSWORD = 0xF1, 0xF3, 0xF4, 0xF6
_READ_NATIVE_MAX, _SET_MAX, _ACCESSIBLE_MAX, _CONFIGURATION = 0x27, 0x37, 0x78, 0xB1

# Sanitize device subcommands with the keys that they ask for in the LBA field (ACS-4 7.31).
CRYPTO, BLOCK, OVERWRITE = 0x0011, 0x0012, 0x0014
_KEYS = {CRYPTO: 0x43727970, BLOCK: 0x426B4572, OVERWRITE: 0x4F57_0000_0000}
_MAY_LEAVE_FAILURE = 1 << 4
_CLEAR_FAILURE = 1

# Always this one: a disk whose power was cut in the middle of a security erase is still locked by it.
PASSWORD = b"roundhouse"


def _command(
    code: int, protocol: int = _NON_DATA, *, feature: int = 0, count: int = 0, lba: int = 0, data: bytes = b""
) -> Command:
    """ATA PASS-THROUGH (16) of a command in its 48-bit form, asking for the registers back (SAT-4 12.2.2.3)."""
    sectors_in = 1 if protocol == _DATA_IN else 0
    if protocol != _NON_DATA:
        count = 1
    transfer = {_NON_DATA: 0x20, _DATA_IN: 0x2E, _DATA_OUT: 0x26}[protocol]  # CK_COND, T_DIR, BYT_BLOK, T_LENGTH
    low = lba.to_bytes(6, "little")
    # 28-bit commands, too, are taken with EXTEND off only.
    extend = int(code in (_SANITIZE, _READ_NATIVE_MAX, _SET_MAX, _ACCESSIBLE_MAX))
    cdb = bytes([0x85, protocol << 1 | extend, transfer])
    cdb += feature.to_bytes(2, "big") + count.to_bytes(2, "big")
    cdb += bytes([low[3], low[0], low[4], low[1], low[5], low[2], 0x40, code, 0])
    return Command(cdb, data, sectors_in * _SECTOR)


def identify() -> Command:
    """IDENTIFY DEVICE (ACS-4 7.13)."""
    return _command(_IDENTIFY, _DATA_IN)


def sanitize(subcommand: int) -> Command:
    """SANITIZE DEVICE (ACS-4 7.31): one pass of zeros where it overwrites; the failure mode can be left again."""
    passes = 1 if subcommand == OVERWRITE else 0
    return _command(_SANITIZE, feature=subcommand, count=_MAY_LEAVE_FAILURE | passes, lba=_KEYS[subcommand])


def sanitize_status(*, leave_failure: bool = False) -> Command:
    """SANITIZE STATUS EXT (ACS-4 7.31.6), which also leaves the mode after a failure."""
    return _command(_SANITIZE, feature=0, count=_CLEAR_FAILURE if leave_failure else 0)


def set_password() -> Command:
    """SECURITY SET PASSWORD (ACS-4 7.36): ours as the user's, at level High."""
    return _command(_SET_PASSWORD, _DATA_OUT, data=_password_sector(0))


def erase_prepare() -> Command:
    """SECURITY ERASE PREPARE (ACS-4 7.33), which must stand right before the erase."""
    return _command(_ERASE_PREPARE)


def erase_unit(*, enhanced: bool) -> Command:
    """SECURITY ERASE UNIT (ACS-4 7.34) by our password; it takes as long as the erase does."""
    return _command(_ERASE_UNIT, _DATA_OUT, data=_password_sector(2 if enhanced else 0))


def disable_password() -> Command:
    """SECURITY DISABLE PASSWORD (ACS-4 7.32)."""
    return _command(_DISABLE_PASSWORD, _DATA_OUT, data=_password_sector(0))


def _password_sector(control: int) -> bytes:
    return (control.to_bytes(2, "little") + PASSWORD).ljust(_SECTOR, b"\0")


def native_max(*, accessible: bool) -> Command:
    """The last address of the medium: GET NATIVE MAX ADDRESS EXT (ACS-4 7.1.2), or its forerunner of ATA8-ACS."""
    return _command(_ACCESSIBLE_MAX if accessible else _READ_NATIVE_MAX)


def set_max(last: int, *, accessible: bool) -> Command:
    """Make the addresses up to `last` reachable, for good: SET ACCESSIBLE MAX ADDRESS EXT, or its forerunner."""
    if accessible:
        return _command(_ACCESSIBLE_MAX, feature=1, lba=last)
    return _command(_SET_MAX, count=1, lba=last)


def configuration() -> Command:
    """DEVICE CONFIGURATION IDENTIFY (ATA8-ACS 7.9.3): what the disk was before it was made smaller."""
    return _command(_CONFIGURATION, _DATA_IN, feature=0xC2)


def restore_configuration() -> Command:
    """DEVICE CONFIGURATION RESTORE (ATA8-ACS 7.9.4)."""
    return _command(_CONFIGURATION, feature=0xC0)


class Identity:
    """What IDENTIFY DEVICE tells of erasing (ACS-4 7.13.6)."""

    __slots__ = (
        *("enhanced_erase_s", "erase_s", "firmware", "has_accessible_max", "has_configuration", "has_enhanced"),
        *("has_protected_area", "has_security", "model", "rotational", "sanitize", "sector_bytes", "sectors"),
        *("security_enabled", "security_expired", "security_frozen", "security_locked", "serial"),
    )

    def __init__(self, data: bytes) -> None:
        if len(data) < _SECTOR:
            raise Malformed(f"IDENTIFY DEVICE has {len(data)} bytes")
        word = [int.from_bytes(data[at : at + 2], "little") for at in range(0, _SECTOR, 2)]
        self.serial, self.firmware, self.model = (_text(data[2 * a : 2 * b]) for a, b in ((10, 20), (23, 27), (27, 47)))
        sanitizing = word[59] if word[59] & 1 << 12 else 0
        kinds = {BLOCK: 1 << 15, OVERWRITE: 1 << 14, CRYPTO: 1 << 13}
        self.sanitize = tuple(kind for kind, bit in kinds.items() if sanitizing & bit)
        self.has_security = bool(word[82] & 1 << 1)
        self.has_protected_area = bool(word[82] & 1 << 10)
        self.has_configuration = bool(word[83] & 1 << 11)
        self.has_accessible_max = bool(word[119] & 1 << 8)
        self.sectors = sum(word[100 + i] << 16 * i for i in range(4)) if word[83] & 1 << 10 else 0
        self.sectors = self.sectors or word[60] | word[61] << 16
        larger = word[106] & 0xD000 == 0x5000  # valid, and a logical sector is longer than 256 words
        self.sector_bytes = 2 * (word[117] | word[118] << 16) if larger else _SECTOR
        self.rotational = word[217] != 1
        self.erase_s, self.enhanced_erase_s = _seconds(word[89]), _seconds(word[90])
        security = word[128] if self.has_security else 0
        flags = (bool(security & 1 << bit) for bit in range(1, 6))
        self.security_enabled, self.security_locked, self.security_frozen, self.security_expired, self.has_enhanced = (
            flags
        )


def _text(field: bytes) -> str:
    swapped = bytearray(field)
    swapped[0::2], swapped[1::2] = field[1::2], field[0::2]
    return swapped.decode("ascii", "replace").strip("\0 ")


def _seconds(word: int) -> int:
    """The time of a security erase (ACS-4 7.13.6.47): in 2 minutes, 15 bits where the highest is set; 0: not told."""
    return (word & 0x7FFF if word & 0x8000 else word & 0xFF) * 120


class Registers:
    """What a command left in the registers: the descriptor of SAT-4 12.2.2.6."""

    __slots__ = ("count", "error", "lba", "status")

    def __init__(self, descriptor: bytes) -> None:
        if len(descriptor) < 14 or descriptor[0] != 9:
            raise Malformed(f"an ATA status return has {len(descriptor)} bytes")
        self.error, self.status = descriptor[3], descriptor[13]
        self.count = descriptor[4] << 8 | descriptor[5]
        order = (7, 9, 11, 6, 8, 10)  # from the lowest byte
        self.lba = sum(descriptor[place] << 8 * number for number, place in enumerate(order))

    @property
    def failed(self) -> bool:
        """True where the device aborted the command: ERR or DF of the status."""
        return bool(self.status & 0x21)

    # The sanitize bits of the count (ACS-4 table 112).
    @property
    def sanitized(self) -> bool:
        """True where the last sanitize completed without an error."""
        return bool(self.count & 1 << 15)

    @property
    def sanitizing(self) -> bool:
        """True while one is under way."""
        return bool(self.count & 1 << 14)

    @property
    def sanitize_frozen(self) -> bool:
        """True where firmware has forbidden it until the next power cycle."""
        return bool(self.count & 1 << 13)

    @property
    def progress(self) -> float:
        """Of a sanitize under way, from 0 to 1."""
        return (self.lba & 0xFFFF) / 65536


def configured_sectors(data: bytes) -> int:
    """The number of sectors in DEVICE CONFIGURATION IDENTIFY's data (ATA8-ACS 7.9.3, words 3 to 6).

    Raises Malformed.
    """
    if len(data) < _SECTOR:
        raise Malformed(f"the device configuration has {len(data)} bytes")
    return int.from_bytes(data[6:14], "little") + 1
