"""How much went through a device's port, from samples of the port's counters. Pure.

Counters begin again at zero when a leaf restarts; what was counted between the last sample and that is lost. The first
sample on a port, or on another one, is where counting begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Literal
from uuid import UUID

Interval = Literal["minute", "hour", "day", "week", "month", "year"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A port's counters, in octets as the device sees them."""

    at: datetime
    port_id: UUID
    inbound: int
    outbound: int


@dataclass(frozen=True, slots=True)
class Flow:
    """What went through between two samples, in octets."""

    since: datetime
    until: datetime
    inbound: int
    outbound: int

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.until - self.since).total_seconds()


def flows(samples: Sequence[Sample]) -> Iterator[Flow]:
    """What went through between each sample and the next, in order of time."""
    for before, now in pairwise(samples):
        if before.port_id != now.port_id or before.at >= now.at:
            continue
        if now.inbound >= before.inbound and now.outbound >= before.outbound:
            yield Flow(before.at, now.at, now.inbound - before.inbound, now.outbound - before.outbound)
        else:  # the counters began again in between
            yield Flow(before.at, now.at, now.inbound, now.outbound)


def through(found: Iterable[Flow], after: datetime, before: datetime) -> tuple[Fraction, Fraction]:
    """Octets in and out between two moments; a flow that is cut counts by the share of its time."""
    inbound = outbound = Fraction(0)
    for flow in found:
        shared = min(flow.until, before) - max(flow.since, after)
        if shared > timedelta(0):
            share = Fraction(
                shared // timedelta(microseconds=1), (flow.until - flow.since) // timedelta(microseconds=1)
            )
            inbound += share * flow.inbound
            outbound += share * flow.outbound
    return inbound, outbound


def steps(after: datetime, before: datetime, interval: Interval) -> list[tuple[datetime, datetime]]:
    """The time between two moments in minutes, hours, days, weeks from Monday, months or years, of UTC."""
    found, begin = [], after
    while begin < before:
        end = min(_next(begin, interval), before)
        found.append((begin, end))
        begin = end
    return found


def _next(moment: datetime, interval: Interval) -> datetime:
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    match interval:
        case "minute":
            return moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
        case "hour":
            return moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        case "day":
            return midnight + timedelta(days=1)
        case "week":
            return midnight + timedelta(days=7 - moment.weekday())
        case "month":
            return midnight.replace(year=moment.year + moment.month // 12, month=moment.month % 12 + 1, day=1)
        case "year":
            return midnight.replace(year=moment.year + 1, month=1, day=1)
