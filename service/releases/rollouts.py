"""Rollouts: a release goes from a few orders to all, and back by itself when it does worse than the one before."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta

import asyncpg
import structlog

from images.store import StoreError, promote
from service.artefacts import Artefacts, NotBuilt
from service.parts import Parts
from service.releases.judge import STEPS, Results, Verdict, judge
from service.store.events import add_event
from service.store.releases import OF_THE_IMAGE, Rollout, RolloutState, claim_rollouts
from service.store.rows import Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

ENOUGH = 10  # installs that must have succeeded at a percentage before the next, unless the rollout says otherwise
_LOOK_S = 2.0
_LOOK_BACK = timedelta(days=30)  # over which the installs of the release before count


class RolloutRefused(Exception):
    """The rollout cannot begin; the text names what is wrong and what is allowed."""


async def start_rollout(
    conn: Connection,
    images: Artefacts,
    slug: str,
    release: str,
    *,
    plans: Sequence[str] = (),
    percent: int = STEPS[0],
    enough: int = ENOUGH,
    now: datetime,
    by: str,
) -> Rollout:
    """Begin to give the release to `percent` of a hundred orders of these plans (none: all). Raises RolloutRefused."""
    try:
        baseline = images.current_image(slug)
        images.image(slug, release)
    except NotBuilt as err:
        raise RolloutRefused(str(err)) from None
    if baseline == release:
        raise RolloutRefused(f"{slug} release {release} is the current one already")
    known = {row["slug"] for row in await conn.fetch(Q["plan_slugs"])}
    if unknown := [plan for plan in plans if plan not in known]:
        raise RolloutRefused(f"plans: there is no {', '.join(unknown)}; there are {', '.join(sorted(known))}")
    whose = f"orders of {', '.join(plans)}" if plans else "all orders"
    reason = f"begun by {by} with {percent} % of {whose}"
    try:
        row = await conn.fetchrow(
            Q["start_rollout"], slug, release, baseline, list(plans), percent, enough, reason, now
        )
    except asyncpg.ForeignKeyViolationError:
        raise RolloutRefused(f"{slug} is no operating system that can be ordered") from None
    except asyncpg.UniqueViolationError:
        raise RolloutRefused(f"a rollout of {slug} is running; stop it first") from None
    rollout = Rollout(**row)
    await _tell(conn, rollout, "started", f"is rolled out: {reason}")
    return rollout


async def end_rollout(conn: Connection, rollout: Rollout, state: RolloutState, reason: str, *, now: datetime) -> bool:
    """End it; False when it has ended before."""
    if not await conn.fetchval(Q["end_rollout"], rollout.id, state, reason, now):
        return False
    words = {"complete": "is current now", "rolled_back": "was rolled back", "aborted": "is no longer tried out"}
    await _tell(conn, rollout, state, f"{words[state]}: {reason}")
    return True


async def run_rollouts(db: Pool, parts: Parts) -> None:
    """Look after all rollouts until cancelled. Any number of processes may; each rollout is one's at a time."""
    while True:
        try:
            await look(db, parts)
        except Exception:
            log.warning("rollouts_not_looked_at", exc_info=True)
        await parts.clock.sleep(_LOOK_S)


async def look(db: Pool, parts: Parts) -> None:
    """Decide on each rollout that nobody else has in hand."""
    async with db.acquire() as conn, conn.transaction():
        for rollout in await claim_rollouts(conn):
            await _decide(conn, parts, rollout)


async def _decide(conn: Connection, parts: Parts, rollout: Rollout) -> None:
    now, images = parts.clock.now(), parts.images
    try:
        current = images.current_image(rollout.slug)
        images.image(rollout.slug, rollout.release)
    except NotBuilt as err:
        await _wait(conn, rollout, f"orders get the release before meanwhile: {err}", now)
        return
    if current == rollout.release:
        await end_rollout(conn, rollout, "complete", "it was made current", now=now)
        return
    if current != rollout.baseline:
        await end_rollout(conn, rollout, "aborted", f"release {current} was made current meanwhile", now=now)
        return
    verdict = await verdict_on(conn, rollout, now)
    match verdict.action:
        case "wait":
            await _wait(conn, rollout, verdict.reason, now)
        case "raise":
            await conn.execute(Q["rollout_step"], rollout.id, verdict.percent, verdict.reason, now)
            await _tell(conn, rollout, "raised", f"goes to {verdict.percent} % of orders: {verdict.reason}")
        case "roll_back":
            await end_rollout(conn, rollout, "rolled_back", verdict.reason, now=now)
        case "complete":
            try:
                # First the store: whoever dies behind it finds the release current and completes the row.
                await asyncio.to_thread(promote, images.root, rollout.slug, rollout.release)
            except (StoreError, OSError) as err:
                await _wait(conn, rollout, f"it cannot be made current: {err}", now)
                return
            await end_rollout(conn, rollout, "complete", verdict.reason, now=now)


async def verdict_on(conn: Connection, rollout: Rollout, now: datetime) -> Verdict:
    """What the installs so far say about the release."""
    rows = await conn.fetch(
        Q["installs_compared"],
        rollout.slug,
        rollout.release,
        rollout.baseline,
        rollout.plans,
        rollout.started_at,
        now - _LOOK_BACK,
    )
    new = [row for row in rows if row["release"] == rollout.release]
    old = [row for row in rows if row["release"] == rollout.baseline]
    lately = sum(row["state"] == "active" and row["ended_at"] >= rollout.step_since for row in new)
    return judge(_results(new), _results(old), percent=rollout.percent, enough=rollout.enough, at_this_step=lately)


def _results(rows: Sequence[asyncpg.Record]) -> Results:
    return Results(
        tuple(row["seconds"] for row in rows if row["state"] == "active"),
        sum(row["failure"] in OF_THE_IMAGE for row in rows),
    )


async def _wait(conn: Connection, rollout: Rollout, reason: str, now: datetime) -> None:
    if reason != rollout.reason:
        await conn.execute(Q["rollout_step"], rollout.id, rollout.percent, reason, now)


async def _tell(conn: Connection, rollout: Rollout, what: str, sentence: str) -> None:
    body = f"{rollout.slug}: release {rollout.release} {sentence}"
    data = {"rollout": str(rollout.id), "slug": rollout.slug, "release": rollout.release, "percent": rollout.percent}
    await add_event(conn, f"rollout.{what}", body, private=True, data=data)
    log.info("rollout", what=what, detail=body)
