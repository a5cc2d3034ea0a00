"""TFTP packets and the negotiation of options (RFC 1350, 2347, 2348, 2349, 7440)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from tftpy.TftpPacketFactory import TftpPacketFactory
from tftpy.TftpPacketTypes import TftpPacketOACK, TftpPacketRRQ
from tftpy.TftpShared import TftpException

RRQ, WRQ, DATA, ACK, ERROR, OACK = 1, 2, 3, 4, 5, 6

NOT_DEFINED = 0
FILE_NOT_FOUND = 1
ACCESS_VIOLATION = 2
ILLEGAL_OPERATION = 4
OPTION_REFUSED = 8

DEFAULT_BLKSIZE = 512
# RFC 2348's own bounds.
LEAST_BLKSIZE, MOST_BLKSIZE = 8, 65464
MOST_WINDOWSIZE = 16
MOST_NAME = 255

_HEADER = struct.Struct("!HH")
# What tftpy's classes raise on junk; its checks are of five kinds.
_JUNK = (TftpException, AssertionError, struct.error, UnicodeError, IndexError, ValueError)


class Malformed(Exception):
    """The datagram is not a TFTP packet of the kind that was expected."""


class Refused(Exception):
    """A request that can be read and is not served; `code` and the text are for the ERROR packet."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class ReadRequest:
    """A client's RRQ. The name has no leading slash and "/" alone between its parts; option names are in lower case."""

    name: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a transfer runs by; `accepted` is what the OACK says, empty for a client without options."""

    blksize: int = DEFAULT_BLKSIZE
    windowsize: int = 1
    timeout_s: int | None = None  # the client's own
    accepted: Mapping[str, str] = field(default_factory=dict)


def read_request(datagram: bytes) -> ReadRequest:
    """The first packet of a transfer. Raises Refused for what is not served, Malformed for what is no request."""
    match opcode(datagram):
        case 1:
            pass
        case 2:
            raise Refused(ACCESS_VIOLATION, "files are only read here, not written")
        case _:
            raise Malformed("not a request")
    fields = datagram[2:].split(b"\0")
    if len(fields) < 3:
        raise Malformed("a name or a mode without an end")
    name, mode = fields[0], fields[1]
    if mode.lower() != b"octet":
        raise Refused(ILLEGAL_OPERATION, f"mode {mode[:20].decode('ascii', 'replace')!r} is not served, octet is")
    if not name.isascii() or not name.decode("ascii").isprintable():
        raise Refused(ACCESS_VIOLATION, "a file's name is of printable ASCII characters")
    if len(name) > MOST_NAME:
        raise Refused(ACCESS_VIOLATION, f"a file's name has {MOST_NAME} characters at most")
    try:
        packet = TftpPacketFactory().parse(_without_empty_options(datagram, fields))
    except _JUNK as err:
        raise Malformed(str(err)) from err
    options = {option.lower(): value for option, value in packet.options.items()}
    return ReadRequest(_plain_name(packet.filename), options)


def negotiate(options: Mapping[str, str], size: int, path_blksize: int) -> Terms:
    """The terms for a file of `size` bytes on a path that takes blocks of `path_blksize` bytes in one piece.

    An option with a value out of its range is ignored, as RFC 2347 allows.
    """
    accepted: dict[str, str] = {}
    blksize, windowsize, timeout_s = DEFAULT_BLKSIZE, 1, None
    if (asked := _number(options.get("blksize"))) is not None and LEAST_BLKSIZE <= asked <= MOST_BLKSIZE:
        # A ROM does not put fragments together.
        blksize = max(min(asked, path_blksize), LEAST_BLKSIZE)
        accepted["blksize"] = str(blksize)
    if (asked := _number(options.get("windowsize"))) is not None and 1 <= asked <= 65535:
        windowsize = min(asked, MOST_WINDOWSIZE)
        accepted["windowsize"] = str(windowsize)
    if (asked := _number(options.get("timeout"))) is not None and 1 <= asked <= 255:
        timeout_s = asked
        accepted["timeout"] = str(asked)
    if _number(options.get("tsize")) is not None:
        accepted["tsize"] = str(size)
    return Terms(blksize, windowsize, timeout_s, accepted)


def opcode(datagram: bytes) -> int:
    """The packet's opcode, 0 where there is none."""
    return int.from_bytes(datagram[:2], "big") if len(datagram) >= 2 else 0


def acknowledged_block(datagram: bytes) -> int | None:
    """The block number of an ACK, None for any other packet."""
    return datagram[2] << 8 | datagram[3] if datagram[:2] == b"\0\4" and len(datagram) >= 4 else None


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


def data(block: int, content: bytes) -> bytes:
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


def error(code: int, text: str) -> bytes:
    """An ERROR packet; tftpy's class knows only the standard's own texts."""
    return _HEADER.pack(ERROR, code) + text.encode("ascii", "replace") + b"\0"


def rrq(name: str, options: Mapping[str, str]) -> bytes:
    """A read request in octet mode."""
    packet = TftpPacketRRQ()
    packet.filename = name
    packet.mode = "octet"
    packet.options = dict(options)
    return bytes(packet.encode().buffer)


def _without_empty_options(datagram: bytes, fields: list[bytes]) -> bytes:
    """RFC 2090's "multicast" has no value, and some ROMs fill a request up with zeros: tftpy reads neither."""
    if b"" not in fields[2:-1]:
        return datagram
    pairs = zip(fields[2:-1:2], fields[3:-1:2], strict=False)
    kept = [part for name, value in pairs if name and value for part in (name, value)]
    return datagram[:2] + b"\0".join([*fields[:2], *kept, b""])


def _plain_name(name: str) -> str:
    """Firmware writes "/name" and "\\name" as often as "name", and GRUB two slashes in a row. Raises Refused."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Refused(ACCESS_VIOLATION, 'a file\'s name has no part ".."')
    return "/".join(parts)


def _number(value: str | None) -> int | None:
    return int(value) if value is not None and value.isascii() and value.isdigit() and len(value) < 12 else None
