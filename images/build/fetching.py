"""Getting a file that others made: nothing reads it before its sha256 is what was asked for."""

from __future__ import annotations

import hashlib
import re
import shutil
import time
from collections.abc import Callable
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
)

from images.build.host import BuildError

Told = Callable[[int, int], None]  # bytes done, bytes in all (0: unknown)

_BLOCK = 1 << 20
_QUIET_S = 30  # a server that says nothing for so long has gone
_PAUSES_S = (1, 2, 4, 8, 16)  # between attempts that brought nothing new
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # answers that may be others a little later (RFC 9110 §15)
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class _Broken(Exception):
    """The transfer ended early; it may go on where it was."""


def fetch(source: str, sha256: str, folder: Path, limit: int, proxy: str, told: Told) -> Path:
    """Bring the file at an http(s) URL, or of this machine, into `folder`, and check its hash; its path there.

    What arrived of a download that failed is kept in `folder` for the next attempt. The name comes from the hash alone,
    whatever the URL says. Raises BuildError.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise BuildError(f"sha256 {sha256!r} is not 64 hexadecimal digits in lower case")
    target = folder / f"{sha256}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if "://" in source:
            _download(source, target, limit, proxy, told)
        else:
            _copy(Path(source), target, limit, told)
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise BuildError(f"{source}: {err}") from err
    if found != sha256:
        target.unlink()
        raise BuildError(f"{source} has the sha256 {found}, not {sha256}: nothing of it was used")
    return target


def _copy(source: Path, target: Path, limit: int, told: Told) -> None:
    # A copy: what was hashed must be what is read afterwards.
    if not source.is_file():
        raise BuildError(f"{source}: there is no such file")
    size = source.stat().st_size
    _check_size(str(source), size, limit)
    with source.open("rb") as file, target.open("wb") as out:
        shutil.copyfileobj(file, out, _BLOCK)
    told(size, size)


def _check_size(source: str, size: int, limit: int) -> None:
    if size > limit:
        raise BuildError(f"{source} has {size:,} bytes, more than the limit of {limit:,}")


def _download(url: str, target: Path, limit: int, proxy: str, told: Told) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise BuildError(f"{url}: only http and https URLs and paths of this machine can be imported")
    if parts.username is not None:
        raise BuildError("the URL has a user name in it, which would be written down wherever the URL is")
    opener = _opener(proxy)
    failures = 0
    with target.open("ab") as out:
        while True:
            before = out.tell()
            try:
                _receive(opener, url, out, limit, told)
                return
            except _Broken as err:
                failures = 0 if out.tell() > before else failures + 1
                if failures > len(_PAUSES_S):
                    raise BuildError(f"{url}: {err}; given up after {failures} attempts") from None
                time.sleep(_PAUSES_S[max(failures - 1, 0)])


def _opener(proxy: str) -> OpenerDirector:
    # Not urllib's usual one: that would follow a redirection to ftp, and read local files.
    opener = OpenerDirector()
    handlers = (HTTPHandler(), HTTPSHandler(), HTTPRedirectHandler(), HTTPErrorProcessor(), HTTPDefaultErrorHandler())
    for handler in handlers:
        opener.add_handler(handler)
    opener.add_handler(ProxyHandler({"http": proxy, "https": proxy} if proxy else None))
    return opener


def _receive(opener: OpenerDirector, url: str, out: BinaryIO, limit: int, told: Told) -> None:
    """Append to `out` what is missing. Raises _Broken when it may be tried again, BuildError when not."""
    at = out.tell()
    headers = {"Accept-Encoding": "identity", "User-Agent": "roundhouse"}
    if at:
        headers["Range"] = f"bytes={at}-"
    try:
        answer = opener.open(Request(url, headers=headers), timeout=_QUIET_S)
    except HTTPError as err:
        err.close()
        if err.code == 416 and at:  # all of it was there; or another file is, which the hash will tell
            return
        if err.code in _PASSING:
            raise _Broken(f"the server answers {err.code}") from None
        raise BuildError(f"{url}: the server answers {err.code} {err.reason}") from None
    except (URLError, HTTPException, OSError) as err:
        raise _Broken(str(getattr(err, "reason", err))) from None
    if answer is None:  # no handler knows where a redirection leads
        raise BuildError(f"{url} leads to something that is neither http nor https")
    with answer:
        total = _total(answer, out, url)
        _check_size(url, total, limit)
        done = out.tell()
        try:
            while block := answer.read(_BLOCK):
                done += len(block)
                _check_size(url, done, limit)
                out.write(block)
                told(done, total)
        except (HTTPException, TimeoutError, ConnectionError) as err:
            raise _Broken(str(err) or type(err).__name__) from None
    if done < total:
        raise _Broken(f"the connection ended at byte {done:,} of {total:,}")


def _total(answer: HTTPResponse, out: BinaryIO, url: str) -> int:
    """The whole file's size, 0 if the server does not say; `out` is emptied where the server begins anew."""
    if answer.status != 206:
        out.truncate(0)
        out.seek(0)
        return int(answer.headers.get("Content-Length") or 0)
    found = _RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    if found is None or int(found[1]) != out.tell():
        raise BuildError(f"{url}: asked for bytes from {out.tell()}, got {answer.headers.get('Content-Range')!r}")
    return int(found[2]) if found[2] != "*" else 0
