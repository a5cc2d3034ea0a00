"""How much one machine may write into the log of events. Pure but for the times that it is given."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from uuid import UUID

MESSAGES = 60  # in a minute: an installation tells some ten, a busy boot script of a customer's some more
_MINUTE = timedelta(minutes=1)
_MANY = 10_000  # machines that are remembered before those of earlier minutes are forgotten


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
    """Counts the messages of each machine in its present minute. One boot node counts what comes to it."""

    limit: int = MESSAGES
    _minutes: dict[UUID, _Minute] = field(default_factory=dict)

    def judge(self, machine_id: UUID, now: datetime) -> Verdict:
        """Count one more message of the machine."""
        minute = self._minutes.get(machine_id)
        if minute is None or now - minute.began >= _MINUTE:
            if len(self._minutes) >= _MANY:
                self._minutes = {key: one for key, one in self._minutes.items() if now - one.began < _MINUTE}
            minute = self._minutes[machine_id] = _Minute(now)
        minute.count += 1
        if minute.count <= self.limit:
            return Verdict.TAKE
        return Verdict.TELL if minute.count == self.limit + 1 else Verdict.DROP
