"""The audit log for operators: who did what, when and from where, with before and after."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from service.admin import record_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.problems import Invalid, shown
from service.policy import Right
from service.store.audit import AuditRow, Sought, audit_rows

_USUAL, _MOST = 100, 1000


def moment(call: Call, name: str) -> datetime | None:
    """A time of the query, ISO 8601; without a zone it is UTC. Raises Refused (422)."""
    if (text := call.word(name)) is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise Invalid(f"{name} is not valid: {shown(text)} is no time as 2026-05-01T14:00:00Z") from None
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise Invalid(f"{name} is not valid: {shown(text)} lies outside of the calendar") from None


def whole(call: Call, name: str, most: int) -> int | None:
    """A whole number of the query from 1 to `most`. Raises Refused (422)."""
    if (text := call.word(name)) is None:
        return None
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else 0
    if not 1 <= number <= most:
        raise Invalid(f"{name} is not valid: {shown(text)}; allowed is 1 to {most}")
    return number


def _request(call: Call) -> UUID | None:
    if (text := call.word("request")) is None:
        return None
    try:
        return UUID(text)
    except ValueError:
        raise Invalid(f"request is not valid: {shown(text)} is no id") from None


def audit_object(one: AuditRow) -> dict[str, Any]:
    """A row of the log. `before` and `after` have the columns that changed."""
    return {
        "seq": one.seq,
        "at": stamp(one.at),
        "actor": one.actor,
        "email": one.email,
        "token": None if one.token_id is None else str(one.token_id),
        "source": one.source,
        "method": one.method,
        "path": one.path,
        "request": str(one.request),
        "kind": one.kind,
        "subject": one.subject,
        "name": one.name,
        "action": one.action,
        "before": one.before,
        "after": one.after,
        "status": one.status,
    }


async def list_audit(call: Call) -> Body:
    """GET /admin/v1/audit: who did what, the latest first; narrowed by actor (user id, e-mail or project:ID), subject
    (id or name), kind (a table, request or session), request, since and until; `limit` to 1000, `before` a row's seq"""
    sought = Sought(
        before=whole(call, "before", 2**63 - 1),
        actor=call.word("actor"),
        subject=call.word("subject"),
        kind=call.word("kind"),
        since=moment(call, "since"),
        until=moment(call, "until"),
        request=_request(call),
    )
    limit = whole(call, "limit", _MOST) or _USUAL
    found = await audit_rows(call.db, sought, limit)
    return {"audit": [audit_object(one) for one in found], "next": found[-1].seq if len(found) == limit else None}


ROUTES = (Route("GET", "/admin/v1/audit", list_audit, right=Right.LOOK, answer=record_schemas.AuditPage),)
