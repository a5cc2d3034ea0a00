"""TFTP packets and the negotiation of options (RFC 1350, 2347, 2348, 2349, 7440)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tftpy.TftpPacketFactory import TftpPacketFactory
from tftpy.TftpPacketTypes import TftpPacketERR, TftpPacketOACK, TftpPacketRRQ
from tftpy.TftpShared import TftpException

RRQ, WRQ, DATA, ACK, ERROR, OACK = 1, 2, 3, 4, 5, 6

NOT_DEFINED = 0
FILE_NOT_FOUND = 1
ACCESS_VIOLATION = 2
ILLEGAL_OPERATION = 4
OPTION_REFUSED = 8

DEFAULT_BLKSIZE = 512
# What fits an Ethernet frame: 1500 less 20 (IP), 8 (UDP) and 4 (TFTP). A ROM does not put fragments together.
MOST_BLKSIZE = 1468
MOST_WINDOWSIZE = 16
DEFAULT_TIMEOUT_S = 1.0

_HEADER = struct.Struct("!HH")
# What tftpy's classes raise on junk; its checks are of five kinds.
_JUNK = (TftpException, AssertionError, struct.error, UnicodeError, IndexError, ValueError)


class Malformed(Exception):
    """The datagram is not a TFTP packet of the kind that was expected."""


class NotARead(Exception):
    """A transfer in the other direction, or in a mode other than octet."""


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A client's RRQ. Option names are in lower case."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a transfer runs by; `accepted` is what the OACK says, empty for a client without options."""

    blksize: int = DEFAULT_BLKSIZE
    windowsize: int = 1
    timeout_s: float = DEFAULT_TIMEOUT_S
    accepted: Mapping[str, str] = field(default_factory=dict)


def read_request(datagram: bytes) -> ReadRequest:
    """The first packet of a transfer. Raises NotARead for a WRQ or a foreign mode, Malformed for anything else."""
    if opcode(datagram) not in (RRQ, WRQ):
        raise Malformed("not a request")
    try:
        packet = TftpPacketFactory().parse(datagram)
    except _JUNK as err:
        raise Malformed(str(err)) from err
    if not isinstance(packet, TftpPacketRRQ):
        raise NotARead("only reads are served")
    if packet.mode != "octet":
        raise NotARead(f"mode {packet.mode!r}")
    return ReadRequest(packet.filename, {name.lower(): value for name, value in packet.options.items()})


def negotiate(options: Mapping[str, str], size: int) -> Terms:
    """The terms for a file of `size` bytes. An option with a value out of its range is ignored, as RFC 2347 allows."""
    accepted: dict[str, str] = {}
    blksize, windowsize, timeout_s = DEFAULT_BLKSIZE, 1, DEFAULT_TIMEOUT_S
    if (asked := _number(options.get("blksize"))) is not None and 8 <= asked <= 65464:
        blksize = min(asked, MOST_BLKSIZE)
        accepted["blksize"] = str(blksize)
    if (asked := _number(options.get("windowsize"))) is not None and 1 <= asked <= 65535:
        windowsize = min(asked, MOST_WINDOWSIZE)
        accepted["windowsize"] = str(windowsize)
    if (asked := _number(options.get("timeout"))) is not None and 1 <= asked <= 255:
        timeout_s = float(asked)
        accepted["timeout"] = str(asked)
    if _number(options.get("tsize")) is not None:
        accepted["tsize"] = str(size)
    return Terms(blksize, windowsize, timeout_s, accepted)


def opcode(datagram: bytes) -> int:
    """The packet's opcode, 0 where there is none."""
    return int.from_bytes(datagram[:2], "big") if len(datagram) >= 2 else 0


def acknowledged_block(datagram: bytes) -> int | None:
    """The block number of an ACK, None for any other packet."""
    if opcode(datagram) != ACK or len(datagram) < 4:
        return None
    block: int = _HEADER.unpack_from(datagram)[1]
    return block


def data_block(datagram: bytes) -> tuple[int, bytes] | None:
    """The block number and the bytes of a DATA packet, None for any other packet."""
    if opcode(datagram) != DATA or len(datagram) < 4:
        return None
    return _HEADER.unpack_from(datagram)[1], datagram[4:]


def read_oack(datagram: bytes) -> dict[str, str]:
    """The options of an OACK, names in lower case. Raises Malformed."""
    try:
        packet = TftpPacketFactory().parse(datagram)
    except _JUNK as err:
        raise Malformed(str(err)) from err
    if not isinstance(packet, TftpPacketOACK):
        raise Malformed("not an OACK")
    return {name.lower(): value for name, value in packet.options.items()}


def data(block: int, content: bytes | memoryview) -> bytes:
    """A DATA packet; block numbers go round at 65536, as every client that takes large files expects."""
    return _HEADER.pack(DATA, block & 0xFFFF) + content


def ack(block: int) -> bytes:
    """An ACK packet."""
    return _HEADER.pack(ACK, block & 0xFFFF)


def oack(accepted: Mapping[str, str]) -> bytes:
    """An OACK packet."""
    packet = TftpPacketOACK()
    packet.options = dict(accepted)
    return bytes(packet.encode().buffer)


def error(code: int) -> bytes:
    """An ERROR packet with RFC 1350's own text for the code."""
    if code == NOT_DEFINED:  # tftpy has no text for it
        return _HEADER.pack(ERROR, code) + b"Not defined\0"
    packet = TftpPacketERR()
    packet.errorcode = code
    return bytes(packet.encode().buffer)


def rrq(name: str, options: Mapping[str, str]) -> bytes:
    """A read request in octet mode."""
    packet = TftpPacketRRQ()
    packet.filename = name
    packet.mode = "octet"
    packet.options = dict(options)
    return bytes(packet.encode().buffer)


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 12 else None
