"""Queries from the `.sql` files beside this module, by name: `Q["lease_of"]`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


class DuplicateQuery(ValueError):
    """Two queries have the same name."""


def _queries() -> Iterator[tuple[str, str]]:
    folder = files("sql") / "queries"
    for file in sorted(folder.iterdir(), key=lambda entry: entry.name):
        parts = _NAME.split(file.read_text(encoding="utf-8"))
        yield from zip(parts[1::2], (body.strip() for body in parts[2::2]), strict=True)


def load() -> Mapping[str, str]:
    """All queries by name. Raises DuplicateQuery."""
    found: dict[str, str] = {}
    for name, body in _queries():
        if name in found:
            raise DuplicateQuery(name)
        found[name] = body
    return found


Q = load()
