"""The answer: RFC 2131's table of requests, and what each stage of boot is given."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest
from hypothesis import given

from pxe.decide import Arch, BootDecision, Lease, Stage
from pxe.dhcp import options as opt
from pxe.dhcp.answer import FIRST_STAGE, Identity, answer, reply_address
from pxe.dhcp.message import BOOTREPLY, BOOTREQUEST, UNSPECIFIED, Message, decode, encode
from pxe.dhcp.request import boot_request
from tests.pxe.test_dhcp_message import messages

SERVER = IPv4Address("192.0.2.10")
GIADDR = IPv4Address("10.64.0.24")
HOST = IPv4Address("10.64.0.25")
FOREIGN = IPv4Address("203.0.113.9")
IDENTITY = Identity(SERVER, SERVER, "http://192.0.2.10:8080/")
LEASE = Lease(IPv4Interface("10.64.0.25/31"), GIADDR, 600)
DECISION = BootDecision(LEASE, "test", script_url="http://192.0.2.10/boot/ipxe")
AGENT = opt.sub_options({1: b"xe-0/0/12.0", 2: b"leaf1", 151: b"\0vrf"})


def request(kind: int, options: dict[int, bytes] | None = None, **fields: Any) -> Message:
    """A relayed request of one machine; fields and options on top."""
    base: dict[str, Any] = {"op": BOOTREQUEST, "xid": 9, "chaddr": bytes.fromhex("525400000101"), "giaddr": GIADDR}
    given = {opt.MESSAGE_TYPE: bytes((kind,)), opt.AGENT_INFORMATION: AGENT} | (options or {})
    return Message(**(base | {"hops": 1} | fields), options=given)


def pxe(code: int) -> dict[int, bytes]:
    """What firmware of that architecture sends."""
    return {opt.VENDOR_CLASS: f"PXEClient:Arch:{code:05}".encode(), opt.CLIENT_ARCH: code.to_bytes(2, "big")}


IPXE = pxe(7) | {opt.USER_CLASS: b"iPXE", opt.IPXE: b"\x13\x01\x01\xb0\x01\x01"}


def test_discover_is_offered_the_ports_address() -> None:
    reply = answer(request(opt.DISCOVER, flags=0x8000), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.op, reply.kind, reply.yiaddr, reply.ciaddr) == (BOOTREPLY, opt.OFFER, HOST, UNSPECIFIED)
    assert (reply.xid, reply.hops, reply.flags, reply.giaddr) == (9, 1, 0x8000, GIADDR)
    assert reply.options[opt.AGENT_INFORMATION] == AGENT
    assert reply.address(opt.SUBNET_MASK) == IPv4Address("255.255.255.254")
    assert reply.address(opt.ROUTER) == GIADDR
    assert reply.address(opt.SERVER_ID) == SERVER
    assert reply.options[opt.LEASE_TIME] == (600).to_bytes(4, "big")
    assert opt.VENDOR_CLASS not in reply.options
    assert opt.CLASSLESS_ROUTES not in reply.options


@pytest.mark.parametrize(
    ("name", "options", "fields", "kind"),
    [
        ("selecting", {opt.SERVER_ID: SERVER.packed, opt.REQUESTED_ADDRESS: HOST.packed}, {}, opt.ACK),
        ("selecting, foreign address", {opt.SERVER_ID: SERVER.packed, opt.REQUESTED_ADDRESS: b"\1\1\1\1"}, {}, opt.NAK),
        ("selecting another server", {opt.SERVER_ID: b"\1\1\1\1", opt.REQUESTED_ADDRESS: HOST.packed}, {}, None),
        ("selecting a broken server", {opt.SERVER_ID: b"\1", opt.REQUESTED_ADDRESS: HOST.packed}, {}, None),
        ("init-reboot", {opt.REQUESTED_ADDRESS: HOST.packed}, {}, opt.ACK),
        ("init-reboot elsewhere", {opt.REQUESTED_ADDRESS: b"\1\1\1\1"}, {}, opt.NAK),
        ("renewing", {}, {"ciaddr": HOST, "giaddr": UNSPECIFIED}, opt.ACK),
        ("rebinding", {}, {"ciaddr": HOST}, opt.ACK),
        ("renewing a foreign address", {}, {"ciaddr": IPv4Address("1.1.1.1")}, opt.NAK),
        ("asking for nothing", {}, {}, None),
    ],
)
def test_requests(name: str, options: dict[int, bytes], fields: dict[str, Any], kind: int | None) -> None:
    reply = answer(request(opt.REQUEST, options, **fields), DECISION, IDENTITY)
    assert (reply.kind if reply else None) == kind, name
    if reply is not None and kind == opt.NAK:
        assert (reply.yiaddr, reply.ciaddr) == (UNSPECIFIED, UNSPECIFIED)
        assert reply.flags & 0x8000
        assert reply.options[opt.AGENT_INFORMATION] == AGENT
        assert opt.LEASE_TIME not in reply.options
    if reply is not None and kind == opt.ACK:
        assert reply.yiaddr == HOST
        assert reply.ciaddr == fields.get("ciaddr", UNSPECIFIED)


def test_inform_gives_no_address_and_no_times() -> None:
    reply = answer(request(opt.INFORM, ciaddr=HOST), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.kind, reply.yiaddr, reply.ciaddr) == (opt.ACK, UNSPECIFIED, HOST)
    assert not {opt.LEASE_TIME, opt.RENEWAL_TIME, opt.REBINDING_TIME} & set(reply.options)


@pytest.mark.parametrize("kind", [opt.RELEASE, opt.DECLINE, opt.OFFER, opt.ACK, opt.NAK, 99])
def test_silence(kind: int) -> None:
    assert answer(request(kind), DECISION, IDENTITY) is None


def test_no_lease_is_silence() -> None:
    assert answer(request(opt.DISCOVER), BootDecision(None, "foreign port"), IDENTITY) is None
    assert answer(request(opt.REQUEST, ciaddr=HOST), BootDecision(None, "foreign port"), IDENTITY) is None


@pytest.mark.parametrize(
    ("code", "signed", "file"),
    [
        (0, False, b"undionly.kpxe"),
        (7, False, b"snponly.efi"),
        (9, False, b"snponly.efi"),
        (11, False, b"grub-arm64.efi"),
        (7, True, b"shimx64.efi"),
        (11, True, b"shimaa64.efi"),
        (0, True, b"undionly.kpxe"),
    ],
)
def test_the_first_stage_by_architecture(code: int, signed: bool, file: bytes) -> None:
    reply = answer(request(opt.DISCOVER, pxe(code)), BootDecision(LEASE, "test", signed=signed), IDENTITY)
    assert reply is not None
    assert (reply.file, reply.siaddr) == (file, SERVER)
    # OVMF: option 60 without 43 is "PXE-E16 no valid offer"
    assert reply.options[opt.VENDOR_CLASS] == b"PXEClient"
    assert reply.options[opt.VENDOR_SPECIFIC] == b"\x06\x01\x08\xff"
    assert reply.options[opt.TFTP_SERVER] == b"192.0.2.10"


def test_an_architecture_without_a_first_stage_is_left_alone() -> None:
    assert answer(request(opt.DISCOVER, pxe(6)), DECISION, IDENTITY) is None


def test_the_decisions_own_tftp_server() -> None:
    decision = BootDecision(LEASE, "test", next_server=IPv4Address("192.0.2.77"))
    reply = answer(request(opt.DISCOVER, pxe(0)), decision, IDENTITY)
    assert reply is not None
    assert reply.siaddr == IPv4Address("192.0.2.77")


def test_http_boot() -> None:
    options = {opt.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003001", opt.CLIENT_ARCH: b"\0\x10"}
    reply = answer(request(opt.DISCOVER, options), DECISION, IDENTITY)
    assert reply is not None
    assert reply.options[opt.VENDOR_CLASS] == b"HTTPClient"
    assert reply.options[opt.BOOT_FILE] == b"http://192.0.2.10:8080/boot/files/snponly.efi"


def test_what_is_signed_is_not_to_be_had_by_http() -> None:
    options = {opt.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003001", opt.CLIENT_ARCH: b"\0\x10"}
    assert answer(request(opt.DISCOVER, options), BootDecision(LEASE, "test", signed=True), IDENTITY) is None


def test_every_architecture_has_a_first_stage() -> None:
    assert set(FIRST_STAGE) == {(arch, signed) for arch in Arch for signed in (False, True)}


def test_ipxe_gets_its_script_and_no_proxy_dhcp() -> None:
    reply = answer(request(opt.DISCOVER, IPXE), DECISION, IDENTITY)
    assert reply is not None
    assert reply.file == b"http://192.0.2.10/boot/ipxe"
    assert opt.read_sub_options(reply.options[opt.IPXE]) == {opt.IPXE_NO_PROXY_DHCP: b"\x01"}
    assert opt.VENDOR_CLASS not in reply.options


def test_a_long_url_goes_by_option_67_alone() -> None:
    url = "http://192.0.2.10/" + "x" * 300
    reply = answer(request(opt.DISCOVER, IPXE), BootDecision(LEASE, "test", script_url=url), IDENTITY)
    assert reply is not None
    assert (reply.file, reply.options[opt.BOOT_FILE]) == (b"", url.encode())
    assert decode(encode(reply)).options[opt.BOOT_FILE] == url.encode()


def test_an_ipxe_without_http_is_sent_on_to_one_with_it() -> None:
    reply = answer(
        request(opt.DISCOVER, pxe(0) | {opt.USER_CLASS: b"iPXE", opt.IPXE: b"\xb0\x01\x01"}), DECISION, IDENTITY
    )
    assert reply is not None
    assert reply.file == b"undionly.kpxe"


def test_the_default_route_stands_in_option_121_too() -> None:
    metadata = (IPv4Network("169.254.169.254/32"), GIADDR)
    lease = Lease(LEASE.address, GIADDR, 600, (metadata,), (IPv4Address("192.0.2.53"),), "n1")
    reply = answer(request(opt.DISCOVER), BootDecision(lease, "test"), IDENTITY)
    assert reply is not None
    assert opt.read_routes(reply.options[opt.CLASSLESS_ROUTES]) == (metadata, (IPv4Network("0.0.0.0/0"), GIADDR))
    assert reply.options[opt.NAMESERVERS] == IPv4Address("192.0.2.53").packed
    assert reply.options[opt.HOSTNAME] == b"n1"
    assert (reply.file, reply.siaddr) == (b"", UNSPECIFIED)


LONG = Lease(
    LEASE.address, GIADDR, 600, ((IPv4Network("169.254.169.254/32"), GIADDR),), (IPv4Address("192.0.2.53"),), "n1"
)


def test_a_system_gets_what_it_asks_for() -> None:
    """Option 55; mask and router go to everybody."""
    reply = answer(request(opt.DISCOVER, {opt.PARAMETERS: bytes((opt.HOSTNAME,))}), BootDecision(LONG, "t"), IDENTITY)
    assert reply is not None
    assert {opt.SUBNET_MASK, opt.ROUTER, opt.HOSTNAME} <= set(reply.options)
    assert not {opt.NAMESERVERS, opt.CLASSLESS_ROUTES, opt.TFTP_SERVERS} & set(reply.options)
    asks = {opt.PARAMETERS: bytes((opt.NAMESERVERS, opt.CLASSLESS_ROUTES, opt.TFTP_SERVERS))}
    reply = answer(request(opt.REQUEST, asks, ciaddr=HOST), BootDecision(LONG, "t"), IDENTITY)
    assert reply is not None
    assert {opt.NAMESERVERS, opt.CLASSLESS_ROUTES} <= set(reply.options)
    assert reply.options[opt.TFTP_SERVERS] == SERVER.packed
    assert opt.HOSTNAME not in reply.options


def test_firmware_gets_what_it_boots_by_without_asking() -> None:
    reply = answer(request(opt.DISCOVER, pxe(7) | {opt.PARAMETERS: b"\x01"}), DECISION, IDENTITY)
    assert reply is not None
    assert (reply.file, reply.siaddr) == (b"snponly.efi", SERVER)
    assert {opt.VENDOR_CLASS, opt.VENDOR_SPECIFIC, opt.ROUTER} <= set(reply.options)


@pytest.mark.parametrize(
    ("told", "room"),
    [(None, 548), (b"\0\0", 548), (b"\x02\x40", 548), (b"\x05\xc0", 1444), (b"\x05", 548)],
    ids=["nothing told", "less than allowed", "576", "1472", "not a size"],
)
def test_a_message_fits_its_client(told: bytes | None, room: int) -> None:
    """What goes is what the client needs least; its relay's option does not count, and what is left is whole."""
    lease = Lease(
        LEASE.address, GIADDR, 600, nameservers=tuple(IPv4Address(n) for n in range(1, 21)), hostname="n" * 60
    )
    url = "http://192.0.2.10/" + "x" * 240
    decision = BootDecision(lease, "test", script_url=url)
    asked = request(opt.DISCOVER, IPXE | ({} if told is None else {opt.MAX_SIZE: told}))
    reply = answer(asked, decision, IDENTITY)
    assert reply is not None
    agent = opt.size(reply.options[opt.AGENT_INFORMATION])
    assert len(encode(reply)) - agent <= room
    assert reply.options[opt.BOOT_FILE] == url.encode()
    assert {opt.SUBNET_MASK, opt.ROUTER, opt.LEASE_TIME, opt.SERVER_ID, opt.IPXE} <= set(reply.options)
    assert (opt.HOSTNAME in reply.options) == (room > 1000)


def test_the_relays_name_for_the_server() -> None:
    """RFC 5107: hosts take the relay for the server, so that it sees their renewals, too."""
    agent = {opt.AGENT_INFORMATION: AGENT + opt.sub_options({opt.SERVER_ID_OVERRIDE: GIADDR.packed})}
    offer = answer(request(opt.DISCOVER, agent), DECISION, IDENTITY)
    assert offer is not None
    assert offer.address(opt.SERVER_ID) == GIADDR
    assert offer.options[opt.AGENT_INFORMATION] == agent[opt.AGENT_INFORMATION]
    chosen = {opt.SERVER_ID: GIADDR.packed, opt.REQUESTED_ADDRESS: HOST.packed}
    ack = answer(request(opt.REQUEST, agent | chosen), DECISION, IDENTITY)
    assert ack is not None
    assert (ack.kind, ack.address(opt.SERVER_ID)) == (opt.ACK, GIADDR)
    nak = answer(request(opt.REQUEST, agent | chosen | {opt.REQUESTED_ADDRESS: FOREIGN.packed}), DECISION, IDENTITY)
    assert nak is not None
    assert (nak.kind, nak.address(opt.SERVER_ID)) == (opt.NAK, GIADDR)
    assert answer(request(opt.REQUEST, chosen), DECISION, IDENTITY) is None
    assert answer(request(opt.REQUEST, agent | chosen, giaddr=UNSPECIFIED), DECISION, IDENTITY) is None


def test_the_relays_link_stands_for_the_giaddr() -> None:
    """RFC 3527: the decision is about the link, the reply goes to the relay's own address."""
    link = IPv4Address("10.64.0.30")
    agent = {opt.AGENT_INFORMATION: AGENT + opt.sub_options({opt.LINK_SELECTION: link.packed})}
    asked = request(opt.DISCOVER, agent, giaddr=IPv4Address("192.0.2.99"))
    assert boot_request(asked).giaddr == link
    reply = answer(asked, DECISION, IDENTITY)
    assert reply is not None
    assert reply_address(asked, reply, relay_port=67, client_port=68, local=False) == ("192.0.2.99", 67)
    broken = request(opt.DISCOVER, {opt.AGENT_INFORMATION: opt.sub_options({opt.LINK_SELECTION: b"\1\2"})})
    assert boot_request(broken).giaddr == GIADDR


def test_a_client_cannot_be_its_own_relay() -> None:
    """Option 82 without a giaddr is the client's own work: it says nothing about the port."""
    asked = boot_request(request(opt.DISCOVER, giaddr=UNSPECIFIED), IPv4Address("10.64.0.8"))
    assert (asked.giaddr, asked.circuit_id, asked.remote_id, asked.readings) == (
        IPv4Address("10.64.0.8"),
        None,
        None,
        (),
    )


@pytest.mark.parametrize("kind", [opt.DISCOVER, opt.REQUEST])
def test_who_asks_changes_nothing_about_the_address(kind: int) -> None:
    """ROM, iPXE, installer and system come with another client-id, MAC and xid; the port's address is the same."""
    seen = set()
    for xid, (chaddr, more) in enumerate(
        (
            (b"\x52\x54\0\0\1\1", pxe(7)),
            (b"\x52\x54\0\0\1\1", IPXE | {opt.CLIENT_ID: b"\1\x52\x54\0\0\1\1"}),
            (b"\x52\x54\0\0\1\2", {opt.CLIENT_ID: b"\xff\0\0\0\1\0\2\0\0\xab\x11abcdefgh"}),
            (b"", {opt.CLIENT_ID: b"\0name"}),
        )
    ):
        reply = answer(request(kind, more, xid=xid, chaddr=chaddr, ciaddr=HOST), DECISION, IDENTITY)
        assert reply is not None
        assert reply.options.get(opt.CLIENT_ID) == more.get(opt.CLIENT_ID)
        seen.add((reply.yiaddr, reply.address(opt.SUBNET_MASK), reply.address(opt.ROUTER)))
    assert seen == {(HOST, IPv4Address("255.255.255.254"), GIADDR)}


def test_bootp_is_met_with_silence() -> None:
    plain = Message(op=1, xid=1, chaddr=b"\x52\x54\0\0\1\1", giaddr=GIADDR)
    assert plain.kind is None
    assert answer(plain, DECISION, IDENTITY) is None


def test_what_a_decision_gets_to_know() -> None:
    uuid = b"\0" + bytes.fromhex("33221100554477668899aabbccddeeff")
    asked = boot_request(request(opt.DISCOVER, pxe(7) | {opt.CLIENT_UUID: uuid}))
    assert (asked.stage, asked.arch, asked.mac) == (Stage.FIRMWARE, Arch.UEFI_X64, "52:54:00:00:01:01")
    assert (asked.giaddr, asked.circuit_id, asked.remote_id) == (GIADDR, "xe-0/0/12.0", "leaf1")
    assert asked.uuid == "00112233-4455-6677-8899-aabbccddeeff"
    assert boot_request(request(opt.DISCOVER, IPXE)).stage is Stage.IPXE
    assert boot_request(request(opt.DISCOVER)).stage is Stage.SYSTEM
    renewal = boot_request(Message(op=1, xid=1, chaddr=b"", ciaddr=HOST))
    assert (renewal.giaddr, renewal.circuit_id, renewal.ciaddr) == (None, None, HOST)


@pytest.mark.parametrize(
    ("fields", "kind", "local", "where"),
    [
        ({}, opt.DISCOVER, False, ("10.64.0.24", 10068)),
        ({"ciaddr": HOST, "giaddr": UNSPECIFIED}, opt.REQUEST, False, ("10.64.0.25", 68)),
        ({"ciaddr": HOST, "giaddr": UNSPECIFIED}, opt.REQUEST, True, ("10.64.0.25", 68)),
        ({"ciaddr": FOREIGN, "giaddr": UNSPECIFIED}, opt.REQUEST, True, ("255.255.255.255", 68)),
        ({"ciaddr": FOREIGN, "giaddr": UNSPECIFIED}, opt.REQUEST, False, ("203.0.113.9", 68)),
        ({"giaddr": UNSPECIFIED}, opt.DISCOVER, True, ("255.255.255.255", 68)),
    ],
    ids=["relayed", "renewing", "rebinding on our link", "NAK on our link", "NAK beyond a router", "first on our link"],
)
def test_where_a_reply_goes(fields: dict[str, Any], kind: int, local: bool, where: tuple[str, int]) -> None:
    asked = request(kind, **fields)
    reply = answer(asked, DECISION, IDENTITY)
    assert reply is not None
    assert reply_address(asked, reply, relay_port=10068, client_port=68, local=local) == where


@given(messages())
def test_any_message_has_an_answer_that_can_be_sent(message: Message) -> None:
    boot_request(message)
    reply = answer(message, DECISION, IDENTITY)
    if reply is not None:
        assert decode(encode(reply)) == reply
        assert (reply.xid, reply.chaddr, reply.giaddr) == (message.xid, message.chaddr, message.giaddr)
