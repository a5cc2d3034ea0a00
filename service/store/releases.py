"""Rollouts and the results of installs in the database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

RolloutState = Literal["running", "complete", "rolled_back", "aborted"]
Stage = Literal["start", "network", "install", "first_boot", "prove"]

# Failures that may be the image's; before the agent begins to install, the image has had no say.
OF_THE_IMAGE: tuple[Stage, ...] = ("install", "first_boot", "prove")


@dataclass(frozen=True, slots=True)
class Rollout:
    """A release on its way from a few orders to all."""

    id: UUID
    slug: str
    release: str
    baseline: str
    plans: list[str]  # none: all
    percent: int
    enough: int
    state: RolloutState
    reason: str
    started_at: datetime
    step_since: datetime
    ended_at: datetime | None

    def concerns(self, plan: str) -> bool:
        """Whether orders of that plan take part."""
        return not self.plans or plan in self.plans


@dataclass(frozen=True, slots=True)
class Tally:
    """How the installs of one release went, of all plans or of one. Times are seconds of those that succeeded."""

    slug: str
    release: str
    plan: str | None  # None: of all plans
    active: int
    failed: int  # while or after they were installed
    not_begun: int  # before that: no fault of the image
    running: int
    p50_s: float | None  # from the machine's being chosen until the device was active
    p99_s: float | None
    order_p99_s: float | None  # from the order


@dataclass(frozen=True, slots=True)
class StageTime:
    """How long one step took, of installs of one release that succeeded."""

    slug: str
    release: str
    step: str
    p50_s: float
    p99_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Install:
    """A release that is put on a machine of a plan, for a device."""

    device_id: UUID
    machine_id: UUID
    plan: str
    slug: str
    release: str


@dataclass(frozen=True, slots=True)
class FailedInstall:
    """An install that failed."""

    slug: str
    release: str
    plan: str
    failure: Stage
    reason: str | None
    ended_at: datetime
    device_id: UUID
    machine: str


async def rollout_under_way(db: Connection, slug: str) -> Rollout | None:
    """The slug's rollout that runs now."""
    row = await db.fetchrow(Q["rollout_under_way"], slug)
    return None if row is None else Rollout(**row)


async def rollout_by_id(db: Connection, rollout_id: UUID) -> Rollout | None:
    """One rollout."""
    row = await db.fetchrow(Q["rollout_by_id"], rollout_id)
    return None if row is None else Rollout(**row)


async def rollouts(db: Connection, slug: str | None = None) -> list[Rollout]:
    """Those that run, then the others, newest first."""
    return [Rollout(**row) for row in await db.fetch(Q["rollouts"], slug)]


async def claim_rollouts(conn: Connection) -> list[Rollout]:
    """Those that run and that nobody else has in hand, until the transaction ends."""
    return [Rollout(**row) for row in await conn.fetch(Q["claim_rollouts"])]


async def begin_install(conn: Connection, run_id: UUID, install: Install, *, now: datetime) -> None:
    """A run is about to install that; told twice it is written down once."""
    where = (install.device_id, install.machine_id)
    await conn.execute(Q["begin_install"], run_id, *where, install.slug, install.release, install.plan, now)


async def end_install(
    conn: Connection, run_id: UUID, *, now: datetime, failed: str | None = None, stage: Stage | None = None
) -> str | None:
    """The run's install has ended: well, or by the reason `failed`. The release; None where no image was installed.

    The stage is found out where it is not named.
    """
    row = await conn.fetchrow(Q["end_install"], run_id, "active" if failed is None else "failed", stage, failed, now)
    return None if row is None else str(row["release"])


async def tallies(db: Connection, since: datetime) -> list[Tally]:
    """How installs went that began since then: for each release first those of all plans, then of each."""
    return [Tally(**row) for row in await db.fetch(Q["install_results"], since)]


async def stage_times(db: Connection, since: datetime, latest: int) -> list[StageTime]:
    """How long the steps took of so many installs of each release, the latest that began since then."""
    return [StageTime(**row) for row in await db.fetch(Q["stage_results"], since, latest)]


async def failed_installs(db: Connection, since: datetime, limit: int) -> list[FailedInstall]:
    """The latest failures that may be an image's."""
    return [FailedInstall(**row) for row in await db.fetch(Q["install_failures"], since, limit)]


async def releases_referred_to(db: Connection) -> dict[str, list[str]]:
    """Releases by slug that a device, a rollout or work under way needs: collection keeps them."""
    found: dict[str, list[str]] = {}
    rows: Sequence[tuple[str, str]] = await db.fetch(Q["releases_referred_to"])
    for slug, release in rows:
        found.setdefault(slug, []).append(release)
    return found
