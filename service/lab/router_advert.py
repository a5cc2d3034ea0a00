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
from pathlib import Path

import structlog

from service.lab.namespace import in_namespace

log = structlog.get_logger()

_SOLICITATION = 133
_ADVERTISEMENT = 134
_ALL_NODES = "ff02::1"
_ALL_ROUTERS = "ff02::2"
_ICMPV6_FILTER = 1  # RFC 3542 §3.2; the socket module has no name for it

# RFC 4861 §4.2: type, code, checksum (the kernel's), hop limit, flags, lifetime, reachable time, retransmission timer
ADVERTISEMENT = struct.pack("!BBHBBHII", _ADVERTISEMENT, 0, 0, 64, 0, 0, 0, 0)


def _open_socket(interface: str) -> socket.socket:
    index = socket.if_nametoindex(interface)
    sock = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
        blocked = bytearray(b"\xff" * 32)
        struct.pack_into("=I", blocked, _SOLICITATION // 32 * 4, 0xFFFFFFFF ^ (1 << _SOLICITATION % 32))
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMPV6_FILTER, bytes(blocked))
        group = socket.inet_pton(socket.AF_INET6, _ALL_ROUTERS) + struct.pack("=I", index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        # RFC 4861 §6.1.2: a receiver drops an advertisement that may have come from beyond the link.
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def serve_router_advert(interface: str, *, namespace: Path | None = None) -> AsyncIterator[None]:
    """Answer router solicitations on `interface` while the block runs; needs root.

    Raises OSError where the interface is not there or the socket cannot be had.
    """
    loop = asyncio.get_running_loop()
    sock = in_namespace(namespace, lambda: _open_socket(interface))

    def readable() -> None:
        try:
            datagram = sock.recv(1500)
            if datagram[:1] == bytes((_SOLICITATION,)):
                # To all nodes: the one that asks may have no address yet.
                sock.sendto(ADVERTISEMENT, (_ALL_NODES, 0))
        except OSError as err:  # our link-local address is not ready yet; the client asks again
            log.info("router_advert_failed", interface=interface, detail=str(err))

    loop.add_reader(sock, readable)
    try:
        yield
    finally:
        loop.remove_reader(sock)
        sock.close()
