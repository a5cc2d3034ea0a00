"""The DHCP endpoint over real sockets on loopback: relayed and local clients, a broken decision, a burst."""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv4Interface

import pytest

from pxe.decide import BootDecision, BootRequest, Lease
from pxe.dhcp import options as opt
from pxe.dhcp.message import Message, decode, encode
from pxe.dhcp.server import DhcpSettings, serve_dhcp
from tests.pxe.test_dhcp_answer import request

SERVER, RELAY, CLIENT = "127.77.0.1", "127.77.0.24", "127.77.0.25"
LEASE = Lease(IPv4Interface(f"{CLIENT}/31"), IPv4Address(RELAY), 600)


@pytest.fixture
def free_ports() -> tuple[int, int, int]:
    """Three UDP ports that nobody on this machine uses now."""
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3)]
    for sock in socks:
        sock.bind(("0.0.0.0", 0))
    ports = tuple(sock.getsockname()[1] for sock in socks)
    for sock in socks:
        sock.close()
    return ports[0], ports[1], ports[2]


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
    async with asyncio.timeout(5):
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


async def test_silence_junk_and_a_decision_that_fails(free_ports: tuple[int, int, int]) -> None:
    """None of them is answered, and the server goes on: the last message is answered."""
    port, relay_port, _ = free_ports
    giaddr = IPv4Address(RELAY)

    def fails_once(asked: BootRequest, failed: list[bool] = []) -> BootDecision:  # noqa: B006
        if not failed:
            failed.append(True)
            raise RuntimeError("the database is away")
        return decide(asked)

    async with serve_dhcp(settings(free_ports), fails_once):
        with bound(RELAY, relay_port) as relay:
            loop = asyncio.get_running_loop()
            await loop.sock_sendto(relay, b"junk", (SERVER, port))
            await loop.sock_sendto(relay, encode(request(opt.DISCOVER, xid=1, giaddr=giaddr)), (SERVER, port))
            await asyncio.sleep(0.05)
            await loop.sock_sendto(relay, encode(request(opt.RELEASE, xid=2, giaddr=giaddr)), (SERVER, port))
            foreign = request(opt.DISCOVER, xid=3, giaddr=IPv4Address("127.77.0.26"))
            await loop.sock_sendto(relay, encode(foreign), (SERVER, port))
            assert (await ask(relay, request(opt.DISCOVER, xid=4, giaddr=giaddr), port)).xid == 4


async def test_a_port_in_use_is_an_error(free_ports: tuple[int, int, int]) -> None:
    with bound(SERVER, free_ports[0]), pytest.raises(OSError):
        async with serve_dhcp(settings(free_ports), decide):
            pass
