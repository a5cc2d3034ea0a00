"""What systems of the facility tell of machines: each event once, with what it led to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, Field

from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Request, read
from service.api.parameters import Parameter, choice
from service.api.problems import Invalid, not_found, shown
from service.facility_events import CABLES, Kept, Kind, Outcome, Told, ask_first, carry_out, plan_cable
from service.policy import Right
from service.store.rows import Connection
from sql.loader import Q

_STATES = ("applied", "late", "unknown", "refused", "flagged")
_MOST = 200
Word = Annotated[str, Field(min_length=1, max_length=200)]


class TellEvent(Request):
    """What happened to a machine, and when."""

    id: Word
    kind: Kind
    machine: Word
    at: AwareDatetime
    reason: Annotated[str, Field(max_length=500)] = ""
    rack: Word | None = None
    unit: Annotated[int, Field(ge=1, le=100)] | None = None
    leaf: Word | None = None
    port: Word | None = None
    minutes: Annotated[int, Field(ge=1, le=1200)] = 10


def _event(one: Kept) -> Body:
    return {
        "id": str(one.id),
        "given_id": one.given_id,
        "source": one.source,
        "kind": one.kind,
        "machine": one.subject,
        "at": stamp(one.happened_at),
        "content": one.content,
        "state": one.state,
        "outcome": one.outcome,
        "created_at": stamp(one.created_at),
        "applied_at": stamp(one.applied_at),
    }


def _told(kind: Kind, subject: str, at: datetime, content: dict[str, Any]) -> Told:
    return Told(kind=kind, subject=subject, happened_at=at, **content)


async def tell(call: Call) -> Body:
    """POST /admin/v1/facility-events: a machine was racked, cabled, moved, has failed, got a part, was retired

    The same `id` of the same teller is carried out once. What happened before something that was told already is kept
    and changes nothing.
    """
    asked = read(TellEvent, call.body)
    content = asked.model_dump(exclude={"id", "kind", "machine", "at"})
    source = call.caller.actor
    if (known := await _given(call.db, source, asked, content)) is not None:
        return _event(known)
    told = _told(asked.kind, asked.machine, asked.at.astimezone(UTC), content)
    settings, now = call.api.settings, call.api.clock.now()
    if told.happened_at > now:
        raise Invalid(f"At is not valid: {shown(stamp(told.happened_at))} is yet to come")
    planned = await _beforehand(call, told, by=source)
    async with call.db.acquire() as conn, conn.transaction():
        # Whoever tells the same at the same moment waits here, and finds it done.
        await conn.execute(Q["lock_facility_event"], source, asked.id)
        if (known := await _given(conn, source, asked, content)) is None:
            machine_id, outcome = planned or await carry_out(conn, told, now=now, settings=settings, by=source)
            facts = (asked.kind, asked.machine, machine_id, told.happened_at, content, outcome.state, outcome.text)
            await conn.fetchval(Q["add_facility_event"], source, asked.id, *facts, now)
            known = Kept(**await conn.fetchrow(Q["facility_event_given"], source, asked.id))
    return _event(known)


async def _beforehand(call: Call, told: Told, *, by: str) -> tuple[UUID | None, Outcome] | None:
    """What is done without a transaction, and settles it: a plan for a cable, or a hook's veto. None: carry it out."""
    if told.kind in CABLES:
        return await plan_cable(call.api, told, by=by)
    return await ask_first(call.api, told)


async def _given(db: Connection, source: str, asked: TellEvent, content: dict[str, Any]) -> Kept | None:
    """What was told under this id before. Raises Refused (422) when it was something else."""
    row = await db.fetchrow(Q["facility_event_given"], source, asked.id)
    if row is None:
        return None
    known = Kept(**row)
    if (known.kind, known.subject, known.happened_at, known.content) != (asked.kind, asked.machine, asked.at, content):
        raise Invalid(f"Id is not valid: {shown(asked.id)} was given to another event")
    return known


async def list_events(call: Call) -> Body:
    """GET /admin/v1/facility-events: the latest two hundred with what each led to; narrowed by machine and state"""
    state = call.word("state")
    if state is not None and state not in _STATES:
        raise Invalid(f"state is not valid: {shown(state)} is not one of {', '.join(_STATES)}")
    rows = await call.db.fetch(Q["facility_events_seen"], None, call.word("machine"), state, _MOST)
    return {"facility_events": [_event(Kept(**row)) for row in rows]}


async def replay(call: Call) -> Body:
    """POST /admin/v1/facility-events/{event}/replay: carry out again what was refused, unknown or flagged"""
    found = await _found(call, call.id("event"))
    if found.state in ("applied", "late"):
        raise Invalid(f"the event is {found.state}: there is nothing to carry out again")
    told = _told(found.kind, found.subject, found.happened_at, found.content)
    settings, now, by = call.api.settings, call.api.clock.now(), found.source
    planned = await _beforehand(call, told, by=by)
    async with call.db.acquire() as conn, conn.transaction():
        machine_id, outcome = planned or await carry_out(conn, told, now=now, settings=settings, by=by)
        await conn.execute(Q["change_facility_event"], found.id, machine_id, outcome.state, outcome.text, now)
    return _event(await _found(call, found.id))


async def _found(call: Call, id_: UUID) -> Kept:
    rows = await call.db.fetch(Q["facility_events_seen"], id_, None, None, 1)
    if not rows:
        raise not_found()
    return Kept(**rows[0])


ROUTES = (
    Route("POST", "/admin/v1/facility-events", tell, right=Right.FACILITY, body=TellEvent),
    Route(
        "GET",
        "/admin/v1/facility-events",
        list_events,
        objects="facility_events",
        right=Right.LOOK,
        query=(Parameter("machine", "Of this machine, by name or id."), choice("state", "In this state.", *_STATES)),
    ),
    Route("POST", "/admin/v1/facility-events/{event}/replay", replay, right=Right.FACILITY),
)
