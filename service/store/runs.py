"""Starting, signalling and superseding runs, each in the caller's transaction.

The row is the truth. The queue only carries the hint "look at run N"; one lost is found by the worker's sweep, one
too many finds nothing to claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pgqueuer.queries import Queries

from service.store.rows import Connection, Pool
from sql.loader import Q

ENTRYPOINT = "run"


async def hint(queries: Queries, runs: Mapping[str, UUID]) -> None:
    """Tell some worker to look at these runs. A key that is in the queue already is not queued again."""
    if runs:
        await queries.enqueue(
            [ENTRYPOINT] * len(runs),
            [str(run).encode() for run in runs.values()],
            [0] * len(runs),
            dedupe_key=list(runs),
            on_conflict="skip",
        )


async def start_run(
    conn: Connection,
    workflow: str,
    subject: UUID,
    first_step: str,
    *,
    now: datetime,
    deadline: datetime,
    data: Mapping[str, Any] | None = None,
) -> UUID:
    """Start a run; a subject has one at a time (asyncpg.UniqueViolationError otherwise)."""
    run_id: UUID = await conn.fetchval(Q["start_run"], workflow, subject, first_step, dict(data or {}), deadline, now)
    await hint(Queries.from_asyncpg_connection(conn), {f"{run_id}:0": run_id})
    return run_id


async def signal(conn: Connection, subject: UUID, *, now: datetime) -> None:
    """Something happened that the subject's run may be waiting for.

    A worker that has the run in hand sees the signal before it lets go of it, and needs no hint.
    """
    rows = await conn.fetch(Q["signal_run"], subject, now)
    # A key of its own for each signal: the hint that is being worked off may have been too early to see this one.
    hints = {f"{row['id']}:{row['signals']}": row["id"] for row in rows if not row["in_hand"]}
    await hint(Queries.from_asyncpg_connection(conn), hints)


async def signal_all(db: Pool, subjects: Iterable[UUID | None], *, now: datetime) -> None:
    """As `signal`, in transactions of its own, after the one that wrote the news.

    A worker locks its run first and other rows then; whoever holds such a row must not wait for a run. A signal that
    is lost between the two costs the wait's next look and nothing more, a hint that is lost the time to the next sweep.
    """
    for subject in subjects:
        if subject is not None:
            async with db.acquire() as conn:
                await signal(conn, subject, now=now)


async def supersede(conn: Connection, subject: UUID, *, now: datetime, reason: str) -> None:
    """End the subject's run without undoing it: the run that is started next takes over what it left."""
    await conn.fetch(Q["supersede_runs"], subject, now, reason)
