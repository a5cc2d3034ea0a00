"""The DHCP codec: what it writes it reads, junk is Malformed, and scapy reads and writes the same bytes."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.dhcp import BOOTP, DHCP

from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREPLY, Malformed, Message, decode, encode

addresses = st.integers(0, 2**32 - 1).map(IPv4Address)
text = st.binary(max_size=64).filter(lambda value: b"\0" not in value)
codes = st.integers(1, 254).filter(lambda code: code != opt.OVERLOAD)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    """Any message that a datagram can carry, long options among them."""
    return Message(
        op=draw(st.sampled_from((1, 2))),
        xid=draw(st.integers(0, 2**32 - 1)),
        chaddr=draw(st.binary(max_size=16)),
        htype=draw(st.integers(0, 255)),
        hops=draw(st.integers(0, 255)),
        secs=draw(st.integers(0, 65535)),
        flags=draw(st.integers(0, 65535)),
        ciaddr=draw(addresses),
        yiaddr=draw(addresses),
        siaddr=draw(addresses),
        giaddr=draw(addresses),
        sname=draw(text),
        file=draw(text),
        options=draw(st.dictionaries(codes, st.binary(max_size=600), max_size=6)),
    )


@given(messages())
def test_what_we_encode_we_decode(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages())
def test_option_82_is_last(message: Message) -> None:
    agent = {opt.AGENT_INFORMATION: b"\x01\x03abc"}
    written = encode(Message(op=1, xid=1, chaddr=b"", options={**agent, **message.options, **agent}))
    at, last = 240, 0
    while written[at] != opt.END:
        last, at = written[at], at + 2 + written[at + 1]
    assert last == opt.AGENT_INFORMATION


@given(st.binary(max_size=700))
def test_junk_is_malformed_or_a_message(junk: bytes) -> None:
    for datagram in (junk, encode(Message(op=1, xid=0, chaddr=b"\0" * 6))[:240] + junk):
        try:
            message = decode(datagram)
        except Malformed:
            continue
        opt.read_sub_options(message.options.get(opt.AGENT_INFORMATION, b""))
        opt.read_routes(message.options.get(opt.CLASSLESS_ROUTES, b""))
        opt.user_classes(message.options.get(opt.USER_CLASS, b""))


@given(messages(), st.integers(0, 2000), st.integers(0, 255))
def test_a_damaged_message_is_malformed_or_a_message(message: Message, at: int, value: int) -> None:
    datagram = bytearray(encode(message))
    datagram[at % len(datagram)] = value
    try:
        decode(bytes(datagram[: at + 1]))
        decode(bytes(datagram))
    except Malformed:
        pass


@given(st.lists(st.tuples(st.integers(0, 32), addresses, addresses), max_size=20))
def test_classless_routes(values: list[tuple[int, IPv4Address, IPv4Address]]) -> None:
    routes = tuple((IPv4Network((address, length), strict=False), router) for length, address, router in values)
    assert opt.read_routes(opt.routes(routes)) == routes


def test_overload_joins_file_and_server_name() -> None:
    """Option 52 = 3, and an option of which each field holds a piece (RFC 3396 §5)."""
    fixed = bytearray(encode(Message(op=1, xid=7, chaddr=b"\0" * 6))[:240])
    fixed[44:108] = (b"\x43\x01c" + b"\x0c\x04host" + b"\xff").ljust(64, b"\0")
    fixed[108:236] = (b"\x43\x01b\xff").ljust(128, b"\0")
    message = decode(bytes(fixed) + b"\x34\x01\x03" + b"\x43\x01a" + b"\xff")
    assert message.options == {opt.BOOT_FILE: b"abc", opt.HOSTNAME: b"host"}
    assert (message.file, message.sname) == (b"", b"")


@pytest.mark.parametrize(
    "damage",
    [
        lambda whole: whole[:239],
        lambda whole: b"\x03" + whole[1:],
        lambda whole: whole[:2] + b"\x11" + whole[3:],
        lambda whole: whole[:236] + b"BOOT" + whole[240:],
        lambda whole: whole[:240] + b"\x35\x09\x01",
        lambda whole: whole[:240] + b"\x35",
        lambda whole: whole[:240] + b"\x34\x01\x04\xff",
    ],
)
def test_malformed(damage: object) -> None:
    assert callable(damage)
    with pytest.raises(Malformed):
        decode(damage(encode(Message(op=1, xid=0, chaddr=b"\0" * 6))))


def test_a_fixed_field_that_does_not_fit() -> None:
    with pytest.raises(Malformed):
        encode(Message(op=1, xid=0, chaddr=b"", file=b"x" * 129))


def test_scapy_reads_what_we_write() -> None:
    options = {
        opt.MESSAGE_TYPE: bytes((opt.OFFER,)),
        opt.SERVER_ID: IPv4Address("192.0.2.10").packed,
        opt.SUBNET_MASK: IPv4Address("255.255.255.254").packed,
        opt.CLASSLESS_ROUTES: opt.routes(((IPv4Network("169.254.169.254/32"), IPv4Address("10.64.0.24")),)),
        opt.AGENT_INFORMATION: opt.sub_options({1: b"xe-0/0/12.0", 2: b"leaf1"}),
        opt.HOSTNAME: b"n1",
    }
    message = Message(
        op=BOOTREPLY,
        xid=0xABCD,
        chaddr=bytes.fromhex("525400000101"),
        yiaddr=IPv4Address("10.64.0.25"),
        giaddr=IPv4Address("10.64.0.24"),
        siaddr=IPv4Address("192.0.2.10"),
        file=b"snponly.efi",
        options=options,
    )
    packet = BOOTP(encode(message))
    assert (packet.xid, packet.yiaddr, packet.giaddr, packet.siaddr) == (
        0xABCD,
        "10.64.0.25",
        "10.64.0.24",
        "192.0.2.10",
    )
    assert packet.file.rstrip(b"\0") == b"snponly.efi"
    read = [entry for entry in packet[DHCP].options if isinstance(entry, tuple)]
    named = {entry[0]: entry[1] for entry in read}
    assert named["server_id"] == "192.0.2.10"
    assert named["message-type"] == opt.OFFER
    assert named["classless_static_routes"] == ["169.254.169.254/32:10.64.0.24"]
    assert read[-1] == ("relay_agent_information", options[opt.AGENT_INFORMATION])


def test_we_read_what_scapy_writes() -> None:
    packet = BOOTP(op=1, xid=5, chaddr=bytes.fromhex("525400000101"), giaddr="10.64.0.24", flags="B") / DHCP(
        options=[
            ("message-type", "request"),
            ("requested_addr", "10.64.0.25"),
            ("vendor_class_id", b"PXEClient:Arch:00007"),
            (93, b"\0\x07"),
            "pad",
            "end",
        ]
    )
    message = decode(bytes(packet))
    assert message.kind == opt.REQUEST
    assert message.chaddr[:6].hex(":") == "52:54:00:00:01:01"
    assert message.flags == 0x8000
    assert message.giaddr == IPv4Address("10.64.0.24")
    assert message.address(opt.REQUESTED_ADDRESS) == IPv4Address("10.64.0.25")
    assert message.options[opt.CLIENT_ARCH] == b"\0\x07"
