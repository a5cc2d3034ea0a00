"""What a DHCPv6 message says about the machine that boots, as the value that a decision is made from."""

from __future__ import annotations

import uuid
from ipaddress import IPv6Address

from pxe.decide import Arch, BootRequest6, Relayed6, Stage
from pxe.dhcp.circuit import readings
from pxe.dhcp.request import ARCHITECTURES, text
from pxe.dhcp6 import options as opt
from pxe.dhcp6.message import Message, Packet, Relay

UNSPECIFIED = IPv6Address(0)
_ETHERNET = b"\0\x01"
_DUID_TIME, _DUID_LINK_LAYER, _DUID_UUID = b"\0\x01", b"\0\x03", b"\0\x04"  # RFC 8415 §11.1


def boot_request(packet: Packet, source: IPv6Address, link: IPv6Address | None) -> BootRequest6:
    """Reduce a packet to what a decision may depend on; `source` is where the datagram came from.

    `link` is our own address on the link of a client that no relay stands before. Raises Malformed for an option that
    cannot be read.
    """
    message, relays = packet.message, packet.relays
    duid, stage = message.first(opt.CLIENT_ID) or b"", stage_of(message)
    nearest = _relayed(relays[0]) if relays else Relayed6(link, None, None)
    # A switch that relays without being a router has no link address (RFC 6221 §5.3.2); the next relay tells it.
    links = (relay.link_address for relay in relays if relay.link_address != UNSPECIFIED)
    return BootRequest6(
        stage=stage,
        arch=architecture(message) or Arch.BIOS,
        duid=duid,
        mac=_mac(duid, relays[0] if relays else None, source),
        link_address=next(links, nearest.link_address),
        interface_id=nearest.interface_id,
        remote_id=nearest.remote_id,
        addresses=tuple(one.address for value in message.all(opt.IA_NA) for one in opt.read_ia(value).addresses),
        uuid=_uuid(duid, stage),
        readings=nearest.readings,
        beyond=tuple(_relayed(relay) for relay in relays[1:]),
    )


def stage_of(message: Message) -> Stage:
    """Who asks. Raises Malformed."""
    if b"iPXE" in opt.texts(message.first(opt.USER_CLASS) or b""):
        return Stage.IPXE
    for vendor_class in opt.texts((message.first(opt.VENDOR_CLASS) or b"")[4:]):
        if vendor_class.startswith(b"HTTPClient"):
            return Stage.HTTP_FIRMWARE
        if vendor_class.startswith(b"PXEClient"):
            return Stage.FIRMWARE
    return Stage.SYSTEM


def architecture(message: Message) -> Arch | None:
    """The first architecture of option 61 that has a first-stage file, None where none has. Raises Malformed."""
    for number in opt.numbers(message.first(opt.CLIENT_ARCH) or b""):
        if arch := ARCHITECTURES.get(number):
            return arch
    return None


def _relayed(relay: Relay) -> Relayed6:
    interface_id, remote_id = relay.first(opt.INTERFACE_ID), relay.first(opt.REMOTE_ID)
    if remote_id is not None:
        remote_id = remote_id[4:]  # RFC 4649 §3: first the enterprise number of the relay's vendor
    return Relayed6(
        relay.link_address if relay.link_address != UNSPECIFIED else None,
        text(interface_id),
        text(remote_id),
        readings(interface_id, remote_id) if interface_id is not None else (),
    )


def _uuid(duid: bytes, stage: Stage) -> str | None:
    """The machine's UUID as a DUID tells it (RFC 6355); UEFI's firmware leaves it in the byte order of SMBIOS."""
    if not duid.startswith(_DUID_UUID) or len(duid) != 18:
        return None
    if stage in (Stage.FIRMWARE, Stage.HTTP_FIRMWARE):
        return str(uuid.UUID(bytes_le=duid[2:]))
    return str(uuid.UUID(bytes=duid[2:]))


def _mac(duid: bytes, nearest: Relay | None, source: IPv6Address) -> str | None:
    """The client's MAC address as the relay saw it, as the DUID tells it, or as its link-local address does."""
    seen = nearest.first(opt.CLIENT_LINK_LAYER) if nearest else None
    if seen is not None and len(seen) == 8 and seen.startswith(_ETHERNET):
        return seen[2:].hex(":")
    if duid.startswith(_DUID_LINK_LAYER + _ETHERNET) and len(duid) == 10:
        return duid[4:].hex(":")
    if duid.startswith(_DUID_TIME + _ETHERNET) and len(duid) == 14:
        return duid[8:].hex(":")
    address = (nearest.peer_address if nearest else source).packed
    if address.startswith(b"\xfe\x80") and address[11:13] == b"\xff\xfe":  # RFC 4291, appendix A
        return (bytes((address[8] ^ 2,)) + address[9:11] + address[13:]).hex(":")
    return None
