"""When an order will be active: by what stages took lately, by what is free, being prepared and waited for.

Before the first order of a plan has ended nothing was measured: what is allowed is told then, and that it is a limit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

Basis = Literal["measurement", "limit"]
_LATEST = 200  # runs that are looked at
_KEPT = timedelta(seconds=5)
_LATE = 0.1  # of the usual time is what is still to come for whatever takes longer than usual


@dataclass(frozen=True, slots=True)
class Took:
    """What a course took lately, in seconds from the machine's being chosen until its end; or what it may take, where
    none was measured.
    """

    p50_s: float
    p95_s: float
    measured: int
    steps: Mapping[str, float] = field(default_factory=dict)  # the median of each, or its limit

    @property
    def basis(self) -> Basis:
        """What it goes by."""
        return "measurement" if self.measured else "limit"

    def left_s(self, step: str, elapsed_s: float, order: Sequence[str]) -> float:
        """Seconds to the end from `elapsed_s` seconds into a step; `order` has all steps in their order."""
        if step not in order or not self.steps:
            return max(self.p50_s - elapsed_s, self.p50_s * _LATE)
        usual = self.steps.get(step, 0.0)
        later = sum(self.steps.get(name, 0.0) for name in order[order.index(step) + 1 :])
        return max(usual - elapsed_s, usual * _LATE if elapsed_s > usual else 0.0) + later


Times = Mapping[tuple[UUID, str | None], Took]


@dataclass(frozen=True, slots=True)
class Pool:
    """Machines of one plan at one facility, as a new order finds them."""

    ready: int
    ahead: int  # orders that get a machine before it
    coming: Sequence[datetime]  # when others are expected, the first one first

    def start(self, now: datetime, ahead: int | None = None) -> datetime | None:
        """When the order gets its machine; None where none is expected."""
        before = self.ahead if ahead is None else ahead
        if before < self.ready:
            return now
        later = before - self.ready
        return self.coming[later] if later < len(self.coming) else None


class Lately:
    """What courses took lately, as one process knows it: every order asks, and it is a long calculation.

    As long as there are few runs, each that ends counts at once. Of many, what ends within seconds changes nothing.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}  # by workflow

    async def times_of(self, conn: Connection, workflow: str, *, now: datetime) -> Times:
        """What the latest two hundred runs took, by plan and operating system; those of machines by plan alone."""
        known = self._known.get(workflow)
        if known is not None and known.runs >= _LATEST and now - known.at < _KEPT:
            return known.times
        newest = await conn.fetchval(Q["newest_done"], workflow)
        if known is not None and known.newest == newest:
            return known.times
        if known is not None and known.runs >= _LATEST:
            known.at = now  # others who ask meanwhile make do with what was known
        times = _times(await conn.fetch(Q["stage_times"], workflow, _LATEST))
        self._known[workflow] = _Known(times, newest, sum(took.measured for took in times.values()), now)
        return times


@dataclass(slots=True)
class _Known:
    times: Times
    newest: datetime | None  # when the last run ended that counts
    runs: int
    at: datetime  # when it was read


def _times(rows: Sequence[Any]) -> Times:
    steps: dict[tuple[UUID, str | None], dict[str, float]] = {}
    for row in rows:
        if row["step"] is not None:
            steps.setdefault((row["plan_id"], row["operating_system"]), {})[row["step"]] = row["p50_s"]
    return {
        key: Took(row["p50_s"], row["p95_s"], row["measured"], steps.get(key, {}))
        for row in rows
        if row["step"] is None and (key := (row["plan_id"], row["operating_system"]))
    }


def usual(times: Times, plan_id: UUID, system: str | None, limits: Took) -> Took:
    """What such a course takes: of that system, else of the plan's slowest one, else what is allowed."""
    if (exact := times.get((plan_id, system))) is not None:
        return exact
    others = [took for (plan, _), took in times.items() if plan == plan_id]
    return max(others, key=lambda took: took.p50_s, default=limits)


async def coming(conn: Connection, lately: Lately, plan_id: UUID, *, now: datetime) -> dict[UUID, list[datetime]]:
    """By facility, when machines of the plan are expected in the pool; those that nobody can tell of are left out."""
    times = await lately.times_of(conn, "prepare", now=now)
    took = usual(times, plan_id, None, Took(0.0, 0.0, 0))
    found: dict[UUID, list[datetime]] = {}
    if not took.measured:
        return found
    for row in await conn.fetch(Q["machines_coming"], plan_id):
        whole = timedelta(seconds=took.p50_s)
        at = row["freed"] + whole if row["since"] is None else row["since"] + whole
        found.setdefault(row["facility_id"], []).append(max(at, now + whole * _LATE))
    return {place: sorted(moments) for place, moments in found.items()}


async def pools(
    conn: Connection,
    lately: Lately,
    facility_ids: Collection[UUID],
    plan_id: UUID,
    project_id: UUID | None,
    *,
    now: datetime,
) -> dict[UUID, Pool]:
    """The pools of these facilities, as a new order of the project finds them."""
    later = await coming(conn, lately, plan_id, now=now)
    found = {}
    for place in facility_ids:
        row = await conn.fetchrow(Q["pool_now"], place, plan_id, project_id)
        found[place] = Pool(row["ready"], row["ahead"], later.get(place, []))
    return found


@dataclass(frozen=True, slots=True)
class UnderWay:
    """An order that is under way."""

    id: UUID
    facility_id: UUID
    plan_id: UUID
    system: str
    limits: Took
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Expected:
    """When an order will be active, and what that goes by."""

    at: datetime
    basis: Basis


async def etas(
    conn: Connection, lately: Lately, orders: Sequence[UnderWay], order: Sequence[str], *, now: datetime
) -> dict[UUID, Expected]:
    """When these orders will be active; those for which no machine is expected are left out.

    `order` has the course's steps in their order.
    """
    if not orders:
        return {}
    times = await lately.times_of(conn, "provision", now=now)
    rows = await conn.fetch(Q["steps_under_way"], [one.id for one in orders])
    at = {row["subject"]: (row["step"], row["step_since"]) for row in rows}
    waiting = [one for one in orders if at.get(one.id, ("place",))[0] in ("place", "await_addresses")]
    before_machine = {one.id for one in waiting}
    ahead, free = await _queue(conn, lately, waiting, now=now)
    found = {}
    for one in orders:
        took = usual(times, one.plan_id, one.system, one.limits)
        if one.id not in before_machine:
            step, since = at[one.id]
            end = now + timedelta(seconds=took.left_s(step, (now - since).total_seconds(), order))
        elif (start := free[one.plan_id][one.facility_id].start(now, ahead.get(one.id, 0))) is not None:
            end = start + timedelta(seconds=took.p50_s)
        else:
            continue
        # By its limits it may take until its deadline, and not longer.
        found[one.id] = Expected(end if took.measured else min(end, max(one.deadline, now)), took.basis)
    return found


async def _queue(
    conn: Connection, lately: Lately, waiting: Sequence[UnderWay], *, now: datetime
) -> tuple[dict[UUID, int], dict[UUID, dict[UUID, Pool]]]:
    if not waiting:
        return {}, {}
    places = list({one.facility_id for one in waiting})
    plans = list({one.plan_id for one in waiting})
    rows = await conn.fetch(Q["ahead_in_pool"], places, plans)
    free = {plan: await pools(conn, lately, places, plan, None, now=now) for plan in plans}
    return {row["device_id"]: row["ahead"] for row in rows}, free
