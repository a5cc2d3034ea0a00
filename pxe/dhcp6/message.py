"""DHCPv6 messages as values, with the relays that they came through, and their form on the wire (RFC 8415 §8, §9)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv6Address

from pxe.dhcp6 import options as opt
from pxe.dhcp6.options import Malformed, Options, first, read_options, write_options

_RELAY = struct.Struct("!BB16s16s")
# RFC 8415 §7.6: a relay forwards what has less than 8 hops behind it, and the first relay writes 0.
_MOST_HOPS = 8
_FROM_SERVER = (opt.ADVERTISE, opt.REPLY, opt.RECONFIGURE)


@dataclass(frozen=True, slots=True)
class Message:
    """What client and server say to each other. `xid` is the transaction id, of 24 bits."""

    kind: int
    xid: int
    options: Options = ()

    def first(self, code: int) -> bytes | None:
        """The value of the first option of that code, None where there is none."""
        return first(self.options, code)

    def all(self, code: int) -> tuple[bytes, ...]:
        """The values of all options of that code, in their order."""
        return tuple(value for found, value in self.options if found == code)

    @property
    def asked_options(self) -> tuple[int, ...]:
        """The codes that the client asks for (option 6). Raises Malformed."""
        return opt.numbers(self.first(opt.OPTION_REQUEST) or b"")


@dataclass(frozen=True, slots=True)
class Relay:
    """One relay's part of a packet; `options` are without the message that it relays."""

    hops: int
    link_address: IPv6Address
    peer_address: IPv6Address  # where the relay had the message from
    options: Options = ()

    def first(self, code: int) -> bytes | None:
        """The value of the first option of that code, None where there is none."""
        return first(self.options, code)


@dataclass(frozen=True, slots=True)
class Packet:
    """A message and the relays between client and server, the one nearest to the client first."""

    message: Message
    relays: tuple[Relay, ...] = ()


def decode(datagram: bytes) -> Packet:
    """Read a datagram. Unknown options are kept. Raises Malformed and nothing else."""
    relays: list[Relay] = []
    kinds: set[int] = set()
    while datagram and datagram[0] in (opt.RELAY_FORWARD, opt.RELAY_REPLY):
        if len(datagram) < _RELAY.size:
            raise Malformed("a relay message too short")
        kind, hops, link, peer = _RELAY.unpack_from(datagram)
        if hops > _MOST_HOPS or len(relays) > _MOST_HOPS:
            raise Malformed("more relays than a packet may pass")
        options = read_options(datagram[_RELAY.size :])
        inner = [value for code, value in options if code == opt.RELAY_MESSAGE]
        if len(inner) != 1:
            raise Malformed(f"a relay message with {len(inner)} messages in it")
        kinds.add(kind)
        left = tuple(option for option in options if option[0] != opt.RELAY_MESSAGE)
        relays.append(Relay(hops, IPv6Address(link), IPv6Address(peer), left))
        datagram = inner[0]
    if len(datagram) < 4:
        raise Malformed(f"{len(datagram)} bytes are too few")
    message = Message(datagram[0], int.from_bytes(datagram[1:4], "big"), read_options(datagram[4:]))
    if kinds - {_relay_kind(message)}:
        raise Malformed("a message relayed in the wrong direction")
    return Packet(message, tuple(reversed(relays)))


def encode(packet: Packet) -> bytes:
    """Write a packet. Raises Malformed for a value that no datagram can carry."""
    message = packet.message
    if message.kind in (opt.RELAY_FORWARD, opt.RELAY_REPLY) or len(packet.relays) > _MOST_HOPS + 1:
        raise Malformed("not a client's or a server's message, or too many relays")
    try:
        body = struct.pack("!I", message.kind << 24 | message.xid) + write_options(message.options)
        for relay in packet.relays:
            header = _RELAY.pack(_relay_kind(message), relay.hops, relay.link_address.packed, relay.peer_address.packed)
            body = header + write_options((*relay.options, (opt.RELAY_MESSAGE, body)))
    except struct.error as err:
        raise Malformed("a field that has no form on the wire") from err
    return body


def _relay_kind(message: Message) -> int:
    return opt.RELAY_REPLY if message.kind in _FROM_SERVER else opt.RELAY_FORWARD
