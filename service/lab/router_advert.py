"""One router advertisement for each solicitation, as the leaf's `protocols router-advertisement` gives it.

iPXE runs its IPv4 and IPv6 configurators together and waits some 13 s for a router that never answers. This one
answers that it is no router (lifetime 0, no prefix), and the boot goes on at once.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address

import structlog

log = structlog.get_logger()

_ICMPV6 = 58
_SOLICITATION = 133
_ADVERTISEMENT = 134
_ALL_NODES = IPv6Address("ff02::1")
_ALL_NODES_MAC = bytes.fromhex("333300000001")
_ETH_P_IPV6 = 0x86DD
_HOP_LIMIT = 255  # RFC 4861 §6.1: anything less may have come from beyond the link, and is dropped

# RFC 4861 §4.2: type, code, checksum, hop limit, flags, lifetime, reachable time, retransmission timer
_MESSAGE = struct.Struct("!BBHBBHII")


def link_local(mac: bytes) -> IPv6Address:
    """The link-local address that belongs to a MAC address (RFC 4291, appendix A)."""
    return IPv6Address(b"\xfe\x80" + bytes(6) + bytes((mac[0] ^ 2,)) + mac[1:3] + b"\xff\xfe" + mac[3:])


def is_solicitation(packet: bytes) -> bool:
    """True for an IPv6 packet that is a router solicitation from this very link (RFC 4861 §6.1.1)."""
    return (
        len(packet) >= 48
        and packet[0] >> 4 == 6
        and packet[6] == _ICMPV6
        and packet[7] == _HOP_LIMIT
        and packet[40] == _SOLICITATION
    )


def advertisement(source: IPv6Address) -> bytes:
    """The IPv6 packet that answers: to all nodes, because the one that asks may have no address yet."""
    message = _MESSAGE.pack(_ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)
    pseudo_header = source.packed + _ALL_NODES.packed + struct.pack("!II", len(message), _ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo_header) + len(message)) // 2}H", pseudo_header + message))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    message = _MESSAGE.pack(_ADVERTISEMENT, 0, ~total & 0xFFFF, 64, 0, 0, 0, 0)
    header = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _HOP_LIMIT)
    return header + source.packed + _ALL_NODES.packed + message


@asynccontextmanager
async def serve_router_advert(interface: str) -> AsyncIterator[None]:
    """Answer router solicitations on `interface` while the block runs; needs root.

    It works on frames, not on an ICMPv6 socket, because the interface stands for a leaf's port, and has no IPv6
    address of its own while that port has none. Raises OSError where the interface is not there.
    """
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6))
    try:
        sock.setblocking(False)
        sock.bind((interface, _ETH_P_IPV6))
        answer = advertisement(link_local(sock.getsockname()[4]))
    except BaseException:
        sock.close()
        raise

    def readable() -> None:
        try:
            packet, (_, _, kind, *_) = sock.recvfrom(2048)
            if kind != socket.PACKET_OUTGOING and is_solicitation(packet):
                sock.sendto(answer, (interface, _ETH_P_IPV6, 0, 0, _ALL_NODES_MAC))
        except OSError as err:  # the interface went down with its machine
            log.info("router_advert_failed", interface=interface, detail=str(err))

    loop.add_reader(sock, readable)
    try:
        yield
    finally:
        loop.remove_reader(sock)
        sock.close()
