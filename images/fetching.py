"""One file of another store by plain HTTP: resumed where it broke off, and in this store only if its hash is right."""

from __future__ import annotations

import fcntl
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from images.store import FILES, StoredFile, hash_file, is_there, locked, sync_folder

INCOMING = "incoming"  # folder of what has come in part
_TIMEOUT_S = 15.0  # without a byte
_PAUSES_S = (0.0, 0.1, 0.3, 1.0, 2.0)  # before each try
_CHUNK = 1 << 20
_BROKEN = (OSError, HTTPException)

Stopped = Callable[[], bool]


def never() -> bool:
    """For work that nobody stops."""
    return False


class NotFetched(Exception):
    """The file could not be had; the text names it and says why."""


class _Wrong(Exception):
    """What came is not what was asked for."""


def base_url(text: str) -> str:
    """The URL of a store without a slash at its end. Raises ValueError for what is no http or https."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{text!r} is not http://HOST… or https://HOST…")
    return text.rstrip("/")


def read_url(url: str, largest: int) -> bytes:
    """A whole answer of so many bytes at most. Raises NotFetched."""
    for pause in _PAUSES_S:
        time.sleep(pause)
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer:
                content: bytes = answer.read(largest + 1)
                # `read` with a size does not mind an answer that ends before its Content-Length.
                told = answer.headers.get("Content-Length")
            if len(content) > largest:
                raise NotFetched(f"{url} has more than {largest} bytes")
            if told is None or not told.isdecimal() or int(told) == len(content):
                return content
            why = f"it ended after {len(content)} of {told} bytes"
        except urllib.error.HTTPError as err:
            why = f"HTTP {err.code}"
            if err.code < 500:
                break
        except _BROKEN as err:
            why = _told(err)
    raise NotFetched(f"{url}: {why}")


def fetch(store: Path, url: str, wanted: StoredFile, stopped: Stopped = never) -> None:
    """Have the file in the store. Raises NotFetched; also when `stopped` says so, and what has come is kept then.

    Any number of processes may want the same file; one fetches it and the others wait.
    """
    folder = store / INCOMING
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / wanted.sha256
    why = ""
    for pause in _PAUSES_S:
        time.sleep(pause)
        with part.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if is_there(store, wanted):
                part.unlink(missing_ok=True)
                return
            if not _still(part, file):
                continue  # somebody else has finished or given up this very part
            try:
                _go_on(f"{url}/{wanted.file}", file, wanted.bytes, stopped)
                _enter(store, part, file, wanted)
                return
            except _Wrong as err:
                file.truncate(0)
                why = str(err)
            except urllib.error.HTTPError as err:
                why = f"HTTP {err.code}"
                if err.code < 500 and err.code != 416:
                    break
                if err.code == 416:
                    file.truncate(0)
            except _BROKEN as err:
                why = _told(err)
    raise NotFetched(f"{url}/{wanted.file}: {why}")


def _still(part: Path, file: BinaryIO) -> bool:
    try:
        return part.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _go_on(url: str, file: BinaryIO, size: int, stopped: Stopped) -> None:
    """Append what is missing. Raises _Wrong, NotFetched, HTTPError, OSError, HTTPException; what came before stays."""
    start = file.seek(0, os.SEEK_END)
    if start > size:
        raise _Wrong(f"there are more than {size} bytes")
    if start == size:
        return
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        if start and answer.status != 206:
            file.truncate(0)  # the server knows no ranges, and begins again
            start = 0
        elif start and not (answer.headers.get("Content-Range") or "").startswith(f"bytes {start}-"):
            raise _Wrong("the server answered another range than was asked for")
        while start < size and (piece := answer.read(min(_CHUNK, size - start))):
            file.write(piece)
            start += len(piece)
            if stopped():
                raise NotFetched(f"{url} was not read to its end: stopped")
        file.flush()
        if start < size:
            raise ConnectionError(f"it ended after {start} of {size} bytes")
        if answer.read(1):
            raise _Wrong(f"there are more than {size} bytes")


def _enter(store: Path, part: Path, file: BinaryIO, wanted: StoredFile) -> None:
    if (found := hash_file(part)) != wanted.sha256:
        raise _Wrong(f"what came has the sha256 {found}")
    os.fsync(file.fileno())
    part.chmod(0o644)
    (store / FILES).mkdir(exist_ok=True)
    with locked(store):
        part.replace(store / wanted.file)
    sync_folder(store / FILES)


def _told(err: Exception) -> str:
    return str(getattr(err, "reason", "") or err) or type(err).__name__
