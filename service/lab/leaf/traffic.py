"""What the virtual leaf's ports have counted: a little chatter while time goes by, and what a test has flow through."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field

_CHATTER = 64  # octets a second each way: neighbour discovery, LLDP


@dataclass(slots=True)
class Traffic:
    """The ports' octet counters. They begin again when the leaf starts, as on real leaves."""

    since: float = field(default_factory=time.monotonic)
    received: Counter[str] = field(default_factory=Counter)  # by port, of what was made to flow
    sent: Counter[str] = field(default_factory=Counter)

    def flow(self, port: str, *, received: int = 0, sent: int = 0) -> None:
        """So many octets more have come in and gone out at the port."""
        self.received[port] += received
        self.sent[port] += sent

    def restart(self) -> None:
        """Count from nothing on."""
        self.since = time.monotonic()
        self.received.clear()
        self.sent.clear()

    def counted(self, port: str) -> tuple[int, int]:
        """Octets received and sent at the port so far."""
        chatter = int((time.monotonic() - self.since) * _CHATTER)
        return self.received[port] + chatter, self.sent[port] + chatter
