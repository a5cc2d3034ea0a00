"""What answers about what was done and what is sealed look like: the audit log and the keys."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from service import secrets
from service.api.schemas import Answer


class AuditEntry(Answer):
    """One change of one row, or one request; of the latter `status` is what was answered."""

    seq: int
    at: datetime
    actor: str
    email: str | None
    token: UUID | None
    source: str | None
    method: str
    path: str
    request: UUID
    kind: str = Field(description="The table, or `request`.")
    subject: str | None
    name: str | None
    action: Literal["insert", "update", "delete", "request", "dry_run", "sign_in", "sign_out"]
    before: dict[str, Any] | None = Field(description="The columns that changed.")
    after: dict[str, Any] | None
    status: int | None


class AuditPage(Answer):
    """A part of the audit log, the latest first."""

    audit: list[AuditEntry]
    next: int | None = Field(description="What `before` goes on with; null where there are no more.")


class SealingKey(Answer):
    """A key that seals secrets. next: opens, and will seal; seals: opens and seals; opens: opens what is left."""

    id: str
    use: Literal[secrets.Use.NEXT, secrets.Use.SEALS, secrets.Use.OPENS]


class SealingKeys(Answer):
    """The keys of this host."""

    keys: list[SealingKey]


class SealedValues(Answer):
    """Sealed values of one column."""

    place: str
    values: int
    unreadable: int
    by_key: dict[str, int] = Field(description="By the key's id; `other` is of no key of this host.")


class SealedByKeys(SealingKeys):
    """The keys of this host, and how many sealed values need which."""

    sealed: list[SealedValues]
