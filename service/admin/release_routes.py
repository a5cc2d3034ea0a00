"""Releases of images for operators: how installs of each go, and rollouts, which they begin and stop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from service.admin import release_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Strict, read
from service.api.parameters import Parameter
from service.api.problems import Invalid, Refused, not_found
from service.artefacts import NotBuilt
from service.policy import Right
from service.releases.judge import STEPS
from service.releases.overview import LOOK_BACK, ReleaseSeen, SlugSeen, images_seen, overview
from service.releases.rollouts import ENOUGH, RolloutRefused, end_rollout, start_rollout
from service.store.releases import Rollout, StageTime, Tally, releases_referred_to, rollout_by_id, rollouts, stage_times

_STAGES = 1000  # installs of each release from which the times of its steps are told
Name = Annotated[str, Field(min_length=1, max_length=64)]


class RolloutEntry(Strict):
    """What a rollout is begun with."""

    slug: Name
    release: Name
    plans: list[Name] = Field(default_factory=list)
    percent: Annotated[int, Field(ge=1, le=100)] = STEPS[0]
    enough: Annotated[int, Field(ge=1, le=100_000)] = ENOUGH


class StopEntry(Strict):
    """Why a rollout is stopped."""

    reason: Annotated[str, Field(max_length=500)] = ""


def _tally(one: Tally) -> Body:
    return {
        "plan": one.plan,
        "active": one.active,
        "failed": one.failed,
        "not_begun": one.not_begun,
        "running": one.running,
        "p50_s": one.p50_s,
        "p99_s": one.p99_s,
        "order_p99_s": one.order_p99_s,
    }


def _release(one: ReleaseSeen, stages: Sequence[StageTime]) -> Body:
    return {
        "id": one.id,
        "current": one.current,
        "fault": one.fault,
        "recipe": one.artefact.recipe,
        "kernel_release": one.artefact.kernel_release,
        "published_at": None if one.published_at is None else stamp(one.published_at),
        "bytes": one.bytes,
        "files": {name: {"sha256": file.sha256, "bytes": file.bytes} for name, file in one.artefact.files.items()},
        "tested": one.artefact.tested,
        "signed_by": list(one.artefact.signatures),
        "installs": None if one.total is None else _tally(one.total),
        "by_plan": [_tally(tally) for tally in one.by_plan],
        "stages": [
            {"step": stage.step, "p50_s": stage.p50_s, "p99_s": stage.p99_s}
            for stage in stages
            if (stage.slug, stage.release) == (one.artefact.slug, one.id)
        ],
    }


def _rollout(one: Rollout) -> Body:
    return {
        "id": str(one.id),
        "slug": one.slug,
        "release": one.release,
        "baseline": one.baseline,
        "plans": one.plans,
        "percent": one.percent,
        "enough": one.enough,
        "state": one.state,
        "reason": one.reason,
        "started_at": stamp(one.started_at),
        "step_since": stamp(one.step_since),
        "ended_at": None if one.ended_at is None else stamp(one.ended_at),
    }


def _slug(one: SlugSeen, stages: Sequence[StageTime]) -> Body:
    return {
        "slug": one.slug,
        "releases": [_release(release, stages) for release in one.releases],
        "rollout": None if one.running is None else _rollout(one.running),
        "failures": [
            {
                "release": failure.release,
                "plan": failure.plan,
                "stage": failure.failure,
                "reason": failure.reason,
                "machine": failure.machine,
                "device": str(failure.device_id),
                "at": stamp(failure.ended_at),
            }
            for failure in one.failures
        ],
    }


async def list_releases(call: Call) -> Body:
    """GET /admin/v1/releases: those of the store, with how their installs of the last thirty days went"""
    now = call.api.clock.now()
    try:
        found = await overview(call.db, images_seen(call.api.settings), now)
    except NotBuilt as err:
        raise Refused(503, str(err)) from None
    stages = await stage_times(call.db, now - LOOK_BACK, _STAGES)
    return {"slugs": [_slug(one, stages) for one in found]}


async def list_referred_to(call: Call) -> Body:
    """GET /admin/v1/releases/referred-to: by slug, what devices, rollouts and work under way need"""
    return {"releases": await releases_referred_to(call.db)}


async def list_rollouts(call: Call) -> Body:
    """GET /admin/v1/rollouts: those that run, then the others, newest first"""
    return {"rollouts": [_rollout(one) for one in await rollouts(call.db, call.word("slug"))]}


async def add_rollout(call: Call) -> Body:
    """POST /admin/v1/rollouts: begin to give a release to some orders"""
    given = read(RolloutEntry, call.body)
    try:
        async with call.db.acquire() as conn, conn.transaction():
            begun = await start_rollout(
                conn,
                images_seen(call.api.settings),
                given.slug,
                given.release,
                plans=given.plans,
                percent=given.percent,
                enough=given.enough,
                now=call.api.clock.now(),
                by="an operator",
            )
    except RolloutRefused as err:
        raise Invalid(str(err)) from None
    return _rollout(begun)


async def stop_rollout(call: Call) -> Body:
    """POST /admin/v1/rollouts/{rollout}/stop: orders get the release before from now on"""
    given = read(StopEntry, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        if (found := await rollout_by_id(conn, call.id("rollout"))) is None:
            raise not_found()
        reason = given.reason or "stopped by an operator"
        if not await end_rollout(conn, found, "aborted", reason, now=call.api.clock.now()):
            raise Refused(409, f"the rollout has ended already: {found.state}")
        after = await rollout_by_id(conn, found.id)
        assert after is not None
    return _rollout(after)


_ROLLOUTS = (Parameter("slug", "Of this operating system."),)

ROUTES = (
    Route("GET", "/admin/v1/releases", list_releases, right=Right.LOOK, objects="slugs", answer=release_schemas.Slug),
    Route(
        "GET", "/admin/v1/releases/referred-to", list_referred_to, right=Right.LOOK, answer=release_schemas.ReferredTo
    ),
    Route(
        "GET",
        "/admin/v1/rollouts",
        list_rollouts,
        right=Right.LOOK,
        objects="rollouts",
        query=_ROLLOUTS,
        answer=release_schemas.Rollout,
    ),
    Route(
        "POST",
        "/admin/v1/rollouts",
        add_rollout,
        right=Right.OPERATE,
        status=201,
        body=RolloutEntry,
        answer=release_schemas.Rollout,
    ),
    Route(
        "POST",
        "/admin/v1/rollouts/{rollout}/stop",
        stop_rollout,
        right=Right.OPERATE,
        body=StopEntry,
        answer=release_schemas.Rollout,
    ),
)
