"""An event of a facility is told: kept once, and carried out. By staff's tokens, and by what the facility signs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import structlog
from pydantic import AwareDatetime, Field

from service.api.call import Api
from service.api.links import stamp
from service.api.models import Request
from service.api.problems import Invalid, Refused, shown
from service.facility_events import CABLES, Kept, Kind, Settled, Told, ask_first, carry_out, plan_cable
from service.hooks.asking import MachineMoved
from service.store.hardware import Machine
from service.store.rows import Connection
from sql.loader import Q

log = structlog.get_logger()

T = TypeVar("T")

_TRIES = 5
SIGNED_BY = "facility:"  # begins the name of a teller who signs; its facility's code follows
Word = Annotated[str, Field(min_length=1, max_length=200)]


class Happened(Request):
    """What happened to a machine, and when."""

    kind: Kind
    machine: Word
    at: AwareDatetime
    reason: Annotated[str, Field(max_length=500)] = ""
    rack: Word | None = None
    unit: Annotated[int, Field(ge=1, le=100)] | None = None
    leaf: Word | None = None
    port: Word | None = None
    minutes: Annotated[int, Field(ge=1, le=1200)] = 10


async def keep(api: Api, source: str, id_: str, happened: Happened) -> Kept:
    """Carry the event out, or find what it led to when the same teller told it before under this id.

    Raises Refused (422): the id was given to another event, or the event is yet to come.
    """
    content = happened.model_dump(exclude={"kind", "machine", "at"})
    if (known := await _given(api.db, source, id_, happened, content)) is not None:
        return known
    told = told_by(source, happened.kind, happened.machine, happened.at.astimezone(UTC), content)
    now = api.clock.now()
    if told.happened_at > now:
        raise Invalid(f"At is not valid: {shown(stamp(told.happened_at))} is yet to come")

    async def once() -> Kept:
        found = await beforehand(api, told, by=source)
        async with api.db.acquire() as conn, conn.transaction():
            # Whoever tells the same at the same moment waits here, and finds it done.
            await conn.execute(Q["lock_facility_event"], source, id_)
            if (known := await _given(conn, source, id_, happened, content)) is not None:
                return known
            machine_id, outcome = await settled(api, conn, told, found, now=now, by=source)
            facts = (happened.kind, happened.machine, machine_id, told.happened_at, content)
            await conn.fetchval(Q["add_facility_event"], source, id_, *facts, outcome.state, outcome.text, now)
            return Kept(**await conn.fetchrow(Q["facility_event_given"], source, id_))

    return await until_it_stays(once)


def told_by(source: str, kind: Kind, subject: str, at: datetime, content: dict[str, Any]) -> Told:
    """The event; who signs for a facility speaks of that facility's machines only."""
    facility = source.removeprefix(SIGNED_BY) if source.startswith(SIGNED_BY) else None
    return Told(kind=kind, subject=subject, happened_at=at, facility=facility, **content)


async def beforehand(api: Api, told: Told, *, by: str) -> Settled | Machine | None:
    """What is done without a transaction: a plan for a cable, or hooks are asked, as `ask_first` says."""
    if told.kind in CABLES:
        return await plan_cable(api, told, by=by)
    return await ask_first(api, told)


async def settled(
    api: Api, conn: Connection, told: Told, found: Settled | Machine | None, *, now: datetime, by: str
) -> Settled:
    """What came of it `beforehand`, or what comes of it now, in the caller's transaction. Raises MachineMoved."""
    if isinstance(found, tuple):
        return found
    return await carry_out(conn, told, found, now=now, settings=api.settings, by=by)


async def until_it_stays(once: Callable[[], Awaitable[T]]) -> T:
    """Do it; a machine that has moved while hooks were asked is asked about again: what was told must not be lost.

    Raises Refused (503) for one that does not stay: whoever told it tells it again.
    """
    for _ in range(_TRIES):
        try:
            return await once()
        except MachineMoved as err:
            log.info("facility_event_asks_again", reason=str(err))
    raise Refused(503, "The event was not kept: its machine does not stay in one state; send it again")


async def _given(db: Connection, source: str, id_: str, happened: Happened, content: dict[str, Any]) -> Kept | None:
    """What was told under this id before. Raises Refused (422) when it was something else."""
    row = await db.fetchrow(Q["facility_event_given"], source, id_)
    if row is None:
        return None
    known = Kept(**row)
    told = (happened.kind, happened.machine, happened.at, content)
    if (known.kind, known.subject, known.happened_at, known.content) != told:
        raise Invalid(f"Id is not valid: {shown(id_)} was given to another event")
    return known


def event_object(one: Kept) -> dict[str, Any]:
    """The event as it is shown."""
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
