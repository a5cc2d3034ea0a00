"""The options that boot needs: their codes, and the values that have a form of their own (RFC 8415 §21)."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv6Address

CLIENT_ID = 1
SERVER_ID = 2
IA_NA = 3
IA_TA = 4
IA_ADDRESS = 5
OPTION_REQUEST = 6
PREFERENCE = 7
ELAPSED_TIME = 8
RELAY_MESSAGE = 9
STATUS_CODE = 13
RAPID_COMMIT = 14
USER_CLASS = 15
VENDOR_CLASS = 16
INTERFACE_ID = 18
RECONFIGURE_ACCEPT = 20
DNS_SERVERS = 23  # RFC 3646
IA_PD = 25
REMOTE_ID = 37  # RFC 4649
BOOT_FILE_URL = 59  # RFC 5970
BOOT_FILE_PARAMETERS = 60
CLIENT_ARCH = 61
NETWORK_INTERFACE = 62
CLIENT_LINK_LAYER = 79  # RFC 6939
SOL_MAX_RT = 82  # RFC 8415 §21.24, RFC 7083 before
RELAY_SOURCE_PORT = 135  # RFC 8357

SOLICIT = 1
ADVERTISE = 2
REQUEST = 3
CONFIRM = 4
RENEW = 5
REBIND = 6
REPLY = 7
RELEASE = 8
DECLINE = 9
RECONFIGURE = 10
INFORMATION_REQUEST = 11
RELAY_FORWARD = 12
RELAY_REPLY = 13

SUCCESS = 0
NO_ADDRS_AVAIL = 2
NO_BINDING = 3
NOT_ON_LINK = 4
USE_MULTICAST = 5
NO_PREFIX_AVAIL = 6

# An option may come several times, and the order of IA options means something to us: so no mapping.
Options = tuple[tuple[int, bytes], ...]

_HEADER = struct.Struct("!HH")
_IA = struct.Struct("!III")
_ADDRESS = struct.Struct("!16sII")


class Malformed(Exception):
    """The datagram is not a DHCPv6 message."""


def read_options(field: bytes) -> Options:
    """Read options up to the end of the field. Raises Malformed where one runs past it."""
    found: list[tuple[int, bytes]] = []
    at, size = 0, len(field)
    while at < size:
        if at + 4 > size:
            raise Malformed("half an option's header")
        code, length = _HEADER.unpack_from(field, at)
        at += 4
        if at + length > size:
            raise Malformed(f"option {code} runs past its field")
        found.append((code, field[at : at + length]))
        at += length
    return tuple(found)


def write_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """Options one after another. Raises Malformed for a value over 65,535 bytes or a code over 65,535."""
    try:
        return b"".join(_HEADER.pack(code, len(value)) + value for code, value in options)
    except struct.error as err:
        raise Malformed("an option that has no form on the wire") from err


def first(options: Options, code: int) -> bytes | None:
    """The value of the first option of that code, None where there is none."""
    for found, value in options:
        if found == code:
            return value
    return None


@dataclass(frozen=True, slots=True)
class IaAddress:
    """An address with its lifetimes in seconds (RFC 8415 §21.6)."""

    address: IPv6Address
    preferred: int
    valid: int


@dataclass(frozen=True, slots=True)
class Ia:
    """An identity association for addresses (IA_NA, RFC 8415 §21.4); t1 and t2 in seconds."""

    iaid: int
    t1: int = 0
    t2: int = 0
    addresses: tuple[IaAddress, ...] = ()
    status: tuple[int, str] | None = None


def read_ia(value: bytes) -> Ia:
    """Option 3. What else stands in it is left out. Raises Malformed."""
    if len(value) < 12:
        raise Malformed("an IA_NA too short")
    iaid, t1, t2 = _IA.unpack_from(value)
    addresses: list[IaAddress] = []
    state: tuple[int, str] | None = None
    for code, inner in read_options(value[12:]):
        if code == IA_ADDRESS:
            if len(inner) < 24:
                raise Malformed("an address too short")
            address, preferred, valid = _ADDRESS.unpack_from(inner)
            addresses.append(IaAddress(IPv6Address(address), preferred, valid))
        elif code == STATUS_CODE:
            state = read_status(inner)
    return Ia(iaid, t1, t2, tuple(addresses), state)


def ia(value: Ia) -> bytes:
    """Option 3."""
    inner = [(IA_ADDRESS, _ADDRESS.pack(one.address.packed, one.preferred, one.valid)) for one in value.addresses]
    if value.status is not None:
        inner.append((STATUS_CODE, status(*value.status)))
    return _IA.pack(value.iaid, value.t1, value.t2) + write_options(inner)


def status(code: int, text: str = "") -> bytes:
    """Option 13."""
    return code.to_bytes(2, "big") + text.encode()


def read_status(value: bytes) -> tuple[int, str]:
    """Option 13 as its code and text. Raises Malformed."""
    if len(value) < 2:
        raise Malformed("a status code too short")
    return int.from_bytes(value[:2], "big"), value[2:].decode("utf-8", "replace")


def numbers(value: bytes) -> tuple[int, ...]:
    """Options 6 and 61: numbers of two bytes. Raises Malformed for half a number."""
    if len(value) % 2:
        raise Malformed("half a number in a list")
    return struct.unpack(f"!{len(value) // 2}H", value)


def addresses(values: Iterable[IPv6Address]) -> bytes:
    """Option 23: addresses one after another."""
    return b"".join(value.packed for value in values)


def texts(value: bytes) -> tuple[bytes, ...]:
    """Option 15, and what follows the enterprise number of option 16: texts, each with its length before it.

    Raises Malformed where one runs past the option.
    """
    found: list[bytes] = []
    at = 0
    while at < len(value):
        end = at + 2 + int.from_bytes(value[at : at + 2], "big")
        if at + 2 > len(value) or end > len(value):
            raise Malformed("a class runs past its option")
        found.append(value[at + 2 : end])
        at = end
    return tuple(found)


def vendor_class(enterprise: int, *classes: bytes) -> bytes:
    """Option 16."""
    return enterprise.to_bytes(4, "big") + b"".join(len(one).to_bytes(2, "big") + one for one in classes)
