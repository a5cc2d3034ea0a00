"""What the store no longer needs goes: old releases first, then files that no release refers to.

The index is written without the old releases before the first file is removed, so that whoever is killed in between
leaves files too many and never a release without its files.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from images.checking import CORRUPT
from images.fetching import INCOMING
from images.store import FILES, HASH, INDEX, Releases, load_releases, locked, write_index


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """What must stay beside the current releases; a release stays that one of the three speaks for."""

    newest: int = 5  # so many of each slug
    younger: timedelta = timedelta(days=30)
    wanted: Mapping[str, Collection[str]] = field(default_factory=dict)  # by slug, what somebody refers to
    # A file that a build or a transfer has made and not yet published.
    files_younger: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Collected:
    """What went, or would go."""

    releases: tuple[tuple[str, str], ...]  # slug and id
    files: tuple[str, ...]  # below the store's folder
    bytes: int


def collect(store: Path, keep: Keep, *, now: datetime, dry_run: bool = False) -> Collected:
    """Remove what need not stay, or only say what would go. Raises StoreError; nothing was removed then.

    The store is locked for as long as this takes; whoever publishes waits. Files whose time cannot be told are kept.
    """
    with locked(store):
        index = load_releases(store)
        kept = {slug: _without_old(slug, known, keep, now) for slug, known in index.items()}
        gone = [
            (slug, one) for slug, known in index.items() for one in known.releases if one not in kept[slug].releases
        ]
        named = _named(store, {(slug, one) for slug, known in kept.items() for one in known.releases})
        files = [path for path in _candidates(store, named) if _age(path, now) > keep.files_younger]
        size = sum(path.stat().st_size for path in files)
        if not dry_run:
            if gone:
                write_index(store, kept)
            for path in files:
                path.unlink()
    return Collected(tuple(gone), tuple(path.relative_to(store).as_posix() for path in files), size)


def _without_old(slug: str, known: Releases, keep: Keep, now: datetime) -> Releases:
    newest = sorted(known.releases, key=lambda one: (known.releases[one].published, one), reverse=True)[: keep.newest]
    stay = {known.current, *newest, *keep.wanted.get(slug, ())}
    kept = {
        one: release
        for one, release in known.releases.items()
        if one in stay or now - _time(release.published) <= keep.younger
    }
    return known if len(kept) == len(known.releases) else replace(known, serial=known.serial + 1, releases=kept)


def _time(published: str) -> datetime:
    """When a release was published; one that does not tell is older than any other."""
    return datetime.fromisoformat(published or "0001-01-01T00:00:00+00:00")


def _named(store: Path, kept: Collection[tuple[str, str]]) -> set[str]:
    """The hashes that kept releases name, read from the index as it is written.

    A newer program may have given a release kinds of files that this one does not know.
    """
    try:
        raw = json.loads((store / INDEX).read_bytes())
    except FileNotFoundError:
        return set()
    found: set[str] = set()
    for slug, entry in raw.items():
        if "releases" not in entry:
            found.update(_hashes(entry))
        for one, release in entry.get("releases", {}).items():
            if (slug, one) in kept:
                found.update(_hashes(release))
    return found


def _hashes(value: Any) -> Iterator[str]:
    if isinstance(value, str) and HASH.fullmatch(value):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _hashes(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _hashes(inner)


def _candidates(store: Path, named: Collection[str]) -> Iterator[Path]:
    for folder in (FILES, INCOMING, CORRUPT):
        try:
            paths = sorted((store / folder).iterdir())
        except FileNotFoundError:
            continue
        for path in paths:
            if folder != FILES or (path.name not in named and HASH.fullmatch(path.name)):
                yield path


def _age(path: Path, now: datetime) -> timedelta:
    """Since the file got its name: moving a file into the store changes its inode, if not its content."""
    return timedelta(seconds=now.timestamp() - path.stat().st_ctime)
