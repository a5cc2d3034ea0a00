"""The reply to a DHCP message, as a value (RFC 2131 §4.3); no clock, no socket, no lease database.

A port owns its address for ever, so there is nothing to hand out, to offer twice or to expire: a request for the
port's address is acknowledged, a request for another one is refused, and everything else follows from the stage.

Option 114 (RFC 8910) is never sent: there is no portal here, no server asks for one, and the room is firmware's.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from pxe.decide import Arch, BootDecision, Lease, Stage
from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREPLY, BOOTREQUEST, BROADCAST_FLAG, UNSPECIFIED, Message
from pxe.dhcp.request import architecture, server_id_override, stage_of

# By architecture, and whether the firmware starts signed programs only; BIOS knows no such thing.
FIRST_STAGE = {
    (Arch.BIOS, False): "undionly.kpxe",
    (Arch.BIOS, True): "undionly.kpxe",
    (Arch.UEFI_X64, False): "snponly.efi",
    (Arch.UEFI_X64, True): "shimx64.efi",
    (Arch.UEFI_ARM64, False): "grub-arm64.efi",
    (Arch.UEFI_ARM64, True): "shimaa64.efi",
}
BROADCAST = IPv4Address("255.255.255.255")

# PXE_DISCOVERY_CONTROL = 8: take the boot file of this very offer. Without it, an option 60 of "PXEClient" sends
# firmware looking for a boot server on port 4011 (OVMF: PXE-E16).
_PXE_DISCOVERY = bytes((6, 1, 8, opt.END))
_DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")
# What goes first where a message is too long for its client. The times are those that a client takes without them,
# the TFTP server stands in siaddr, too; RFC 4578 §2.4 wants the UUID back, so it stays longest.
_LEAST_NEEDED = (
    opt.HOSTNAME,
    opt.TFTP_SERVERS,
    opt.RENEWAL_TIME,
    opt.REBINDING_TIME,
    opt.TFTP_SERVER,
    opt.NAMESERVERS,
    opt.CLIENT_UUID,
)
_HEADERS = 28  # of IP and UDP; option 57 counts them (RFC 2132 §9.10)
_LEAST_SIZE = 576  # what every client takes
_FIXED_SIZE = 241  # header, cookie and end mark


@dataclass(frozen=True, slots=True)
class Identity:
    """How the server calls itself and where its files are."""

    server_id: IPv4Address  # option 54; reachable from the hosts, because they renew by unicast
    tftp_server: IPv4Address
    http_url: str  # base URL of the boot routes, for firmware that boots by HTTP


def is_ours(request: Message, identity: Identity) -> bool:
    """True where the client asks this server, or no server by name; its relay's name for us counts (RFC 5107)."""
    if opt.SERVER_ID not in request.options:
        return True
    named = request.address(opt.SERVER_ID)
    return named is not None and named in (identity.server_id, server_id_override(request))


def answer(request: Message, decision: BootDecision, identity: Identity) -> Message | None:
    """The reply to `request`, or None where silence is the answer.

    A NAK is authoritative: it goes out only where the client asks this server, or no server by name, for an address
    that is not the port's. RELEASE and DECLINE change nothing, because addresses do not belong to leases.
    """
    lease = decision.lease
    if request.op != BOOTREQUEST or lease is None or not is_ours(request, identity):
        return None
    match request.kind:
        case opt.DISCOVER:
            return _granted(request, opt.OFFER, decision, lease, identity)
        case opt.REQUEST:
            # RFC 2131 §4.3.2: SELECTING and INIT-REBOOT name it in option 50, RENEWING and REBINDING in ciaddr.
            asked = request.address(opt.REQUESTED_ADDRESS)
            if asked is None and request.ciaddr != UNSPECIFIED:
                asked = request.ciaddr
            if asked is None:
                return None
            if asked != lease.address.ip:
                return _refused(request, identity)
            return _granted(request, opt.ACK, decision, lease, identity)
        case opt.INFORM:
            return _granted(request, opt.ACK, decision, lease, identity)
        case _:
            return None


def reply_address(
    request: Message, reply: Message, *, relay_port: int, client_port: int, local: bool
) -> tuple[str, int]:
    """Where a reply goes (RFC 2131 §4.1): to the relay, to a client that has an address, or to everybody.

    A client without an address gets a broadcast even where it could take a unicast: it has no ARP entry yet. A NAK is
    broadcast on a link of our own (`local`) only; no broadcast reaches a client beyond a router that renews by
    unicast.
    """
    if request.giaddr != UNSPECIFIED:
        return str(request.giaddr), relay_port
    if request.ciaddr != UNSPECIFIED and not (local and reply.kind == opt.NAK):
        return str(request.ciaddr), client_port
    return str(BROADCAST), client_port


def _granted(request: Message, kind: int, decision: BootDecision, lease: Lease, identity: Identity) -> Message | None:
    wanted = request.options.get(opt.PARAMETERS)
    options: dict[int, bytes] = {
        opt.MESSAGE_TYPE: bytes((kind,)),
        opt.SERVER_ID: (server_id_override(request) or identity.server_id).packed,
    }
    informs = request.kind == opt.INFORM
    if not informs:  # RFC 2131 §4.3.5: an INFORM is answered without times and without yiaddr
        options[opt.LEASE_TIME] = lease.seconds.to_bytes(4, "big")
        options[opt.RENEWAL_TIME] = (lease.seconds // 2).to_bytes(4, "big")
        options[opt.REBINDING_TIME] = (lease.seconds * 7 // 8).to_bytes(4, "big")
    # Without its mask and its router no host gets far on a /31, whatever it asks for.
    options[opt.SUBNET_MASK] = lease.address.netmask.packed
    options[opt.ROUTER] = lease.router.packed
    if lease.routes and (wanted is None or opt.CLASSLESS_ROUTES in wanted):
        # RFC 3442: a client that takes option 121 ignores option 3, so the default route stands in both.
        options[opt.CLASSLESS_ROUTES] = opt.routes((*lease.routes, (_DEFAULT_ROUTE, lease.router)))
    if lease.nameservers and (wanted is None or opt.NAMESERVERS in wanted):
        options[opt.NAMESERVERS] = opt.addresses(lease.nameservers)
    if lease.hostname and (wanted is None or opt.HOSTNAME in wanted):
        options[opt.HOSTNAME] = lease.hostname.encode("ascii", "replace")[:255]
    if wanted is not None and opt.TFTP_SERVERS in wanted:
        options[opt.TFTP_SERVERS] = (decision.next_server or identity.tftp_server).packed
    boot = _boot(request, decision, identity)
    if boot is None:
        return None
    siaddr, file, more = boot
    return Message(
        op=BOOTREPLY,
        htype=request.htype,
        hops=request.hops,
        xid=request.xid,
        flags=request.flags,
        ciaddr=request.ciaddr if kind == opt.ACK else UNSPECIFIED,
        yiaddr=UNSPECIFIED if informs else lease.address.ip,
        siaddr=siaddr,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        file=file,
        options=_fitted(request, options | more | _echoed(request)),
    )


def _boot(
    request: Message, decision: BootDecision, identity: Identity
) -> tuple[IPv4Address, bytes, dict[int, bytes]] | None:
    """The next server, the file field and the options of a stage; None where no first stage fits the client.

    Firmware and iPXE get what they boot by whether they ask for it (option 55) or not: many do not.
    """
    stage = stage_of(request)
    if stage is Stage.SYSTEM:
        return UNSPECIFIED, b"", {}
    if stage is Stage.IPXE:
        more = {opt.IPXE: opt.sub_options({opt.IPXE_NO_PROXY_DHCP: b"\x01"})}
        if decision.script_url is None:
            return UNSPECIFIED, b"", more
        file, named = _file(request, decision.script_url)
        return UNSPECIFIED, file, more | named
    arch = architecture(request)
    if arch is None:
        return None
    name = FIRST_STAGE[arch, decision.signed]
    if stage is Stage.HTTP_FIRMWARE:
        if decision.signed:
            return None  # Debian's signed GRUB has no HTTP and would stop at its prompt: the next boot entry may be PXE
        file, named = _file(request, f"{identity.http_url.rstrip('/')}/boot/files/{name}")
        # UEFI 2.10 §24.7: without the echo the firmware takes the offer for one that is not meant for HTTP boot.
        return UNSPECIFIED, file, {opt.VENDOR_CLASS: b"HTTPClient"} | named
    tftp_server = decision.next_server or identity.tftp_server
    file, named = _file(request, name)
    more = {
        opt.VENDOR_CLASS: b"PXEClient",
        opt.VENDOR_SPECIFIC: _PXE_DISCOVERY,
        opt.TFTP_SERVER: str(tftp_server).encode(),
    }
    if opt.IPXE in request.options:  # an iPXE that cannot do HTTP is sent on to one that can
        more[opt.IPXE] = opt.sub_options({opt.IPXE_NO_PROXY_DHCP: b"\x01"})
    return tftp_server, file, more | named


def _file(request: Message, name: str) -> tuple[bytes, dict[int, bytes]]:
    """The file field, and option 67 where the client asks for it or the field (127 bytes and a NUL) is too short.

    Old ROMs read the field only, UEFI HTTP Boot the option only.
    """
    encoded = name.encode()
    fits = len(encoded) < 128
    asked = opt.BOOT_FILE in request.options.get(opt.PARAMETERS, b"") or stage_of(request) is Stage.HTTP_FIRMWARE
    return (encoded if fits else b""), ({opt.BOOT_FILE: encoded} if asked or not fits else {})


def _refused(request: Message, identity: Identity) -> Message:
    return Message(
        op=BOOTREPLY,
        htype=request.htype,
        hops=request.hops,
        xid=request.xid,
        # RFC 2131 §4.3.2: the relay must broadcast a NAK, the client may not own its address
        flags=request.flags | BROADCAST_FLAG if request.giaddr != UNSPECIFIED else request.flags,
        giaddr=request.giaddr,
        chaddr=request.chaddr,
        options={
            opt.MESSAGE_TYPE: bytes((opt.NAK,)),
            opt.SERVER_ID: (server_id_override(request) or identity.server_id).packed,
            opt.MESSAGE: b"not the address of this port",
        }
        | _echoed(request),
    )


def _echoed(request: Message) -> dict[int, bytes]:
    """What a reply gives back as it came: the client's id (RFC 6842), its UUID, and the relay's option (RFC 3046)."""
    return {
        code: request.options[code]
        for code in (opt.CLIENT_ID, opt.CLIENT_UUID, opt.AGENT_INFORMATION)
        if code in request.options
    }


def _fitted(request: Message, options: dict[int, bytes]) -> dict[int, bytes]:
    """The options without the least needed ones that a client of this size has no room for (option 57).

    Option 82 does not count, its relay takes it away. What cannot be left out goes out even where it is too long: the
    client has no other way to its address and its file.
    """
    value = request.options.get(opt.MAX_SIZE, b"")
    most = max(int.from_bytes(value, "big") if len(value) == 2 else 0, _LEAST_SIZE) - _HEADERS - _FIXED_SIZE
    if sum(map(len, options.values())) + 2 * len(options) < most - 16:  # as nearly always; long ones take a little more
        return options
    over = sum(opt.size(value) for code, value in options.items() if code != opt.AGENT_INFORMATION) - most
    for code in _LEAST_NEEDED:
        if over <= 0:
            break
        over -= opt.size(options.pop(code)) if code in options else 0
    return options
