"""Whether the store's files still are what their names say: each when it appears or has changed, and from time to time.

A file that is not is moved aside at once, so that nobody gets it any more. What was found is kept in the store, so that
a process that starts again does not read everything anew.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from images.fetching import Stopped, never
from images.store import FILES, HASH

CORRUPT = "corrupt"  # folder of what was moved aside
_NOTES, _LOCK = ".checked.json", ".checking"
_CHUNK = 1 << 20

_Mark = list[int]  # inode, bytes, mtime in ns, and when it was found right, in ns since 1970


@dataclass(frozen=True, slots=True)
class Corrupt:
    """A file that was moved aside."""

    sha256: str  # what its name promised
    found: str  # what its content had
    bytes: int
    path: Path  # where it is now


@contextmanager
def checking(store: Path) -> Iterator[bool]:
    """True for the one process of this host that is to check the store while the block runs."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def check_due(
    store: Path, *, interval_s: float, bytes_per_s: float | None = None, stopped: Stopped = never
) -> list[Corrupt]:
    """Check the files that are new or changed, and one whose last check is longer ago; what was moved aside.

    One, so that a file which comes meanwhile need not wait for all. `bytes_per_s` slows its reading; new files are
    read as fast as it goes. Once `stopped` says so, no further file is read.
    """
    notes, now = _read_notes(store), time.time_ns()
    marks = dict(_marks(store))
    kept = {name: known for name, known in notes.items() if marks.get(name) == known[:3]}
    changed = [name for name in marks if name not in kept]
    oldest = min(kept, key=lambda name: kept[name][3], default=None)
    due = [] if oldest is None or now - kept[oldest][3] < interval_s * 1e9 else [oldest]
    found: list[Corrupt] = []
    for name in (*changed, *due):
        path = store / FILES / name
        try:
            digest = _hash(path, None if name in changed else bytes_per_s, stopped)
            if digest is None:
                break
            if digest != name:
                kept.pop(name, None)
                found.append(_set_aside(store, path, digest))
            elif _mark(path) == marks[name]:
                kept[name] = [*marks[name], time.time_ns()]
        except FileNotFoundError:
            continue  # collected meanwhile
    if kept != notes:
        draft = store / f"{_NOTES}.new"
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(store / _NOTES)
    return found


def set_aside(store: Path) -> list[Path]:
    """Files that were moved aside and are still kept for whoever wants to know why."""
    try:
        return sorted((store / CORRUPT).iterdir())
    except FileNotFoundError:
        return []


def _marks(store: Path) -> Iterator[tuple[str, _Mark]]:
    try:
        paths = sorted((store / FILES).iterdir())
    except FileNotFoundError:
        return
    for path in paths:
        if HASH.fullmatch(path.name):
            with suppress(FileNotFoundError):
                yield path.name, _mark(path)


def _read_notes(store: Path) -> dict[str, _Mark]:
    try:
        notes = json.loads((store / _NOTES).read_bytes())
        return {name: [int(part) for part in mark] for name, mark in notes.items() if len(mark) == 4}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # lost notes cost one more check


def _mark(path: Path) -> _Mark:
    stat = path.stat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]


def _hash(path: Path, bytes_per_s: float | None, stopped: Stopped) -> str | None:
    """The content's sha256; None when it was not read to its end."""
    digest, began, done = hashlib.sha256(), time.monotonic(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            if stopped():
                return None
            digest.update(chunk)
            done += len(chunk)
            if bytes_per_s is not None:
                time.sleep(max(0.0, done / bytes_per_s - (time.monotonic() - began)))
    return digest.hexdigest()


def _set_aside(store: Path, path: Path, digest: str) -> Corrupt:
    (store / CORRUPT).mkdir(exist_ok=True)
    size = path.stat().st_size
    aside = store / CORRUPT / f"{path.name}.{time.time_ns()}"
    path.rename(aside)
    os.utime(aside)
    return Corrupt(path.name, digest, size, aside)
