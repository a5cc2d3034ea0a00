"""Namespaces joined by cables, the programs that run in them, and what is heard on a cable."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from pxe.counters import Counters
from pxe.decide import BootRequest, Decide
from pxe.dhcp.message import Malformed, Message, decode
from pxe.dhcp.server import DhcpServer, DhcpSettings
from tests.lab.namespace import in_namespace

needs_root = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("ip"), reason="needs root and iproute2")

_numbers = itertools.count()


def needs(program: str, package: str) -> pytest.MarkDecorator:
    """Skip where a Debian package is missing."""
    return pytest.mark.skipif(not shutil.which(program), reason=f"needs the package {package}")


def run(*words: str) -> str:
    """A command that must succeed, and what it printed."""
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
    return done.stdout


@dataclass
class Net:
    """Namespaces by short names."""

    prefix: str
    names: list[str] = field(default_factory=list)
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def namespace(self, name: str) -> str:
        """The full name of a namespace, which is made if it is not there."""
        full = f"{self.prefix}-{name}"
        if name not in self.names:
            run("ip", "netns", "add", full)
            self.names.append(name)
            run("ip", "-n", full, "link", "set", "lo", "up")
        return full

    def path(self, name: str) -> Path:
        """For `in_namespace`."""
        return Path("/run/netns", self.namespace(name))

    def ip(self, name: str, words: str) -> str:
        """`ip` inside a namespace."""
        return run("ip", "-n", self.namespace(name), *words.split())

    def run(self, name: str, *words: str) -> str:
        """A command inside a namespace, that must succeed, and what it printed."""
        return run("ip", "netns", "exec", self.namespace(name), *words)

    def cable(self, one: str, one_end: str, other: str, other_end: str) -> None:
        """Join two namespaces; the ends are named and up."""
        peer = self.namespace(other)
        self.ip(one, f"link add {one_end} type veth peer name {other_end} netns {peer}")
        self.ip(one, f"link set {one_end} up")
        self.ip(other, f"link set {other_end} up")

    def routed(self, name: str) -> None:
        """Let a namespace forward."""
        self.run(name, "sysctl", "-qw", "net.ipv4.ip_forward=1")

    def start(self, name: str, *words: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A program that runs until the test ends."""
        # Quiet, and with nothing to read: dhcpcd and dhclient talk much.
        program = subprocess.Popen(
            ("ip", "netns", "exec", self.namespace(name), *words),
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.running.append(program)
        return program

    def address(self, name: str, interface: str) -> list[str]:
        """The IPv4 addresses of an interface, with their lengths."""
        words = self.ip(name, f"-4 -o address show dev {interface}").split()
        return [word for before, word in itertools.pairwise(words) if before == "inet"]

    def routes(self, name: str) -> dict[str, str]:
        """Destination and next hop of the routes that have one."""
        lines = (line.split() for line in self.ip(name, "-4 route show").splitlines())
        return {words[0]: words[words.index("via") + 1] for words in lines if "via" in words}


def stop(program: subprocess.Popen[bytes], how: signal.Signals = signal.SIGTERM) -> None:
    """End a program and wait for it."""
    if program.poll() is None:
        program.send_signal(how)
        try:
            program.wait(10)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()


@contextmanager
def net() -> Iterator[Net]:
    """Namespaces of this test, gone at the end with all that runs in them."""
    made = Net(f"rhd{os.getpid()}x{next(_numbers)}")
    try:
        yield made
    finally:
        for program in reversed(made.running):
            stop(program)
        for name in made.names:
            full = made.namespace(name)
            # A client may have gone into the background; what is in the namespace is ours.
            for pid in subprocess.run(("ip", "netns", "pids", full), capture_output=True, text=True).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(("ip", "netns", "del", full), check=False)


@dataclass
class Heard:
    """The DHCP messages on an interface, in order, with source and destination."""

    messages: list[tuple[str, str, Message]] = field(default_factory=list)
    datagrams: list[bytes] = field(default_factory=list)


@asynccontextmanager
async def hear(made: Net, name: str, interface: str) -> AsyncIterator[Heard]:
    """Listen to an interface while the block runs."""
    heard = Heard()
    everything = 3  # ETH_P_ALL; with the number of IP one hears only what comes in
    sock = in_namespace(
        made.path(name), lambda: socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(everything))
    )
    sock.bind((interface, everything))
    sock.setblocking(False)
    loop = asyncio.get_running_loop()

    def readable() -> None:
        packet, (_, protocol, *_) = sock.recvfrom(65536)
        if protocol != 0x0800:
            return
        at = (packet[0] & 15) * 4
        ports = packet[at : at + 2], packet[at + 2 : at + 4]
        if packet[9] != socket.IPPROTO_UDP or not {b"\0\x43", b"\0\x44"} & set(ports):
            return
        datagram = packet[at + 8 : at + int.from_bytes(packet[at + 4 : at + 6], "big")]
        try:
            message = decode(datagram)
        except Malformed:
            return
        heard.datagrams.append(datagram)
        heard.messages.append((str(IPv4Address(packet[12:16])), str(IPv4Address(packet[16:20])), message))

    loop.add_reader(sock, readable)
    try:
        yield heard
    finally:
        loop.remove_reader(sock)
        sock.close()


@asynccontextmanager
async def server_in(
    made: Net,
    name: str,
    settings: DhcpSettings,
    decide: Decide,
    declined: Callable[[BootRequest], None] | None = None,
) -> AsyncIterator[Counters]:
    """Our server with its socket in a namespace; gives its counts."""
    counters = Counters()
    server = in_namespace(made.path(name), lambda: DhcpServer(settings, decide, counters=counters, declined=declined))
    loop = asyncio.get_running_loop()
    loop.add_reader(server, server.readable)
    try:
        yield counters
    finally:
        loop.remove_reader(server)
        server.close()


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for something; the test fails where it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        await asyncio.sleep(0.05)
