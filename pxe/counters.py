"""What the boot servers count: how many of each thing there were since the process started."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Counters:
    """Named counts that only grow. One object may serve several servers, as long as one event loop runs them all."""

    _counts: Counter[str] = field(default_factory=Counter)

    def count(self, name: str, by: int = 1) -> None:
        """Add to a count; one that was never named before starts at zero."""
        self._counts[name] += by

    def snapshot(self) -> dict[str, int]:
        """All counts of this moment, a copy."""
        return dict(self._counts)
