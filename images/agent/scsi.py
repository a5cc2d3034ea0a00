"""SCSI commands for erasing, as bytes: SPC-5, SBC-4, and Linux's SG_IO structure.

Pure: nothing here talks to a device. Decoders raise Malformed, and nothing else, for what they cannot read.
"""

from __future__ import annotations

import struct

from images.agent.errors import Malformed

IOCTL_SG_IO = 0x2285  # scsi/sg.h
SENSE_BYTES = 252
_HEADER = struct.Struct("=iiBBHIQQQIIi4xQBBBBHHiII4x")
_NO_DATA, _TO_DEVICE, _FROM_DEVICE = -1, -2, -3

OVERWRITE, BLOCK, CRYPTO, EXIT_FAILURE = 0x01, 0x02, 0x03, 0x1F  # service actions of SANITIZE (SBC-4 table 125)
SANITIZE, FORMAT_UNIT = 0x48, 0x04
NO_SENSE, NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, DATA_PROTECT = 0x0, 0x2, 0x3, 0x5, 0x7
CHECK_CONDITION = 0x02
_SANITIZING, _FORMATTING = (0x04, 0x1B), (0x04, 0x04)  # LOGICAL UNIT NOT READY, … IN PROGRESS


class Command:
    """A command descriptor block with the data that goes out, or the number of bytes that come in."""

    __slots__ = ("cdb", "data_in_bytes", "data_out")

    def __init__(self, cdb: bytes, data_out: bytes = b"", data_in_bytes: int = 0) -> None:
        self.cdb, self.data_out, self.data_in_bytes = cdb, data_out, data_in_bytes

    def encode(self, data_address: int, cdb_address: int, sense_address: int, timeout_ms: int) -> bytes:
        """The structure that the kernel's ioctl takes."""
        length = len(self.data_out) or self.data_in_bytes
        direction = _TO_DEVICE if self.data_out else _FROM_DEVICE if length else _NO_DATA
        sizes = (len(self.cdb), SENSE_BYTES, 0, length)
        addresses = (data_address, cdb_address, sense_address)
        tail = (timeout_ms & 0xFFFFFFFF, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
        return _HEADER.pack(ord("S"), direction, *sizes, *addresses, *tail)


class Completion:
    """How a command ended: the device's status, the host adapter's, and how many bytes of sense there are."""

    __slots__ = ("host_status", "residual", "sense_bytes", "status")

    def __init__(self, header: bytes) -> None:
        if len(header) < _HEADER.size:
            raise Malformed(f"the SG_IO header has {len(header)} bytes")
        fields = _HEADER.unpack_from(header)
        self.status, self.sense_bytes, self.host_status, self.residual = fields[13], fields[16], fields[17], fields[19]


class Sense:
    """Sense data (SPC-5 4.5): key, code with qualifier, progress from 0 to 1 where told, and an ATA status return.

    That return is read from descriptors alone: the fixed format has no room for the upper half of the registers.
    """

    __slots__ = ("ata", "code", "key", "progress")

    def __init__(self, data: bytes) -> None:
        kind = data[0] & 0x7F if data else 0
        self.ata = b""
        self.progress: float | None = None
        if kind in (0x70, 0x71) and len(data) >= 14:
            self.key, self.code = data[2] & 0xF, (data[12], data[13])
            if len(data) >= 18 and data[15] & 0x80 and self.key in (NO_SENSE, NOT_READY):
                self.progress = int.from_bytes(data[16:18], "big") / 65536
        elif kind in (0x72, 0x73) and len(data) >= 8:
            self.key, self.code = data[1] & 0xF, (data[2], data[3])
            self._read_descriptors(data[8 : 8 + data[7]])
        else:
            raise Malformed(f"sense data of kind {kind:#04x} in {len(data)} bytes")

    def _read_descriptors(self, rest: bytes) -> None:
        while len(rest) >= 2:
            one, rest = rest[: 2 + rest[1]], rest[2 + rest[1] :]
            if one[0] == 0x02 and len(one) >= 7 and one[4] & 0x80 and self.key in (NO_SENSE, NOT_READY):
                self.progress = int.from_bytes(one[5:7], "big") / 65536
            elif one[0] == 0x0A and len(one) >= 8:  # another command's progress
                self.progress = int.from_bytes(one[6:8], "big") / 65536
            elif one[0] == 0x09 and len(one) >= 14:
                self.ata = one[:14]

    @property
    def sanitizing(self) -> bool:
        """True while a SANITIZE that was answered at once is under way."""
        return self.code == _SANITIZING

    @property
    def formatting(self) -> bool:
        """True while a FORMAT UNIT that was answered at once is under way."""
        return self.code == _FORMATTING

    @property
    def text(self) -> str:
        """For people."""
        known = _CODES.get(self.code)
        return known or f"sense {self.key:x}/{self.code[0]:02x}/{self.code[1]:02x}"


_CODES = {  # SPC-5 annex F
    (0x04, 0x03): "manual intervention required",
    _FORMATTING: "format in progress",
    _SANITIZING: "sanitize in progress",
    (0x20, 0x00): "invalid command operation code",
    (0x20, 0x02): "access denied",
    (0x24, 0x00): "invalid field in the command",
    (0x26, 0x00): "invalid field in the parameter list",
    (0x27, 0x00): "write protected",
    (0x31, 0x00): "medium format corrupted",
    (0x31, 0x01): "format command failed",
    (0x31, 0x03): "sanitize command failed",
    (0x3A, 0x00): "medium not present",
    (0x74, 0x71): "logical unit access not authorized",
}


def inquiry() -> Command:
    """INQUIRY (SPC-5 6.7), standard data."""
    return Command(bytes([0x12, 0, 0, 0, 96, 0]), data_in_bytes=96)


def serial_page() -> Command:
    """INQUIRY of the unit serial number page (SPC-5 7.7.19)."""
    return Command(bytes([0x12, 1, 0x80, 0, 252, 0]), data_in_bytes=252)


def request_sense() -> Command:
    """REQUEST SENSE (SPC-5 6.45) in fixed format: tells the progress of what was answered at once."""
    return Command(bytes([0x03, 0, 0, 0, SENSE_BYTES, 0]), data_in_bytes=SENSE_BYTES)


def ask_for_command(opcode: int, service_action: int | None) -> Command:
    """REPORT SUPPORTED OPERATION CODES (SPC-5 6.36) about one command."""
    option, action = (1, 0) if service_action is None else (2, service_action)
    cdb = struct.pack(">BBBBHIBB", 0xA3, 0x0C, option, opcode, action, 64, 0, 0)
    return Command(cdb, data_in_bytes=64)


def security_in(protocol: int, specific: int, size: int) -> Command:
    """SECURITY PROTOCOL IN (SPC-5 6.52)."""
    return Command(struct.pack(">BBHBBIBB", 0xA2, protocol, specific, 0, 0, size, 0, 0), data_in_bytes=size)


def sanitize(service_action: int) -> Command:
    """SANITIZE (SBC-4 5.31), answered at once. Overwrite means one pass of zeros.

    AUSE is set: after a failure the disk may be let go again and another method tried.
    """
    # Overwrite count 1, a pattern of four bytes.
    pattern = struct.pack(">BBHI", 1, 0, 4, 0) if service_action == OVERWRITE else b""
    flags = 0x80 | (0 if service_action == EXIT_FAILURE else 0x20)
    return Command(struct.pack(">BB5xHB", SANITIZE, flags | service_action, len(pattern), 0), data_out=pattern)


def format_unit() -> Command:
    """FORMAT UNIT (SBC-4 5.4), answered at once: zeros everywhere, in blocks taken out of use, too (SI)."""
    header = bytes([0, 0x8A, 0, 0])  # FOV, IP, IMMED
    pattern = bytes([0x20, 0x01, 0, 1, 0])  # SI, one byte repeated: zero
    return Command(bytes([FORMAT_UNIT, 0x10, 0, 0, 0, 0]), data_out=header + pattern)


class Inquiry:
    """Who the device says it is."""

    __slots__ = ("kind", "product", "revision", "vendor")

    def __init__(self, data: bytes) -> None:
        if len(data) < 36:
            raise Malformed(f"INQUIRY data has {len(data)} bytes")
        self.kind = data[0] & 0x1F  # 0: direct access block device; 14h: host managed zoned
        self.vendor, self.product, self.revision = (
            data[a:b].decode("ascii", "replace").strip("\0 ") for a, b in ((8, 16), (16, 32), (32, 36))
        )


def serial_of(data: bytes) -> str:
    """The serial number in its page. Raises Malformed."""
    if len(data) < 4 or data[1] != 0x80:
        raise Malformed(f"the serial number page has {len(data)} bytes")
    return data[4 : 4 + data[3]].decode("ascii", "replace").strip("\0 ")


def is_supported(data: bytes) -> bool:
    """Whether the answer about one command says that the device has it, by the standard or its maker's way.

    Raises Malformed.
    """
    if len(data) < 4:
        raise Malformed(f"the report of one operation code has {len(data)} bytes")
    return data[1] & 7 in (3, 5)
