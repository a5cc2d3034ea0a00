"""When a prefix will be full: drift of the daily counts, with an interval that says how little one knows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import sqrt
from statistics import NormalDist, fmean, stdev
from typing import Literal, TypeAlias

METHOD = (
    "drift: the mean of the daily changes of what is held; the interval is Student's t of that mean,"
    " each day's change taken as independent of the others"
)
CONFIDENCE = 0.95
FEWEST_DAYS = 7  # of fewer days no trend is told
HORIZON = timedelta(days=3650)  # a trend of some weeks says nothing of a time further away

State: TypeAlias = Literal["exhausted", "growing", "not growing", "too little history", "beyond 10 years"]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the last `days` days say. Dates are there for the state `growing` alone, and come with METHOD.

    `latest` is None where the interval reaches down to so little a day that it may last beyond HORIZON, or for ever.
    """

    state: State
    days: int
    per_day: float | None
    per_day_low: float | None
    per_day_high: float | None
    exhausted_at: datetime | None
    earliest: datetime | None
    latest: datetime | None


def forecast(counts: Sequence[int], left: int, now: datetime) -> Forecast:
    """When nothing will be left, from what was held day by day: the last count is that of `now`.

    `left` is what can still be handed out, in the same unit as the counts.
    """
    days = max(len(counts) - 1, 0)
    if days < FEWEST_DAYS:
        return Forecast("exhausted" if left <= 0 else "too little history", days, None, None, None, None, None, None)
    changes = [float(after - before) for before, after in pairwise(counts)]
    drift = fmean(changes)
    reach = student_t(days - 1) * stdev(changes, drift) / sqrt(days)
    low, high = drift - reach, drift + reach
    state: State = "growing"
    if left <= 0:
        state = "exhausted"
    elif drift <= 0:
        state = "not growing"
    elif _after(now, left, drift) is None:
        state = "beyond 10 years"
    if state != "growing":
        return Forecast(state, days, drift, low, high, None, None, None)
    return Forecast(
        state,
        days,
        drift,
        low,
        high,
        exhausted_at=_after(now, left, drift),
        earliest=_after(now, left, high),
        latest=_after(now, left, low),
    )


def _after(now: datetime, left: int, per_day: float) -> datetime | None:
    if per_day <= 0 or left > per_day * HORIZON.days:
        return None
    return now + timedelta(days=left / per_day)


def student_t(degrees: int) -> float:
    """Student's t that is exceeded on neither side with CONFIDENCE, by the expansion of Fisher and Cornish.

    Right to 0.1 % from five degrees of freedom on (Abramowitz and Stegun, 26.7.5).
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return float(sum(term / degrees**power for power, term in enumerate(terms)))
