"""The answer: RFC 8415's table of messages, what each stage of boot is given, and what a decision gets to know."""

from __future__ import annotations

from ipaddress import IPv6Address, IPv6Interface

import pytest

from pxe.decide import Arch, BootDecision6, Lease6, Reading, Relayed6, Stage
from pxe.dhcp6 import options as opt
from pxe.dhcp6.answer import Identity6, answer, reply_packet, server_duid, use_multicast
from pxe.dhcp6.message import Message, Packet, Relay, decode, encode
from pxe.dhcp6.options import Ia, IaAddress
from pxe.dhcp6.request import boot_request

SERVER = IPv6Address("2001:db8:5::10")
OURS = IPv6Address("2001:db8:64::1")
FOREIGN = IPv6Address("2001:db8:64::2")
HOST = IPv6Address("fe80::5054:ff:fe00:101")
LINK = IPv6Address("2001:db8:64::")
IDENTITY = Identity6(server_duid("lab"), SERVER, f"http://[{SERVER}]:8080/")
LEASE = Lease6(IPv6Interface(f"{OURS}/127"), 600)
DECISION = BootDecision6(LEASE, "test", script_url=f"http://[{SERVER}]/boot/ipxe")
CLIENT = b"\0\x03\0\x01\x52\x54\0\0\x01\x01"

Pairs = tuple[tuple[int, bytes], ...]
NAMED: Pairs = ((opt.SERVER_ID, IDENTITY.duid),)
_NAMES_SERVER = (opt.REQUEST, opt.RENEW, opt.RELEASE, opt.DECLINE)


def association(iaid: int, *addresses: IPv6Address) -> tuple[int, bytes]:
    return opt.IA_NA, opt.ia(Ia(iaid, addresses=tuple(IaAddress(one, 7, 9) for one in addresses)))


def message(kind: int, *options: tuple[int, bytes]) -> Message:
    """A client's message, with the server's name where its kind demands it."""
    return Message(kind, 77, ((opt.CLIENT_ID, CLIENT), *(NAMED if kind in _NAMES_SERVER else ()), *options))


def granted(reply: Message | None) -> list[tuple[int, dict[str, int], int | None]]:
    """Each association of a reply: its id, its addresses with their lifetimes, its status."""
    assert reply is not None
    found = [opt.read_ia(value) for value in reply.all(opt.IA_NA)]
    return [
        (one.iaid, {str(a.address): a.valid for a in one.addresses}, one.status[0] if one.status else None)
        for one in found
    ]


def test_solicit_is_advertised_the_ports_address() -> None:
    reply = answer(message(opt.SOLICIT, association(1)), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.kind, reply.xid) == (opt.ADVERTISE, 77)
    assert (reply.first(opt.CLIENT_ID), reply.first(opt.SERVER_ID)) == (CLIENT, IDENTITY.duid)
    assert reply.first(opt.PREFERENCE) == b"\xff"
    assert granted(reply) == [(1, {str(OURS): 600}, None)]
    ia = opt.read_ia(reply.all(opt.IA_NA)[0])
    assert (ia.t1, ia.t2, ia.addresses[0].preferred) == (300, 480, 600)
    unasked = {opt.DNS_SERVERS, opt.SOL_MAX_RT, opt.BOOT_FILE_URL, opt.VENDOR_CLASS, opt.RAPID_COMMIT}
    assert not unasked & {code for code, _ in reply.options}


def test_rapid_commit_saves_a_round() -> None:
    reply = answer(message(opt.SOLICIT, association(1), (opt.RAPID_COMMIT, b"")), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.kind, reply.first(opt.RAPID_COMMIT), reply.first(opt.PREFERENCE)) == (opt.REPLY, b"", None)
    assert granted(reply) == [(1, {str(OURS): 600}, None)]


OTHER = (opt.SERVER_ID, server_duid("another"))


@pytest.mark.parametrize(
    "asked",
    [
        Message(opt.SOLICIT, 1, ((opt.CLIENT_ID, CLIENT), *NAMED)),
        Message(opt.SOLICIT, 1, (association(1),)),
        Message(opt.REQUEST, 1, ((opt.CLIENT_ID, CLIENT), association(1))),
        Message(opt.REQUEST, 1, ((opt.CLIENT_ID, CLIENT), OTHER, association(1))),
        Message(opt.RENEW, 1, ((opt.CLIENT_ID, CLIENT), OTHER, association(1))),
        Message(opt.REBIND, 1, ((opt.CLIENT_ID, CLIENT), *NAMED, association(1))),
        Message(opt.CONFIRM, 1, ((opt.CLIENT_ID, CLIENT), *NAMED, association(1, OURS))),
        Message(opt.RELEASE, 1, ((opt.CLIENT_ID, CLIENT), OTHER)),
        Message(opt.DECLINE, 1, ((opt.CLIENT_ID, CLIENT),)),
        Message(opt.INFORMATION_REQUEST, 1, (OTHER,)),
        message(opt.ADVERTISE),
        message(opt.REPLY),
        message(opt.RECONFIGURE),
        message(99),
    ],
    ids=[
        "solicit that names a server",
        "solicit of nobody",
        "request that names no server",
        "request of another server",
        "renew of another server",
        "rebind that names a server",
        "confirm that names a server",
        "release of another server",
        "decline that names no server",
        "information of another server",
        "advertise",
        "reply",
        "reconfigure",
        "unknown",
    ],
)
def test_silence(asked: Message) -> None:
    assert answer(asked, DECISION, IDENTITY) is None


@pytest.mark.parametrize("kind", range(1, 12))
def test_no_lease_is_silence(kind: int) -> None:
    assert answer(message(kind, association(1, OURS)), BootDecision6(None, "foreign port"), IDENTITY) is None


@pytest.mark.parametrize(
    ("kind", "asked", "expected"),
    [
        (opt.SOLICIT, [(1, FOREIGN)], [(1, {OURS: 600}, None)]),
        (opt.SOLICIT, [(1,), (2,)], [(1, {OURS: 600}, None), (2, {}, opt.NO_ADDRS_AVAIL)]),
        (opt.SOLICIT, [(1,), (2, OURS)], [(1, {}, opt.NO_ADDRS_AVAIL), (2, {OURS: 600}, None)]),
        (opt.REQUEST, [(1, OURS)], [(1, {OURS: 600}, None)]),
        (opt.REQUEST, [(1,)], [(1, {OURS: 600}, None)]),
        (opt.REQUEST, [(1, FOREIGN)], [(1, {}, opt.NOT_ON_LINK)]),
        (opt.REQUEST, [(1, OURS, FOREIGN)], [(1, {}, opt.NOT_ON_LINK)]),
        (opt.RENEW, [(1, OURS)], [(1, {OURS: 600}, None)]),
        (opt.RENEW, [(1,)], [(1, {OURS: 600}, None)]),
        (opt.RENEW, [(1, FOREIGN)], [(1, {OURS: 600, FOREIGN: 0}, None)]),
        (opt.RENEW, [(1, FOREIGN), (2, OURS)], [(1, {FOREIGN: 0}, None), (2, {OURS: 600}, None)]),
        (opt.RENEW, [(1, OURS), (2,)], [(1, {OURS: 600}, None), (2, {}, opt.NO_ADDRS_AVAIL)]),
        (opt.REBIND, [(1, FOREIGN)], [(1, {OURS: 600, FOREIGN: 0}, None)]),
        (opt.REBIND, [(1, OURS)], [(1, {OURS: 600}, None)]),
        (opt.REBIND, [], []),
    ],
)
def test_associations(
    kind: int,
    asked: list[tuple[int, *tuple[IPv6Address, ...]]],
    expected: list[tuple[int, dict[IPv6Address, int], int | None]],
) -> None:
    reply = answer(message(kind, *(association(*one) for one in asked)), DECISION, IDENTITY)
    assert granted(reply) == [(iaid, {str(a): s for a, s in found.items()}, status) for iaid, found, status in expected]


@pytest.mark.parametrize(
    ("kind", "address_status", "prefix_status"),
    [
        (opt.SOLICIT, opt.NO_ADDRS_AVAIL, opt.NO_PREFIX_AVAIL),
        (opt.REQUEST, opt.NO_ADDRS_AVAIL, opt.NO_PREFIX_AVAIL),
        (opt.RENEW, opt.NO_BINDING, opt.NO_BINDING),
        (opt.REBIND, opt.NO_BINDING, opt.NO_BINDING),
    ],
)
def test_no_temporary_addresses_and_no_prefixes(kind: int, address_status: int, prefix_status: int) -> None:
    asked = message(kind, association(1), (opt.IA_TA, b"temp"), (opt.IA_PD, b"pref" + bytes(8)))
    reply = answer(asked, DECISION, IDENTITY)
    assert granted(reply) == [(1, {str(OURS): 600}, None)]
    assert reply is not None
    temporary, prefix = reply.first(opt.IA_TA), reply.first(opt.IA_PD)
    assert temporary is not None and prefix is not None
    assert (temporary[:4], opt.read_options(temporary[4:])) == (b"temp", ((13, opt.status(address_status)),))
    assert (prefix[:12], opt.read_options(prefix[12:])) == (b"pref" + bytes(8), ((13, opt.status(prefix_status)),))


@pytest.mark.parametrize(
    ("addresses", "status"),
    [([OURS], opt.SUCCESS), ([FOREIGN], opt.NOT_ON_LINK), ([OURS, FOREIGN], opt.NOT_ON_LINK), ([], None)],
)
def test_confirm(addresses: list[IPv6Address], status: int | None) -> None:
    reply = answer(message(opt.CONFIRM, association(1, *addresses)), DECISION, IDENTITY)
    if status is None:
        assert reply is None
    else:
        assert reply is not None
        assert (reply.kind, opt.read_status(reply.first(opt.STATUS_CODE) or b"")[0]) == (opt.REPLY, status)
        assert granted(reply) == []


@pytest.mark.parametrize("kind", [opt.RELEASE, opt.DECLINE])
def test_what_a_client_gives_up_is_taken_note_of(kind: int) -> None:
    reply = answer(message(kind, association(1, OURS)), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.kind, reply.options[2:]) == (opt.REPLY, ((opt.STATUS_CODE, b"\0\0"),))


def test_information_without_an_address() -> None:
    asked = Message(opt.INFORMATION_REQUEST, 1, ((opt.OPTION_REQUEST, b"\0\x17\0\x52"),))
    lease = Lease6(LEASE.address, 600, (IPv6Address("2001:db8:5::53"), IPv6Address("2001:db8:5::54")))
    reply = answer(asked, BootDecision6(lease, "test"), IDENTITY)
    assert reply is not None
    assert reply.options == (
        (opt.SERVER_ID, IDENTITY.duid),
        (opt.DNS_SERVERS, IPv6Address("2001:db8:5::53").packed + IPv6Address("2001:db8:5::54").packed),
        (opt.SOL_MAX_RT, b"\0\0\0\x3c"),
    )


@pytest.mark.parametrize(
    ("kind", "answered"),
    [(kind, kind in _NAMES_SERVER) for kind in range(1, 13)],
)
def test_what_came_to_a_unicast_address(kind: int, answered: bool) -> None:
    reply = use_multicast(message(kind, association(1, OURS)), IDENTITY)
    if answered:
        assert reply is not None
        expected = (*NAMED, (opt.CLIENT_ID, CLIENT), (opt.STATUS_CODE, opt.status(opt.USE_MULTICAST)))
        assert (reply.kind, reply.options) == (opt.REPLY, expected)
    else:
        assert reply is None


def test_nobody_elses_unicast_is_answered() -> None:
    assert use_multicast(Message(opt.RENEW, 1, ((opt.CLIENT_ID, CLIENT), OTHER)), IDENTITY) is None


def firmware(kind: str, *codes: int) -> Pairs:
    """What firmware of these architectures sends."""
    return (
        (opt.VENDOR_CLASS, opt.vendor_class(343, f"{kind}:Arch:{codes[0]:05}:UNDI:003001".encode())),
        (opt.CLIENT_ARCH, b"".join(code.to_bytes(2, "big") for code in codes)),
    )


IPXE: Pairs = ((opt.USER_CLASS, b"\0\x04iPXE"), *firmware("PXEClient", 7))


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (firmware("PXEClient", 7), "tftp://[2001:db8:5::10]/snponly.efi"),
        (firmware("PXEClient", 6, 9), "tftp://[2001:db8:5::10]/snponly.efi"),
        (firmware("PXEClient", 11), "tftp://[2001:db8:5::10]/grub-arm64.efi"),
        (firmware("HTTPClient", 16), "http://[2001:db8:5::10]:8080/boot/files/snponly.efi"),
        (firmware("HTTPClient", 19), "http://[2001:db8:5::10]:8080/boot/files/grub-arm64.efi"),
        (IPXE, "http://[2001:db8:5::10]/boot/ipxe"),
        ((), None),
    ],
    ids=["x64", "x64 second", "arm64", "http x64", "http arm64", "ipxe", "system"],
)
@pytest.mark.parametrize("kind", [opt.SOLICIT, opt.REQUEST, opt.INFORMATION_REQUEST])
def test_what_each_stage_boots_from(options: Pairs, url: str | None, kind: int) -> None:
    reply = answer(message(kind, *options), DECISION, IDENTITY)
    assert reply is not None
    assert reply.first(opt.BOOT_FILE_URL) == (url.encode() if url else None)
    http = options[:1] == firmware("HTTPClient", 16)[:1] or options[:1] == firmware("HTTPClient", 19)[:1]
    assert reply.first(opt.VENDOR_CLASS) == (b"\0\0\x01\x57\0\x0aHTTPClient" if http else None)


def test_an_architecture_without_a_first_stage_is_left_alone() -> None:
    assert answer(message(opt.SOLICIT, association(1), *firmware("PXEClient", 6)), DECISION, IDENTITY) is None


def test_ipxe_without_a_script_gets_its_address() -> None:
    reply = answer(message(opt.SOLICIT, association(1), *IPXE), BootDecision6(LEASE, "test"), IDENTITY)
    assert granted(reply) == [(1, {str(OURS): 600}, None)]


def test_a_name_is_one_duid() -> None:
    assert server_duid("lab") == server_duid("lab") != server_duid("other")
    assert (len(server_duid("lab")), server_duid("lab")[:2]) == (18, b"\0\x04")


def test_a_reply_goes_back_through_its_relays() -> None:
    near = Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"), (opt.REMOTE_ID, b"\0\0\x0a\x4cleaf1")))
    far = Relay(1, IPv6Address(0), LINK, ((opt.RELAY_SOURCE_PORT, b"\0\0"), (opt.INTERFACE_ID, b"\0\x07")))
    asked = Packet(message(opt.SOLICIT, association(1)), (near, far))
    reply = answer(asked.message, DECISION, IDENTITY)
    assert reply is not None
    back = decode(encode(reply_packet(asked, reply)))
    assert back.message == reply
    assert back.relays == (Relay(0, LINK, HOST, near.options[:1]), far)


def test_what_a_decision_gets_to_know() -> None:
    near = Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"), (opt.REMOTE_ID, b"\0\0\x0a\x4cleaf1")))
    far = Relay(1, IPv6Address("2001:db8:1::"), LINK, ((opt.INTERFACE_ID, b"et-0/0/1.0"),))
    asked = boot_request(
        Packet(message(opt.SOLICIT, association(1, FOREIGN), *firmware("PXEClient", 7)), (near, far)), SERVER, None
    )
    assert (asked.stage, asked.arch, asked.duid) == (Stage.FIRMWARE, Arch.UEFI_X64, CLIENT)
    assert (asked.link_address, asked.interface_id, asked.remote_id) == (LINK, "xe-0/0/12.0", "leaf1")
    assert asked.readings == (Reading("xe-0/0/12", "leaf1"),)
    assert asked.addresses == (FOREIGN,)
    beyond = Relayed6(far.link_address, "et-0/0/1.0", None, asked.beyond[0].readings)
    assert asked.beyond == (beyond,)
    assert Reading("et-0/0/1", None) in beyond.readings


def test_a_switch_that_is_no_router_leaves_the_link_to_the_next_relay() -> None:
    near = Relay(0, IPv6Address(0), HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"),))
    far = Relay(1, LINK, HOST, ((opt.INTERFACE_ID, b"et-0/0/1.0"),))
    asked = boot_request(Packet(message(opt.SOLICIT), (near, far)), SERVER, None)
    assert (asked.link_address, asked.interface_id) == (LINK, "xe-0/0/12.0")


def test_a_client_on_our_own_link() -> None:
    asked = boot_request(Packet(message(opt.SOLICIT, *IPXE)), HOST, LINK)
    assert (asked.stage, asked.link_address, asked.interface_id, asked.readings) == (Stage.IPXE, LINK, None, ())
    assert boot_request(Packet(message(opt.SOLICIT)), HOST, None).link_address is None


SEEN = (opt.CLIENT_LINK_LAYER, b"\0\x01\x02\0\0\0\0\x09")
TIMED = b"\0\x01\0\x01time\x02\0\0\0\0\x08"


@pytest.mark.parametrize(
    ("duid", "relay_options", "peer", "mac"),
    [
        (CLIENT, (SEEN,), HOST, "02:00:00:00:00:09"),
        (CLIENT, (), IPv6Address("fe80::1"), "52:54:00:00:01:01"),
        (TIMED, (), IPv6Address("fe80::1"), "02:00:00:00:00:08"),
        (b"\0\x02vendor", (), HOST, "52:54:00:00:01:01"),
        (b"\0\x02vendor", ((opt.CLIENT_LINK_LAYER, b"\0\x20short"),), IPv6Address("fe80::1"), None),
    ],
    ids=["relay", "duid", "duid with time", "link-local address", "nothing"],
)
def test_the_mac_address(duid: bytes, relay_options: Pairs, peer: IPv6Address, mac: str | None) -> None:
    asked = Message(opt.SOLICIT, 1, ((opt.CLIENT_ID, duid),))
    assert boot_request(Packet(asked, (Relay(0, LINK, peer, relay_options),)), SERVER, None).mac == mac
    if not relay_options:
        assert boot_request(Packet(asked), peer, None).mac == mac


@pytest.mark.parametrize(
    ("options", "uuid"),
    [
        ((), "00112233-4455-6677-8899-aabbccddeeff"),
        (IPXE, "00112233-4455-6677-8899-aabbccddeeff"),
        (firmware("PXEClient", 7), "33221100-5544-7766-8899-aabbccddeeff"),
        (firmware("HTTPClient", 16), "33221100-5544-7766-8899-aabbccddeeff"),
    ],
    ids=["system", "ipxe", "pxe", "http"],
)
def test_the_uuid_of_a_duid(options: Pairs, uuid: str) -> None:
    """As iPXE and OVMF send it."""
    duid = b"\0\x04" + bytes.fromhex("00112233445566778899aabbccddeeff")
    asked = boot_request(Packet(Message(opt.SOLICIT, 1, ((opt.CLIENT_ID, duid), *options))), HOST, None)
    assert asked.uuid == uuid


@pytest.mark.parametrize(
    ("code", "name"),
    [(7, "tftp://[2001:db8:5::10]/shimx64.efi"), (11, "tftp://[2001:db8:5::10]/shimaa64.efi")],
)
def test_under_secure_boot_the_first_stage_is_a_signed_one(code: int, name: str) -> None:
    signed = BootDecision6(LEASE, "test", signed=True)
    reply = answer(message(opt.SOLICIT, *firmware("PXEClient", code)), signed, IDENTITY)
    assert reply is not None
    assert reply.first(opt.BOOT_FILE_URL) == name.encode()
    assert answer(message(opt.SOLICIT, *firmware("HTTPClient", code)), signed, IDENTITY) is None
