"""Whether a new release is worse than the one it is to replace: pure, from counts and times of installs.

Failures: the new release is worse when its share of failures is above the old one's by more than MARGIN, and chance
would explain that in fewer than CHANCE of cases by Fisher's exact test, one-sided. Where the old release has few
installs the test would find nothing out, so it is believed beforehand to have had PRIOR installs, one of which failed.

Times: it is worse when its p99 is above the old one's by more than the factor SLOWER, and as many of its installs are
slower than the old p99 as chance would explain in fewer than CHANCE of cases, where one in a hundred is due. One slow
machine among a few is no evidence; that is why a p99 alone decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, lgamma, log, log1p
from typing import Literal

MARGIN = 0.05
CHANCE = 0.02
PRIOR = 20  # installs
SLOWER = 1.5
_FEWEST_TIMES = 10  # of either release, before times are compared

STEPS = (5, 25, 50, 100)  # percent


@dataclass(frozen=True, slots=True)
class Results:
    """Installs of one release that have ended."""

    seconds: tuple[float, ...]  # of those that succeeded
    failed: int

    @property
    def installs(self) -> int:
        """All of them."""
        return len(self.seconds) + self.failed

    @property
    def failure_rate(self) -> float:
        """The share that failed; none of none is none."""
        return self.failed / self.installs if self.installs else 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be done, and the sentence that says why. `percent` is the one from now on."""

    action: Literal["wait", "raise", "complete", "roll_back"]
    percent: int
    reason: str


def judge(new: Results, old: Results, *, percent: int, enough: int, at_this_step: int) -> Verdict:
    """The next move of a rollout at `percent`, where `at_this_step` installs of the new release have succeeded."""
    told = f"{new.failed} of {new.installs} installs failed, {old.failed} of {old.installs} of the release before"
    if new.failure_rate > old.failure_rate + MARGIN:
        chance = by_chance(new.failed, new.installs, old.failed + 1, old.installs + PRIOR)
        if chance < CHANCE:
            why = f"{told}; chance would explain that in {100 * chance:.2g} of 100 cases"
            return Verdict("roll_back", percent, why)
        return Verdict("wait", percent, f"{told}; too few to tell")
    if (slow := _slower(new, old)) is not None:
        return Verdict("roll_back", percent, slow)
    if at_this_step < enough:
        return Verdict("wait", percent, f"{at_this_step} of {enough} installs have succeeded at {percent} %; {told}")
    following = next((step for step in STEPS if step > percent), None)
    if following is None:
        return Verdict("complete", percent, told)
    return Verdict("raise", following, told)


def _slower(new: Results, old: Results) -> str | None:
    if min(len(new.seconds), len(old.seconds)) < _FEWEST_TIMES:
        return None
    was, now = quantile(old.seconds, 0.99), quantile(new.seconds, 0.99)
    above = sum(one > was for one in new.seconds)
    if now <= SLOWER * was or at_least(above, len(new.seconds), 0.01) >= CHANCE:
        return None
    return f"{above} of {len(new.seconds)} installs took longer than {was:.1f} s, the p99 before; p99 is {now:.1f} s"


def quantile(values: Sequence[float], part: float) -> float:
    """The smallest of the values that so large a part of them does not exceed. Raises ValueError for no values."""
    if not values:
        raise ValueError("no values have no quantile")
    return sorted(values)[max(0, ceil(part * len(values)) - 1)]


def by_chance(failed: int, installs: int, failed_before: int, installs_before: int) -> float:
    """Fisher's exact test, one-sided: how probable so many failures, or more, are among the first if both are alike."""
    every, broken = installs + installs_before, failed + failed_before
    most = min(installs, broken)
    # Logarithms: with tens of thousands of installs the numbers of ways have tens of thousands of digits.
    all_ways = _log_ways(every, installs)
    return sum(
        exp(_log_ways(broken, one) + _log_ways(every - broken, installs - one) - all_ways)
        for one in range(max(failed, installs - (every - broken)), most + 1)
    )


def _log_ways(of: int, so_many: int) -> float:
    """The logarithm of the number of ways to choose so many of them."""
    return lgamma(of + 1) - lgamma(so_many + 1) - lgamma(of - so_many + 1)


def at_least(hits: int, tries: int, probability: float) -> float:
    """How probable so many hits, or more, are in so many tries (the binomial distribution's upper tail)."""
    return sum(
        exp(_log_ways(tries, one) + one * log(probability) + (tries - one) * log1p(-probability))
        for one in range(hits, tries + 1)
    )
