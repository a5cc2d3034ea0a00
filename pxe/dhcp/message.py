"""DHCPv4 messages as values, and their form on the wire (RFC 2131, RFC 2132, RFC 3396)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from pxe.dhcp import options as opt

UNSPECIFIED = IPv4Address(0)
BOOTREQUEST = 1
BOOTREPLY = 2
BROADCAST_FLAG = 0x8000

_FIXED = struct.Struct("!BBBBIHH4s4s4s4s16s64s128s")
_COOKIE = b"\x63\x82\x53\x63"
# RFC 1542 §2.1: a BOOTP message has 300 bytes, and relays and ROMs exist that drop a shorter one.
_LEAST = 300


class Malformed(Exception):
    """The datagram is not a DHCP message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A DHCP message. `options` holds each code once, long ones put together (RFC 3396), without 52, 0 and 255."""

    op: int
    xid: int
    chaddr: bytes
    htype: int = 1
    hops: int = 0
    secs: int = 0
    flags: int = 0
    ciaddr: IPv4Address = UNSPECIFIED
    yiaddr: IPv4Address = UNSPECIFIED
    siaddr: IPv4Address = UNSPECIFIED
    giaddr: IPv4Address = UNSPECIFIED
    sname: bytes = b""
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)

    @property
    def kind(self) -> int | None:
        """The DHCP message type (option 53), None for plain BOOTP."""
        value = self.options.get(opt.MESSAGE_TYPE, b"")
        return value[0] if len(value) == 1 else None

    def address(self, code: int) -> IPv4Address | None:
        """An option that holds one address, None where it is absent or has another length."""
        value = self.options.get(code, b"")
        return IPv4Address(value) if len(value) == 4 else None


def decode(datagram: bytes) -> Message:
    """Read a datagram. Unknown options are kept. Raises Malformed and nothing else."""
    if len(datagram) < _FIXED.size + len(_COOKIE):
        raise Malformed(f"{len(datagram)} bytes are too few")
    op, htype, hlen, hops, xid, secs, flags, ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file = _FIXED.unpack_from(
        datagram
    )
    if op not in (BOOTREQUEST, BOOTREPLY):
        raise Malformed(f"op {op}")
    if hlen > 16:
        raise Malformed(f"hardware address of {hlen} bytes")
    if datagram[_FIXED.size : _FIXED.size + 4] != _COOKIE:
        raise Malformed("no magic cookie")
    parts = read_options(datagram[_FIXED.size + 4 :])
    overload = parts.pop(opt.OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        raise Malformed("option overload of an unknown kind")
    # RFC 3396 §5: the order of the pieces of a long option is the options field, then file, then sname.
    if overload[0] & 1:
        _append(parts, read_options(file))
        file = b""
    if overload[0] & 2:
        _append(parts, read_options(sname))
        sname = b""
    parts.pop(opt.OVERLOAD, None)
    return Message(
        op=op,
        htype=htype,
        hops=hops,
        xid=xid,
        secs=secs,
        flags=flags,
        ciaddr=_address(ciaddr),
        yiaddr=_address(yiaddr),
        siaddr=_address(siaddr),
        giaddr=_address(giaddr),
        chaddr=chaddr[:hlen],
        sname=sname.partition(b"\0")[0],
        file=file.partition(b"\0")[0],
        options=parts,
    )


def encode(message: Message) -> bytes:
    """Write a message, at least 300 bytes long, option 82 last (RFC 3046 §2.1).

    Raises Malformed for a value that no datagram can carry: a hardware address over 16 bytes, a server name over
    64, a file over 128.
    """
    if len(message.chaddr) > 16 or len(message.sname) > 64 or len(message.file) > 128:
        raise Malformed("a fixed field is too long")
    fixed = _FIXED.pack(
        message.op,
        message.htype,
        len(message.chaddr),
        message.hops,
        message.xid,
        message.secs,
        message.flags,
        message.ciaddr.packed,
        message.yiaddr.packed,
        message.siaddr.packed,
        message.giaddr.packed,
        message.chaddr,
        message.sname,
        message.file,
    )
    written = [fixed, _COOKIE]
    for code, value in message.options.items():
        if code != opt.AGENT_INFORMATION:
            _write_option(written, code, value)
    if opt.AGENT_INFORMATION in message.options:
        _write_option(written, opt.AGENT_INFORMATION, message.options[opt.AGENT_INFORMATION])
    written.append(b"\xff")
    return b"".join(written).ljust(_LEAST, b"\0")


def read_options(field_bytes: bytes) -> dict[int, bytes]:
    """Read one options field up to its end mark; a missing end mark is forgiven, as every server does.

    Raises Malformed where an option runs past the field.
    """
    found: dict[int, bytes] = {}
    at, size = 0, len(field_bytes)
    while at < size:
        code = field_bytes[at]
        if code == opt.END:
            break
        if code == opt.PAD:
            at += 1
            continue
        if at + 1 >= size or at + 2 + field_bytes[at + 1] > size:
            raise Malformed(f"option {code} runs past its field")
        end = at + 2 + field_bytes[at + 1]
        found[code] = found.get(code, b"") + field_bytes[at + 2 : end]
        at = end
    return found


def _address(packed: bytes) -> IPv4Address:
    # Most of the four addresses of a request are zero, and making one costs as much as a whole option.
    return UNSPECIFIED if packed == b"\0\0\0\0" else IPv4Address(packed)


def _append(parts: dict[int, bytes], more: Mapping[int, bytes]) -> None:
    for code, value in more.items():
        parts[code] = parts.get(code, b"") + value


def _write_option(written: list[bytes], code: int, value: bytes) -> None:
    """Append one option, split into pieces of 255 bytes (RFC 3396 §6); an empty one has one empty piece."""
    if len(value) <= 255:
        written += (bytes((code, len(value))), value)
        return
    for at in range(0, len(value), 255):
        piece = value[at : at + 255]
        written += (bytes((code, len(piece))), piece)
