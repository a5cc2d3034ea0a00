"""The TFTP server over real sockets, with a client of our own where packets get lost or doubled."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from pxe.counters import Counters
from pxe.tftp import packets
from pxe.tftp.server import TftpServer, TftpSettings, serve_tftp
from service.lab.ports import free_port

SERVER = "127.77.1.1"
FILES = {
    "undionly.kpxe": random.Random(1).randbytes(74_241),
    "grub/grub.cfg": b"set timeout=0\n",
    "exact": b"x" * 1024,
    "empty": b"",
    "wraps": bytes(8 * 66_000),
}


@dataclass
class Served:
    """A running server."""

    port: int
    counters: Counters
    server: TftpServer

    async def counted(self, name: str, at_least: int = 1) -> int:
        """The count, once it is so large."""
        async with asyncio.timeout(60):
            while self.counters.snapshot().get(name, 0) < at_least:
                await asyncio.sleep(0.01)
        return self.counters.snapshot()[name]


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    port, counters = free_port(socket.SOCK_DGRAM, SERVER), Counters()
    async with serve_tftp(TftpSettings(listen=SERVER, port=port), FILES, counters) as server:
        yield Served(port, counters, server)


@dataclass
class Client:
    """A lock-step or windowed client that can lose and double what it receives and sends."""

    port: int
    server: str = SERVER
    local: str = "127.77.1.2"
    lose: float = 0.0
    double: float = 0.0
    patience: float = 0.3
    random: random.Random = field(default_factory=lambda: random.Random(7))
    received: int = 0
    oack: dict[str, str] = field(default_factory=dict)
    peer: tuple[str, int] = ("", 0)

    async def get(self, name: str, options: dict[str, str]) -> bytes:
        """Read a file; an ERROR raises FileNotFoundError."""
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in self.server else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind((self.local, 0))
            last, content, expected, in_window = packets.rrq(name, options), bytearray(), 1, 0
            blksize, window = 512, 1
            sock.sendto(last, (self.server, self.port))
            while True:
                try:
                    async with asyncio.timeout(self.patience):
                        datagram, source = await loop.sock_recvfrom(sock, 70_000)
                except TimeoutError:
                    sock.sendto(last, self.peer if self.peer[1] else (self.server, self.port))
                    continue
                self.received += 1
                if self.random.random() < self.lose:
                    continue
                self.peer = source[:2]
                if packets.opcode(datagram) == packets.ERROR:
                    raise FileNotFoundError(datagram[2:-1].decode())
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
                    sock.sendto(last, self.peer)
                if (
                    packets.opcode(datagram) == packets.DATA
                    and expected > 1
                    and len(content) < (expected - 1) * blksize
                ):
                    return bytes(content)


async def _heard(sock: socket.socket, seconds: float = 60) -> tuple[bytes, tuple[str, int]]:
    async with asyncio.timeout(seconds):
        return await asyncio.get_running_loop().sock_recvfrom(sock, 70_000)


async def _silent(sock: socket.socket, seconds: float) -> None:
    with pytest.raises(TimeoutError):
        await _heard(sock, seconds)


def _socket(local: str = "127.77.1.2") -> socket.socket:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setblocking(False)
    sock.bind((local, 0))
    return sock


async def test_negotiation(served: Served) -> None:
    client = Client(served.port)
    asked = {"BLKSIZE": "1468", "windowsize": "64", "tsize": "0", "timeout": "3", "rollover": "0"}
    assert await client.get("undionly.kpxe", asked) == FILES["undionly.kpxe"]
    assert client.oack == {"blksize": "1468", "windowsize": "16", "tsize": "74241", "timeout": "3"}


@pytest.mark.parametrize("window", ["1", "4"])
async def test_blocks_are_as_large_as_the_path_takes_in_one_piece(served: Served, window: str) -> None:
    client = Client(served.port)
    assert await client.get("wraps", {"blksize": "65464", "windowsize": window}) == FILES["wraps"]
    assert client.oack["blksize"] == "65464"  # loopback takes 65,536


async def test_block_numbers_go_round(served: Served) -> None:
    client = Client(served.port, patience=2)
    assert await client.get("wraps", {"blksize": "8", "windowsize": "16"}) == FILES["wraps"]


@pytest.mark.parametrize(
    "options", [{}, {"blksize": "1468"}, {"blksize": "1468", "windowsize": "4"}], ids=["plain", "blksize", "window"]
)
async def test_loss(served: Served, options: dict[str, str]) -> None:
    client = Client(served.port, lose=0.05, patience=0.6)
    assert await client.get("undionly.kpxe", options) == FILES["undionly.kpxe"]
    assert await served.counted("tftp_retransmits") >= 1


async def test_doubled_acks_do_not_double_the_data(served: Served) -> None:
    """The sorcerer's apprentice: each ACK twice, and yet each block once (RFC 1123 §4.2.3.1)."""
    client = Client(served.port, double=1.0, patience=5)
    assert await client.get("undionly.kpxe", {"blksize": "1024"}) == FILES["undionly.kpxe"]
    assert await served.counted("tftp_sent") == 1
    # On a busy machine the server may take a late answer for a lost one: what it sent again, it has counted.
    again = served.counters.snapshot().get("tftp_retransmits", 0)
    assert client.received <= 1 + 74_241 // 1024 + 1 + again
    assert again < 20


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("missing", 1),
        ("/etc/passwd", 1),
        ("..%2fsecret", 1),
        ("grub", 1),
        ("../secret", 2),
        ("undionly.kpxe/../exact", 2),
        ("a\\..\\b", 2),
        ("a" * 300, 2),
    ],
    ids=["missing", "absolute", "escaped", "folder", "up", "up-inside", "up-backslash", "long"],
)
async def test_other_names_are_refused(served: Served, name: str, code: int) -> None:
    client = Client(served.port)
    with pytest.raises(FileNotFoundError, match=f"^\0{chr(code)}[a-z]"):
        await client.get(name, {})
    assert await served.counted("tftp_refused") == 1


async def test_a_name_in_a_folder(served: Served) -> None:
    for name in ("grub/grub.cfg", "/grub//grub.cfg", "grub\\grub.cfg"):
        assert await Client(served.port).get(name, {}) == FILES["grub/grub.cfg"]


async def test_a_write_and_a_foreign_mode_are_refused(served: Served) -> None:
    with _socket() as sock:
        for datagram, code in ((b"\0\2exact\0octet\0", 2), (b"\0\1exact\0netascii\0", 4)):
            sock.sendto(datagram, (SERVER, served.port))
            answer, peer = await _heard(sock)
            assert answer[:4] == bytes((0, 5, 0, code))
            assert answer[-1:] == b"\0"
            assert peer[1] != served.port
            sock.sendto(packets.data(1, b"evil"), peer)
    assert await served.counted("tftp_refused") == 2
    assert await Client(served.port).get("exact", {}) == FILES["exact"]


@pytest.mark.parametrize("then", ["undionly.kpxe", "exact"], ids=["the same", "another"])
async def test_ovmf_learns_the_size_and_asks_again_from_the_same_port(served: Served, then: str) -> None:
    """Its ERROR and its next request come at once, and to two sockets."""
    with _socket() as sock:
        sock.sendto(packets.rrq("undionly.kpxe", {"tsize": "0", "blksize": "1468"}), (SERVER, served.port))
        datagram, peer = await _heard(sock)
        assert packets.read_oack(datagram)["tsize"] == "74241"
        sock.sendto(packets.error(packets.OPTION_REFUSED, "aborted"), peer)
        sock.sendto(packets.rrq(then, {"blksize": "1024", "windowsize": "4"}), (SERVER, served.port))
        datagram, again = await _heard(sock)
        assert packets.read_oack(datagram) == {"blksize": "1024", "windowsize": "4"}
        assert again != peer
        assert await served.counted("tftp_probes") == 1
        assert served.server.transfers == 1
        assert "tftp_given_up" not in served.counters.snapshot()


async def test_a_client_that_has_gone_without_a_word_ends_its_transfer(served: Served) -> None:
    with _socket() as sock:
        sock.sendto(packets.rrq("undionly.kpxe", {}), (SERVER, served.port))
        _, peer = await _heard(sock)
        sock.sendto(packets.ack(1), peer)
        await _heard(sock)
    assert await served.counted("tftp_given_up") == 1
    assert served.server.transfers == 0


async def test_a_repeated_request_is_one_transfer(served: Served) -> None:
    with _socket() as sock:
        for _ in range(3):
            sock.sendto(packets.rrq("undionly.kpxe", {}), (SERVER, served.port))
        first, peer = await _heard(sock)
        assert packets.data_block(first) == (1, FILES["undionly.kpxe"][:512])
        assert await served.counted("tftp_requests", 3) == 3
        assert served.server.transfers == 1
        sock.sendto(packets.ack(1), peer)
        second, same = await _heard(sock)
        assert (packets.data_block(second), same) == ((2, FILES["undionly.kpxe"][512:1024]), peer)


async def test_a_client_that_began_anew_gets_a_new_transfer(served: Served) -> None:
    with _socket() as sock:
        sock.sendto(packets.rrq("undionly.kpxe", {}), (SERVER, served.port))
        _, peer = await _heard(sock)
        sock.sendto(packets.ack(1), peer)
        await _heard(sock)
        await asyncio.sleep(1.1)  # it was reset, and its ROM has one port for all transfers
        sock.sendto(packets.rrq("undionly.kpxe", {}), (SERVER, served.port))
        async with asyncio.timeout(60):
            while (answer := await _heard(sock))[1] == peer:  # what the old one still sent
                pass
        assert packets.data_block(answer[0]) == (1, FILES["undionly.kpxe"][:512])
        assert served.server.transfers == 1


async def test_a_stranger_cannot_speak_for_a_client(served: Served) -> None:
    with _socket() as sock, _socket("127.77.1.3") as stranger:
        sock.sendto(packets.rrq("undionly.kpxe", {}), (SERVER, served.port))
        _, peer = await _heard(sock)
        stranger.sendto(packets.ack(1), peer)
        stranger.sendto(packets.error(0, "stop"), peer)
        await _silent(sock, 0.3)
        sock.sendto(packets.ack(1), peer)
        second, _ = await _heard(sock)
        assert packets.data_block(second) == (2, FILES["undionly.kpxe"][512:1024])


async def test_a_lost_block_comes_again_within_a_moment(served: Served) -> None:
    """After a tenth of a second or a little more, not after a second: the client's own timer plays no part."""
    client = Client(served.port, lose=0.1, patience=60)
    assert await client.get("undionly.kpxe", {"blksize": "1468"}) == FILES["undionly.kpxe"]


async def test_a_request_that_nobody_acknowledges_ends_by_itself(served: Served) -> None:
    with _socket() as sock:
        sock.sendto(packets.rrq("undionly.kpxe", {"timeout": "1", "windowsize": "16"}), (SERVER, served.port))
        assert await served.counted("tftp_given_up") == 1
        answers = 0
        with pytest.raises(BlockingIOError):
            while sock.recv(70_000):
                answers += 1
        assert answers == 4
        assert served.server.transfers == 0


async def test_a_transfer_answers_from_the_address_that_was_asked() -> None:
    port = free_port(socket.SOCK_DGRAM)
    async with serve_tftp(TftpSettings(listen="0.0.0.0", port=port), FILES):
        with _socket("127.0.0.1") as sock:
            for name in ("exact", "missing"):
                sock.sendto(packets.rrq(name, {}), ("127.77.1.9", port))
                _, peer = await _heard(sock)
                assert peer[0] == "127.77.1.9"
                assert peer[1] != port


@pytest.mark.parametrize("listen", ["::1", "::"])
async def test_ipv6(listen: str) -> None:
    port = free_port(socket.SOCK_DGRAM, "::1")
    async with (
        serve_tftp(TftpSettings(listen=listen, port=port), FILES),
        serve_tftp(TftpSettings(listen="0.0.0.0", port=port), FILES),  # one server for each family, on the same port
    ):
        client = Client(port, "::1", "::1")
        assert await client.get("undionly.kpxe", {"blksize": "65464", "windowsize": "4"}) == FILES["undionly.kpxe"]
        assert client.oack == {"blksize": "65464", "windowsize": "4"}
        assert client.peer[0] == "::1"
        assert await Client(port, "127.0.0.1").get("exact", {}) == FILES["exact"]


async def test_junk_does_not_stop_the_server(served: Served) -> None:
    junk = [b"", b"\0", b"\0\1", b"\0\1a", b"\0\1a\0octet\0x", b"\0\x09aaaa", b"\0\4\0\1", b"\0\1" + bytes(1500)]
    with _socket() as sock:
        for datagram in junk:
            sock.sendto(datagram, (SERVER, served.port))
    assert await served.counted("tftp_requests", len(junk)) == len(junk)
    counts = served.counters.snapshot()
    assert counts["tftp_malformed"] == len(junk) - 1
    assert counts["tftp_refused"] == 1
    assert await Client(served.port).get("exact", {}) == FILES["exact"]


async def test_junk_in_a_transfer_does_not_stop_it(served: Served) -> None:
    with _socket() as sock:
        sock.sendto(packets.rrq("exact", {}), (SERVER, served.port))
        _, peer = await _heard(sock)
        for junk in (b"", b"\0", b"\0\4", b"\0\4\1", b"\0\x63\0\1", b"\0\3\0\1", packets.ack(77), bytes(2000)):
            sock.sendto(junk, peer)
        sock.sendto(packets.ack(1), peer)
        second, _ = await _heard(sock)
        assert packets.data_block(second) == (2, FILES["exact"][512:])
