"""Network namespaces that are joined by cables, and the programs that run in them."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from tests.lab.namespace import in_namespace

T = TypeVar("T")

_numbers = itertools.count()


class Network:
    """Namespaces under short names of the test's own, with IPv6 that is ready at once: no duplicate detection."""

    def __init__(self, *places: str) -> None:
        self._real = {place: f"d6-{os.getpid()}-{next(_numbers)}-{place}" for place in places}

    def __enter__(self) -> Network:
        with ExitStack() as undo:
            undo.callback(self.__exit__)
            for place, real in self._real.items():
                _run("ip", "netns", "add", real)
                self.run(place, "sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0", "net.ipv6.conf.all.forwarding=0")
                self.run(place, "ip", "link", "set", "lo", "up")
            undo.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        for real in self._real.values():
            subprocess.run(["ip", "netns", "del", real], check=False, capture_output=True)

    def cable(self, one: str, end: str, other: str, far_end: str) -> None:
        """Join two places by a cable, and wait until both ends can send multicast."""
        far = self._real[other]
        self.run(one, "ip", "link", "add", end, "type", "veth", "peer", "name", far_end, "netns", far)
        for place, interface in ((one, end), (other, far_end)):
            self.run(place, "ip", "link", "set", interface, "up")
        for place, interface in ((one, end), (other, far_end)):
            self.wait_until_ready(place, interface)

    def tap(self, place: str, interface: str) -> None:
        """A tap that a virtual machine is plugged into."""
        self.run(place, "ip", "tuntap", "add", "dev", interface, "mode", "tap")
        self.run(place, "ip", "link", "set", interface, "up")

    def wait_until_ready(self, place: str, interface: str) -> None:
        """Carrier, and with it the multicast route and the link-local address, come a moment after "up"."""
        self._wait(lambda: "multicast" in self.routes(place, interface) and "fe80" in self.addresses(place, interface))

    def routes(self, place: str, interface: str) -> str:
        """All IPv6 routes over an interface."""
        return self.run(place, "ip", "-6", "route", "show", "table", "all", "dev", interface)

    def addresses(self, place: str, interface: str) -> str:
        """All IPv6 addresses of an interface."""
        return self.run(place, "ip", "-6", "-o", "address", "show", "dev", interface)

    def route(self, place: str) -> None:
        """Let a place forward."""
        self.run(place, "sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")

    def run(self, place: str, *words: str) -> str:
        """Run a program to its end; its output. Raises CalledProcessError."""
        return _run("ip", "netns", "exec", self._real[place], *words)

    @contextmanager
    def program(self, place: str, *words: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A program that runs while the block runs, and whose output goes to a file."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self._real[place], *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
            try:
                yield process
            finally:
                process.terminate()
                try:
                    process.wait(5)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    def wait_for_port(self, place: str, port: int) -> None:
        """Wait until something listens on a UDP port for IPv6."""
        self._wait(lambda: f":{port} " in self.run(place, "ss", "-6", "-u", "-l", "-n"))

    async def inside(self, place: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run asyncio work whose sockets are in that place, in a loop of its own."""
        return await asyncio.to_thread(self.make, place, lambda: asyncio.run(work()))

    def make(self, place: str, what: Callable[[], T]) -> T:
        """Make a socket, say, in that place."""
        return in_namespace(Path("/run/netns", self._real[place]), what)

    def _wait(self, there: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not there():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _run(*words: str) -> str:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    return done.stdout
