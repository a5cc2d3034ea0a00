"""What answers about webhooks and hooks look like."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from service.api.schemas import Answer
from service.store.hooks import DeliveryState


class Progress(Answer):
    """How far a hook was told, and what is wrong with it."""

    cursor: str = Field(description="Of the last event that it was told.")
    behind: bool = Field(description="Whether there are events that it has not been told yet.")
    fault: str | None = Field(description="Why the latest attempt failed.")
    failing_since: datetime | None
    old_secret_until: datetime | None = Field(description="Until then deliveries are signed with the old secret, too.")
    created_at: datetime
    updated_at: datetime
    href: str


class Webhook(Progress):
    """A URL that events of an organization or a project are sent to."""

    id: UUID
    url: str
    description: str
    events: list[str] = Field(description="Of these types; `*` stands for anything.")
    enabled: bool


class WebhookMade(Webhook):
    """A webhook with the secret that deliveries are signed with, which is told once."""

    secret: str


class Delivery(Answer):
    """An event on its way to a hook, or there, with the latest answer."""

    id: UUID
    event: UUID | None = Field(description="null for a test.")
    cursor: str
    type: str
    state: DeliveryState
    attempts: int
    status: int | None = Field(description="Of the latest answer; null where there was none.")
    answer: str
    took_s: float | None
    created_at: datetime
    attempted_at: datetime
    delivered_at: datetime | None
