"""What answers about operators' hooks, their questions and facilities' events look like."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from service import facility_events
from service.api.hook_schemas import Progress
from service.api.schemas import Answer
from service.store.hooks import Kind, Mode, OnFailure, QuestionState


class Hook(Progress):
    """What is told of transitions, or asked before them."""

    id: UUID
    name: str
    kind: Kind
    mode: Mode
    target: str = Field(description="A URL, or a program in the folder of hooks.")
    follows: list[str] = Field(description="These transitions; `*` stands for anything.")
    limit_s: float = Field(description="Seconds that one delivery or one question may take.")
    retries: int
    on_failure: OnFailure = Field(description="What a hook that does not answer stands for.")
    enabled: bool
    created_by: str


class HookMade(Hook):
    """A hook with the secret that is signed with, which is told once."""

    secret: str


class HookQuestion(Answer):
    """What a hook was asked, and what became of it."""

    id: UUID
    hook: str
    transition: str
    machine: str
    device: UUID | None
    state: QuestionState
    decided_by: str | None
    reason: str | None
    attempts: int
    status: int | None = Field(description="Of the latest answer; null where there was none.")
    answer: str
    asked_at: datetime
    until: datetime
    decided_at: datetime | None


class FacilityEvent(Answer):
    """What a system of the facility told of a machine, and what that led to."""

    id: UUID
    given_id: str = Field(description="The teller's own id.")
    source: str
    kind: facility_events.Kind
    machine: str = Field(description="As it was told: a name, a serial number or a MAC address.")
    at: datetime = Field(description="When it happened.")
    content: dict[str, Any]
    state: facility_events.State
    outcome: str
    created_at: datetime
    applied_at: datetime


class SigningFacility(Answer):
    """Whether a facility's own systems may sign what they tell, and since when."""

    facility: str
    set_at: datetime | None = Field(description="null where they may not.")
    set_by: str | None
    old_until: datetime | None = Field(description="Until then the secret of before is good, too.")


class FacilitySecretMade(SigningFacility):
    """A facility with the secret that its systems sign with, which is told once."""

    secret: str
