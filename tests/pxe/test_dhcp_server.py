"""The DHCP endpoint over real sockets on loopback: relays and renewals, a broken decision, two processes, a flood."""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface

import pytest

from pxe.decide import BootDecision, BootRequest, Lease
from pxe.dhcp import options as opt
from pxe.dhcp.message import Message, decode, encode
from pxe.dhcp.server import DhcpServer, DhcpSettings, serve_dhcp
from service.lab.ports import free_port
from tests.pxe.test_dhcp_answer import request

SERVER, RELAY, CLIENT = "127.77.0.1", "127.77.0.24", "127.77.0.25"
LEASE = Lease(IPv4Interface(f"{CLIENT}/31"), IPv4Address(RELAY), 600)


@pytest.fixture
def free_ports() -> tuple[int, int, int]:
    """Three UDP ports that nobody on this machine uses now."""
    one, two, three = (free_port(socket.SOCK_DGRAM) for _ in range(3))
    return one, two, three


def settings(ports: tuple[int, int, int]) -> DhcpSettings:
    return DhcpSettings(
        listen=SERVER,
        server_id=IPv4Address(SERVER),
        tftp_server=IPv4Address(SERVER),
        http_url="http://127.77.0.1",
        port=ports[0],
        relay_port=ports[1],
        client_port=ports[2],
    )


def decide(asked: BootRequest) -> BootDecision:
    """The port's lease to whoever is on the port."""
    mine = asked.giaddr == IPv4Address(RELAY) or asked.ciaddr == IPv4Address(CLIENT)
    return BootDecision(LEASE if mine else None, "test")


def bound(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((address, port))
    return sock


async def ask(sock: socket.socket, message: Message, port: int) -> Message:
    loop = asyncio.get_running_loop()
    await loop.sock_sendto(sock, encode(message), (SERVER, port))
    async with asyncio.timeout(60):
        return decode(await loop.sock_recv(sock, 4096))


async def test_relayed_dora_and_renewal(free_ports: tuple[int, int, int]) -> None:
    port, relay_port, client_port = free_ports
    giaddr = IPv4Address(RELAY)
    async with serve_dhcp(settings(free_ports), decide):
        with bound(RELAY, relay_port) as relay, bound(CLIENT, client_port) as client:
            offer = await ask(relay, request(opt.DISCOVER, giaddr=giaddr), port)
            assert (offer.kind, offer.yiaddr) == (opt.OFFER, IPv4Address(CLIENT))
            chosen = {
                opt.SERVER_ID: offer.options[opt.SERVER_ID],
                opt.REQUESTED_ADDRESS: offer.yiaddr.packed,
            }
            ack = await ask(relay, request(opt.REQUEST, chosen, giaddr=giaddr), port)
            assert ack.kind == opt.ACK
            renewal = Message(
                op=1,
                xid=77,
                chaddr=b"\x52\x54\0\0\1\1",
                ciaddr=IPv4Address(CLIENT),
                options={opt.MESSAGE_TYPE: bytes((opt.REQUEST,))},
            )
            renewed = await ask(client, renewal, port)
            assert (renewed.kind, renewed.yiaddr, renewed.xid) == (opt.ACK, IPv4Address(CLIENT), 77)


async def test_what_is_not_answered(free_ports: tuple[int, int, int]) -> None:
    """Each is counted, and the server goes on: the last message is answered."""
    port, relay_port, client_port = free_ports
    giaddr = IPv4Address(RELAY)
    declined: list[BootRequest] = []

    def fails_once(asked: BootRequest, failed: list[bool] = []) -> BootDecision:  # noqa: B006
        if not failed:
            failed.append(True)
            raise RuntimeError("the index is broken")
        return decide(asked)

    not_ours = {opt.SERVER_ID: b"\1\1\1\1"}
    renewal = Message(op=1, xid=1, chaddr=b"", ciaddr=IPv4Address(CLIENT), options={opt.MESSAGE_TYPE: b"\3"})
    async with serve_dhcp(settings(free_ports), fails_once, declined=declined.append) as server:
        with bound(RELAY, relay_port) as relay, bound("127.77.0.99", client_port) as thief:
            for message in (
                request(opt.DISCOVER, xid=1, giaddr=giaddr),  # the decision that fails
                request(opt.RELEASE, giaddr=giaddr),
                request(opt.DECLINE, giaddr=giaddr),
                request(opt.DECLINE, not_ours, giaddr=giaddr),
                request(opt.REQUEST, not_ours, giaddr=giaddr),
                request(opt.OFFER, giaddr=giaddr),
                request(opt.DISCOVER, giaddr=IPv4Address("127.77.0.26")),  # no port of ours
                Message(op=1, xid=1, chaddr=b"", giaddr=giaddr),  # BOOTP
                Message(op=2, xid=1, chaddr=b"", giaddr=giaddr),
                request(opt.DISCOVER, giaddr=IPv4Address(0)),  # not relayed, and not broadcast on a link of ours
            ):
                relay.sendto(encode(message), (SERVER, port))
            relay.sendto(b"junk", (SERVER, port))
            thief.sendto(encode(renewal), (SERVER, port))  # from another address than it renews
            assert (await ask(relay, request(opt.DISCOVER, xid=4, giaddr=giaddr), port)).xid == 4
    assert server.counters.snapshot() == {
        "dhcp_received": 13,
        "dhcp_malformed": 1,
        "dhcp_undecided": 1,
        "dhcp_released": 1,
        "dhcp_declined": 1,
        "dhcp_silent": 8,
        "dhcp_answered_offer": 1,
    }
    assert [asked.giaddr for asked in declined] == [giaddr]


async def test_the_same_question_gets_the_same_answer(free_ports: tuple[int, int, int]) -> None:
    """A relay that repeats itself, and two relays of one link: nothing depends on what was asked before, or when."""
    port, relay_port, _ = free_ports
    question = request(opt.REQUEST, giaddr=IPv4Address(RELAY), ciaddr=IPv4Address(CLIENT))
    async with serve_dhcp(settings(free_ports), decide):
        with bound(RELAY, relay_port) as relay:
            answers = [await ask(relay, question, port) for _ in range(3)]
            await ask(relay, request(opt.DISCOVER, xid=8, giaddr=IPv4Address(RELAY)), port)
            answers.append(await ask(relay, question, port))
    assert all(answer == answers[0] for answer in answers)


async def test_a_port_in_use_is_an_error(free_ports: tuple[int, int, int]) -> None:
    """Only servers that share it on purpose share a port."""
    with bound(SERVER, free_ports[0]), pytest.raises(OSError):
        async with serve_dhcp(settings(free_ports), decide):
            pass


def read_all(server: DhcpServer) -> None:
    """Let the server read until nothing is left; a turn of its reads some datagrams only."""
    before = -1
    while (now := server.counters.snapshot().get("dhcp_received", 0)) != before:
        before = now
        server.readable()


async def test_what_the_kernel_drops_is_counted(free_ports: tuple[int, int, int]) -> None:
    server = DhcpServer(settings(free_ports), decide)
    try:
        with bound(RELAY, 0) as flood:
            sent = 60_000
            for _ in range(sent):
                flood.sendto(bytes(1400), (SERVER, free_ports[0]))
            counts = server.counters.snapshot
            read_all(server)
            # The kernel tells what it dropped with a datagram that comes later.
            flood.sendto(b"the last one", (SERVER, free_ports[0]))
            read_all(server)
            assert counts()["dhcp_dropped"] > 0
            assert counts()["dhcp_received"] + counts()["dhcp_dropped"] == sent + 1
    finally:
        server.close()


def serve_forever(settings: DhcpSettings, seconds: int, ready: object) -> None:
    """One of several processes; it is known by the length of its leases."""

    def decide_so(asked: BootRequest) -> BootDecision:
        decision = decide(asked)
        lease = Lease(IPv4Interface(f"{CLIENT}/31"), IPv4Address(RELAY), seconds)
        return BootDecision(lease if decision.lease else None, "test")

    async def serve() -> None:
        async with serve_dhcp(settings, decide_so):
            ready.set()  # type: ignore[attr-defined]
            await asyncio.Event().wait()

    asyncio.run(serve())


@contextmanager
def processes(settings: DhcpSettings, *seconds: int) -> Iterator[None]:
    """Servers in processes of their own on one port."""
    spawning = multiprocessing.get_context("spawn")
    running = []
    try:
        for length in seconds:
            ready = spawning.Event()
            running.append(spawning.Process(target=serve_forever, args=(settings, length, ready), daemon=True))
            running[-1].start()
            assert ready.wait(60)
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


async def test_two_processes_share_a_port(free_ports: tuple[int, int, int]) -> None:
    """Both answer, each question once, and none is lost."""
    port, relay_port, _ = free_ports
    questions = 400
    with processes(settings(free_ports), 111, 222), bound(RELAY, relay_port) as relay:
        senders = [bound(RELAY, 0) for _ in range(40)]
        loop = asyncio.get_running_loop()
        answers: list[Message] = []
        for xid in range(questions):
            question = request(opt.DISCOVER, xid=xid, giaddr=IPv4Address(RELAY))
            senders[xid % len(senders)].sendto(encode(question), (SERVER, port))
            async with asyncio.timeout(60):
                answers.append(decode(await loop.sock_recv(relay, 4096)))
        for sender in senders:
            sender.close()
    assert [answer.xid for answer in answers] == list(range(questions))
    lengths = [int.from_bytes(answer.options[opt.LEASE_TIME], "big") for answer in answers]
    assert set(lengths) == {111, 222}
