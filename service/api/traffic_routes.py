"""Bandwidth and traffic of a device, from the counters of the leaf's port that it hangs on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import get_args

from service.api import order_schemas
from service.api.call import Body, Call, Route
from service.api.objects import Object
from service.api.parameters import Parameter, choice
from service.api.problems import Invalid, not_found, shown
from service.api.spot_routes import moment_asked
from service.policy import Right
from service.store.orders import devices
from service.traffic import Flow, Interval, Sample, flows, steps, through
from sql.loader import Q

_MOST = 10_000  # steps in one answer
_SHORTEST = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=28),
    "year": timedelta(days=365),
}
_DIRECTIONS = ("inbound", "outbound")


async def _flows(call: Call, after: datetime, before: datetime) -> list[Flow]:
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id], deleted_too=True):
        raise not_found()
    if after > before:
        raise Invalid(f"until is not valid: {shown(before.isoformat())} is before {shown(after.isoformat())}")
    rows = await call.db.fetch(Q["traffic_samples"], device_id, after, before)
    return list(flows([Sample(row["at"], row["port_id"], int(row["inbound"]), int(row["outbound"])) for row in rows]))


async def bandwidth(call: Call) -> Body:
    """GET /devices/{device}/bandwidth?from=&until=: octets a second, in and out, each as [rate, unix seconds]

    Without times it is the last day. One point for each sample of the leaf's counters.
    """
    until = moment_asked(call, "until") or call.api.clock.now()
    since = moment_asked(call, "from") or until - timedelta(days=1)
    found = [one for one in await _flows(call, since, until) if since <= one.until <= until]

    def component(direction: str) -> Object:
        points = [[round(getattr(one, direction) / one.seconds, 3), int(one.until.timestamp())] for one in found]
        return {"target": direction, "tags": {"aggregatedBy": "average", "name": direction}, "datapoints": points}

    return {"bandwidth": [component(direction) for direction in _DIRECTIONS]}


async def traffic(call: Call) -> Body:
    """GET /devices/{device}/traffic?direction=inbound: octets in all, and with `interval` in each part of the time

    The time is `timeframe[started_at]` to `timeframe[ended_at]`, or the last hour.
    """
    direction, interval = call.word("direction"), call.word("interval")
    if direction is None:
        raise Invalid("direction can't be blank")
    if direction not in _DIRECTIONS:
        raise Invalid(f"direction is not valid: {shown(direction)} is neither inbound nor outbound")
    if interval is not None and interval not in get_args(Interval):
        raise Invalid(f"interval is not valid: {shown(interval)} is not one of {', '.join(get_args(Interval))}")
    if call.word("bucket") is not None:
        raise Invalid(
            f"bucket is not valid: {shown(call.word('bucket'))}; a port counts all alike, and allowed is none"
        )
    now = call.api.clock.now()
    until = min(moment_asked(call, "timeframe[ended_at]") or now, now)
    since = moment_asked(call, "timeframe[started_at]") or until - timedelta(hours=1)
    found, place = await _flows(call, since, until), _DIRECTIONS.index(direction)
    points = []
    if interval is not None:
        if (until - since) / _SHORTEST[interval] > _MOST:
            raise Invalid(f"interval is not valid: {shown(interval)} makes more than {_MOST} parts; take a longer one")
        parts = steps(since.astimezone(UTC), until.astimezone(UTC), interval)  # type: ignore[arg-type]
        points = [[round(through(found, a, b)[place]), int(a.timestamp())] for a, b in parts]
    total = round(through(found, since, until)[place])
    return {"traffic": {"direction": direction, "unit": "bytes", "total": total, "datapoints": points}}


ROUTES = (
    Route(
        "GET",
        "/devices/{device}/bandwidth",
        bandwidth,
        answer=order_schemas.Bandwidth,
        right=Right.VIEW,
        query=(
            Parameter("from", "Since this time, ISO 8601 or unix seconds."),
            Parameter("until", "Before this time, ISO 8601 or unix seconds."),
        ),
    ),
    Route(
        "GET",
        "/devices/{device}/traffic",
        traffic,
        answer=order_schemas.Traffic,
        right=Right.VIEW,
        query=(
            choice("direction", "Which way; it must be named.", *_DIRECTIONS),
            choice("interval", "How long each part is.", *get_args(Interval)),
            Parameter("timeframe[started_at]", "Since this time, ISO 8601 or unix seconds."),
            Parameter("timeframe[ended_at]", "Before this time, ISO 8601 or unix seconds."),
        ),
    ),
)
