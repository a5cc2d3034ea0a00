"""Real TFTP clients against our server."""

from __future__ import annotations

import asyncio
import random
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import tftpy

from pxe.counters import Counters
from pxe.tftp.server import TftpSettings, serve_tftp
from service.lab.ports import free_port

SERVER = "127.77.4.1"
FILES = {
    "undionly.kpxe": random.Random(1).randbytes(74_241),
    "grub/grub.cfg": b"set timeout=0\n",
    "exact": b"x" * 1024,
    "empty": b"",
    "large": random.Random(2).randbytes(40_000_000),  # its block numbers go round, also with blocks of 512 bytes
}

# The package, the name and the command, which runs in a folder and leaves "got" there.
CLIENTS = {
    "curl": ("curl", "curl -sf -o got tftp://{server}:{port}/{name}"),
    "curl-blksize": ("curl", "curl -sf --tftp-blksize 1468 -o got tftp://{server}:{port}/{name}"),
    "curl-no-options": ("curl", "curl -sf --tftp-no-options -o got tftp://{server}:{port}/{name}"),
    "atftp": ("atftp", "atftp --get -r {name} -l got {server} {port}"),
    "atftp-window": (
        "atftp",
        "atftp --option 'blksize 1468' --option 'windowsize 16' --get -r {name} -l got {server} {port}",
    ),
    "tftp-hpa": ("tftp-hpa", "tftp -m octet {server} {port} -c get {name} got"),
    "busybox": ("busybox", "busybox tftp -g -r {name} -l got {server} {port}"),
    "busybox-blksize": ("busybox", "busybox tftp -b 1468 -g -r {name} -l got {server} {port}"),
}
PROGRAMS = {"tftp-hpa": "tftp"}
# curl takes an answered tsize of 0 for an error.
NO_EMPTY_FILE = ("curl", "curl-blksize")
CASES = [
    pytest.param(client, name, id=f"{client}-{name}")
    for client in CLIENTS
    for name in ("undionly.kpxe", "grub/grub.cfg", "exact", "empty")
    if name != "empty" or client not in NO_EMPTY_FILE
]


@pytest.fixture
async def served() -> AsyncIterator[tuple[int, Counters]]:
    port, counters = free_port(socket.SOCK_DGRAM, SERVER), Counters()
    async with serve_tftp(TftpSettings(listen=SERVER, port=port), FILES, counters):
        yield port, counters


async def _run(client: str, port: int, name: str, folder: Path) -> int:
    package, command = CLIENTS[client]
    if shutil.which(PROGRAMS.get(package, package)) is None:
        pytest.skip(f"needs the package {package}")
    running = await asyncio.create_subprocess_shell(
        command.format(server=SERVER, port=port, name=name),
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(60):
        return await running.wait()


@pytest.mark.parametrize(("client", "name"), CASES)
async def test_a_real_client_reads_the_same_bytes(
    served: tuple[int, Counters], tmp_path: Path, client: str, name: str
) -> None:
    port, counters = served
    assert await _run(client, port, name, tmp_path) == 0
    assert (tmp_path / "got").read_bytes() == FILES[name]
    assert counters.snapshot()["tftp_sent"] == 1


@pytest.mark.parametrize("client", ["curl-no-options", "atftp-window", "tftp-hpa", "busybox-blksize"])
async def test_a_real_client_reads_a_large_file(served: tuple[int, Counters], tmp_path: Path, client: str) -> None:
    assert await _run(client, served[0], "large", tmp_path) == 0
    assert (tmp_path / "got").read_bytes() == FILES["large"]


@pytest.mark.parametrize("client", ["curl", "atftp", "busybox"])
async def test_a_real_client_understands_a_refusal(served: tuple[int, Counters], tmp_path: Path, client: str) -> None:
    port, counters = served
    assert await _run(client, port, "missing", tmp_path) != 0
    assert counters.snapshot()["tftp_refused"] == 1


@pytest.mark.parametrize("name", ["undionly.kpxe", "/undionly.kpxe", "exact", "empty"])
@pytest.mark.parametrize("options", [{}, {"blksize": 1468, "tsize": 0}], ids=["plain", "options"])
async def test_tftpys_client_reads_the_same_bytes(
    served: tuple[int, Counters], tmp_path: Path, name: str, options: dict[str, int]
) -> None:
    client = tftpy.TftpClient(SERVER, served[0], options)
    target = tmp_path / "got"
    await asyncio.to_thread(client.download, name, str(target), timeout=5)
    assert target.read_bytes() == FILES[name.lstrip("/")]


async def test_tftpys_client_may_not_write(served: tuple[int, Counters], tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"evil")
    client = tftpy.TftpClient(SERVER, served[0])
    with pytest.raises(tftpy.TftpException):
        await asyncio.to_thread(client.upload, "exact", str(source), timeout=2)
    assert served[1].snapshot()["tftp_refused"] == 1
