"""The DHCPv6 endpoint: relayed and local clients, every answer asked of `Decide6`."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address

import structlog

from pxe.counters import Counters
from pxe.decide import BootRequest6, Decide6
from pxe.dhcp6 import options as opt
from pxe.dhcp6.answer import Identity6, answer, reply_packet, use_multicast
from pxe.dhcp6.message import Message, Packet, decode, encode
from pxe.dhcp6.options import Malformed
from pxe.dhcp6.request import boot_request
from pxe.interfaces import global_address

log = structlog.get_logger()

Address = tuple[str, int, int, int]

# RFC 8415 §7.1: where clients and relays on the link ask, and where relays ask that know no server.
_GROUPS = ("ff02::1:2", "ff05::1:3")
_PACKET_INFO = struct.Struct("=16sI")  # linux/ipv6.h, in6_pktinfo: address, interface
_MULTICAST_ALL = 29  # Linux's IPV6_MULTICAST_ALL; the socket module has no name for it
_NAMES = {opt.ADVERTISE: "dhcp6_advertise", opt.REPLY: "dhcp6_reply"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dhcp6Settings:
    """Where the server listens and what it calls itself. Ports other than RFC 8415's let it run without root."""

    listen: str  # a unicast address for relays; "::" for all of this host's
    duid: bytes  # `pxe.dhcp6.answer.server_duid`: the same on all hosts that serve together
    tftp_server: IPv6Address
    http_url: str
    interfaces: tuple[str, ...] = ()  # where clients are on the link, or relays that ask by multicast
    port: int = 547
    relay_port: int = 547  # where a relay takes its replies, unless it says another port (RFC 8357)
    client_port: int = 546


class Dhcp6Server:
    """Answers each datagram at once, in the callback that receives it."""

    def __init__(
        self,
        settings: Dhcp6Settings,
        decide: Decide6,
        counters: Counters | None = None,
        declined: Callable[[BootRequest6], None] | None = None,
    ) -> None:
        """`declined` is called when a client found its address in use by somebody else (DECLINE)."""
        self.counters = counters or Counters()
        self._settings = settings
        self._decide = decide
        self._declined = declined
        self._identity = Identity6(settings.duid, settings.tftp_server, settings.http_url)

    def readable(self, sock: socket.socket) -> None:
        """Take what has come on a socket; after some datagrams it is the event loop's turn again."""
        for _ in range(64):
            try:
                datagram, ancillary, _, source = sock.recvmsg(8192, 64)
            except (BlockingIOError, InterruptedError):
                return
            except OSError as err:  # an ICMP error for an earlier reply
                log.debug("dhcp6_receive_failed", detail=str(err))
                continue
            self.counters.count("dhcp6_received")
            for level, kind, value in ancillary:
                if (level, kind) == (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO):
                    to, interface = _PACKET_INFO.unpack(value)
                    self._take(sock, datagram, source, IPv6Address(to), interface)

    def _take(self, sock: socket.socket, datagram: bytes, source: Address, to: IPv6Address, interface: int) -> None:
        try:
            packet = decode(datagram)
            reply = self._reply(packet, source, to, interface)
            if reply is None:
                self.counters.count("dhcp6_silent")
                return
            answered = encode(reply_packet(packet, reply))
        except Malformed as err:
            self.counters.count("dhcp6_malformed")
            log.debug("dhcp6_malformed", source=source[0], detail=str(err))
            return
        target = self._target(packet, source)
        # From the address that was asked; where that is a group's, from the one that the kernel has there.
        info = [] if to.is_multicast else [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO.pack(to.packed, 0))]
        try:
            sock.sendmsg([answered], info, 0, target)
        except OSError as err:
            self.counters.count("dhcp6_send_failed")
            log.info("dhcp6_send_failed", target=target[0], detail=str(err))
            return
        self.counters.count(_NAMES[reply.kind])

    def _reply(self, packet: Packet, source: Address, to: IPv6Address, interface: int) -> Message | None:
        """The reply, None where silence is the answer. Raises Malformed."""
        message, asker = packet.message, IPv6Address(source[0])
        if not packet.relays and not to.is_multicast:
            return use_multicast(message, self._identity)
        asked = boot_request(packet, asker, None if packet.relays else global_address(interface))
        try:
            decision = self._decide(asked)
        except Exception:
            # Silence is what a client can live with: it asks again. The reason must not be lost all the same.
            self.counters.count("dhcp6_undecided")
            log.exception("dhcp6_undecided", mac=asked.mac, link=str(asked.link_address), interface=asked.interface_id)
            return None
        reply = answer(message, decision, self._identity)
        if reply is None:
            log.debug("dhcp6_silent", kind=message.kind, mac=asked.mac, reason=decision.reason)
        elif message.kind == opt.DECLINE:
            self.counters.count("dhcp6_declined")
            if self._declined is not None:
                self._declined(asked)
        return reply

    def _target(self, packet: Packet, source: Address) -> Address:
        host, port, _, scope = source
        if not packet.relays:
            return host, self._settings.client_port, 0, scope
        if packet.relays[-1].first(opt.RELAY_SOURCE_PORT) is None:
            port = self._settings.relay_port
        return host, port, 0, scope


def _open(address: str, port: int, interface: str | None = None) -> socket.socket:
    """A socket at an address of ours, or at a group on an interface."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        # Several processes of one host share what relays send; what clients multicast each of them gets, and all
        # answer the same.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        # A row of racks that is powered on at once asks in one second; the kernel's default holds some 300 messages.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        # Groups have sockets of their own; without this one at "::" would hear them, too.
        sock.setsockopt(socket.IPPROTO_IPV6, _MULTICAST_ALL, 0)
        index = 0
        if interface is not None:
            index = socket.if_nametoindex(interface)
            group = socket.inet_pton(socket.AF_INET6, address) + struct.pack("=I", index)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
        sock.bind((address, port, 0, index))
    except BaseException:
        sock.close()
        raise
    return sock


@asynccontextmanager
async def serve_dhcp6(
    settings: Dhcp6Settings,
    decide: Decide6,
    *,
    counters: Counters | None = None,
    declined: Callable[[BootRequest6], None] | None = None,
) -> AsyncIterator[Dhcp6Server]:
    """Serve DHCPv6 while the block runs. Raises OSError where an address, an interface or the port cannot be had."""
    loop = asyncio.get_running_loop()
    server = Dhcp6Server(settings, decide, counters, declined)
    with ExitStack() as stack:
        sockets = [stack.enter_context(_open(settings.listen, settings.port))]
        for interface in settings.interfaces:
            sockets += [stack.enter_context(_open(group, settings.port, interface)) for group in _GROUPS]
        for sock in sockets:
            loop.add_reader(sock, server.readable, sock)
            stack.callback(loop.remove_reader, sock)
        yield server
