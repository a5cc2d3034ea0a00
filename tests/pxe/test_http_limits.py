"""What does not come to an end, or is too long, does not hold the server."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from pxe.http_server import Deadlines
from tests.pxe.http_world import HOST, IMAGE, SHA256, serving

SHORT = Deadlines(first_request=0.4, next_request=0.4, body=0.4)
GET = b"GET /boot/ipxe HTTP/1.1\r\nHost: boot\r\n"


@pytest.mark.parametrize("said", [b"", b"G", GET, GET + b"Content-Le"], ids=["nothing", "letter", "line", "header"])
async def test_half_a_request_has_a_deadline(tmp_path: Path, said: bytes) -> None:
    async with serving(tmp_path, deadlines=SHORT) as served:
        assert await served.say(said) == b""


async def test_a_request_that_comes_drop_by_drop_has_the_same_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, deadlines=SHORT) as served:
        _, writer = await served.connect()
        with pytest.raises(ConnectionError):
            for number in range(10_000):
                writer.write(f"X-{number}: x\r\n".encode() if number else GET)
                await writer.drain()
                await asyncio.sleep(0.05)


async def test_an_idle_connection_is_closed_after_its_last_request(tmp_path: Path) -> None:
    async with serving(tmp_path, deadlines=Deadlines(first_request=60, next_request=1)) as served:
        reader, writer = await served.connect(HOST)
        for _ in range(2):
            writer.write(b"GET /boot/files/grub/grub.cfg HTTP/1.1\r\nHost: boot\r\n\r\n")
            assert (await reader.readuntil(b"source there")).startswith(b"HTTP/1.1 200")
        writer.write(GET)
        # A half that comes just when the time is over is answered by a reset.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()


async def test_a_body_has_a_deadline(tmp_path: Path) -> None:
    async with serving(tmp_path, deadlines=Deadlines(body=0.2)) as served:
        answer = await served.get("/size", "Content-Length: 10", method="POST")
        assert answer.status == 408


@pytest.mark.parametrize(("size", "status"), [(100_000, 200), (100_001, 413)])
async def test_a_body_has_a_size(tmp_path: Path, size: int, status: int) -> None:
    async with serving(tmp_path) as served:
        head = f"POST /size HTTP/1.1\r\nHost: boot\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
        assert (await served.say(head + bytes(size))).startswith(f"HTTP/1.1 {status}".encode())


@pytest.mark.parametrize(
    "said",
    [
        b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\nHost: boot\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: " + b"a" * 10_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"".join(b"X-%d: x\r\n" % number for number in range(200)) + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: boot\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\x00b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"nonsense\r\n\r\n",
    ],
    ids=["line", "header", "headers", "smuggled", "nul", "tls", "nonsense"],
)
async def test_what_is_no_request_is_refused(tmp_path: Path, said: bytes) -> None:
    async with serving(tmp_path) as served:
        assert (await served.say(said)).startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))


async def test_a_running_download_is_not_idle(tmp_path: Path) -> None:
    async with serving(tmp_path, deadlines=SHORT) as served:
        sha256 = served.add_image(IMAGE * 100)
        reader, writer = await served.connect(limit=1 << 16)
        writer.write(f"GET /images/{sha256} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
        await asyncio.sleep(1)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(len(IMAGE) * 100) == IMAGE * 100
        writer.close()
        assert (await served.get(f"/images/{SHA256}")).body == IMAGE
