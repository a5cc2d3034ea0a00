"""Releases of another store, taken over by plain HTTP from any web server that serves its folder.

Every file is verified by the hash that the index gives it, and a release is entered when all its files are there. The
other store may be broken, or not be what it says: nothing that it answers gets into this one unverified, no answer is
read beyond its size, and an index that is older than one seen before is told and not followed.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from images.fetching import NotFetched, Stopped, base_url, fetch, never, read_url
from images.signing import NotSigned, PublicKeys, check
from images.store import (
    INDEX,
    Artefact,
    Releases,
    StoredFile,
    StoreError,
    is_there,
    load_releases,
    locked,
    parse_index,
    write_index,
)

_SEEN = ".peers.json"  # by URL and slug: the serial and the newest time of publication that were seen there
_LARGEST_INDEX = 16 << 20
_NO_KEYS: PublicKeys = {}
_NOTHING: Mapping[str, Collection[str]] = {}

_Seen = dict[str, dict[str, tuple[int, str]]]


class PeerFailed(Exception):
    """The other store cannot be asked, or its index is none."""


@dataclass(frozen=True, slots=True)
class Synced:
    """What was taken over, and sentences about what was not."""

    releases: tuple[tuple[str, str], ...]  # slug and id
    current: tuple[tuple[str, str], ...]  # those that are current now and were not before
    bytes: int  # of the files that were not here before
    told: tuple[str, ...]


def sync(
    store: Path,
    url: str,
    *,
    slugs: Collection[str] | None = None,
    keys: PublicKeys = _NO_KEYS,
    wanted: Mapping[str, Collection[str]] = _NOTHING,
    parallel: int = 4,
    stopped: Stopped = never,
) -> Synced:
    """Take over what the store at `url` gives out, and what it has that is newer. Raises PeerFailed, StoreError.

    `slugs`: only these; None: all. `keys`: releases must be signed by one of them. `wanted`: further releases by slug.
    What was fetched when `stopped` says so is kept for the next time.
    """
    url, theirs = _index_of(url)
    ours = load_releases(store)
    told: list[str] = [f"it has no {slug}" for slug in slugs or () if slug not in theirs]
    seen, chosen = _read_seen(store), list[Artefact]()
    followed: dict[str, Releases] = {}
    for slug, known in theirs.items():
        if slugs is not None and slug not in slugs:
            continue
        wrong = {name: why for name, one in known.releases.items() if (why := _untrusted(name, one, keys)) is not None}
        mark, before = _mark(known, wrong, keys), seen.setdefault(url, {}).get(slug, (0, ""))
        if mark[0] < before[0] or mark[1] < before[1]:
            told.append(
                f"its index of {slug} is older than one seen before (serial {mark[0]} after {before[0]}, newest of "
                f"{mark[1] or 'no time'} after {before[1] or 'no time'}); nothing is taken over"
            )
            continue
        seen[url][slug] = mark
        followed[slug] = known
        here = ours.get(slug, Releases("", 0, {}))
        for name in _interesting(known, {*wanted.get(slug, ()), *here.releases}):
            if name in wrong:
                told.append(wrong[name])
            else:
                chosen.append(known.releases[name])
    missing = {file.sha256: file for one in chosen for file in one.files.values() if not is_there(store, file)}
    failures = _fetch_all(store, url, list(missing.values()), parallel, stopped)
    came = sum(file.bytes for file in missing.values() if is_there(store, file))
    whole = [one for one in chosen if all(is_there(store, file) for file in one.files.values())]
    entered, promoted, more = _enter(store, followed, whole, signed=bool(keys))
    _write_seen(store, seen)
    return Synced(entered, promoted, came, tuple(f"{url}: {one}" for one in (*told, *failures, *more)))


def _index_of(url: str) -> tuple[str, dict[str, Releases]]:
    try:
        url = base_url(url)
        return url, parse_index(read_url(f"{url}/{INDEX}", _LARGEST_INDEX))
    except (NotFetched, ValueError) as err:
        raise PeerFailed(str(err)) from err
    except StoreError as err:
        raise PeerFailed(f"{url}/{INDEX} is no index: {err}") from err


def _mark(known: Releases, wrong: Collection[str], keys: PublicKeys) -> tuple[int, str]:
    """By what an older index is known for one: its serial, and the time of its newest release.

    With keys, what nobody has signed counts for nothing: whoever could raise it would shut out the true index.
    """
    newest = max((one.published for name, one in known.releases.items() if name not in wrong), default="")
    return 0 if keys else known.serial, newest


def _interesting(known: Releases, wanted: Collection[str]) -> Iterator[str]:
    """The current release and those after it, which may be about to be rolled out; and what is wanted, of which files
    may be missing here."""
    since = known.releases[known.current].published if known.current else ""
    for name, release in known.releases.items():
        if name == known.current or release.published > since or name in wanted:
            yield name


def _untrusted(name: str, release: Artefact, keys: PublicKeys) -> str | None:
    if release.id != name:
        return f"{release.slug} release {name} is made of what {release.id} is made of"
    try:
        if keys:
            check(keys, release)
    except NotSigned as err:
        return str(err)
    return None


def _fetch_all(store: Path, url: str, files: Sequence[StoredFile], parallel: int, stopped: Stopped) -> list[str]:
    """What could not be had, each with the reason."""

    def one(file: StoredFile) -> str | None:
        try:
            if not stopped():
                fetch(store, url, file, stopped)
        except (NotFetched, OSError) as err:
            return str(err).removeprefix(f"{url}/")
        return None

    with ThreadPoolExecutor(parallel) as threads:
        return [why for why in threads.map(one, files) if why is not None]


def _enter(
    store: Path, theirs: Mapping[str, Releases], whole: Sequence[Artefact], *, signed: bool
) -> tuple[tuple[tuple[str, str], ...], tuple[tuple[str, str], ...], list[str]]:
    """Enter releases as they are there; what was entered, what became current, and why something did not."""
    entered, promoted, told = [], [], []
    with locked(store):
        index = load_releases(store)
        for slug, known in theirs.items():
            ours = index.get(slug, Releases("", 0, {}))
            new = {one.id: one for one in whole if one.slug == slug}
            both = Releases(ours.current, ours.serial + 1, {**ours.releases, **new})
            if known.current in new and known.current != ours.current:
                if (why := _not_followed(both, known, signed=signed)) is None:
                    both = replace(both, current=known.current)
                    promoted.append((slug, known.current))
                else:
                    told.append(f"{slug} {why}")
            entered += [(slug, name) for name in new if name not in ours.releases]
            if (both.current, both.releases) != (ours.current, ours.releases):
                index[slug] = both
        if entered or promoted:
            write_index(store, index)
    return tuple(entered), tuple(promoted), told


def _not_followed(ours: Releases, theirs: Releases, *, signed: bool) -> str | None:
    """Why our current release stays; None: theirs becomes current here, too."""
    if not ours.current or ours.releases[ours.current].published <= ours.releases[theirs.current].published:
        return None
    if ours.current not in theirs.releases:
        return f"has a newer release here, {ours.current}, which is not known there and stays current"
    if signed:
        # Each of its releases is signed, so that whoever holds no key could have turned the index back.
        return f"went back to the older release {theirs.current}; promote it here if that is meant"
    return None


def _read_seen(store: Path) -> _Seen:
    try:
        raw = json.loads((store / _SEEN).read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        raise StoreError(f"{store / _SEEN}: {err}") from err
    return {url: {slug: (int(mark[0]), str(mark[1])) for slug, mark in slugs.items()} for url, slugs in raw.items()}


def _write_seen(store: Path, seen: _Seen) -> None:
    draft = store / f"{_SEEN}.new"
    draft.write_text(json.dumps(seen, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    draft.replace(store / _SEEN)
