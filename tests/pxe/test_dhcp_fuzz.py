"""Captured packets of real clients, whole and damaged: a message that can be answered or Malformed comes out."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pxe.decide import Arch, Stage
from pxe.dhcp import options as opt
from pxe.dhcp.answer import answer, reply_address
from pxe.dhcp.message import Malformed, Message, decode, encode
from pxe.dhcp.request import boot_request
from tests.pxe.test_dhcp_answer import DECISION, IDENTITY

LINES = Path(__file__).with_name("dhcp_packets.txt").read_text().splitlines()
PACKETS = [(name, bytes.fromhex(payload)) for name, payload in (line.split() for line in LINES[1:])]
JUNOS = opt.sub_options({opt.CIRCUIT_ID: b"xe-0/0/12.0", opt.REMOTE_ID: b"leaf1"})


def relayed(packet: bytes) -> bytes:
    """The packet as a leaf relays it."""
    request = decode(packet)
    options = {**request.options, opt.AGENT_INFORMATION: JUNOS}
    return encode(replace(request, hops=1, giaddr=IPv4Address("10.64.0.24"), options=options))


SEEDS = [packet for _, packet in PACKETS] + [relayed(packet) for name, packet in PACKETS if "behind" not in name]


@pytest.mark.parametrize(
    ("name", "stage", "arch"),
    [
        ("ipxe-rom", Stage.IPXE, Arch.BIOS),
        ("ovmf-pxe", Stage.FIRMWARE, Arch.UEFI_X64),
        ("ovmf-http", Stage.HTTP_FIRMWARE, Arch.UEFI_X64),
        ("dhclient", Stage.SYSTEM, Arch.BIOS),
        ("udhcpc", Stage.SYSTEM, Arch.BIOS),
        ("dhcpcd", Stage.SYSTEM, Arch.BIOS),
        ("networkd", Stage.SYSTEM, Arch.BIOS),
    ],
)
def test_who_asks(name: str, stage: Stage, arch: Arch) -> None:
    packets = [packet for sender, packet in PACKETS if sender.split("-behind-")[0] == name]
    assert packets
    for packet in packets:
        asked = boot_request(decode(packet))
        assert (asked.stage, asked.arch) == (stage, arch)
        assert decode(encode(decode(packet))) == decode(packet)


def goes_through(datagram: bytes) -> Message | None:
    """All that the server does with a datagram; the message, None where it is Malformed."""
    try:
        request = decode(datagram)
    except Malformed:
        return None
    boot_request(request, IPv4Address("10.64.0.8"))
    if reply := answer(request, DECISION, IDENTITY):
        assert decode(encode(reply)) == reply
        assert (reply.xid, reply.chaddr, reply.giaddr) == (request.xid, request.chaddr, request.giaddr)
        reply_address(request, reply, relay_port=67, client_port=68, local=True)
    return request


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_every_seed_cut_anywhere(number: int) -> None:
    seed = SEEDS[number]
    assert goes_through(seed) is not None
    for length in range(len(seed)):
        goes_through(seed[:length])


@pytest.mark.parametrize("number", range(len(SEEDS)))
def test_every_seed_with_each_byte_changed(number: int) -> None:
    seed = SEEDS[number]
    for at in range(len(seed)):
        for value in {0, 1, seed[at] ^ 1, seed[at] ^ 0x80, 254, 255} - {seed[at]}:
            goes_through(seed[:at] + bytes((value,)) + seed[at + 1 :])


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A captured packet with some pieces changed, doubled, swapped for another packet's, or taken out."""
    datagram = draw(st.sampled_from(SEEDS))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(datagram)))
        end = min(len(datagram), at + draw(st.integers(0, 40)))
        other = draw(st.sampled_from(SEEDS))
        start = draw(st.integers(0, len(other)))
        piece = draw(
            st.one_of(
                st.binary(max_size=20),
                st.just(datagram[at:end] * 2),
                st.just(other[start : start + 40]),
                st.sampled_from((b"\x34\x01\x01", b"\x34\x01\x02", b"\x34\x01\x03", b"\xff", b"\x52\xff", b"\x35\x00")),
            )
        )
        datagram = datagram[:at] + piece + datagram[end:]
    return datagram


@given(damaged())
def test_a_damaged_packet_is_malformed_or_has_an_answer(datagram: bytes) -> None:
    goes_through(datagram)
