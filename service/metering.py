"""What was in use, by the second, and what that cost at the prices of the time. Pure: rows in, lines out.

Every moment is cut to the whole second before it. So the seconds of any two spans that meet are together those of
the whole, wherever they meet, and so is what they cost: nothing is rounded before the sum is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import floor
from uuid import UUID

_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour costs, until the next price begins."""

    since: datetime
    hourly: Decimal


@dataclass(frozen=True, slots=True)
class Use:
    """Something that a project has from `since` until `until`; None: it has it still."""

    type: str  # the dialect's word: "Instance", "IP address", "Hardware reservation"
    id: UUID
    project_id: UUID
    organization_id: UUID
    project: str
    name: str
    plan: str  # the plan's slug, or the kind of address
    facility: str | None
    quantity: int  # of addresses; one of all else
    since: datetime
    until: datetime | None
    prices: Sequence[Price]  # in order of time; the first holds before it, too


@dataclass(frozen=True, slots=True)
class Line:
    """A part of a use at one price."""

    use: Use
    since: int  # unix seconds
    until: int
    hourly: Decimal  # of one

    @property
    def seconds(self) -> int:
        """How long."""
        return self.until - self.since

    @property
    def hours(self) -> Fraction:
        """How many hours of one, exactly."""
        return Fraction(self.seconds * self.use.quantity, _HOUR)

    @property
    def total(self) -> Fraction:
        """What it costs, exactly."""
        return self.hours * Fraction(self.hourly)


def second(moment: datetime) -> int:
    """The whole second that a moment lies in, in unix time."""
    return floor(moment.timestamp())


def lines_of(use: Use, after: datetime | None, before: datetime) -> Iterator[Line]:
    """The parts of a use that lie between two moments; `after` None: from its beginning on."""
    begin = second(use.since) if after is None else max(second(use.since), second(after))
    end = second(before) if use.until is None else min(second(use.until), second(before))
    steps = [(second(price.since), price.hourly) for price in use.prices] or [(0, Decimal(0))]
    for place, (since, hourly) in enumerate(steps):
        first = begin if place == 0 else max(begin, since)
        last = end if place + 1 == len(steps) else min(end, steps[place + 1][0])
        if first < last:
            yield Line(use, first, last, hourly)


def all_lines(uses: Iterable[Use], after: datetime | None, before: datetime) -> list[Line]:
    """The lines of many uses, in the order of the uses."""
    return [line for use in uses for line in lines_of(use, after, before)]


def total_of(lines: Iterable[Line]) -> Fraction:
    """What they cost together, exactly."""
    return sum((line.total for line in lines), Fraction(0))


def money(amount: Fraction, places: int = 6) -> str:
    """An amount in decimal digits, rounded half to even at the last."""
    scaled = round(amount * 10**places)
    whole, rest = divmod(abs(scaled), 10**places)
    sign = "-" if scaled < 0 else ""
    return f"{sign}{whole}.{rest:0{places}}"


def switched(first: Sequence[Price], then: Sequence[Price], at: datetime | None) -> list[Price]:
    """The prices `first`, and from the moment `at` on those of `then`; None: never."""
    if at is None:
        return list(first)
    began = [price for price in then if price.since <= at]
    now = began[-1:] or list(then[:1])
    later = [price for price in then if price.since > at]
    return [*(price for price in first if price.since < at), *(Price(at, one.hourly) for one in now), *later]


def month_of(text: str) -> tuple[datetime, datetime]:
    """The beginning of a month, written 2026-03, and that of the next, in UTC. Raises ValueError."""
    begin = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    following = begin.replace(year=begin.year + begin.month // 12, month=begin.month % 12 + 1)
    return begin, following
