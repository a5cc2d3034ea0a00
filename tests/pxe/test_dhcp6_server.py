"""The DHCPv6 endpoint over real sockets on loopback: relays, direct messages, broken decisions, several processes."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from ipaddress import IPv6Address

import pytest

from pxe.counters import Counters
from pxe.decide import BootDecision6, BootRequest6
from pxe.dhcp6 import options as opt
from pxe.dhcp6.answer import server_duid
from pxe.dhcp6.message import Message, Packet, Relay, decode, encode
from pxe.dhcp6.server import Dhcp6Settings, serve_dhcp6
from service.lab.ports import free_port
from tests.pxe.test_dhcp6_answer import DECISION, HOST, LINK, OURS, association, message

SERVER = "::1"
NAMED = (opt.SERVER_ID, server_duid("lab"))


@pytest.fixture
def free_ports() -> tuple[int, int]:
    """Two UDP ports that nobody on this machine uses now."""
    one, two = (free_port(socket.SOCK_DGRAM, "::") for _ in range(2))
    return one, two


@pytest.fixture
def relay(free_ports: tuple[int, int]) -> Iterator[socket.socket]:
    with bound(free_ports[1]) as sock:
        yield sock


def bound(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((SERVER, port))
    return sock


def settings(ports: tuple[int, int], listen: str = SERVER) -> Dhcp6Settings:
    return Dhcp6Settings(
        listen=listen,
        duid=server_duid("lab"),
        tftp_server=IPv6Address(SERVER),
        http_url="http://[::1]",
        port=ports[0],
        relay_port=ports[1],
    )


def decide(asked: BootRequest6) -> BootDecision6:
    """The port's lease to whoever is on the port."""
    return DECISION if asked.link_address == LINK else BootDecision6(None, "foreign port")


def relayed(asked: Message, *relays: Relay) -> bytes:
    return encode(Packet(asked, relays or (Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"),)),)))


async def ask(sock: socket.socket, datagram: bytes, port: int) -> Packet:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, datagram, (SERVER, port))
    async with asyncio.timeout(60):
        return decode(await loop.sock_recv(sock, 4096))


async def test_a_relays_client_from_solicit_to_renewal(free_ports: tuple[int, int], relay: socket.socket) -> None:
    counters = Counters()
    async with serve_dhcp6(settings(free_ports), decide, counters=counters):
        for kind, answered in ((opt.SOLICIT, opt.ADVERTISE), (opt.REQUEST, opt.REPLY), (opt.RENEW, opt.REPLY)):
            reply = await ask(relay, relayed(message(kind, association(1))), free_ports[0])
            assert (reply.message.kind, reply.message.xid) == (answered, 77)
            assert opt.read_ia(reply.message.first(opt.IA_NA) or b"").addresses[0].address == OURS
            assert reply.relays == (Relay(0, LINK, HOST, ((opt.INTERFACE_ID, b"xe-0/0/12.0"),)),)
    assert counters.snapshot() == {"dhcp6_received": 3, "dhcp6_advertise": 1, "dhcp6_reply": 2}


async def test_silence_junk_and_a_decision_that_fails(free_ports: tuple[int, int], relay: socket.socket) -> None:
    """None of them is answered, and the server goes on: the last message is answered."""
    counters = Counters()
    failed: list[BootRequest6] = []

    def fails_once(asked: BootRequest6) -> BootDecision6:
        if not failed:
            failed.append(asked)
            raise RuntimeError("the index is broken")
        return decide(asked)

    foreign = Relay(0, IPv6Address("2001:db8:65::"), HOST)
    cut = Message(opt.SOLICIT, 2, ((opt.CLIENT_ID, b"\0\x03\0\x01abcdef"), (opt.IA_NA, b"short")))
    async with serve_dhcp6(settings(free_ports), fails_once, counters=counters):
        loop = asyncio.get_running_loop()
        for datagram in (
            relayed(message(opt.SOLICIT, association(1))),
            b"bad",
            b"",
            relayed(cut),
            relayed(message(opt.SOLICIT, association(1)), foreign),
            relayed(message(opt.REBIND, association(1), NAMED)),
        ):
            await loop.sock_sendto(relay, datagram, (SERVER, free_ports[0]))
        last = Message(opt.SOLICIT, 4, message(opt.SOLICIT).options)
        assert (await ask(relay, relayed(last), free_ports[0])).message.xid == 4
    assert counters.snapshot() == {
        "dhcp6_received": 7,
        "dhcp6_undecided": 1,
        "dhcp6_malformed": 3,
        "dhcp6_silent": 3,
        "dhcp6_advertise": 1,
    }


async def test_a_relay_that_has_a_port_of_its_own(free_ports: tuple[int, int]) -> None:
    """RFC 8357: only where the relay says so is it answered at the port that it sends from."""
    own = Relay(0, LINK, HOST, ((opt.RELAY_SOURCE_PORT, b"\0\0"),))
    with bound(0) as elsewhere:
        async with serve_dhcp6(settings(free_ports), decide):
            reply = await ask(elsewhere, relayed(message(opt.SOLICIT), own), free_ports[0])
    assert reply.relays == (own,)


async def test_unicast_is_told_to_multicast(free_ports: tuple[int, int]) -> None:
    port = free_ports[1]
    with bound(port) as client:
        told = Dhcp6Settings(
            listen="::",
            duid=server_duid("lab"),
            tftp_server=IPv6Address(SERVER),
            http_url="",
            port=free_ports[0],
            client_port=port,
        )
        async with serve_dhcp6(told, decide) as server:
            loop = asyncio.get_running_loop()
            solicit = encode(Packet(message(opt.SOLICIT, association(1))))
            await loop.sock_sendto(client, solicit, (SERVER, free_ports[0]))
            reply = await ask(client, encode(Packet(message(opt.RENEW, association(1, OURS)))), free_ports[0])
            assert server.counters.snapshot() == {"dhcp6_received": 2, "dhcp6_silent": 1, "dhcp6_reply": 1}
    assert opt.read_status(reply.message.first(opt.STATUS_CODE) or b"")[0] == opt.USE_MULTICAST
    assert reply.message.first(opt.IA_NA) is None


async def test_a_decline_is_told(free_ports: tuple[int, int], relay: socket.socket) -> None:
    heard: list[BootRequest6] = []
    async with serve_dhcp6(settings(free_ports), decide, declined=heard.append) as server:
        await ask(relay, relayed(message(opt.RELEASE, association(1, OURS))), free_ports[0])
        await ask(relay, relayed(message(opt.DECLINE, association(1, OURS))), free_ports[0])
        assert server.counters.snapshot()["dhcp6_declined"] == 1
    assert [(asked.interface_id, asked.addresses) for asked in heard] == [("xe-0/0/12.0", (OURS,))]


async def test_two_processes_share_what_relays_send(free_ports: tuple[int, int]) -> None:
    """Nothing is lost and nothing answered twice."""
    one, other = Counters(), Counters()
    own = Relay(0, LINK, HOST, ((opt.RELAY_SOURCE_PORT, b"\0\0"),))
    async with (
        serve_dhcp6(settings(free_ports), decide, counters=one),
        serve_dhcp6(settings(free_ports), decide, counters=other),
    ):
        for _ in range(64):
            with bound(0) as elsewhere:
                await ask(elsewhere, relayed(message(opt.SOLICIT), own), free_ports[0])
    answered = [counters.snapshot().get("dhcp6_advertise", 0) for counters in (one, other)]
    assert sum(answered) == 64
    assert min(answered) > 0


@pytest.mark.parametrize(
    ("listen", "interfaces"),
    [("2001:db8::1", ()), (SERVER, ("rh-nowhere",))],
    ids=["address", "interface"],
)
async def test_what_is_not_there_is_an_error(
    free_ports: tuple[int, int], listen: str, interfaces: tuple[str, ...]
) -> None:
    elsewhere = Dhcp6Settings(
        listen=listen,
        duid=b"",
        tftp_server=IPv6Address(SERVER),
        http_url="",
        port=free_ports[0],
        interfaces=interfaces,
    )
    with pytest.raises(OSError):
        async with serve_dhcp6(elsewhere, decide):
            pass
