"""Tables for people, JSON for programs; data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]
Column = tuple[str, str | Callable[[Object], object]]

FULL, EMPTY = "█", "░"


def cell(item: Object, what: str | Callable[[Object], object]) -> str:
    """One value as text; `what` is a dotted path or a function."""
    value: object = item
    if callable(what):
        value = what(item)
    else:
        for part in what.split("."):
            value = value.get(part) if isinstance(value, dict) else None
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list):
        return ", ".join(str(one) for one in value) or "-"
    return str(value).replace("\n", " ")


def bar(part: float, width: int = 20) -> str:
    """A bar that is filled by `part`, between 0 and 1."""
    filled = round(max(0.0, min(part, 1.0)) * width)
    return FULL * filled + EMPTY * (width - filled)


def span(start: float, length: float, whole: float, width: int = 30) -> str:
    """A bar on a time line: where in the whole something began, and how long it took."""
    if whole <= 0:
        return EMPTY * width
    first = min(int(start / whole * width), width - 1)
    last = max(first + 1, round((start + length) / whole * width))
    return "".join(FULL if first <= place < last else EMPTY for place in range(width))


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows under each other, the first as title; every column as wide as its widest cell."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go."""

    as_json: bool

    def json(self, value: object) -> None:
        """Print a value as JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False))

    def rows(self, items: Iterable[Object], columns: Sequence[Column]) -> None:
        """Print items as a table."""
        found = list(items)
        if self.as_json:
            self.json(found)
            return
        lines = [[cell(item, what) for _, what in columns] for item in found]
        print(table([[title for title, _ in columns], *lines]))

    def one(self, item: Object, columns: Sequence[Column]) -> None:
        """Print one item, a field a line."""
        if self.as_json:
            self.json(item)
            return
        width = max(len(title) for title, _ in columns)
        for title, what in columns:
            print(f"{title.lower().ljust(width)}  {cell(item, what)}")

    def done(self, item: Object, text: str) -> None:
        """Say what was done: the object for programs, a sentence for people."""
        if self.as_json:
            self.json(item)
        else:
            print(text)


def warn(text: str) -> None:
    """One line on standard error."""
    print(text, file=sys.stderr)
