"""Which upstream file a path below /mirror means, and how long it stays as it is. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import quote, urlsplit

from service.settings import BadSetting, listed

LIFE = timedelta(minutes=1)  # of what may change: the indexes of a distribution, above all

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_LENGTH = 1024
# A package's version is in its name, and an index by hash has its content in its name; neither is ever changed.
_IMMUTABLE = re.compile(r"(.*/)?(by-hash/.+|[^/]+\.(deb|udeb|rpm|drpm)|repodata/[0-9a-f]{32,128}-[^/]+)")


class NoSuchFile(LookupError):
    """There is no such mirror, or a path that no mirror has."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """One file of one mirror."""

    mirror: str
    path: str  # decoded, without a slash at its ends
    url: str

    @property
    def name(self) -> str:
        """The file among all mirrors' files."""
        return f"{self.mirror}/{self.path}"

    @property
    def immutable(self) -> bool:
        """Whether its content never changes."""
        return _IMMUTABLE.fullmatch(self.path) is not None


def read_mirrors(setting: str) -> Mapping[str, str]:
    """The upstream URLs, without a slash at their ends, by name. Raises BadSetting."""
    found: dict[str, str] = {}
    for item in listed(setting):
        name, _, url = item.partition("=")
        parts = urlsplit(url)
        if not _NAME.fullmatch(name) or parts.scheme not in ("http", "https") or not parts.netloc or parts.query:
            raise BadSetting(f"package_mirrors: {item!r}; allowed is NAME=URL, as debian=http://HOST/debian")
        found[name] = url.rstrip("/")
    return found


def upstream_of(mirrors: Mapping[str, str], mirror: str, path: str) -> Upstream:
    """The file that a decoded path means; it never leads out of the mirror's folder. Raises NoSuchFile."""
    if (base := mirrors.get(mirror)) is None:
        raise NoSuchFile(f"there is no mirror {mirror!r}; there are {', '.join(mirrors) or 'none'}")
    parts = path.split("/")
    if len(path) > _LENGTH or not path.isprintable() or "\\" in path or any(part in ("", ".", "..") for part in parts):
        raise NoSuchFile(f"no mirror has a file {path[:80]!r}")
    return Upstream(mirror, path, f"{base}/{quote(path, safe='/~+:@!$&()*,;=._-')}")
