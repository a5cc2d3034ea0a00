"""Router advertisements: what is answered, what the answer says, and that a host's kernel takes it."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers import inet6 as scapy

from netconf.desired import Profile
from netconf.render import configuration
from pxe.router_advert import Advert, advertisement, is_solicitation, link_local, serve_router_advert
from service.lab.leaf.view import PortView, update_views
from service.lab.router_advert import advert_of
from tests.netconf.leaves import boot6_of, leaf_of, port_of
from tests.pxe.dhcp6_clients.network import Network

MAC = bytes.fromhex("525400000101")
HOST = "fe80::5054:ff:fe00:202"
needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")


def solicitation(source: str = HOST, hops: int = 255, *, option: bool = True, **fields: Any) -> bytes:
    """A solicitation as scapy writes it; fields of the ICMPv6 message on top."""
    packet = scapy.IPv6(src=source, dst="ff02::2", hlim=hops) / scapy.ICMPv6ND_RS(**fields)
    return bytes(packet / scapy.ICMPv6NDOptSrcLLAddr(lladdr="52:54:00:00:02:02") if option else packet)


@pytest.mark.parametrize(
    ("packet", "valid"),
    [
        (solicitation(), True),
        (solicitation(option=False), True),
        (solicitation("::", option=False), True),
        (solicitation() + bytes(6), True),
        (solicitation("::"), False),
        (solicitation(hops=254), False),
        (solicitation(code=1), False),
        (solicitation(cksum=1), False),
        (solicitation(type=135), False),
        (solicitation()[:-1], False),
        (solicitation()[:47], False),
        (bytes(scapy.IPv6(src=HOST, dst="ff02::2", hlim=255) / scapy.ICMPv6ND_RS() / b"\x01\0\0\0\0\0\0\0"), False),
        (bytes(scapy.IPv6(src=HOST, dst="ff02::2", hlim=255) / scapy.ICMPv6ND_RS() / b"\x01\x02\0\0\0\0\0\0"), False),
        (bytes(scapy.IPv6(src=HOST, dst="ff02::2", hlim=255) / scapy.ICMPv6ND_RS() / b"\x01"), False),
    ],
    ids=[
        "plain",
        "without an option",
        "nobody's",
        "padded by Ethernet",
        "nobody's with a hardware address",
        "from beyond the link",
        "another code",
        "wrong checksum",
        "a neighbour solicitation",
        "cut off",
        "too short",
        "an option without length",
        "an option past the end",
        "half an option",
    ],
)
def test_solicitations(packet: bytes, valid: bool) -> None:
    assert is_solicitation(packet) is valid


@given(st.binary(max_size=120), st.integers(0, 63), st.integers(0, 255))
def test_junk_is_no_solicitation(junk: bytes, at: int, value: int) -> None:
    assert not is_solicitation(junk[:100])
    damaged = bytearray(solicitation())
    damaged[at % 48] = value
    assert is_solicitation(bytes(damaged)) in (True, False)


@pytest.mark.parametrize(
    ("advert", "expected"),
    [(Advert(), (0, 0, 0)), (Advert(True, True, 1800), (1, 1, 1800)), (Advert(other=True), (0, 1, 0))],
    ids=["no router", "managed", "other"],
)
@pytest.mark.parametrize("prefix", [None, IPv6Network("2001:db8:64::/64")], ids=["no prefix", "prefix"])
def test_scapy_reads_what_we_say(advert: Advert, expected: tuple[int, int, int], prefix: IPv6Network | None) -> None:
    written = advertisement(link_local(MAC), MAC, replace(advert, prefix=prefix))
    packet = scapy.IPv6(written)
    message = packet[scapy.ICMPv6ND_RA]
    assert (message.M, message.O, message.routerlifetime) == expected
    assert (packet.src, packet.dst, packet.hlim) == ("fe80::5054:ff:fe00:101", "ff02::1", 255)
    assert message[scapy.ICMPv6NDOptSrcLLAddr].lladdr == MAC.hex(":")
    if prefix is None:
        assert not message.haslayer(scapy.ICMPv6NDOptPrefixInfo)
    else:
        on_link = message[scapy.ICMPv6NDOptPrefixInfo]
        assert (on_link.prefix, on_link.prefixlen, on_link.L, on_link.A) == ("2001:db8:64::", 64, 1, 0)
        assert (on_link.validlifetime, on_link.preferredlifetime) == (advert.lifetime_s, advert.lifetime_s)
    checksum = message.cksum
    del message.cksum
    assert scapy.IPv6(bytes(packet))[scapy.ICMPv6ND_RA].cksum == checksum


@pytest.mark.parametrize(
    ("boots_by_ipv6", "expected"),
    [(False, Advert()), (True, Advert(True, True, 1800, IPv6Network("2001:db8:b:2::/64")))],
    ids=["ipv4", "ipv6"],
)
def test_a_leafs_port_advertises_by_what_it_boots_by(boots_by_ipv6: bool, expected: Advert) -> None:
    """By the leaf's running configuration; a device's IPv6 link changes nothing."""
    port = port_of(2, Profile.ACTIVE)
    if boots_by_ipv6:
        port = replace(port, links=(boot6_of(2), *port.links))
    view = PortView("leaf1", port.name)
    update_views({port.name: view}, configuration(leaf_of(port)))
    assert len(view.links) == len(port.links)
    assert advert_of(view) == expected


@pytest.fixture
def network() -> Iterator[Network]:
    with Network("leaf", "host") as net:
        net.cable("leaf", "p0", "host", "eth0")
        yield net


@needs_root
async def test_one_advertisement_for_each_solicitation(network: Network) -> None:
    """On a port that has no address at all."""
    network.run("leaf", "ip", "-6", "address", "flush", "dev", "p0")
    client = network.make("host", lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6))
    with client:
        client.setblocking(False)
        index = network.make("host", lambda: socket.if_nametoindex("eth0"))
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        heard: list[tuple[bytes, int]] = []

        async def solicit() -> None:
            loop = asyncio.get_running_loop()

            def readable() -> None:
                datagram, ancillary, _, _ = client.recvmsg(1500, 64)
                if datagram[0] == 134:
                    heard.append((datagram, int.from_bytes(ancillary[0][2], sys.byteorder)))

            loop.add_reader(client, readable)
            async with serve_router_advert("p0"):
                client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 254)
                client.sendto(b"\x85\0\0\0\0\0\0\0", ("ff02::2", 0))  # from beyond the link: no answer
                client.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
                client.sendto(b"\x80\0\0\0\0\0\0\0", ("ff02::1", 0))  # an echo request: none of its business
                for count in (1, 2):
                    client.sendto(b"\x85\0\0\0\0\0\0\0", ("ff02::2", 0))
                    async with asyncio.timeout(60):
                        while len(heard) < count:
                            await asyncio.sleep(0.01)
                await asyncio.sleep(0.2)
            loop.remove_reader(client)

        await network.inside("leaf", solicit)
    assert len(heard) == 2
    datagram, hops = heard[0]
    assert hops == 255
    assert struct.unpack("!BBxxBBH", datagram[:8]) == (134, 0, 64, 0, 0), "no flags, no default router"
    assert len(datagram) == 24, "no prefix"


@needs_root
async def test_a_kernel_takes_the_router(network: Network) -> None:
    """The host's own solicitation, when its interface comes up, brings it a default route that answers."""
    router = network.addresses("leaf", "p0").split("inet6 ")[1].split("/")[0]

    advert = Advert(managed=True, lifetime_s=1800, prefix=IPv6Network("2001:db8:64::/64"))

    async def advertise() -> None:
        async with serve_router_advert("p0", lambda: advert):
            network.run("host", "sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=2")
            network.run("host", "ip", "link", "set", "eth0", "down")
            network.run("host", "ip", "link", "set", "eth0", "up")
            async with asyncio.timeout(60):
                while "default" not in network.routes("host", "eth0"):
                    await asyncio.sleep(0.05)

    await network.inside("leaf", advertise)
    assert f"default via {router} " in network.routes("host", "eth0")
    assert "global" not in network.addresses("host", "eth0"), "addresses come by DHCPv6"
    mac = network.run("leaf", "cat", "/sys/class/net/p0/address").strip()
    assert f"{router} lladdr {mac} router" in network.run("host", "ip", "-6", "neighbour", "show", "dev", "eth0")


async def test_an_interface_that_is_not_there() -> None:
    with pytest.raises(OSError):
        async with serve_router_advert("rh-nowhere"):
            pass
