"""The light machines' TFTP client, against our server, others' servers and bad links."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address

import pytest

from pxe.tftp import packets
from pxe.tftp.server import TftpSettings, serve_tftp
from service.lab.board import NoBoot
from service.lab.ports import free_port
from service.lab.tftp_client import fetch_tftp
from tests.bench.tftp_link import serve_lossy

SERVER = "127.77.2.1"
LOCAL = IPv4Address("127.77.2.2")
FILES = {
    "first-stage": random.Random(3).randbytes(174_003),
    "empty": b"",
    "exact": random.Random(4).randbytes(1468 * 32),
    "wraps": bytes(8 * 66_000),
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port(socket.SOCK_DGRAM, SERVER)
    async with serve_tftp(TftpSettings(listen=SERVER, port=port), FILES):
        yield port


@pytest.mark.parametrize("name", ["first-stage", "empty", "exact"])
async def test_a_file_comes_whole(port: int, name: str) -> None:
    assert await fetch_tftp(LOCAL, (SERVER, port), name) == FILES[name]
    assert await fetch_tftp(LOCAL, (SERVER, port), name, {}) == FILES[name]


async def test_block_numbers_go_round(port: int) -> None:
    assert await fetch_tftp(LOCAL, (SERVER, port), "wraps", {"blksize": "8", "windowsize": "16"}) == FILES["wraps"]


async def test_a_hundred_at_once(port: int) -> None:
    got = await asyncio.gather(
        *(fetch_tftp(IPv4Address(f"127.77.3.{n}"), (SERVER, port), "exact") for n in range(1, 101))
    )
    assert set(got) == {FILES["exact"]}


@pytest.mark.parametrize(
    "options", [{}, {"blksize": "1468"}, {"blksize": "1468", "windowsize": "16"}], ids=["plain", "blksize", "window"]
)
async def test_a_link_that_loses(port: int, options: dict[str, str]) -> None:
    async with serve_lossy(SERVER, (SERVER, port), lose=0.03, seed=5) as lossy:
        assert await fetch_tftp(LOCAL, lossy, "first-stage", options) == FILES["first-stage"]


async def test_a_refusal_is_told(port: int) -> None:
    with pytest.raises(NoBoot, match="'missing': no file"):
        await fetch_tftp(LOCAL, (SERVER, port), "missing")


async def test_a_server_that_does_not_answer_is_asked_again() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((SERVER, 0))
        fetch = asyncio.create_task(fetch_tftp(LOCAL, sock.getsockname(), "first-stage"))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            first, _ = await loop.sock_recvfrom(sock, 2048)
            again, peer = await loop.sock_recvfrom(sock, 2048)
        assert first == again
        sock.sendto(packets.data(1, b"short"), peer)
        assert await fetch == b"short"
