"""Which part of a file a request asks for, and whether it has the file already (RFC 9110 §13 and §14)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# One range: "bytes=0-99", "bytes=100-", "bytes=-100". More digits than these are no size of anything.
_ONE = re.compile(r"bytes=[ \t]*(?:([0-9]{1,20})-([0-9]{0,20})|-([0-9]{1,20}))[ \t]*", re.IGNORECASE)
_ENTITY_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


@dataclass(frozen=True, slots=True)
class Part:
    """The bytes from `start` on, up to but without `stop`, of `size` in all."""

    start: int
    stop: int
    size: int

    @property
    def content_range(self) -> str:
        """As the header Content-Range says it (RFC 9110 §14.4)."""
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


class Unsatisfiable(ValueError):
    """The range begins behind the end of the file (RFC 9110 §15.5.17)."""


def part_asked(headers: Mapping[str, str], etag: str, size: int) -> Part | None:
    """The one part that a GET asks for; None: the whole file. Raises Unsatisfiable. `etag` has its quotes.

    What RFC 9110 §14.2 leaves open is answered by the whole file: several ranges, another unit, a header that cannot
    be read. So it is after If-Range with another entity tag or with a date (§13.1.5), as no file here has a date.
    """
    asked = headers.get("Range")
    if asked is None or headers.get("If-Range", etag).strip() != etag:
        return None
    match = _ONE.fullmatch(asked)
    if match is None:
        return None
    first, last, suffix = match.groups()
    if first is None:
        start, stop = max(0, size - int(suffix)), size
    else:
        start, stop = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= size:
        raise Unsatisfiable(f"the range begins at {start}, the file has {size} bytes")
    return Part(start, stop, size)


def has_already(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-None-Match names this entity tag, weak or strong (RFC 9110 §13.1.2): to be answered by 304."""
    return _names(headers.get("If-None-Match"), etag)


def means_another(headers: Mapping[str, str], etag: str) -> bool:
    """Whether If-Match does not name this entity tag (RFC 9110 §13.1.1): to be answered by 412."""
    given = headers.get("If-Match")
    return given is not None and not _names(given, etag)


def _names(given: str | None, etag: str) -> bool:
    if given is None:
        return False
    return given.strip() == "*" or etag in _ENTITY_TAG.findall(given)
