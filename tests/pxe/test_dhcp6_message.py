"""The DHCPv6 codec: what it writes it reads, junk is Malformed, and scapy reads and writes the same bytes."""

from __future__ import annotations

import contextlib
from ipaddress import IPv6Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import dhcp6 as scapy

from pxe.decide import BootDecision6, Lease6
from pxe.dhcp6 import options as opt
from pxe.dhcp6.answer import answer, reply_packet, use_multicast
from pxe.dhcp6.message import Message, Packet, Relay, decode, encode
from pxe.dhcp6.options import Ia, IaAddress, Malformed
from pxe.dhcp6.request import boot_request
from tests.pxe.test_dhcp6_answer import DECISION, IDENTITY, LEASE

SEEDS = [
    bytes.fromhex(line.split()[-1])
    for line in Path(__file__).with_name("dhcp6_packets.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
HOST = IPv6Address("fe80::5054:ff:fe00:101")
LINK = IPv6Address("2001:db8:64::")

ip6 = st.integers(0, 2**128 - 1).map(IPv6Address)
seconds = st.integers(0, 2**32 - 1)
some_options = st.lists(
    st.tuples(st.integers(0, 65535).filter(lambda code: code != opt.RELAY_MESSAGE), st.binary(max_size=300)),
    max_size=6,
).map(tuple)
kinds = st.integers(0, 255).filter(lambda kind: kind not in (opt.RELAY_FORWARD, opt.RELAY_REPLY))
ias = st.builds(
    Ia,
    seconds,
    seconds,
    seconds,
    st.lists(st.builds(IaAddress, ip6, seconds, seconds), max_size=4).map(tuple),
    st.none() | st.tuples(st.integers(0, 65535), st.text(max_size=20)),
)
packets = st.builds(
    Packet,
    st.builds(Message, kinds, st.integers(0, 2**24 - 1), some_options),
    st.lists(st.builds(Relay, st.integers(0, 8), ip6, ip6, some_options), max_size=9).map(tuple),
)


@given(packets)
def test_what_we_encode_we_decode(packet: Packet) -> None:
    assert decode(encode(packet)) == packet


@given(ias)
def test_associations(value: Ia) -> None:
    assert opt.read_ia(opt.ia(value)) == value


@given(st.lists(st.binary(max_size=80)))
def test_classes(classes: list[bytes]) -> None:
    assert opt.texts(opt.vendor_class(343, *classes)[4:]) == tuple(classes)


def serve(datagram: bytes) -> Packet | None:
    """All that the server does with a datagram."""
    packet = decode(datagram)
    boot_request(packet, HOST, LINK)
    use_multicast(packet.message, IDENTITY)
    reply = answer(packet.message, DECISION, IDENTITY)
    return None if reply is None else reply_packet(packet, reply)


@given(st.binary(max_size=400))
def test_junk_is_malformed_or_a_message(junk: bytes) -> None:
    for datagram in (junk, b"\x01abc" + junk, b"\x0c\0" + bytes(32) + junk):
        with contextlib.suppress(Malformed):
            serve(datagram)


@given(st.sampled_from(SEEDS), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8), st.data())
def test_a_damaged_message_is_malformed_or_answered(
    seed: bytes, damage: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Bytes of real packets changed, cut off, and left out."""
    datagram = bytearray(seed)
    for at, value in damage:
        datagram[at % len(datagram)] = value
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(datagram))] * 2)))
    for damaged in (datagram, datagram[:end], datagram[:start] + datagram[end:]):
        with contextlib.suppress(Malformed):
            if (reply := serve(bytes(damaged))) is not None:
                assert decode(encode(reply)) == reply


def test_every_seed_is_read_and_written_again() -> None:
    for seed in SEEDS:
        packet = decode(seed)
        assert decode(encode(packet)) == packet
        assert serve(seed) is not None


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        b"\x01ab",
        b"\x01abc\0\x01",
        b"\x01abc\0\x01\0\x05abcd",
        b"\x0c\0" + bytes(31),
        b"\x0c\0" + bytes(32),
        b"\x0c\0" + bytes(32) + b"\0\x09\0\x04\x01abc" * 2,
        b"\x0c\x09" + bytes(32) + b"\0\x09\0\x04\x01abc",
        b"\x0d\0" + bytes(32) + b"\0\x09\0\x04\x01abc",
        b"\x0c\0" + bytes(32) + b"\0\x09\0\x04\x07abc",
    ],
    ids=[
        "empty",
        "no transaction",
        "half a header",
        "an option past the end",
        "a relay cut off",
        "a relay without a message",
        "a relay with two messages",
        "nine hops",
        "a request going down",
        "a reply going up",
    ],
)
def test_malformed(datagram: bytes) -> None:
    with pytest.raises(Malformed):
        decode(datagram)


def test_more_relays_than_a_packet_may_pass() -> None:
    relays = tuple(Relay(min(hops, 8), LINK, HOST) for hops in range(9))
    whole = encode(Packet(Message(1, 1), relays))
    assert len(decode(whole).relays) == 9
    with pytest.raises(Malformed):
        decode(b"\x0c\x08" + bytes(32) + opt.write_options([(opt.RELAY_MESSAGE, whole)]))
    with pytest.raises(Malformed):
        encode(Packet(Message(1, 1), (*relays, relays[0])))


@pytest.mark.parametrize(
    "message",
    [
        Message(1, 1, ((1, bytes(65536)),)),
        Message(1, 1, ((65536, b""),)),
        Message(300, 1),
        Message(opt.RELAY_FORWARD, 1),
    ],
    ids=["a long option", "a large code", "a large kind", "a relay's kind"],
)
def test_what_has_no_form_on_the_wire(message: Message) -> None:
    with pytest.raises(Malformed):
        encode(Packet(message))


@pytest.mark.parametrize(
    ("code", "value"),
    [
        (opt.IA_NA, bytes(11)),
        (opt.IA_NA, bytes(12) + b"\0\x05\0\x01a"),
        (opt.IA_NA, bytes(12) + b"\0\x0d\0\x01a"),
        (opt.IA_PD, bytes(11)),
        (opt.OPTION_REQUEST, b"\0\x17\0"),
        (opt.USER_CLASS, b"\0\x05iPXE"),
        (opt.USER_CLASS, b"\0"),
        (opt.VENDOR_CLASS, bytes(4) + b"\0\x09PXE"),
        (opt.CLIENT_ARCH, b"\x07"),
    ],
)
def test_an_option_that_cannot_be_read(code: int, value: bytes) -> None:
    firmware = (opt.VENDOR_CLASS, opt.vendor_class(343, b"PXEClient")) if code == opt.CLIENT_ARCH else (99, b"")
    message = Message(opt.SOLICIT, 1, ((opt.CLIENT_ID, b"\0\x03\0\x01abcdef"), (code, value), firmware))
    with pytest.raises(Malformed):
        serve(encode(Packet(message)))


def test_scapy_reads_what_we_write() -> None:
    packet = Packet(
        Message(opt.SOLICIT, 0xABCDEF, ((opt.CLIENT_ID, b"\0\x03\0\x01\x52\x54\0\0\x01\x01"), (opt.IA_NA, bytes(12)))),
        (Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"), (opt.REMOTE_ID, b"\0\0\x0a\x4cleaf1"))),),
    )
    forward = scapy.DHCP6_RelayForward(encode(packet))
    assert (forward.hopcount, forward.linkaddr, forward.peeraddr) == (0, str(LINK), str(HOST))
    assert forward[scapy.DHCP6OptIfaceId].ifaceid == b"xe-0/0/12.0"
    assert (forward[scapy.DHCP6OptRemoteID].enterprisenum, forward[scapy.DHCP6OptRemoteID].remoteid) == (2636, b"leaf1")
    solicit = forward[scapy.DHCP6_Solicit]
    assert (solicit.trid, solicit[scapy.DHCP6OptClientId].duid.lladdr) == (0xABCDEF, "52:54:00:00:01:01")


def test_scapy_reads_our_reply() -> None:
    asked = Packet(
        Message(
            opt.SOLICIT,
            5,
            (
                (opt.CLIENT_ID, b"\0\x03\0\x01\x52\x54\0\0\x01\x01"),
                (opt.IA_NA, b"\0\0\0\x09" + bytes(8)),
                (opt.OPTION_REQUEST, b"\0\x17\0\x52"),
                (opt.USER_CLASS, b"\0\x04iPXE"),
            ),
        ),
        (Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"),)),),
    )
    lease = Lease6(LEASE.address, 600, (IPv6Address("2001:db8:5::53"),))
    reply = answer(asked.message, BootDecision6(lease, "test", "http://[2001:db8:5::10]/boot/ipxe"), IDENTITY)
    assert reply is not None
    back = scapy.DHCP6_RelayReply(encode(reply_packet(asked, reply)))
    assert (back.linkaddr, back.peeraddr) == (str(LINK), str(HOST))
    assert back[scapy.DHCP6OptIfaceId].ifaceid == b"xe-0/0/12.0"
    advertise = back[scapy.DHCP6_Advertise]
    assert advertise.trid == 5
    assert advertise[scapy.DHCP6OptPref].prefval == 255
    granted = advertise[scapy.DHCP6OptIA_NA]
    assert (granted.iaid, granted.T1, granted.T2) == (9, 300, 480)
    address = advertise[scapy.DHCP6OptIAAddress]
    assert (address.addr, address.preflft, address.validlft) == (str(LEASE.address.ip), 600, 600)
    assert advertise[scapy.DHCP6OptDNSServers].dnsservers == ["2001:db8:5::53"]
    assert advertise[scapy.DHCP6OptBootFileUrl].optdata == b"http://[2001:db8:5::10]/boot/ipxe"


def test_we_read_what_scapy_writes() -> None:
    solicit = (
        scapy.DHCP6_Solicit(trid=7)
        / scapy.DHCP6OptClientId(duid=scapy.DUID_LL(lladdr="52:54:00:00:01:01"))
        / scapy.DHCP6OptIA_NA(iaid=3, ianaopts=[scapy.DHCP6OptIAAddress(addr="2001:db8::7", preflft=1, validlft=2)])
        / scapy.DHCP6OptOptReq(reqopts=[23, 59])
        / scapy.DHCP6OptVendorClass(
            enterprisenum=343, vcdata=[scapy.VENDOR_CLASS_DATA(data=b"PXEClient:Arch:00007:UNDI:003001")]
        )
        / scapy.DHCP6OptClientArchType(archtypes=[7])
    )
    forward = (
        scapy.DHCP6_RelayForward(linkaddr=str(LINK), peeraddr=str(HOST))
        / scapy.DHCP6OptIfaceId(ifaceid=b"xe-0/0/12.0")
        / scapy.DHCP6OptRelayMsg(message=solicit)
    )
    packet = decode(bytes(forward))
    assert packet.relays == (Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"),)),)
    assert (packet.message.kind, packet.message.xid) == (opt.SOLICIT, 7)
    assert packet.message.asked_options == (23, 59)
    asked = boot_request(packet, HOST, None)
    assert (asked.stage, asked.arch, asked.mac) == ("firmware", "uefi-x64", "52:54:00:00:01:01")
    assert asked.addresses == (IPv6Address("2001:db8::7"),)
