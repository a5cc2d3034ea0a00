"""Files of mirrors on the disk, by their names, and not more of them than there is room for.

Each is one file: a header that says what it is, then the content. So it is there as a whole or not at all. Its time of
modification is when the upstream mirror last said that it is still the same, its time of access when it was last asked
for; both are set here, whatever the file system does by itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import struct
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

_LENGTH = struct.Struct(">I")
_LONGEST_HEADER = 1 << 16
_DRAFT = ".draft-"
_ROOM = 0.9  # of the limit, to which is made room at once


@dataclass(frozen=True, slots=True)
class About:
    """What the upstream mirror said of a file. Empty texts: it said nothing."""

    name: str
    etag: str  # with its quotes
    modified: str  # as the header Last-Modified says it
    kind: str  # as Content-Type


@dataclass(frozen=True, slots=True)
class Kept:
    """An open file of the cache; whoever asked for it closes it."""

    about: About
    fd: int
    start: int  # where the content begins
    size: int  # of the content
    checked_at: datetime


class Cache:
    """A folder of files. Several processes may share it."""

    def __init__(self, folder: Path, limit: int) -> None:
        """`limit` is in bytes."""
        self._folder = folder
        self._limit = limit
        self._bytes: int | None = None  # as counted last, and what was added here since; None: not counted yet
        self._lock = threading.Lock()  # files are kept in threads
        folder.mkdir(parents=True, exist_ok=True)

    def _path(self, name: str) -> Path:
        digest = hashlib.sha256(name.encode()).hexdigest()
        return self._folder / digest[:2] / digest

    def find(self, name: str) -> Kept | None:
        """The file of that name, opened."""
        try:
            fd = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOATIME)
        except FileNotFoundError:
            return None
        try:
            (length,) = _LENGTH.unpack(os.pread(fd, _LENGTH.size, 0))
            about = About(**json.loads(os.pread(fd, min(length, _LONGEST_HEADER), _LENGTH.size)))
            found = os.fstat(fd)
        except (struct.error, ValueError, TypeError, OSError):
            os.close(fd)
            self.drop(name)
            return None
        start = _LENGTH.size + length
        return Kept(about, fd, start, found.st_size - start, datetime.fromtimestamp(found.st_mtime, UTC))

    def used(self, kept: Kept, *, now: datetime) -> None:
        """The file was asked for."""
        os.utime(kept.fd, (now.timestamp(), kept.checked_at.timestamp()))

    def checked(self, kept: Kept, *, now: datetime) -> Kept:
        """The upstream mirror has the same file still."""
        os.utime(kept.fd, (now.timestamp(), now.timestamp()))
        return replace(kept, checked_at=now)

    def draft(self, about: About) -> Draft:
        """A new file, of which nobody knows until it is kept."""
        # When it was wanted is ours to write, not the kernel's whenever somebody reads.
        path = self._folder / f"{_DRAFT}{os.getpid()}-{secrets.token_hex(8)}"
        header = json.dumps(asdict(about)).encode()
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOATIME, 0o644)
        os.write(fd, _LENGTH.pack(len(header)) + header)
        return Draft(path, fd, _LENGTH.size + len(header))

    def keep(self, draft: Draft, name: str, *, now: datetime) -> None:
        """The draft is whole: it takes the place of what had that name. Blocks until it is on the disk."""
        os.fsync(draft.fd)
        size = os.fstat(draft.fd).st_size
        if size > self._limit:
            draft.path.unlink()
            return
        os.utime(draft.fd, (now.timestamp(), now.timestamp()))
        path = self._path(name)
        path.parent.mkdir(exist_ok=True)
        draft.path.replace(path)
        with self._lock:
            counted = self._bytes
            self._bytes = sum(known.size for known in self._files()) if counted is None else counted + size
            if self._bytes > self._limit:
                self._make_room()

    def drop(self, name: str) -> None:
        """The upstream mirror has no such file any more."""
        self._path(name).unlink(missing_ok=True)

    def forget_drafts(self) -> None:
        """Remove what processes that are gone have left unfinished. Blocks."""
        for path in self._folder.glob(f"{_DRAFT}*"):
            pid = path.name.removeprefix(_DRAFT).partition("-")[0]
            if not Path("/proc", pid).exists():
                path.unlink(missing_ok=True)

    def _files(self) -> Iterator[_Found]:
        for folder in self._folder.iterdir():
            if not folder.is_dir():
                continue
            for path in folder.iterdir():
                try:
                    found = path.stat()
                except FileNotFoundError:  # another process has made room as well
                    continue
                yield _Found(path, found.st_size, found.st_atime)

    def _make_room(self) -> None:
        """Remove what was not asked for the longest."""
        files = sorted(self._files(), key=lambda known: known.used_at)
        total = sum(known.size for known in files)
        for known in files:
            if total <= self._limit * _ROOM:
                break
            known.path.unlink(missing_ok=True)
            total -= known.size
        self._bytes = total


@dataclass(frozen=True, slots=True)
class Draft:
    """A file that is being fetched. `start` is where its content begins."""

    path: Path
    fd: int
    start: int


@dataclass(frozen=True, slots=True)
class _Found:
    path: Path
    size: int
    used_at: float
