"""The page of images: releases with how their installs went, and rollouts with what was decided and why."""

from __future__ import annotations

from service.artefacts import NotBuilt
from service.console.look import Look, Page
from service.releases.judge import STEPS
from service.releases.overview import LOOK_BACK, SlugSeen, images_seen, overview

_ROLLOUTS = 5  # of those that have ended, for each slug
_FAILURES = 5


async def images(look: Look) -> Page:
    """Every slug of the store: the ones that are being rolled out first."""
    found: list[SlugSeen] = []
    fault = None
    store = images_seen(look.api.settings)
    try:
        found = await overview(look.api.db, store, look.api.clock.now())
    except NotBuilt as err:
        fault = str(err)
    return {
        "slugs": sorted(found, key=lambda one: (one.running is None, one.slug)),
        "slowest": {one.slug: _slowest(one) for one in found},
        "fault": fault,
        "root": store.root,
        "days": LOOK_BACK.days,
        "steps": STEPS,
        "rollouts_shown": _ROLLOUTS,
        "failures_shown": _FAILURES,
    }


def _slowest(seen: SlugSeen) -> float:
    """The longest p99 among the slug's releases and their plans, in seconds: how long a whole bar is."""
    every = [tally for one in seen.releases for tally in ([one.total] if one.total else []) + one.by_plan]
    return max((tally.p99_s for tally in every if tally.p99_s is not None), default=0.0)
