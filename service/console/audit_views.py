"""The page of the audit log: requests with what each of them changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from service.console.look import Look, Page
from service.store.audit import AuditRow, Sought, audit_rows

_ROWS = 200
_FIELDS = ("actor", "subject", "kind")
_WITHOUT_CHANGES = {
    "request": "no row",
    "dry_run": "dry run: shown, and nothing changed",
    "sign_in": "sign-in to the console",
    "sign_out": "sign-out of the console",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """A column that changed; None is a value that was not there."""

    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """A request, and the rows that it changed. `answer` and `what` it was are None where only changes were sought."""

    first: AuditRow
    answer: int | None
    what: str | None
    changes: list[tuple[AuditRow, list[Difference]]]


def differences(row: AuditRow) -> list[Difference]:
    """The columns that changed, with their values in words."""
    before, after = row.before or {}, row.after or {}
    return [Difference(name, _word(before.get(name)), _word(after.get(name))) for name in {**before, **after}]


def _word(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def requests_of(rows: Sequence[AuditRow]) -> list[Done]:
    """Rows, the latest first, as requests with what each changed in its order."""
    found = []
    for _, group in groupby(rows, key=lambda row: row.request):
        mine = list(group)
        told = next((row for row in mine if row.status is not None), None)
        answer, what = (None, None) if told is None else (told.status, told.action)
        changes = [(row, differences(row)) for row in reversed(mine) if row.status is None]
        found.append(Done(mine[-1], answer, what, changes))
    return found


async def audit(look: Look) -> Page:
    """Who did what, the latest first."""
    asked = {name: look.request.query.get(name, "").replace("\0", "").strip() for name in _FIELDS}
    number = look.request.query.get("before", "")
    before = int(number) if number.isascii() and number.isdecimal() and len(number) < 19 else None
    sought = Sought(
        before=before, actor=asked["actor"] or None, subject=asked["subject"] or None, kind=asked["kind"] or None
    )
    rows = await audit_rows(look.api.db, sought, _ROWS)
    return {
        "requests": requests_of(rows),
        "words": _WITHOUT_CHANGES,
        "asked": asked,
        "older": rows[-1].seq if len(rows) == _ROWS else None,
        "live": before is None,
    }
