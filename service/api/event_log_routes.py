"""Events in the order of the log: behind a cursor, and as a stream of server-sent events."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from service.api.call import Body, Call, Route
from service.api.parameters import Parameter
from service.api.problems import Invalid, not_found
from service.api.problems import shown as quoted
from service.api.streams import PAGE, Stream, shown
from service.policy import Right
from service.store.accounts import Principal, sees_project
from service.store.event_log import LOGGED, LoggedEvent, event_tail, events_behind
from service.store.orders import devices, events
from sql.loader import Q

_LARGEST = 2**63 - 1
_AFTER = Parameter("after", "Behind the event with this cursor. Without it: from now on.")


def cursor(text: str) -> int:
    """A cursor of the log. Raises Refused (422)."""
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _LARGEST):
        raise Invalid(f"after is not valid: {quoted(text)} is no cursor; allowed are the cursors of events, and 0")
    return int(text)


async def logged(
    call: Call,
    after: str,
    *,
    device_id: UUID | None = None,
    project_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> Body:
    """The next events behind a cursor, and the cursor to go on with. Raises Refused (422)."""
    if not call.caller.staff and device_id is project_id is organization_id is None:
        raise Invalid("after is not valid here; it is allowed for the events of a project, device or organization")
    position = cursor(after)
    found = await events_behind(
        call.db,
        position,
        PAGE,
        private=call.caller.staff,
        project_id=project_id,
        device_id=device_id,
        organization_id=organization_id,
    )
    # Of an organization's projects the caller may see some only.
    visible = {one.id for one in await events(call.db, call.caller, [one.id for one in found])}
    last = found[-1].position if found else position
    return {
        "events": [shown(one, call.links, call.caller) for one in found if one.id in visible],
        "cursor": str(last),
        "more": len(found) == PAGE,
        "meta": _part(call, position, last, more=len(found) == PAGE, count=len(found)),
    }


def _part(call: Call, position: int, last: int, *, more: bool, count: int) -> Body:
    """A part of the log as a page, for clients that follow `next`; `total` is that of this part."""

    def link(after: int) -> dict[str, str]:
        return {"href": f"{call.links.prefix}{call.path}?after={after}"}

    return {
        "first": link(0),
        "previous": None,
        "self": link(position),
        "next": link(last) if more else None,
        "last": link(last),
        "current_page": 1,
        "last_page": 1,
        "total": count,
    }


async def stream_project(call: Call) -> Stream:
    """GET /projects/{project}/events/stream: what happens in the project, as server-sent events

    Begins now, behind the header `Last-Event-ID`, or behind the cursor `after`.
    """
    project_id = await call.project()

    async def read(caller: Principal, position: int) -> Sequence[LoggedEvent] | None:
        if not await sees_project(call.db, caller, project_id):
            return None
        return await events_behind(call.db, position, PAGE, private=caller.staff, project_id=project_id)

    return Stream(f"{LOGGED}:{project_id}", await _begin(call), call.links, read)


async def stream_device(call: Call) -> Stream:
    """GET /devices/{device}/events/stream: what happens to the device, as server-sent events, until it is deleted

    Begins now, behind the header `Last-Event-ID`, or behind the cursor `after`.
    """
    device_id = call.id("device")
    found = await devices(call.db, call.caller, [device_id])
    if not found:
        raise not_found()
    project_id = found[0].order.project_id

    async def read(caller: Principal, position: int) -> Sequence[LoggedEvent] | None:
        if not await sees_project(call.db, caller, project_id):
            return None
        # In this order: what has no position yet when the device is gone is still to come.
        there = await devices(call.db, caller, [device_id])
        coming = not there and await call.db.fetchval(Q["device_events_to_number"], device_id)
        events = await events_behind(call.db, position, PAGE, private=caller.staff, device_id=device_id)
        return events if events or there or coming else None

    return Stream(f"{LOGGED}:{project_id}", await _begin(call), call.links, read)


async def _begin(call: Call) -> int:
    """Where a stream begins. The header is what a browser sends by itself when it comes back."""
    text = call.last_event_id or call.word("after")
    return await event_tail(call.db) if text is None else cursor(text)


ROUTES = (
    Route(
        "GET",
        "/projects/{project}/events/stream",
        stream_project,
        right=Right.VIEW,
        query=(_AFTER,),
        documents=("text/event-stream",),
        addition=True,
    ),
    Route(
        "GET",
        "/devices/{device}/events/stream",
        stream_device,
        right=Right.VIEW,
        query=(_AFTER,),
        documents=("text/event-stream",),
        addition=True,
    ),
)
