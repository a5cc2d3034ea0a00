"""The socket of one transfer; it is connected, so the kernel drops foreign packets and knows the path's MTU."""

from __future__ import annotations

import errno
import socket
import struct
from enum import StrEnum
from time import monotonic
from typing import Protocol

from pxe.tftp import packets
from pxe.tftp.packets import ReadRequest
from pxe.tftp.sender import Sender

# An IPv4 address and a port; IPv6 has a flow label and a scope, too.
Address = tuple[str, int] | tuple[str, int, int, int]

# An ACK has 4 bytes, and nobody reads the text of a client's ERROR.
_MOST_ANSWER = 64
# Linux's ip(7), ipv6(7) and udp(7); the socket module has no names for them.
_IP_MTU, _IPV6_MTU, _UDP_SEGMENT = 14, 24, 103
# What the kernel takes in one call, to be cut into datagrams.
_MOST_SEGMENTS, _MOST_BYTES = 64, 65507
# The path has become narrower than was agreed (then the kernel makes fragments), or is encrypted.
_NOT_CUT = (errno.EINVAL, errno.EMSGSIZE, errno.EIO)
_IPV4_HEADERS, _IPV6_HEADERS = 20 + 8 + 4, 40 + 8 + 4


class Outcome(StrEnum):
    """How a transfer ended."""

    SENT = "tftp_sent"
    PROBED = "tftp_probes"  # the client wanted no more than the OACK, which tells the size
    GIVEN_UP = "tftp_given_up"


class Owner(Protocol):
    """Who keeps the transfers, and is told what becomes of them."""

    def file(self, transfer: Transfer) -> None:
        """The deadline is nearer than what `filed` says."""

    def heard(self, transfer: Transfer) -> None:
        """The client has answered for the first time."""

    def ended(self, transfer: Transfer, outcome: Outcome) -> None:
        """Nothing more is to be sent; the owner closes the transfer."""


class Transfer:
    """One file on its way to one client."""

    __slots__ = (
        "_at_once",
        "_cut",
        "_owner",
        "_receive",
        "_send_one",
        "_sock",
        "_unheard",
        "began",
        "filed",
        "outcome",
        "peer",
        "request",
        "sender",
    )

    def __init__(self, sock: socket.socket, peer: Address, request: ReadRequest, content: bytes, owner: Owner) -> None:
        self._sock = sock
        self._receive, self._send_one = sock.recv, sock.send
        self._owner = owner
        self._unheard = True
        self.peer = peer
        self.request = request
        self.filed = float("inf")  # when the owner looks whether the deadline has come
        self.outcome: Outcome | None = None  # set by the owner
        terms = packets.negotiate(request.options, len(content), path_blksize(sock))
        self.sender = Sender(content, terms)
        size = self.sender.datagram_size
        self._at_once = min(_MOST_BYTES // size, _MOST_SEGMENTS) * size
        self._cut = ((socket.IPPROTO_UDP, _UDP_SEGMENT, struct.pack("=H", size)),)
        self.began = monotonic()

    def start(self) -> None:
        """Send the first answer."""
        self._send(self.sender.start(self.began))

    def readable(self) -> None:
        """Take one packet of the client's."""
        try:
            datagram = self._receive(_MOST_ANSWER)
        except ConnectionRefusedError:
            self._refused()
            return
        except OSError:  # nothing there; or the way to the client is broken for now: the deadline decides
            return
        block = packets.acknowledged_block(datagram)
        if block is not None:
            self._send(self.sender.acknowledged(block, monotonic()))
            if self._unheard and self.sender.heard:
                self._unheard = False
                self._owner.heard(self)
        elif packets.opcode(datagram) == packets.ERROR:
            # OVMF asks twice: first only for the OACK's tsize, which it ends with an ERROR. No fault.
            self._owner.ended(self, Outcome.GIVEN_UP if self.sender.heard else Outcome.PROBED)

    def asked_again(self) -> None:
        """The client has repeated its request."""
        self._send(self.sender.asked_again(monotonic()))

    def overdue(self, now: float) -> None:
        """The Sender's deadline has come."""
        self._send(self.sender.timed_out(now))

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """The socket's descriptor."""
        return self._sock.fileno()

    def _send(self, datagrams: bytes) -> None:
        """Send what the Sender gave. What the kernel has no room for now is as good as lost on the way."""
        sender = self.sender
        if not datagrams:
            if sender.finished or sender.given_up:
                self._owner.ended(self, Outcome.SENT if sender.finished else Outcome.GIVEN_UP)
            return
        if sender.deadline < self.filed:
            self._owner.file(self)
        try:
            if len(datagrams) <= sender.datagram_size or not sender.heard:
                self._send_one(datagrams)
            else:
                self._send_many(datagrams, sender.datagram_size)
        except ConnectionRefusedError:
            self._refused()
        except OSError:
            pass

    def _send_many(self, datagrams: bytes, size: int) -> None:
        """By one call, where the kernel cuts them (udp(7), UDP_SEGMENT): a window costs little more than a datagram."""
        if self._at_once:
            try:
                for at in range(0, len(datagrams), self._at_once):
                    self._sock.sendmsg((datagrams[at : at + self._at_once],), self._cut)
                return
            except OSError as err:
                if err.errno not in _NOT_CUT:
                    raise
                self._at_once = 0
        for at in range(0, len(datagrams), size):
            self._send_one(datagrams[at : at + size])

    def _refused(self) -> None:
        """Nobody listens at the client's port any more: it has gone away without a word, or its last ACK was lost."""
        if not self.sender.heard:
            self._owner.ended(self, Outcome.PROBED)
        else:
            self._owner.ended(self, Outcome.SENT if self.sender.at_the_end else Outcome.GIVEN_UP)


def path_blksize(sock: socket.socket) -> int:
    """The largest block that goes to the socket's peer in one piece."""
    if sock.family == socket.AF_INET6:
        return sock.getsockopt(socket.IPPROTO_IPV6, _IPV6_MTU) - _IPV6_HEADERS
    return sock.getsockopt(socket.IPPROTO_IP, _IP_MTU) - _IPV4_HEADERS
