"""The index: which releases there are, and which of them is current."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from images.store.artefact import Artefact, Releases, StoreError, described, parse_index
from images.store.files import is_there, locked, sync_folder

INDEX = "index.json"
_NONE = Releases("", 0, {})
_NOTHING: Mapping[str, Any] = {}


def load(store: Path) -> dict[str, Artefact]:
    """The current release of every slug; empty where nothing has been built yet. Raises StoreError."""
    return {slug: known.releases[known.current] for slug, known in load_releases(store).items() if known.current}


def load_releases(store: Path) -> dict[str, Releases]:
    """Every slug with all its releases. Raises StoreError."""
    try:
        return parse_index((store / INDEX).read_bytes())
    except FileNotFoundError:
        return {}
    except (StoreError, OSError) as err:
        raise StoreError(f"{store / INDEX}: {err}") from err


def publish(store: Path, artefact: Artefact, current: bool = True) -> Artefact:
    """Enter a release that was made here in the index, and give it out from now on if `current`; as it stands there.

    Its time is now, unless it is there already; then it keeps time and signatures, and the newer test results count.
    Readers see the old index or the new one, never a part. Raises StoreError.
    """
    with locked(store):
        index = load_releases(store)
        known = index.get(artefact.slug, _NONE)
        before = known.releases.get(artefact.id)
        published = before.published if before else datetime.now(UTC).isoformat(timespec="microseconds")
        entered = replace(
            artefact,
            published=published,
            tested={**before.tested, **artefact.tested} if before else artefact.tested,
            signatures=before.signatures if before else {},
        )
        index[artefact.slug] = Releases(
            entered.id if current else known.current, known.serial + 1, {**known.releases, entered.id: entered}
        )
        write_index(store, index)
    return entered


def annotate(
    store: Path,
    slug: str,
    release_id: str,
    *,
    tested: Mapping[str, Any] = _NOTHING,
    signatures: Mapping[str, str] = _NOTHING,
) -> Artefact:
    """Write down about a release how test boots ended, or who has signed it. Raises StoreError."""
    with locked(store):
        index = load_releases(store)
        known = index.get(slug, _NONE)
        before = _chosen(store, slug, known, release_id)
        after = replace(before, tested={**before.tested, **tested}, signatures={**before.signatures, **signatures})
        index[slug] = Releases(known.current, known.serial + 1, {**known.releases, release_id: after})
        write_index(store, index)
    return after


def promote(store: Path, slug: str, release_id: str) -> None:
    """Give out this release of the slug from now on. Raises StoreError where there is none such."""
    with locked(store):
        index = load_releases(store)
        known = index.get(slug, _NONE)
        _chosen(store, slug, known, release_id)
        if known.current != release_id:
            index[slug] = Releases(release_id, known.serial + 1, known.releases)
            write_index(store, index)


def release(store: Path, slug: str, release_id: str | None = None) -> Artefact:
    """One release of the slug, the current one if none is named. Raises StoreError where there is none such."""
    known = load_releases(store).get(slug, _NONE)
    return _chosen(store, slug, known, known.current if release_id is None else release_id)


def _chosen(store: Path, slug: str, known: Releases, release_id: str) -> Artefact:
    if (found := known.releases.get(release_id)) is None:
        wanted = f"release {release_id}" if release_id else "current release"
        there = f"{slug} has {', '.join(known.releases)}" if known.releases else f"there is none of {slug} at all"
        raise StoreError(f"{slug} has no {wanted} in {store}; {there}")
    return found


def write_index(store: Path, index: Mapping[str, Releases]) -> None:
    """Replace the index, by whoever has the store locked."""
    entries = {
        slug: {
            "current": known.current,
            "serial": known.serial,
            "releases": {name: described(one) for name, one in known.releases.items()},
        }
        for slug, known in index.items()
    }
    draft = store / f".{INDEX}.new"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(entries, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(store / INDEX)
    sync_folder(store)


def current(store: Path, slug: str, recipe: str) -> Artefact | None:
    """The slug's newest release that was built by this recipe and whose files are all there with the right sizes."""
    known = load_releases(store).get(slug, _NONE)
    for artefact in sorted(known.releases.values(), key=lambda one: one.published, reverse=True):
        if artefact.recipe == recipe and all(is_there(store, stored) for stored in artefact.files.values()):
            return artefact
    return None
