"""Ports for what is started on this machine later, by its number."""

from __future__ import annotations

import secrets
import socket
from collections import deque
from pathlib import Path

_LOWEST = 10_000  # well above what has a name, in /etc/services and in practice
_OUTGOING = Path("/proc/sys/net/ipv4/ip_local_port_range")
_OUTGOING_LOWEST = 32_768  # Linux' default, ip-sysctl; IANA's range for it starts at 49152 (RFC 6335 §6)
_CLAIMS = 64  # of this process that are kept
_claims: deque[socket.socket] = deque()


def free_port(kind: socket.SocketKind, address: str = "0.0.0.0") -> int:
    """A port that nothing has at `address` now, and that the kernel gives to no outgoing connection.

    For a while nobody else is given it by this function either, here or in another process: what is started later has
    the time to start.

    A port that is asked of the kernel instead is one of those that it hands to others until it is bound, which a
    service that is killed and started again does not survive. Raises OSError where the address is none of ours.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as probe:
        probe.bind((address, 0))  # an address that cannot be bound is not looked for a thousand times
    while True:
        port = _LOWEST + secrets.randbelow(_outgoing_lowest() - _LOWEST)
        with socket.socket(family, kind) as probe:
            try:
                probe.bind((address, port))
            except OSError:
                continue
        if _claimed(port):
            return port


def _claimed(port: int) -> bool:
    """Whether the port was nobody's yet. The claim is a name that goes with its process (unix(7), abstract sockets)."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0roundhouse-port-{port}")
    except OSError:
        claim.close()
        return False
    _claims.append(claim)
    if len(_claims) > _CLAIMS:
        _claims.popleft().close()
    return True


def _outgoing_lowest() -> int:
    try:
        lowest = int(_OUTGOING.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return _OUTGOING_LOWEST
    return lowest if lowest > _LOWEST + 1000 else _OUTGOING_LOWEST
