"""The reply to a DHCPv6 message, as a value (RFC 8415 §18.3); no clock, no socket, no lease database.

A port owns its address for ever, so there is nothing to hand out, to offer twice or to expire. The one association
that names the port's address has it, else the first one; another association of the same client gets none, and any
other address that a client believes to have is taken from it.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from pxe.decide import BootDecision6, Lease6, Stage
from pxe.dhcp.answer import FIRST_STAGE
from pxe.dhcp6 import options as opt
from pxe.dhcp6.message import Message, Packet, Relay
from pxe.dhcp6.options import Ia, IaAddress
from pxe.dhcp6.request import architecture, stage_of

# With any less preference clients wait a second for other servers' offers (RFC 8415 §18.2.1).
_PREFERENCE = 255
# How long a client that finds no server may wait between two tries, in seconds; RFC 8415 §7.6 says an hour.
_SOL_MAX_RT = 60
# RFC 8415 §16: whether a message names the server that it is meant for; one that need not may (None).
_NAMES_SERVER = {
    opt.SOLICIT: False,
    opt.REQUEST: True,
    opt.CONFIRM: False,
    opt.RENEW: True,
    opt.REBIND: False,
    opt.RELEASE: True,
    opt.DECLINE: True,
    opt.INFORMATION_REQUEST: None,
}
# What a reply's relays give back as it came (RFC 8415 §19.3, RFC 8357 §5.2).
_ECHOED = (opt.INTERFACE_ID, opt.RELAY_SOURCE_PORT)
_HTTP_ENTERPRISE = 343  # under which UEFI's firmware writes its vendor class
_NAMESPACE = uuid.UUID("6c8c4b9e-3f0d-4a52-9d6b-0f6a5be1c3d7")


@dataclass(frozen=True, slots=True)
class Identity6:
    """How the server calls itself and where its files are."""

    duid: bytes
    tftp_server: IPv6Address
    http_url: str  # base URL of the boot routes, for firmware that boots by HTTP


def server_duid(name: str) -> bytes:
    """The DUID of all servers that serve under one name together: always the same (DUID-UUID, RFC 6355)."""
    return b"\0\x04" + uuid.uuid5(_NAMESPACE, name).bytes


def answer(message: Message, decision: BootDecision6, identity: Identity6) -> Message | None:
    """The reply to `message`, or None where silence is the answer. Raises Malformed.

    RELEASE and DECLINE change nothing, because addresses do not belong to leases.
    """
    lease = decision.lease
    if lease is None or not _is_for(message, identity):
        return None
    match message.kind:
        case opt.SOLICIT if message.first(opt.RAPID_COMMIT) is not None:
            more = ((opt.RAPID_COMMIT, b""), *_associations(message, lease))
            return _with_boot(message, opt.REPLY, more, decision, lease, identity)
        case opt.SOLICIT:
            more = ((opt.PREFERENCE, bytes((_PREFERENCE,))), *_associations(message, lease))
            return _with_boot(message, opt.ADVERTISE, more, decision, lease, identity)
        case opt.REQUEST | opt.RENEW | opt.REBIND:
            return _with_boot(message, opt.REPLY, _associations(message, lease), decision, lease, identity)
        case opt.INFORMATION_REQUEST:
            return _with_boot(message, opt.REPLY, (), decision, lease, identity)
        case opt.CONFIRM:
            return _confirmed(message, lease, identity)
        case _:
            return _reply(message, opt.REPLY, ((opt.STATUS_CODE, opt.status(opt.SUCCESS)),), identity)


def use_multicast(message: Message, identity: Identity6) -> Message | None:
    """The reply to what a client sent to a unicast address of ours without having been allowed to (RFC 8415 §18.4)."""
    if not _NAMES_SERVER.get(message.kind) or not _is_for(message, identity):
        return None
    return _reply(message, opt.REPLY, ((opt.STATUS_CODE, opt.status(opt.USE_MULTICAST)),), identity)


def reply_packet(request: Packet, reply: Message) -> Packet:
    """The reply on its way back through the relays that the request came through (RFC 8415 §19.3)."""
    return Packet(
        reply,
        tuple(
            Relay(
                relay.hops,
                relay.link_address,
                relay.peer_address,
                tuple(option for option in relay.options if option[0] in _ECHOED),
            )
            for relay in request.relays
        ),
    )


def _is_for(message: Message, identity: Identity6) -> bool:
    """Whether the message is one that we answer: a client's, complete, and not for another server."""
    if message.kind not in _NAMES_SERVER:
        return False
    if message.first(opt.CLIENT_ID) is None and message.kind != opt.INFORMATION_REQUEST:
        return False
    names, server = _NAMES_SERVER[message.kind], message.first(opt.SERVER_ID)
    if server is None:
        return not names
    return names is not False and server == identity.duid


def _reply(message: Message, kind: int, options: Sequence[tuple[int, bytes]], identity: Identity6) -> Message:
    client = message.first(opt.CLIENT_ID)
    own = ((opt.SERVER_ID, identity.duid),)
    return Message(kind, message.xid, (*own, *(((opt.CLIENT_ID, client),) if client is not None else ()), *options))


def _with_boot(
    message: Message,
    kind: int,
    options: Sequence[tuple[int, bytes]],
    decision: BootDecision6,
    lease: Lease6,
    identity: Identity6,
) -> Message | None:
    """The reply with what the client asks for and what its stage needs; None where no first stage fits the client."""
    boot = _boot(message, decision, identity)
    if boot is None:
        return None
    asked = message.asked_options
    more: list[tuple[int, bytes]] = []
    if lease.nameservers and opt.DNS_SERVERS in asked:
        more.append((opt.DNS_SERVERS, opt.addresses(lease.nameservers)))
    if opt.SOL_MAX_RT in asked:
        more.append((opt.SOL_MAX_RT, _SOL_MAX_RT.to_bytes(4, "big")))
    return _reply(message, kind, (*options, *more, *boot), identity)


def _boot(message: Message, decision: BootDecision6, identity: Identity6) -> tuple[tuple[int, bytes], ...] | None:
    """The options of a stage, RFC 5970 §3; None where no first stage fits the client."""
    stage = stage_of(message)
    if stage is Stage.SYSTEM:
        return ()
    if stage is Stage.IPXE:
        url = decision.script_url
        return () if url is None else ((opt.BOOT_FILE_URL, url.encode()),)
    arch = architecture(message)
    if arch is None:
        return None
    name = FIRST_STAGE[arch, decision.signed]
    if stage is Stage.HTTP_FIRMWARE:
        if decision.signed:
            return None  # as for DHCPv4: what is signed goes on by TFTP
        url = f"{identity.http_url.rstrip('/')}/boot/files/{name}"
        # UEFI 2.10 §24.7.3: without the echo the firmware takes the offer for one that is not meant for HTTP boot.
        echo = opt.vendor_class(_HTTP_ENTERPRISE, b"HTTPClient")
        return (opt.VENDOR_CLASS, echo), (opt.BOOT_FILE_URL, url.encode())
    return ((opt.BOOT_FILE_URL, f"tftp://[{identity.tftp_server}]/{name}".encode()),)


def _confirmed(message: Message, lease: Lease6, identity: Identity6) -> Message | None:
    """RFC 8415 §18.3.3. On this link there is one address only, and whoever has another one is to ask anew."""
    asked = [one.address for value in message.all(opt.IA_NA) for one in opt.read_ia(value).addresses]
    if not asked:
        return None
    code = opt.SUCCESS if set(asked) == {lease.address.ip} else opt.NOT_ON_LINK
    return _reply(message, opt.REPLY, ((opt.STATUS_CODE, opt.status(code)),), identity)


def _associations(message: Message, lease: Lease6) -> tuple[tuple[int, bytes], ...]:
    """An answer to each association of the message, in their order. Raises Malformed."""
    found = [opt.read_ia(value) for value in message.all(opt.IA_NA)]
    ours = lease.address.ip
    holder = next((one for one in found if any(named.address == ours for named in one.addresses)), None)
    holder = holder or next(iter(found), None)
    answers = [(opt.IA_NA, opt.ia(_answered(message.kind, one, lease if one is holder else None))) for one in found]
    renews = message.kind in (opt.RENEW, opt.REBIND)
    for code, none_left in ((opt.IA_TA, opt.NO_ADDRS_AVAIL), (opt.IA_PD, opt.NO_PREFIX_AVAIL)):
        state = opt.write_options([(opt.STATUS_CODE, opt.status(opt.NO_BINDING if renews else none_left))])
        size = 4 if code == opt.IA_TA else 12
        for value in message.all(code):
            if len(value) < size:
                raise opt.Malformed("an association too short")
            answers.append((code, value[:4] + bytes(size - 4) + state))
    return tuple(answers)


def _answered(kind: int, asked: Ia, lease: Lease6 | None) -> Ia:
    """One association's answer; `lease` where it is the one that has the port's address."""
    if lease is None:
        foreign = asked.addresses
    else:
        foreign = tuple(one for one in asked.addresses if one.address != lease.address.ip)
    if kind == opt.REQUEST and foreign:
        return Ia(asked.iaid, status=(opt.NOT_ON_LINK, "not the address of this port"))  # RFC 8415 §18.3.2
    # RFC 8415 §18.3.4 and §18.3.5: what the client is to give up stands beside the rest, with lifetimes of zero.
    ended = tuple(IaAddress(one.address, 0, 0) for one in foreign) if kind in (opt.RENEW, opt.REBIND) else ()
    if lease is None:
        return Ia(asked.iaid, addresses=ended, status=None if ended else (opt.NO_ADDRS_AVAIL, "one address a port"))
    held = IaAddress(lease.address.ip, lease.seconds, lease.seconds)
    return Ia(asked.iaid, lease.seconds // 2, lease.seconds * 4 // 5, (held, *ended))
