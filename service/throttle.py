"""How much one teller, as a machine or an address, may have written down a minute. Pure but for the times given."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

_MINUTE = timedelta(minutes=1)
_MANY = 10_000  # tellers that are remembered before those of earlier minutes are forgotten


class Verdict(Enum):
    """What becomes of a message."""

    TAKE = "take"
    TELL = "tell"  # it is the first too many of its minute: that is told, once
    DROP = "drop"


@dataclass(slots=True)
class _Minute:
    began: datetime
    count: int = 0


@dataclass(slots=True)
class Throttle:
    """Counts the messages of each teller in its present minute. One process counts what comes to it."""

    limit: int
    _minutes: dict[Hashable, _Minute] = field(default_factory=dict)

    def judge(self, teller: Hashable, now: datetime) -> Verdict:
        """Count one more message of the teller."""
        minute = self._minutes.get(teller)
        if minute is None or now - minute.began >= _MINUTE:
            if len(self._minutes) >= _MANY:
                self._minutes = {key: one for key, one in self._minutes.items() if now - one.began < _MINUTE}
            minute = self._minutes[teller] = _Minute(now)
        minute.count += 1
        if minute.count <= self.limit:
            return Verdict.TAKE
        return Verdict.TELL if minute.count == self.limit + 1 else Verdict.DROP
