"""The audit log as it is read."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One change of one row; or one request, one sign-in or one sign-out (`status` is what was answered to it)."""

    seq: int
    at: datetime
    actor: str
    email: str | None
    token_id: UUID | None
    source: str | None
    method: str
    path: str
    request: UUID
    kind: str
    subject: str | None
    name: str | None
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    status: int | None


@dataclass(frozen=True, slots=True)
class Sought:
    """What a reader looks for; None is anything. `before` is a row's seq."""

    before: int | None = None
    actor: str | None = None  # "user:ID", "project:ID", a user's id or e-mail
    subject: str | None = None  # id or name
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    request: UUID | None = None


async def audit_rows(db: Connection, sought: Sought, limit: int) -> list[AuditRow]:
    """What is sought, the latest first."""
    return [AuditRow(**row) for row in await db.fetch(Q["audit_matching"], *astuple(sought), limit)]
