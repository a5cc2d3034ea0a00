"""Many at once: who gets a place, who shares a port, and what a narrow path does."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe.counters import Counters
from pxe.tftp import packets
from pxe.tftp.server import TftpServer, TftpSettings, serve_tftp
from service.lab.ports import free_port
from service.lab.tftp_client import fetch_tftp
from tests.lab.namespace import in_namespace

SERVER = "127.77.5.1"
FILES = {"file": bytes(range(256)) * 400}
ROOT = Path(__file__).parents[2]
Process = subprocess.Popen[str]


@asynccontextmanager
async def _served(most: int, most_of_one: int) -> AsyncIterator[tuple[TftpServer, int, Counters]]:
    port, counters = free_port(socket.SOCK_DGRAM, SERVER), Counters()
    settings = TftpSettings(listen=SERVER, port=port, most_transfers=most, most_of_one_client=most_of_one)
    async with serve_tftp(settings, FILES, counters) as server:
        yield server, port, counters


@pytest.fixture
def clients() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _client(stack: ExitStack, local: str) -> socket.socket:
    sock = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK))
    sock.bind((local, 0))
    return sock


async def _asked(sock: socket.socket, port: int, counters: Counters) -> None:
    """Send a request, and wait until the server has seen it."""
    before = counters.snapshot().get("tftp_requests", 0)
    sock.sendto(packets.rrq("file", {"windowsize": "16"}), (SERVER, port))
    async with asyncio.timeout(60):
        while counters.snapshot().get("tftp_requests", 0) == before:
            await asyncio.sleep(0.001)


async def _acknowledged(sock: socket.socket) -> None:
    """Answer the OACK, so that the server knows that somebody is there."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(60):
        _, peer = await loop.sock_recvfrom(sock, 2048)
        sock.sendto(packets.ack(0), peer)
        await loop.sock_recvfrom(sock, 2048)


async def test_one_address_cannot_take_all_places(clients: ExitStack) -> None:
    async with _served(most=20, most_of_one=4) as (server, port, counters):
        for _ in range(30):
            await _asked(_client(clients, "127.77.5.2"), port, counters)
        assert server.transfers == 4
        assert counters.snapshot()["tftp_busy"] == 26
        assert await fetch_tftp(IPv4Address("127.77.5.3"), (SERVER, port), "file") == FILES["file"]


async def test_a_flood_that_nobody_acknowledges_displaces_only_its_own(clients: ExitStack) -> None:
    async with _served(most=20, most_of_one=4) as (server, port, counters):
        honest = _client(clients, "127.77.5.3")
        await _asked(honest, port, counters)
        await _acknowledged(honest)
        for number in range(100):
            await _asked(_client(clients, f"127.77.6.{number + 1}"), port, counters)
        assert server.transfers == 20
        assert await fetch_tftp(IPv4Address("127.77.5.4"), (SERVER, port), "file") == FILES["file"]
        counts = counters.snapshot()
        assert counts.get("tftp_busy", 0) == 0
        assert counts["tftp_given_up"] >= 81
        # The honest one is still there: it goes on where it was.
        (datagram, peer) = await asyncio.get_running_loop().sock_recvfrom(honest, 2048)
        while (packets.data_block(datagram) or (0, b""))[0] != 16:
            (datagram, peer) = await asyncio.get_running_loop().sock_recvfrom(honest, 2048)
        honest.sendto(packets.ack(16), peer)
        async with asyncio.timeout(60):
            while (packets.data_block(datagram) or (0, b""))[0] != 17:
                (datagram, peer) = await asyncio.get_running_loop().sock_recvfrom(honest, 2048)
        async with asyncio.timeout(60):  # the flood ends by itself
            while server.transfers > 1:
                await asyncio.sleep(0.05)


async def test_with_all_places_taken_a_request_stays_unanswered(clients: ExitStack) -> None:
    async with _served(most=5, most_of_one=4) as (server, port, counters):
        for number in range(5):
            sock = _client(clients, f"127.77.6.{number + 1}")
            await _asked(sock, port, counters)
            await _acknowledged(sock)
        late = _client(clients, "127.77.5.9")
        await _asked(late, port, counters)
        assert server.transfers == 5
        assert counters.snapshot()["tftp_busy"] == 1
        await asyncio.sleep(0.2)
        with pytest.raises(BlockingIOError):
            late.recv(2048)


def _process(stack: ExitStack, listen: str, port: int, folder: Path, prefix: tuple[str, ...] = ()) -> Process:
    (folder / "file").write_bytes(FILES["file"])
    command = [*prefix, sys.executable, "-m", "tests.bench.tftp_server", listen, str(port), str(folder)]
    process = stack.enter_context(
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.terminate)
    assert process.stdout is not None
    assert "ready" in process.stdout.readline()
    return process


async def test_processes_share_a_port_and_a_client_stays_with_one(clients: ExitStack, tmp_path: Path) -> None:
    port = free_port(socket.SOCK_DGRAM, SERVER)
    processes = [await asyncio.to_thread(_process, clients, SERVER, port, tmp_path) for _ in range(2)]
    loop = asyncio.get_running_loop()
    for number in range(40):
        sock = _client(clients, f"127.77.7.{number + 1}")
        for _ in range(3):
            sock.sendto(packets.rrq("file", {}), (SERVER, port))
        async with asyncio.timeout(60):
            _, peer = await loop.sock_recvfrom(sock, 2048)
            sock.sendto(packets.ack(1), peer)
            _, same = await loop.sock_recvfrom(sock, 2048)
        assert same == peer
    shares = [int(process.communicate("\n", timeout=60)[0]) for process in processes]
    assert sum(shares) == 40  # three requests of one client are one transfer, whichever process has it
    assert min(shares) > 0


@dataclass(frozen=True, slots=True)
class Wire:
    """A server and a client at the two ends of a cable."""

    server: str
    client: Path
    server_end: str

    def narrow(self, mtu: int) -> None:
        """Let the server's end carry packets of so many bytes at most."""
        subprocess.run(["ip", "-n", self.server, "link", "set", self.server_end, "mtu", str(mtu)], check=True)


@pytest.fixture
def wire(clients: ExitStack) -> Wire:
    names = [f"tftp{end}{os.getpid()}" for end in "sc"]
    for name in names:
        subprocess.run(["ip", "netns", "add", name], check=True)
        clients.callback(subprocess.run, ["ip", "netns", "del", name], check=True)
    server, client = names
    commands = [
        f"-n {server} link add {server} type veth peer name {client} netns {client}",
        f"-n {server} addr add 192.0.2.1/24 dev {server}",
        f"-n {server} addr add 2001:db8::1/64 dev {server} nodad",
        f"-n {client} addr add 192.0.2.2/24 dev {client}",
        f"-n {client} addr add 2001:db8::2/64 dev {client} nodad",
        f"-n {server} link set {server} up",
        f"-n {client} link set {client} up",
    ]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    return Wire(server, Path("/run/netns") / client, server)


def _oack(sock: socket.socket, server: tuple[str, int], blksize: int) -> tuple[dict[str, str], tuple[str, int]]:
    sock.settimeout(60)
    sock.sendto(packets.rrq("file", {"blksize": str(blksize), "windowsize": "8"}), server)
    datagram, peer = sock.recvfrom(2048)
    return packets.read_oack(datagram), peer


def _rest(sock: socket.socket, peer: tuple[str, int], blksize: int, then: Callable[[], None]) -> bytes:
    """Acknowledge each window; after the first one something happens."""
    got: list[bytes] = []
    sock.sendto(packets.ack(0), peer)
    while not got or len(got[-1]) == blksize:
        datagram, _ = sock.recvfrom(2048)
        data = packets.data_block(datagram)
        if data is None or data[0] != len(got) + 1:
            continue
        got.append(data[1])
        if len(got) == 8:
            then()
        if len(got) % 8 == 0 or len(data[1]) < blksize:
            sock.sendto(packets.ack(len(got)), peer)
    return b"".join(got)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(shutil.which("ip") is None, reason="needs the package iproute2")
def test_blocks_fit_the_path_and_go_in_pieces_where_it_has_become_narrower(
    clients: ExitStack, wire: Wire, tmp_path: Path
) -> None:
    prefix = ("ip", "netns", "exec", wire.server)
    for family, listen, headers in ((socket.AF_INET, "192.0.2.1", 32), (socket.AF_INET6, "2001:db8::1", 52)):
        _process(clients, listen, 69, tmp_path, prefix)
        for mtu in (1500, 1400):
            wire.narrow(mtu)
            with in_namespace(wire.client, partial(socket.socket, family, socket.SOCK_DGRAM)) as sock:
                accepted, peer = _oack(sock, (listen, 69), 65464)
                assert accepted == {"blksize": str(mtu - headers), "windowsize": "8"}
                assert _rest(sock, peer, mtu - headers, lambda: wire.narrow(1300)) == FILES["file"]
