"""One router advertisement for each solicitation (RFC 4861).

iPXE runs its IPv4 and IPv6 configurators together, and waits some 13 s for a router that never answers. Told at once
that there is none (lifetime 0), or that addresses come by DHCPv6, it goes on at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

import structlog

from pxe.interfaces import link_local_address

log = structlog.get_logger()

_ICMPV6 = 58
_SOLICITATION = 133
_ADVERTISEMENT = 134
_SOURCE_LINK_LAYER = 1
_PREFIX = 3
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ETH_P_IPV6 = 0x86DD
_HOP_LIMIT = 255  # RFC 4861 §6.1: anything less may have come from beyond the link, and is dropped
_MANAGED, _OTHER, _ON_LINK = 0x80, 0x40, 0x80

_IP = struct.Struct("!IHBB16s16s")
# RFC 4861 §4.2: type, code, checksum, hop limit, flags, lifetime, reachable time, retransmission timer
_MESSAGE = struct.Struct("!BBHBBHII")
# RFC 4861 §4.6.2: type, length in units of 8 bytes, prefix length, flags, valid and preferred lifetime, prefix
_PREFIX_OPTION = struct.Struct("!BBBBII4x16s")


@dataclass(frozen=True, slots=True)
class Advert:
    """What an advertisement says. Nobody may make up an address from it: they come by DHCPv6 or not at all."""

    managed: bool = False  # addresses come by DHCPv6
    other: bool = False  # DHCPv6 has the rest, too: what to boot from
    lifetime_s: int = 0  # how long the sender is a default router, at most 65,535; 0: it is none
    # What is on the link. iPXE knows a router only for the addresses of such a prefix, and takes the address that it
    # has by DHCPv6 for one of a /64: without a prefix of that length it reaches nobody.
    prefix: IPv6Network | None = None


def link_local(mac: bytes) -> IPv6Address:
    """The link-local address that belongs to a MAC address (RFC 4291, appendix A)."""
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:])


def is_solicitation(packet: bytes) -> bool:
    """True for an IPv6 packet that is a valid router solicitation from this very link (RFC 4861 §6.1.1)."""
    if len(packet) < 48:
        return False
    first, length, following, hops, source, target = _IP.unpack_from(packet)
    message = packet[40 : 40 + length]
    if first >> 28 != 6 or following != _ICMPV6 or hops != _HOP_LIMIT or len(message) != length or length < 8:
        return False
    if message[0] != _SOLICITATION or message[1] != 0 or _sum(source, target, message) != 0xFFFF:
        return False
    at, options = 8, set()
    while at < length:
        if at + 2 > length or message[at + 1] == 0 or at + 8 * message[at + 1] > length:
            return False
        options.add(message[at])
        at += 8 * message[at + 1]
    # Whoever has no address yet cannot be answered at a hardware address, either.
    return any(source) or _SOURCE_LINK_LAYER not in options


def advertisement(source: IPv6Address, mac: bytes, advert: Advert) -> bytes:
    """The IPv6 packet that answers: to all nodes, because the one that asks may have no address yet."""
    flags = (_MANAGED if advert.managed else 0) | (_OTHER if advert.other else 0)
    options = bytes((_SOURCE_LINK_LAYER, 1)) + mac
    if (prefix := advert.prefix) is not None:
        times = (advert.lifetime_s, advert.lifetime_s)
        options += _PREFIX_OPTION.pack(_PREFIX, 4, prefix.prefixlen, _ON_LINK, *times, prefix.network_address.packed)
    message = _MESSAGE.pack(_ADVERTISEMENT, 0, 0, 64, flags, advert.lifetime_s, 0, 0) + options
    checksum = ~_sum(source.packed, _ALL_NODES.packed, message) & 0xFFFF
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    return _IP.pack(6 << 28, len(message), _ICMPV6, _HOP_LIMIT, source.packed, _ALL_NODES.packed) + message


def _sum(source: bytes, target: bytes, message: bytes) -> int:
    """The sum in ones' complement over the pseudo header and the message (RFC 8200 §8.1)."""
    whole = source + target + struct.pack("!II", len(message), _ICMPV6) + message + bytes(len(message) % 2)
    total: int = sum(struct.unpack(f"!{len(whole) // 2}H", whole))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@asynccontextmanager
async def serve_router_advert(interface: str, say: Callable[[], Advert] = Advert) -> AsyncIterator[None]:
    """Answer router solicitations on `interface` while the block runs; `say` is asked each time. Needs root.

    It works on frames, not on an ICMPv6 socket, because the interface may have no IPv6 address at all. Its link-local
    address is the sender, or, where it has none, the one that belongs to its MAC address; a router (lifetime not 0)
    needs one that answers. Raises OSError where the interface is not there.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6))
    try:
        sock.setblocking(False)
        sock.bind((interface, _ETH_P_IPV6))
        index, mac = socket.if_nametoindex(interface), sock.getsockname()[4]
    except BaseException:
        sock.close()
        raise

    def readable() -> None:
        try:
            packet, (_, _, kind, *_) = sock.recvfrom(2048)
            if kind != socket.PACKET_OUTGOING and is_solicitation(packet):
                answer = advertisement(link_local_address(index) or link_local(mac), mac, say())
                sock.sendto(answer, (interface, _ETH_P_IPV6, 0, 0, _ALL_NODES_MAC))
        except OSError as err:  # the interface went down with its machine
            log.info("router_advert_failed", interface=interface, detail=str(err))

    loop.add_reader(sock, readable)
    try:
        yield
    finally:
        loop.remove_reader(sock)
        sock.close()
