"""Who is at the other end of a cable, as LLDP tells it (IEEE 802.1AB-2016 §8 and §9.1.2.2), and listening for it."""

from __future__ import annotations

import fcntl
import select
import socket
import struct
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypedDict

    class Neighbour(TypedDict):
        """What is not said is empty. `chassis` and `port` are MAC addresses with colons where they are such."""

        chassis: str
        port: str
        port_description: str
        system: str
        system_description: str
        ttl_s: int


ETHERTYPE = 0x88CC
_GROUPS = (b"\x01\x80\xc2\x00\x00\x0e", b"\x01\x80\xc2\x00\x00\x03", b"\x01\x80\xc2\x00\x00\x00")  # §7.1
_END, _CHASSIS, _PORT, _TTL, _PORT_DESCRIPTION, _SYSTEM_NAME, _SYSTEM_DESCRIPTION = range(7)
_MAC_SUBTYPE = {_CHASSIS: 4, _PORT: 3}  # §8.5.2.2, §8.5.3.2
_ADDRESS_SUBTYPE = {_CHASSIS: 5, _PORT: 4}
_PACKET_ADD_MEMBERSHIP, _PACKET_MR_MULTICAST, _SOL_PACKET = 1, 0, 263  # linux/if_packet.h
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1


class Malformed(ValueError):
    """The bytes are no LLDP data unit."""


def decode(unit: bytes) -> Neighbour:
    """One LLDP data unit, which is an Ethernet frame's content. Raises Malformed."""
    found: Neighbour = {
        "chassis": "",
        "port": "",
        "port_description": "",
        "system": "",
        "system_description": "",
        "ttl_s": 0,
    }
    at = place = 0
    while True:
        if at + 2 > len(unit):
            raise Malformed("the unit ends without its end")
        head = int.from_bytes(unit[at : at + 2], "big")
        kind, length = head >> 9, head & 0x1FF
        value = unit[at + 2 : at + 2 + length]
        if len(value) < length:
            raise Malformed(f"an element of type {kind} is cut off")
        # §9.2.7.7.1: chassis, port and time to live come first, in this order, and once.
        if (kind in (_CHASSIS, _PORT, _TTL) or place < 3) and kind != place + 1:
            raise Malformed(f"an element of type {kind} in place {place + 1}")
        if kind == _END:
            return found
        if kind in (_CHASSIS, _PORT):
            if not 2 <= length <= 256:
                raise Malformed(f"an element of type {kind} of {length} bytes")
            found["chassis" if kind == _CHASSIS else "port"] = _identity(kind, value)
        elif kind == _TTL:
            if length < 2:
                raise Malformed(f"a time to live of {length} bytes")
            found["ttl_s"] = int.from_bytes(value[:2], "big")
        elif kind == _PORT_DESCRIPTION:
            found["port_description"] = _text(value)
        elif kind == _SYSTEM_NAME:
            found["system"] = _text(value)
        elif kind == _SYSTEM_DESCRIPTION:
            found["system_description"] = _text(value)
        at += 2 + length
        place += 1


def _identity(kind: int, value: bytes) -> str:
    subtype, name = value[0], value[1:]
    if subtype == _MAC_SUBTYPE[kind] and len(name) == 6:
        return name.hex(":")
    if subtype == _ADDRESS_SUBTYPE[kind] and name[:1] == b"\x01" and len(name) == 5:  # IANA's family of IPv4
        return ".".join(map(str, name[1:]))
    if subtype == _ADDRESS_SUBTYPE[kind] and name[:1] == b"\x02" and len(name) == 17:
        return socket.inet_ntop(socket.AF_INET6, name[1:])
    return _text(name)


def _text(value: bytes) -> str:
    return "".join(letter for letter in value.decode("utf-8", "replace") if letter.isprintable()).strip()


def listen(names: Sequence[str], limit_s: float) -> dict[str, Neighbour]:
    """The neighbours of these network cards, by the card's name; those heard within the limit, which ends when all are.

    Most switches speak every 30 s. Cards are switched on; one that cannot be listened on is left out.
    """
    heard: dict[str, Neighbour] = {}
    sockets: dict[socket.socket, str] = {}
    try:
        for name in names:
            try:
                sockets[_opened(name)] = name
            except OSError as err:
                print(f"roundhouse: LLDP on {name}: {err}", flush=True)
        until = time.monotonic() + limit_s
        while len(heard) < len(sockets) and (left := until - time.monotonic()) > 0:
            waiting = [sock for sock, name in sockets.items() if name not in heard]
            for sock in select.select(waiting, [], [], left)[0]:
                try:
                    heard[sockets[sock]] = decode(sock.recv(2048)[14:])
                except (Malformed, OSError) as err:
                    print(f"roundhouse: LLDP on {sockets[sock]}: {err}", flush=True)
    finally:
        for sock in sockets:
            sock.close()
    return heard


def _opened(name: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETHERTYPE))
    try:
        request = struct.pack("16sH14x", name.encode(), 0)
        (flags,) = struct.unpack_from("H", fcntl.ioctl(sock, _SIOCGIFFLAGS, request), 16)
        if not flags & _IFF_UP:
            fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", name.encode(), flags | _IFF_UP))
        sock.bind((name, ETHERTYPE))
        for group in _GROUPS:
            wanted = struct.pack("iHH8s", socket.if_nametoindex(name), _PACKET_MR_MULTICAST, 6, group)
            sock.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, wanted)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock
