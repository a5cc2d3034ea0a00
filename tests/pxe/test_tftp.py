"""TFTP over real sockets: tftpy's client as the second opinion, and our own where packets get lost or doubled."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tftpy
from hypothesis import given
from hypothesis import strategies as st

from pxe.tftp import packets
from pxe.tftp.sender import Sender
from pxe.tftp.server import TftpSettings, load_files, serve_tftp

SERVER = "127.77.1.1"
FILES = {
    "undionly.kpxe": random.Random(1).randbytes(74_241),
    "exact": b"x" * 1024,
    "empty": b"",
    "wraps": bytes(8 * 70_000),
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """A running server's port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SERVER, 0))
        free = sock.getsockname()[1]
    async with serve_tftp(TftpSettings(listen=SERVER, port=free), FILES):
        yield free


@dataclass
class Client:
    """A lock-step or windowed client that can lose and double what it receives and sends."""

    port: int
    lose: float = 0.0
    double: float = 0.0
    patience: float = 0.3
    random: random.Random = field(default_factory=lambda: random.Random(7))
    received: int = 0
    oack: dict[str, str] = field(default_factory=dict)

    async def get(self, name: str, options: dict[str, str]) -> bytes:
        """Read a file; an ERROR raises FileNotFoundError."""
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.77.1.2", 0))
            last, peer, content, expected, in_window = packets.rrq(name, options), (SERVER, self.port), b"", 1, 0
            blksize, window = 512, 1
            sock.sendto(last, peer)
            while True:
                try:
                    async with asyncio.timeout(self.patience):
                        datagram, source = await loop.sock_recvfrom(sock, 70_000)
                except TimeoutError:
                    sock.sendto(last, peer)
                    continue
                self.received += 1
                if self.random.random() < self.lose:
                    continue
                peer = source
                if packets.opcode(datagram) == packets.ERROR:
                    raise FileNotFoundError(datagram[4:-1].decode())
                if packets.opcode(datagram) == packets.OACK:
                    self.oack = packets.read_oack(datagram)
                    blksize, window = int(self.oack.get("blksize", 512)), int(self.oack.get("windowsize", 1))
                    last = packets.ack(0)
                else:
                    data = packets.data_block(datagram)
                    assert data is not None
                    if data[0] == expected & 0xFFFF:
                        content += data[1]
                        expected, in_window = expected + 1, in_window + 1
                        if in_window < window and len(data[1]) == blksize:
                            continue
                    last, in_window = packets.ack(expected - 1), 0
                for _ in range(2 if self.random.random() < self.double else 1):
                    sock.sendto(last, peer)
                if (
                    packets.opcode(datagram) == packets.DATA
                    and expected > 1
                    and len(content) < (expected - 1) * blksize
                ):
                    return content


@pytest.mark.parametrize("name", ["undionly.kpxe", "/undionly.kpxe", "exact", "empty"])
@pytest.mark.parametrize("options", [{}, {"blksize": 1468, "tsize": 0}])
async def test_tftpys_client_reads_the_same_bytes(
    port: int, tmp_path: Path, name: str, options: dict[str, int]
) -> None:
    client = tftpy.TftpClient(SERVER, port, options)
    target = tmp_path / "got"
    await asyncio.to_thread(client.download, name, str(target), timeout=5)
    assert target.read_bytes() == FILES[name.lstrip("/")]


async def test_negotiation(port: int) -> None:
    client = Client(port)
    asked = {"BLKSIZE": "65464", "windowsize": "64", "tsize": "0", "timeout": "3", "multicast": ""}
    del asked["multicast"]  # tftpy's classes cannot write an empty value
    assert await client.get("undionly.kpxe", asked | {"rollover": "0"}) == FILES["undionly.kpxe"]
    assert client.oack == {"blksize": "1468", "windowsize": "16", "tsize": "74241", "timeout": "3"}


async def test_block_numbers_go_round(port: int) -> None:
    client = Client(port, patience=2)
    assert await client.get("wraps", {"blksize": "8", "windowsize": "16"}) == FILES["wraps"]


@pytest.mark.parametrize("options", [{}, {"blksize": "1468"}, {"blksize": "1468", "windowsize": "4"}])
async def test_loss(port: int, options: dict[str, str]) -> None:
    client = Client(port, lose=0.05, patience=0.6)
    assert await client.get("undionly.kpxe", options) == FILES["undionly.kpxe"]


async def test_doubled_acks_do_not_double_the_data(port: int) -> None:
    """The sorcerer's apprentice: each ACK twice, and yet each block once (RFC 1123 §4.2.3.1)."""
    client = Client(port, double=1.0, patience=5)
    assert await client.get("undionly.kpxe", {"blksize": "1024"}) == FILES["undionly.kpxe"]
    assert client.received == 1 + 74_241 // 1024 + 1


@pytest.mark.parametrize(
    "name", ["missing", "../secret", "/etc/passwd", "undionly.kpxe/../exact", "..%2fsecret", "a\\..\\b", "exact/"]
)
async def test_other_names_are_refused(port: int, name: str) -> None:
    with pytest.raises(FileNotFoundError, match="File not found"):
        await Client(port).get(name, {})


async def test_a_write_is_refused(port: int, tmp_path: Path) -> None:
    source = tmp_path / "upload"
    source.write_bytes(b"evil")
    client = tftpy.TftpClient(SERVER, port)
    with pytest.raises(tftpy.TftpException):
        await asyncio.to_thread(client.upload, "undionly.kpxe", str(source), timeout=2)
    assert await Client(port).get("undionly.kpxe", {}) == FILES["undionly.kpxe"]


async def test_an_error_after_the_oack_ends_the_transfer_and_the_next_one_works(port: int) -> None:
    """What OVMF does: it learns the size, gives up, and asks again."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(("127.77.1.2", 0))
        sock.sendto(packets.rrq("undionly.kpxe", {"tsize": "0", "blksize": "1468"}), (SERVER, port))
        datagram, peer = await loop.sock_recvfrom(sock, 2048)
        assert packets.read_oack(datagram)["tsize"] == "74241"
        sock.sendto(packets.error(packets.OPTION_REFUSED), peer)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):  # longer than the server's first retransmission
                await loop.sock_recvfrom(sock, 2048)
        sock.sendto(packets.rrq("exact", {}), (SERVER, port))
        datagram, _ = await loop.sock_recvfrom(sock, 2048)
        assert packets.data_block(datagram) == (1, b"x" * 512)


async def test_a_transfer_answers_from_the_address_that_was_asked() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        free = sock.getsockname()[1]
    loop = asyncio.get_running_loop()
    async with serve_tftp(TftpSettings(listen="0.0.0.0", port=free), FILES):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            sock.sendto(packets.rrq("exact", {}), ("127.77.1.9", free))
            async with asyncio.timeout(5):
                _, peer = await loop.sock_recvfrom(sock, 2048)
            assert peer[0] == "127.77.1.9"
            assert peer[1] != free


async def test_junk_does_not_stop_the_server(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for junk in (
            b"",
            b"\0",
            b"\0\1",
            b"\0\1a",
            b"\0\1a\0octet\0x",
            b"\0\1\xff\0octet\0",
            b"\0\x09aaaa",
            b"\0\4\0\1",
        ):
            sock.sendto(junk, (SERVER, port))
        sock.sendto(b"\0\1exact\0netascii\0", (SERVER, port))
    assert await Client(port).get("exact", {}) == FILES["exact"]


def test_files_in_memory_hold_no_links_and_no_folders(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    served = tmp_path / "served"
    (served / "folder").mkdir(parents=True)
    (served / "file").write_bytes(b"file")
    (served / "link").symlink_to(tmp_path / "secret")
    os.mkfifo(served / "pipe")
    assert load_files(served) == {"file": b"file"}


@given(st.binary(max_size=200))
def test_any_datagram_is_a_request_or_is_refused(datagram: bytes) -> None:
    for packet in (datagram, b"\0\1" + datagram, b"\0\1a\0octet\0" + datagram):
        try:
            request = packets.read_request(packet)
        except (packets.Malformed, packets.NotARead):
            continue
        packets.negotiate(request.options, 1000)


@given(
    st.dictionaries(st.sampled_from(["blksize", "windowsize", "timeout", "tsize"]), st.text(max_size=12)),
    st.integers(0, 10**9),
)
def test_terms_are_within_bounds(options: dict[str, str], size: int) -> None:
    terms = packets.negotiate(options, size)
    assert 8 <= terms.blksize <= 1468
    assert 1 <= terms.windowsize <= 16
    assert 1 <= terms.timeout_s <= 255
    assert set(terms.accepted) <= set(options)


@given(st.binary(max_size=400), st.integers(8, 64), st.integers(1, 16), st.randoms(use_true_random=False))
def test_a_sender_delivers_over_any_lossy_link(
    content: bytes, blksize: int, window: int, chance: random.Random
) -> None:
    """Each datagram may be lost or doubled, either way; whoever waits too long repeats itself."""
    terms = packets.Terms(blksize, window, 1.0, {"blksize": str(blksize)})
    sender, now = Sender(content, terms), 0.0
    flying, got, last = sender.start(now), list[bytes](), packets.ack(0)
    acks: list[int] = []
    for _ in range(5000):
        if sender.finished:
            break
        arrived = [one for one in flying for _ in range(chance.choice((0, 1, 1, 1, 1, 1, 2)))]
        flying = []
        for datagram in arrived:
            data = packets.data_block(datagram)
            if data is not None and data[0] == len(got) + 1:
                got.append(data[1])
            if data is None or data[0] == len(got):
                last = packets.ack(len(got))
        if arrived and chance.random() < 0.85:
            acks = [packets.acknowledged_block(last) or 0] * chance.choice((1, 1, 2))
        else:
            acks = []
        now += 0.01
        for block in acks:
            flying += sender.acknowledged(block, now)
        if not flying and not sender.finished:
            now += sender.patience_s
            flying = sender.timed_out(now)
            if sender.given_up:  # six losses in a row: the link is down, not lossy
                return
    assert b"".join(got) == content
    assert sender.finished
