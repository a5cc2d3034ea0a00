"""The event log: events in the order in which they can be seen, numbered by positions without holes behind a reader.

`event.seq` is taken inside a transaction and seen when that ends, so that a lower one may show up after a higher one.
A worker therefore gives every event that it sees a position, in transactions that follow one another. Whoever has read
up to a position never misses anything by going on behind it. Positions survive a dump and a restore.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service.store.orders import Event
from service.store.rows import Connection, Pool
from sql.loader import Q

NEWS = "events"  # the hub's topic of events that wait for a position
LOGGED = "log"  # of events that have got one; those of a project besides under "log:ID"
_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class LoggedEvent(Event):
    """An event with its place in the log."""

    position: int


async def number_events(db: Pool) -> int:
    """Give the events that have none their positions, and wake the hooks that follow them; how many there were.

    Any number of processes may: while one does it the others leave it to him.
    """
    done = 0
    while True:
        async with db.acquire() as conn, conn.transaction():
            tail = await conn.fetchval(Q["lock_event_tail"])
            # A statement of its own: it sees what the one before had to wait for.
            numbered = 0 if tail is None else await conn.fetchval(Q["number_events"], tail, _AT_ONCE)
        done += numbered
        if numbered < _AT_ONCE:
            return done


async def event_tail(db: Connection) -> int:
    """The highest position."""
    return int(await db.fetchval(Q["event_tail"]))


async def events_behind(
    db: Connection,
    position: int,
    limit: int,
    *,
    private: bool,
    project_id: UUID | None = None,
    device_id: UUID | None = None,
    organization_id: UUID | None = None,
    patterns: Sequence[str] | None = None,
) -> list[LoggedEvent]:
    """The next events behind a position, in their order. `private`: those for staff only, too."""
    asked = None if patterns is None else list(patterns)
    rows = await db.fetch(Q["events_behind"], position, project_id, device_id, organization_id, private, asked, limit)
    return [LoggedEvent(**row) for row in rows]
