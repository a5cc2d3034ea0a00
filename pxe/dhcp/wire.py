"""The DHCP socket: by which interface and to which of our addresses a datagram came, and how its answer leaves."""

from __future__ import annotations

import fcntl
import socket
import struct
import sys
from dataclasses import dataclass
from ipaddress import IPv4Address

# Linux' numbers; Python 3.11 does not name them.
_IP_PKTINFO = 8
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33
_SO_RXQ_OVFL = 40
_SIOCGIFNAME = 0x8910
_SIOCGIFADDR = 0x8915

_PKTINFO = struct.Struct("=i4s4s")  # interface, our address, the datagram's destination (ip(7))
_ANCILLARY = socket.CMSG_SPACE(_PKTINFO.size) + socket.CMSG_SPACE(4)
_MOST_BYTES = 4096
# A data centre that is powered on at once asks in one second; the kernel's default holds some 300 messages.
_BUFFER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Arrival:
    """A datagram, and how it came."""

    datagram: bytes
    source: str  # the sender's address
    own: bytes  # the address of ours that it came to, packed; for a broadcast the kernel's choice
    interface: int  # the index of the interface that it came in by
    broadcast: bool


class DhcpSocket:
    """A UDP socket of DHCP's server side. Several on one port, of one user, share the unicasts among them."""

    def __init__(self, listen: str, port: int, interface: str | None) -> None:
        """Raises OSError where the address or the port cannot be had, PermissionError for an interface without root."""
        self.dropped = 0  # datagrams that the kernel had no room for so far
        self._socket = sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
            sock.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
            _enlarge(sock, _SO_RCVBUFFORCE, socket.SO_RCVBUF)
            _enlarge(sock, _SO_SNDBUFFORCE, socket.SO_SNDBUF)
            if interface is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            sock.bind((listen, port))
        except BaseException:
            sock.close()
            raise

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def receive(self) -> Arrival | None:
        """The next datagram, None where there is none yet."""
        try:
            datagram, ancillary, _, (source, _) = self._socket.recvmsg(_MOST_BYTES, _ANCILLARY)
        except BlockingIOError:
            return None
        interface, own, destination = 0, b"", b""
        for level, kind, value in ancillary:
            if level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                interface, own, destination = _PKTINFO.unpack(value)
            elif level == socket.SOL_SOCKET and kind == _SO_RXQ_OVFL:
                self.dropped = int.from_bytes(value, sys.byteorder)
        return Arrival(datagram, source, own, interface, own != destination)

    def send(self, datagram: bytes, to: tuple[str, int], own: bytes, interface: int = 0) -> None:
        """Send from our address `own`, by this interface (0: as the routes say). Raises OSError."""
        info = _PKTINFO.pack(interface, own, b"\0\0\0\0")
        self._socket.sendmsg((datagram,), ((socket.IPPROTO_IP, _IP_PKTINFO, info),), 0, to)

    def address_on(self, interface: int) -> IPv4Address | None:
        """Our first address on an interface, None where we have none there.

        What the kernel tells with a broadcast will not do: where the interface has no address it names one of another
        interface, and a client there would be taken for one of that other link.
        """
        try:
            named = fcntl.ioctl(self._socket, _SIOCGIFNAME, struct.pack("=16xi20x", interface))
            found = fcntl.ioctl(self._socket, _SIOCGIFADDR, named)
        except OSError:
            return None
        return IPv4Address(found[20:24])


def _enlarge(sock: socket.socket, forced: int, allowed: int) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
    except PermissionError:  # not root: as large as the kernel's limit allows
        sock.setsockopt(socket.SOL_SOCKET, allowed, _BUFFER_BYTES)
