"""Files that are not the same for everybody: what a client gets by TFTP under a name, by its address."""

from __future__ import annotations

import asyncio
import hashlib
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from pxe.counters import Counters
from pxe.decide import Script, Target
from pxe.grub import render
from pxe.grub_files import GrubFiles
from pxe.tftp import packets
from pxe.tftp.server import Ask, TftpServer, TftpSettings, serve_tftp
from service.lab.ports import free_port

SERVER, HOST, STRANGER = "127.77.3.1", "127.77.3.25", "127.77.3.26"
IMAGE = b"kernel" * 40
SHA256 = hashlib.sha256(IMAGE).hexdigest()


@asynccontextmanager
async def serving(ask: Ask) -> AsyncIterator[tuple[int, TftpServer, Counters]]:
    port, counters = free_port(socket.SOCK_DGRAM, SERVER), Counters()
    async with serve_tftp(TftpSettings(listen=SERVER, port=port), {"all": b"for all"}, counters, ask) as server:
        yield port, server, counters


async def fetch(
    port: int, name: str, local: str = HOST, requests: int = 1, patience_s: float = 60
) -> bytes | int | None:
    """A file of one block, the code of an ERROR, or None for silence."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind((local, 0))
        for _ in range(requests):
            sock.sendto(packets.rrq(name, {}), (SERVER, port))
        try:
            datagram, peer = await asyncio.wait_for(loop.sock_recvfrom(sock, 1024), patience_s)
        except TimeoutError:
            return None
        if packets.opcode(datagram) == 5:
            return datagram[3]
        found = packets.data_block(datagram)
        assert found is not None
        sock.sendto(packets.ack(found[0]), peer)
        return found[1]


class Decided:
    """A decision that takes as long as it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()
        self.script: Script | Exception | None = Script(Target.WAIT)

    async def __call__(self, source: IPv4Address | IPv6Address, _: Mapping[str, str]) -> Script | None:
        self.asked.append(str(source))
        await self.go.wait()
        if isinstance(self.script, Exception):
            raise self.script
        return self.script if str(source) == HOST else None


@pytest.fixture
def decided() -> Decided:
    return Decided()


async def test_a_configuration_is_the_machines_own_by_its_address(decided: Decided, tmp_path: Path) -> None:
    decided.go.set()
    async with serving(GrubFiles(decided, tmp_path)) as (port, _, counters):
        assert await fetch(port, "boot/grub") == render(Script(Target.WAIT)).encode()
        assert await fetch(port, "boot/grub", local=STRANGER) == packets.FILE_NOT_FOUND
        assert await fetch(port, "all", local=STRANGER) == b"for all"
        assert counters.snapshot()["tftp_refused"] == 1
    assert decided.asked == [HOST, STRANGER]


async def test_an_impatient_client_is_asked_about_once(decided: Decided, tmp_path: Path) -> None:
    async with serving(GrubFiles(decided, tmp_path)) as (port, server, _):
        fetching = asyncio.create_task(fetch(port, "boot/grub", requests=5))
        while not decided.asked:
            await asyncio.sleep(0.01)
        await fetch(port, "all")  # all five have been read when this is answered
        decided.go.set()
        assert await fetching == render(Script(Target.WAIT)).encode()
        assert decided.asked == [HOST]
        while server.transfers:
            await asyncio.sleep(0.01)


async def test_a_decision_that_fails_is_silence_and_the_next_one_counts(decided: Decided, tmp_path: Path) -> None:
    decided.go.set()
    decided.script = OSError("the database is away")
    async with serving(GrubFiles(decided, tmp_path)) as (port, _, _counters):
        assert await fetch(port, "boot/grub", patience_s=1) is None
        decided.script = Script(Target.LOCAL_DISK)
        assert await fetch(port, "all") == b"for all"


async def test_a_script_that_grub_cannot_carry_is_no_file(decided: Decided, tmp_path: Path) -> None:
    decided.go.set()
    decided.script = Script(Target.INSTALLER, kernel_url="http://h/k", cmdline='a "quoted" word')
    async with serving(GrubFiles(decided, tmp_path)) as (port, _, _counters):
        assert await fetch(port, "boot/grub") == packets.FILE_NOT_FOUND


async def test_images_go_by_their_hash_and_nothing_else_of_the_folder_does(decided: Decided, tmp_path: Path) -> None:
    (tmp_path / SHA256).write_bytes(IMAGE)
    (tmp_path / "secret").write_bytes(b"secret")
    async with serving(GrubFiles(decided, tmp_path)) as (port, _, _counters):
        fetched = await asyncio.gather(*(fetch(port, f"images/{SHA256}", local=local) for local in (HOST, STRANGER)))
        assert fetched == [IMAGE, IMAGE]
        for name in (f"images/{'0' * 64}", "images/secret", f"images/{SHA256[:-1]}", f"images/{SHA256}/x", "secret"):
            assert await fetch(port, name) == packets.FILE_NOT_FOUND
    assert decided.asked == []


async def test_images_that_were_not_asked_for_lately_leave_memory(decided: Decided, tmp_path: Path) -> None:
    contents = [bytes((number,)) * 9 for number in range(6)]
    names = [hashlib.sha256(content).hexdigest() for content in contents]
    for name, content in zip(names, contents, strict=True):
        (tmp_path / name).write_bytes(content)
    files = GrubFiles(decided, tmp_path)
    source = IPv4Address(HOST)
    assert [await files(f"images/{name}", source) for name in names] == contents
    for name in names:
        (tmp_path / name).unlink()
    assert [await files(f"images/{name}", source) for name in names] == [None, None, *contents[2:]]


async def test_whoever_is_asked_about_when_the_server_ends_is_forgotten(decided: Decided, tmp_path: Path) -> None:
    async with serving(GrubFiles(decided, tmp_path)) as (port, _, _counters):
        fetching = asyncio.create_task(fetch(port, "boot/grub", patience_s=2))
        while not decided.asked:
            await asyncio.sleep(0.01)
    decided.go.set()
    assert await fetching is None
