"""The options that boot needs: their codes, and the values that have a form of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv4Address, IPv4Network

PAD = 0
SUBNET_MASK = 1
ROUTER = 3
NAMESERVERS = 6
HOSTNAME = 12
VENDOR_SPECIFIC = 43
REQUESTED_ADDRESS = 50
LEASE_TIME = 51
OVERLOAD = 52
MESSAGE_TYPE = 53
SERVER_ID = 54
PARAMETERS = 55
MESSAGE = 56
MAX_SIZE = 57
RENEWAL_TIME = 58
REBINDING_TIME = 59
VENDOR_CLASS = 60
CLIENT_ID = 61
TFTP_SERVER = 66
BOOT_FILE = 67
USER_CLASS = 77
AGENT_INFORMATION = 82  # RFC 3046
CLIENT_ARCH = 93  # RFC 4578
CLIENT_NDI = 94
CLIENT_UUID = 97
CLASSLESS_ROUTES = 121  # RFC 3442
TFTP_SERVERS = 150  # RFC 5859
IPXE = 175  # iPXE's encapsulated options: its src/include/ipxe/dhcp.h names them
END = 255

CIRCUIT_ID = 1  # sub-options of 82
REMOTE_ID = 2
LINK_SELECTION = 5  # RFC 3527
SERVER_ID_OVERRIDE = 11  # RFC 5107
IPXE_HTTP = 19  # sub-options of 175: iPXE can fetch by HTTP
IPXE_NO_PROXY_DHCP = 176  # do not wait three seconds for a ProxyDHCP offer

DISCOVER = 1
OFFER = 2
REQUEST = 3
DECLINE = 4
ACK = 5
NAK = 6
RELEASE = 7
INFORM = 8


def size(value: bytes) -> int:
    """The bytes that an option takes in a message, in pieces of 255 (RFC 3396 §6) where it is long."""
    return len(value) + 2 * max(1, (len(value) + 254) // 255)


def addresses(values: Iterable[IPv4Address]) -> bytes:
    """Options 3 and 6: addresses one after another."""
    return b"".join(value.packed for value in values)


def routes(values: Iterable[tuple[IPv4Network, IPv4Address]]) -> bytes:
    """Option 121: prefix length, the prefix's significant bytes, router (RFC 3442)."""
    return b"".join(
        bytes((prefix.prefixlen,)) + prefix.network_address.packed[: (prefix.prefixlen + 7) // 8] + router.packed
        for prefix, router in values
    )


def read_routes(value: bytes) -> tuple[tuple[IPv4Network, IPv4Address], ...]:
    """Option 121 back into routes; what follows a broken entry is left out."""
    found: list[tuple[IPv4Network, IPv4Address]] = []
    at = 0
    while at < len(value):
        length = value[at]
        significant = (length + 7) // 8
        end = at + 1 + significant + 4
        if length > 32 or end > len(value):
            break
        prefix = value[at + 1 : at + 1 + significant].ljust(4, b"\0")
        found.append((IPv4Network((prefix, length), strict=False), IPv4Address(value[end - 4 : end])))
        at = end
    return tuple(found)


def sub_options(values: Mapping[int, bytes]) -> bytes:
    """Encapsulated options (43, 82, 175), without an end mark."""
    return b"".join(bytes((code, len(value))) + value for code, value in values.items())


def read_sub_options(value: bytes) -> dict[int, bytes]:
    """Encapsulated options back into a mapping; what follows a broken entry is left out, so it never raises."""
    found: dict[int, bytes] = {}
    at = 0
    while at + 1 < len(value):
        code, length = value[at], value[at + 1]
        if code == END or at + 2 + length > len(value):
            break
        found[code] = value[at + 2 : at + 2 + length]
        at += 2 + length
    return found


def user_classes(value: bytes) -> tuple[bytes, ...]:
    """Option 77: a list of length-prefixed classes (RFC 3004), or, as iPXE sends it, one bare text."""
    classes: list[bytes] = []
    at = 0
    while at < len(value):
        length = value[at]
        if length == 0 or at + 1 + length > len(value):
            return (value,)
        classes.append(value[at + 1 : at + 1 + length])
        at += 1 + length
    return tuple(classes)
