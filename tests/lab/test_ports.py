"""Ports for what is started later."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from service.lab.ports import free_port


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
@pytest.mark.parametrize("address", ["0.0.0.0", "127.0.0.1", "::1"])
def test_no_outgoing_connection_is_given_it(kind: socket.SocketKind, address: str) -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(10_000 <= free_port(kind, address) < lowest for _ in range(50))


def test_one_that_somebody_has_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, free = free_port(socket.SOCK_STREAM), free_port(socket.SOCK_STREAM)
    drawn = iter([taken - 10_000, free - 10_000])
    monkeypatch.setattr("service.lab.ports.secrets.randbelow", lambda _: next(drawn))
    with socket.create_server(("127.0.0.1", taken)):
        assert free_port(socket.SOCK_STREAM) == free


def test_an_address_of_somebody_else_is_an_error() -> None:
    with pytest.raises(OSError, match="assign"):
        free_port(socket.SOCK_STREAM, "192.0.2.1")
