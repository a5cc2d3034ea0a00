"""A UDP port that nobody has."""

from __future__ import annotations

import socket


def free_port(address: str) -> int:
    """A port that was free at `address` a moment ago."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 0))
        port: int = sock.getsockname()[1]
        return port
