"""Tables for people, JSON for programs; data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import re
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


class WrongUsage(Exception):
    """The command line asks for something that is not there; the text is one line."""


def chosen(items: Sequence[Object], columns: Sequence[Column], names: Sequence[str]) -> list[Column]:
    """The columns that are asked for by title, or by the dotted path of a field. Raises WrongUsage."""
    by_title = {title.lower(): (title, what) for title, what in columns}
    return [_column(items, by_title, name) for name in names]


def _column(items: Sequence[Object], by_title: dict[str, Column], name: str) -> Column:
    if found := by_title.get(name.lower()):
        return found
    first = name.split(".")[0]
    if items and not any(first in item for item in items):
        titles = ", ".join(title for title in by_title if title)
        raise WrongUsage(f"there is no column {name!r}; there are {titles}, and the fields that --json shows")
    return name.upper(), name


def ordered(items: Sequence[Object], columns: Sequence[Column], name: str, *, reverse: bool = False) -> list[Object]:
    """Items by one column; numbers in names count as numbers. Raises WrongUsage."""
    ((_, what),) = chosen(items, columns, [name])
    return sorted(items, key=lambda item: _rank(item, what), reverse=reverse)


def _rank(item: Object, what: str | Callable[[Object], object]) -> list[tuple[int, float, str]]:
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?)", cell(item, what).lower())
    return [(0, float(part), "") if place % 2 else (1, 0.0, part) for place, part in enumerate(parts) if part]


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go. Of lists, `columns` are shown instead of the usual ones, in the order that `sort` names."""

    as_json: bool
    columns: tuple[str, ...] = ()
    sort: str | None = None
    reverse: bool = False

    def json(self, value: object) -> None:
        """Print a value as JSON."""
        print(json.dumps(value, indent=2, ensure_ascii=False))

    def rows(self, items: Iterable[Object], columns: Sequence[Column]) -> None:
        """Print items as a table."""
        found = list(items)
        if self.sort is not None:
            found = ordered(found, columns, self.sort, reverse=self.reverse)
        elif self.reverse:
            found.reverse()
        if self.as_json:
            self.json(found)
            return
        if self.columns:
            columns = chosen(found, columns, self.columns)
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
