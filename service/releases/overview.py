"""What there is to see of releases: the store's, with how their installs went, and the rollouts between them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from images.store import Artefact
from service.artefacts import Artefacts, NotBuilt
from service.settings import Settings, image_keys_of, images_of
from service.store.releases import (
    FailedInstall,
    Rollout,
    Tally,
    failed_installs,
    rollouts,
    tallies,
)
from service.store.rows import Connection

LOOK_BACK = timedelta(days=30)  # over which installs are counted
_FAILURES = 100


@dataclass(frozen=True, slots=True)
class ReleaseSeen:
    """One release."""

    artefact: Artefact
    id: str
    current: bool
    fault: str | None  # why it is not given out
    total: Tally | None  # None: nobody got it
    by_plan: list[Tally]

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(stored.bytes for stored in self.artefact.files.values())

    @property
    def published_at(self) -> datetime | None:
        """When it was published, where that was written down."""
        return datetime.fromisoformat(self.artefact.published) if self.artefact.published else None


@dataclass(frozen=True, slots=True)
class SlugSeen:
    """All releases of a slug, newest first."""

    slug: str
    releases: list[ReleaseSeen]
    rollouts: list[Rollout]  # the one that runs first, then newest first
    failures: list[FailedInstall]

    @property
    def running(self) -> Rollout | None:
        """The rollout that runs now."""
        return next((one for one in self.rollouts if one.state == "running"), None)


@lru_cache(maxsize=4)
def images_seen(settings: Settings) -> Artefacts:
    """The store that the settings name. Raises BadSetting."""
    return Artefacts(images_of(settings), image_keys_of(settings))


async def overview(db: Connection, images: Artefacts, now: datetime) -> list[SlugSeen]:
    """Every slug of the store. Raises NotBuilt where the index cannot be read."""
    since = now - LOOK_BACK
    counted: dict[tuple[str, str], list[Tally]] = defaultdict(list)
    for tally in await tallies(db, since):
        counted[tally.slug, tally.release].append(tally)
    every, failures = await rollouts(db), await failed_installs(db, since, _FAILURES)
    found = []
    for slug, known in sorted(images.index().items()):
        seen = [
            _seen(images, slug, name, release, counted[slug, name], current=name == known.current)
            for name, release in known.releases.items()
        ]
        seen.sort(key=lambda one: (one.artefact.published, one.id), reverse=True)
        found.append(
            SlugSeen(
                slug,
                seen,
                [one for one in every if one.slug == slug],
                [one for one in failures if one.slug == slug],
            )
        )
    return found


def _seen(
    images: Artefacts,
    slug: str,
    name: str,
    release: Artefact,
    counted: Sequence[Tally],
    *,
    current: bool,
) -> ReleaseSeen:
    try:
        images.release(slug, name)
        fault = None
    except NotBuilt as err:
        fault = str(err)
    total = next((one for one in counted if one.plan is None), None)
    return ReleaseSeen(release, name, current, fault, total, [one for one in counted if one.plan is not None])
