"""Time and randomness, passed in: a whole data centre can then be simulated faster than it runs."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """The time that a process lives by."""

    def now(self) -> datetime:
        """The present time, with its zone."""

    async def sleep(self, seconds: float) -> None:
        """Return after that many seconds of this clock."""


@dataclass(frozen=True, slots=True)
class WallClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        """The present time, in UTC."""
        return datetime.now(UTC)

    async def sleep(self, seconds: float) -> None:
        """Sleep in the event loop."""
        await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Jitter:
    """Spreads repeats, so that what failed together does not come back together."""

    random: random.Random = field(default_factory=random.Random)

    def around(self, seconds: float) -> float:
        """A time between three quarters and five quarters of `seconds`."""
        return seconds * self.random.uniform(0.75, 1.25)
