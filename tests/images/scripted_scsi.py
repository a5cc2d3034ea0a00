"""SCSI and ATA disks that do what a test says, or lie."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass, field
from pathlib import Path

from images.agent import ata, blockdev, scsi
from images.agent.erase_node import Answer, answer_of
from tests.images.scripted_disks import BLOCK, FileNode, Medium, level0

GOOD, CHECK = 0x00, 0x02
NO_SUCH_COMMAND, NO_SUCH_FIELD = (5, 0x20, 0x00), (5, 0x24, 0x00)
Reply = tuple[int, bytes, bytes]


def sense(key: int, code: int, qualifier: int, progress: int | None = None) -> bytes:
    """Sense data in fixed format."""
    tail = b"\0\0\0" if progress is None else struct.pack(">BH", 0x80, progress)
    return bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, code, qualifier, 0]) + tail


@dataclass(slots=True)
class ScsiDisk:
    """A SCSI disk. `sanitizes` says what the medium is after each service action that it knows."""

    path: Path
    sanitizes: dict[int, str] = field(default_factory=dict)
    formats: str = ""  # what FORMAT UNIT leaves; empty: there is none
    zeroes: bool = False  # WRITE SAME with UNMAP, and blocks so unmapped read as zeros
    polls: int = 3
    liar: bool = False  # takes writes and keeps its data
    vendor: str = "SCRIPTED"
    spins: bool = False
    unformatted: bool = False
    taken: bool | None = None  # whether self-encryption is under somebody's password; None: there is none
    failed_sanitize: set[int] = field(default_factory=set)
    seen: list[str] = field(default_factory=list)
    busy: str = ""
    left: int = 0
    becomes: str = ""

    @property
    def medium(self) -> Medium:
        return Medium(self.path)

    @property
    def serial(self) -> bytes:
        return f"SCRIPTED-{self.path.name}".encode()

    def execute(self, cdb: bytes, out: bytes) -> Reply:
        """Carry a command out: status, sense, data for the host."""
        # Its size and its pages it tells at any time: QEMU asks for them before there is a guest.
        if cdb[0] in (0x12, 0x03, 0xA3, 0x85, 0x1A, 0x25, 0x9E):
            pass
        elif self.busy:
            self.poll()
            if self.busy:
                return CHECK, sense(2, 0x04, 0x1B if self.busy == "sanitize" else 0x04, 0x4000), b""
        elif self.unformatted and cdb[0] not in (0x04, 0x48):
            return CHECK, sense(3, 0x31, 0x00), b""
        handler = getattr(self, f"on_{cdb[0]:02x}", None)
        if handler is None:
            return CHECK, sense(*NO_SUCH_COMMAND), b""
        answered: Reply = handler(cdb, out)
        return answered

    def poll(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.busy = ""
            self.unformatted = False
            self.medium.become(self.becomes)

    def begin(self, what: str, becomes: str) -> Reply:
        self.busy, self.becomes, self.left = what, becomes, self.polls
        return GOOD, b"", b""

    def on_00(self, cdb: bytes, out: bytes) -> Reply:
        """TEST UNIT READY."""
        return GOOD, b"", b""

    def on_03(self, cdb: bytes, out: bytes) -> Reply:
        """REQUEST SENSE."""
        if self.busy:
            self.poll()
        if self.busy:
            return GOOD, b"", sense(2, 0x04, 0x1B if self.busy == "sanitize" else 0x04, 0x4000)
        return GOOD, b"", sense(3, 0x31, 0x00) if self.unformatted else sense(0, 0, 0)

    def on_12(self, cdb: bytes, out: bytes) -> Reply:
        """INQUIRY."""
        pages = {
            0x00: bytes([0x00, 0x80, 0x83, 0xB0, 0xB1, 0xB2]),
            0x80: self.serial,
            0x83: bytes([2, 1, 0, len(self.serial)]) + self.serial,
            0xB0: struct.pack(">BBHIII IIIIQ", 1, 0, 0, 0, 0, 0, 1 << 20, 64, 0, 0, 1 << 20).ljust(60, b"\0"),
            0xB1: struct.pack(">H", 7200 if self.spins else 1).ljust(60, b"\0"),
            0xB2: bytes([0, 0xE4 if self.zeroes else 0, 2 if self.zeroes else 0, 0]),
        }
        if not cdb[1] & 1:
            text = self.vendor.encode().ljust(8) + b"scripted disk".ljust(16) + b"1.0 "
            return GOOD, b"", (bytes([0, 0, 6, 2, 91, 0, 0, 2]) + text).ljust(96, b"\0")
        if (page := pages.get(cdb[2])) is None:
            return CHECK, sense(*NO_SUCH_FIELD), b""
        return GOOD, b"", bytes([0, cdb[2]]) + len(page).to_bytes(2, "big") + page

    def on_1a(self, cdb: bytes, out: bytes) -> Reply:
        """MODE SENSE (6): no pages."""
        return GOOD, b"", bytes([3, 0, 0, 0])

    def on_25(self, cdb: bytes, out: bytes) -> Reply:
        """READ CAPACITY (10)."""
        return GOOD, b"", struct.pack(">II", self.medium.size // BLOCK - 1, BLOCK)

    def on_9e(self, cdb: bytes, out: bytes) -> Reply:
        """READ CAPACITY (16)."""
        provisioning = 0xC000 if self.zeroes else 0  # LBPME, LBPRZ
        return (
            GOOD,
            b"",
            struct.pack(">QIBBH", self.medium.size // BLOCK - 1, BLOCK, 0, 0, provisioning).ljust(32, b"\0"),
        )

    def on_28(self, cdb: bytes, out: bytes) -> Reply:
        """READ (10)."""
        first, count = struct.unpack_from(">I", cdb, 2)[0], struct.unpack_from(">H", cdb, 7)[0]
        return GOOD, b"", self.medium.read(first * BLOCK, count * BLOCK)

    def on_2a(self, cdb: bytes, out: bytes) -> Reply:
        """WRITE (10)."""
        if not self.liar:
            self.medium.write(struct.unpack_from(">I", cdb, 2)[0] * BLOCK, out)
        return GOOD, b"", b""

    def on_35(self, cdb: bytes, out: bytes) -> Reply:
        """SYNCHRONIZE CACHE (10)."""
        return GOOD, b"", b""

    def on_93(self, cdb: bytes, out: bytes) -> Reply:
        """WRITE SAME (16)."""
        if not self.zeroes:
            return CHECK, sense(*NO_SUCH_COMMAND), b""
        first, count = struct.unpack_from(">QI", cdb, 2)
        if not self.liar:
            self.medium.write(first * BLOCK, bytes(count * BLOCK))
        return GOOD, b"", b""

    def on_a2(self, cdb: bytes, out: bytes) -> Reply:
        """SECURITY PROTOCOL IN: Level 0 discovery."""
        if self.taken is None or cdb[1:4] != b"\1\0\1":
            return CHECK, sense(*NO_SUCH_COMMAND), b""
        return GOOD, b"", level0(self.taken)

    def on_a3(self, cdb: bytes, out: bytes) -> Reply:
        """REPORT SUPPORTED OPERATION CODES, about one command."""
        if cdb[1] & 0x1F != 0x0C or cdb[2] & 7 not in (1, 2):
            return CHECK, sense(*NO_SUCH_FIELD), b""
        known = {0x48: int.from_bytes(cdb[4:6], "big") in self.sanitizes, 0x04: bool(self.formats), 0x93: self.zeroes}
        return GOOD, b"", bytes([0, 3 if known.get(cdb[3]) else 1, 0, 0])

    def on_48(self, cdb: bytes, out: bytes) -> Reply:
        """SANITIZE."""
        action = cdb[1] & 0x1F
        if action == scsi.EXIT_FAILURE:
            return GOOD, b"", b""
        if action not in self.sanitizes or int.from_bytes(cdb[7:9], "big") != len(out):
            return CHECK, sense(*NO_SUCH_FIELD), b""
        self.seen.append(f"sanitize {action}")
        return self.begin("sanitize", self.sanitizes[action])

    def on_04(self, cdb: bytes, out: bytes) -> Reply:
        """FORMAT UNIT."""
        if not self.formats:
            return CHECK, sense(*NO_SUCH_COMMAND), b""
        self.seen.append("format")
        return self.begin("format", self.formats)


@dataclass(slots=True)
class AtaDisk(ScsiDisk):
    """An ATA disk behind a translating host adapter. `sanitizes` goes by the subcommand's number."""

    vendor: str = "ATA"
    erases: dict[bool, str] = field(default_factory=dict)  # by enhanced: what security erase leaves; empty: none
    frozen: bool = False
    password: bytes = b""
    locked: bool = False
    sectors_shown: int = 0  # less than there are: a host protected area; 0: all
    keeps_hidden: bool = False
    drops_registers: bool = False  # the host adapter tells how a command ended, and not what the registers were
    prepared: bool = False
    sanitized: bool = False

    def execute(self, cdb: bytes, out: bytes) -> Reply:
        if self.locked and cdb[0] in (0x28, 0x2A, 0x93):
            return CHECK, sense(0xB, 0, 0), b""
        # The base class is not reached by super() from a dataclass with slots.
        status, told, data = ScsiDisk.execute(self, cdb, out)
        if self.drops_registers and told[:1] == b"\x72":
            told = sense(told[1], told[2], told[3])
        return status, told, data

    def identity(self) -> bytes:
        word = [0] * 256
        for at, length, text in ((10, 10, self.serial.decode()), (23, 4, "1.0"), (27, 20, "scripted ata disk")):
            padded = text.ljust(2 * length).encode()
            word[at : at + length] = [padded[2 * i] << 8 | padded[2 * i + 1] for i in range(length)]
        shown = self.sectors_shown or self.medium.size // BLOCK
        word[60], word[61] = shown & 0xFFFF, shown >> 16
        word[100], word[101] = word[60], word[61]
        bits = {ata.BLOCK: 0x8000, ata.OVERWRITE: 0x4000, ata.CRYPTO: 0x2000}
        word[59] = sum(bits[kind] for kind in self.sanitizes) | (0x1000 if self.sanitizes else 0)
        word[82] = (2 if self.erases else 0) | (0x400 if self.sectors_shown else 0)
        word[83], word[89], word[90], word[217] = 0x400, 10, 1, 7200 if self.spins else 1
        enabled, enhanced = bool(self.password), True in self.erases
        word[128] = 1 | enabled << 1 | self.locked << 2 | self.frozen << 3 | enhanced << 5
        return struct.pack("<256H", *word)

    def on_85(self, cdb: bytes, out: bytes) -> Reply:
        """ATA PASS-THROUGH (16)."""
        feature, lba = cdb[3] << 8 | cdb[4], sum(cdb[at] << 8 * i for i, at in enumerate((8, 10, 12, 7, 9, 11)))
        match cdb[14]:
            case 0xEC:
                return returned(data=self.identity())
            case 0xB4 if self.sanitizes:
                return self.sanitize_device(feature, lba)
            case 0xF1 | 0xF3 | 0xF4 | 0xF6 if self.erases:
                return self.security(cdb[14], out)
            case 0x27 if self.sectors_shown:
                return returned(lba=self.medium.size // BLOCK - 1)
            case 0x37 if self.sectors_shown:
                if not self.keeps_hidden:
                    self.sectors_shown = lba + 1
                return returned()
        return returned(failed=True)

    def sanitize_device(self, feature: int, lba: int) -> Reply:
        if feature == 0:
            if self.busy:
                self.poll()
                self.sanitized = not self.busy
            return returned(count=0x4000 if self.busy else 0x8000 if self.sanitized else 0, lba=0x4000)
        keys = {ata.CRYPTO: b"pyrC", ata.BLOCK: b"rEkB", ata.OVERWRITE: b"\0\0\0\0WO"}
        if (
            feature not in self.sanitizes
            or lba != int.from_bytes(keys[feature], "little")
            or feature in self.failed_sanitize
        ):
            return returned(failed=True)
        self.seen.append(f"sanitize {feature:#x}")
        self.begin("sanitize", self.sanitizes[feature])
        return returned(count=0x4000)

    def security(self, command: int, out: bytes) -> Reply:
        if self.frozen:
            return returned(failed=True)
        given = out[2:34].rstrip(b"\0")
        match command:
            case 0xF1:
                self.password = given
            case 0xF3:
                self.prepared = True
            case 0xF4:
                if not self.prepared or given != self.password:
                    self.prepared = False
                    return returned(failed=True)
                self.seen.append(f"security erase {out[0] >> 1 & 1}")
                self.medium.become(self.erases[bool(out[0] & 2)])
                self.password, self.locked, self.prepared = b"", False, False
            case 0xF6:
                if given != self.password or self.locked:
                    return returned(failed=True)
                self.password = b""
        return returned()


def returned(*, failed: bool = False, count: int = 0, lba: int = 0, data: bytes = b"") -> Reply:
    """A command's end with the registers in the sense, as the commands ask for."""
    low = lba.to_bytes(6, "little")
    order = bytes([low[3], low[0], low[4], low[1], low[5], low[2]])
    descriptor = bytes([9, 12, 1, 4 if failed else 0, count >> 8, count & 0xFF]) + order
    descriptor += bytes([0x40, 0x51 if failed else 0x50])
    return CHECK, bytes([0x72, 0xB if failed else 1, 0, 0x1D, 0, 0, 0, 14]) + descriptor, data


class ScsiNode(FileNode):
    """A SCSI or ATA disk in the place of the kernel's."""

    def __init__(self, disk: ScsiDisk) -> None:
        super().__init__(disk.path, zeroes=disk.zeroes, liar=disk.liar, flash=not disk.spins)
        self.target = disk
        if isinstance(disk, AtaDisk) and disk.sectors_shown:
            self.disk.bytes = disk.sectors_shown * BLOCK

    def scsi(self, command: scsi.Command, limit_s: float = 0) -> Answer:
        status, told, data = self.target.execute(command.cdb, command.data_out)
        return answer_of(status, scsi.Sense(told) if told else None, data[: command.data_in_bytes])

    def rescan(self) -> None:
        shown = self.target.sectors_shown if isinstance(self.target, AtaDisk) else 0
        self.disk.bytes = shown * BLOCK or self.medium.size

    def read(self, offset: int, buffer: blockdev.Buffer) -> None:
        if isinstance(self.target, AtaDisk) and self.target.locked:
            raise OSError(errno.EIO, "Input/output error")
        super().read(offset, buffer)

    def write(self, offset: int, view: memoryview) -> None:
        if isinstance(self.target, AtaDisk) and self.target.locked:
            raise OSError(errno.EIO, "Input/output error")
        super().write(offset, view)
