"""What devices and projects have used, by the second, at the prices of the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction

from service.api import order_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.objects import Object
from service.api.parameters import Parameter
from service.api.problems import Invalid, not_found, shown
from service.api.spot_routes import moment_asked
from service.metering import Line, all_lines, money, total_of
from service.policy import Right
from service.store.orders import devices
from service.store.usage import uses


def line_object(line: Line) -> Object:
    """One line. Amounts are text, as the dialect has them: hours in `quantity`, money in `price` (an hour's)."""
    use = line.use
    return {
        "id": str(use.id),
        "type": use.type,
        "name": use.name,
        "plan": use.plan,
        "plan_version": "1",
        "facility": use.facility or "any",
        "unit": "hour",
        "quantity": money(line.hours),
        "price": money(Fraction(line.hourly)),
        "total": money(line.total),
        "seconds": line.seconds,
        "from": stamp(datetime.fromtimestamp(line.since, UTC)),
        "until": stamp(datetime.fromtimestamp(line.until, UTC)),
    }


def span_asked(call: Call) -> tuple[datetime | None, datetime]:
    """Between which moments the call asks; nothing after now is told. Raises Refused (422)."""
    now = call.api.clock.now()
    after, before = moment_asked(call, "created[after]"), moment_asked(call, "created[before]")
    if after is not None and before is not None and after > before:
        raise Invalid(f"Created is not valid: after {shown(after.isoformat())} and before {shown(before.isoformat())}")
    return after, now if before is None else min(before, now)


def usages(lines: Sequence[Line]) -> Body:
    """The lines, and what they cost together: that is summed up first and rounded then."""
    return {"usages": [line_object(line) for line in lines], "total": money(total_of(lines))}


async def device_usages(call: Call) -> Body:
    """GET /devices/{device}/usages: from its activation on, one line for each price, also once it is deleted"""
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id], deleted_too=True):
        raise not_found()
    after, before = span_asked(call)
    return usages(all_lines(await uses(call.db, after, before, device_id=device_id), after, before))


async def project_usages(call: Call) -> Body:
    """GET /projects/{project}/usages: devices, elastic addresses and reserved hardware, by the second

    A device on reserved hardware costs nothing: its reservation does, used or not.
    """
    project_id, (after, before) = await call.project(), span_asked(call)
    return usages(all_lines(await uses(call.db, after, before, project_id=project_id), after, before))


_SPAN = (
    Parameter("created[after]", "What was used since this time, ISO 8601 or unix seconds."),
    Parameter("created[before]", "What was used before this time, ISO 8601 or unix seconds."),
)
ROUTES = (
    Route("GET", "/devices/{device}/usages", device_usages, answer=order_schemas.Usages, right=Right.VIEW, query=_SPAN),
    Route(
        "GET", "/projects/{project}/usages", project_usages, answer=order_schemas.Usages, right=Right.VIEW, query=_SPAN
    ),
)
