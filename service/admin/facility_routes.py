"""What systems of the facility tell of machines: each event once, with what it led to."""

from __future__ import annotations

from typing import get_args
from uuid import UUID

from service.admin import hook_schemas
from service.admin.facility_telling import (
    Happened,
    Word,
    beforehand,
    event_object,
    keep,
    settled,
    told_by,
    until_it_stays,
)
from service.api.call import Body, Call, Route
from service.api.models import read
from service.api.parameters import Parameter, choice
from service.api.problems import Invalid, not_found, shown
from service.facility_events import Kept, State
from service.policy import Right
from sql.loader import Q

_STATES = get_args(State)
_MOST = 200


class TellEvent(Happened):
    """What happened to a machine, and when. The same `id` of one teller is the same event."""

    id: Word


async def tell(call: Call) -> Body:
    """POST /admin/v1/facility-events: a machine was racked, cabled, moved, has failed, got a part, was retired

    The same `id` of the same teller is carried out once. What happened before something that was told already is kept
    and changes nothing.
    """
    asked = read(TellEvent, call.body)
    happened = Happened(**asked.model_dump(exclude={"id"}))
    return event_object(await keep(call.api, call.caller.actor, asked.id, happened))


async def list_events(call: Call) -> Body:
    """GET /admin/v1/facility-events: the latest two hundred with what each led to; narrowed by machine and state"""
    state = call.word("state")
    if state is not None and state not in _STATES:
        raise Invalid(f"state is not valid: {shown(state)} is not one of {', '.join(_STATES)}")
    rows = await call.db.fetch(Q["facility_events_seen"], None, call.word("machine"), state, _MOST)
    return {"facility_events": [event_object(Kept(**row)) for row in rows]}


async def replay(call: Call) -> Body:
    """POST /admin/v1/facility-events/{event}/replay: carry out again what was refused, unknown or flagged"""
    found = await _found(call, call.id("event"))
    if found.state in ("applied", "late"):
        raise Invalid(f"the event is {found.state}: there is nothing to carry out again")
    by = found.source
    told = told_by(by, found.kind, found.subject, found.happened_at, found.content)
    now = call.api.clock.now()

    async def once() -> None:
        known = await beforehand(call.api, told, by=by)
        async with call.db.acquire() as conn, conn.transaction():
            machine_id, outcome = await settled(call.api, conn, told, known, now=now, by=by)
            await conn.execute(Q["change_facility_event"], found.id, machine_id, outcome.state, outcome.text, now)

    await until_it_stays(once)
    return event_object(await _found(call, found.id))


async def _found(call: Call, id_: UUID) -> Kept:
    rows = await call.db.fetch(Q["facility_events_seen"], id_, None, None, 1)
    if not rows:
        raise not_found()
    return Kept(**rows[0])


ROUTES = (
    Route(
        "POST",
        "/admin/v1/facility-events",
        tell,
        right=Right.FACILITY,
        body=TellEvent,
        answer=hook_schemas.FacilityEvent,
    ),
    Route(
        "GET",
        "/admin/v1/facility-events",
        list_events,
        objects="facility_events",
        right=Right.LOOK,
        query=(Parameter("machine", "Of this machine, by name or id."), choice("state", "In this state.", *_STATES)),
        answer=hook_schemas.FacilityEvent,
    ),
    Route(
        "POST",
        "/admin/v1/facility-events/{event}/replay",
        replay,
        right=Right.FACILITY,
        answer=hook_schemas.FacilityEvent,
    ),
)
