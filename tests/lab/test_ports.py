"""Ports for what is started later."""

from __future__ import annotations

import secrets
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from service.lab.ports import free_port


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1"])
def test_no_outgoing_connection_is_given_it(kind: socket.SocketKind, address: str) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(10_000 <= free_port(kind, address) < lowest for _ in range(50))


_DRAWN = "service.lab.ports.secrets.randbelow"
_OTHER_PROCESS = """
import secrets, socket, sys
from service.lab.ports import free_port
drawn, draw = [int(sys.argv[1]) - 10_000], secrets.randbelow
secrets.randbelow = lambda below: drawn.pop() if drawn else draw(below)
print(free_port(socket.SOCK_DGRAM), drawn)
"""


def drawn_first(monkeypatch: pytest.MonkeyPatch, port: int) -> list[int]:
    """Have it drawn before all others; what is left of it."""
    left, draw = [port - 10_000], secrets.randbelow
    monkeypatch.setattr(_DRAWN, lambda below: left.pop() if left else draw(below))
    return left


def test_one_that_somebody_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        left = drawn_first(monkeypatch, taken)
        assert free_port(socket.SOCK_STREAM) != taken
        assert not left


def test_one_that_was_given_is_given_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    given = free_port(socket.SOCK_STREAM)
    left = drawn_first(monkeypatch, given)
    assert free_port(socket.SOCK_STREAM) != given
    assert not left
    command = [sys.executable, "-c", _OTHER_PROCESS, str(given)]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert said[1:] == ["[]"] and int(said[0]) != given


def test_an_address_of_somebody_else_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        free_port(socket.SOCK_STREAM, "192.0.2.1")
