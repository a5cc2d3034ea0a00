"""Hooks, what was delivered to them and what they were asked, in the database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

Kind = Literal["webhook", "executable"]
Mode = Literal["tell", "ask"]
OnFailure = Literal["refuse", "proceed"]
Verdict = Literal["allowed", "vetoed"]
DeliveryState = Literal["pending", "delivered", "dead"]
QuestionState = Literal["open", "allowed", "vetoed"]


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a hook is: an organization's, a project's, or with neither the operator's."""

    organization_id: UUID | None = None
    project_id: UUID | None = None

    @property
    def customer(self) -> bool:
        """Whether it is a customer's webhook."""
        return self.organization_id is not None or self.project_id is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewHook:
    """What a hook is made with; `limit_s` are seconds that one delivery or one question may take."""

    name: str
    kind: Kind
    mode: Mode
    target: str
    follows: list[str]
    enabled: bool
    limit_s: float
    retries: int
    on_failure: OnFailure


@dataclass(frozen=True, slots=True)
class Hook:
    """A hook. Its secrets are sealed; `limit_s` are seconds that one delivery or one question may take."""

    id: UUID
    organization_id: UUID | None
    project_id: UUID | None
    name: str
    kind: Kind
    mode: Mode
    target: str
    follows: list[str]
    secret: bytes
    old_secret: bytes | None
    old_secret_until: datetime | None
    enabled: bool
    limit_s: float
    retries: int
    on_failure: OnFailure
    created_by: str
    created_at: datetime
    updated_at: datetime
    position: int
    wanted: int
    attempt: int
    next_at: datetime
    failing_since: datetime | None
    fault: str | None
    epoch: int

    @property
    def owner(self) -> Owner:
        """Whose it is."""
        return Owner(self.organization_id, self.project_id)


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event on its way to a hook, or there. `event_id` is None for a test."""

    id: UUID
    event_id: UUID | None
    position: int
    type: str
    state: DeliveryState
    attempts: int
    status: int | None
    answer: str
    took_s: float | None
    created_at: datetime
    attempted_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Question:
    """A question in the hands of who asks it."""

    id: UUID
    hook_id: UUID
    transition: str
    machine_id: UUID
    device_id: UUID | None
    asker: UUID | None
    attempts: int
    asked_at: datetime
    until: datetime
    epoch: int
    hook: str
    kind: Kind
    target: str
    secret: bytes
    retries: int
    on_failure: OnFailure
    limit_s: float


@dataclass(frozen=True, slots=True)
class QuestionSeen:
    """A question as an operator looks at it."""

    id: UUID
    hook: str
    transition: str
    machine_id: UUID
    machine: str
    device_id: UUID | None
    state: QuestionState
    decided_by: str | None
    reason: str | None
    attempts: int
    status: int | None
    answer: str
    asked_at: datetime
    until: datetime
    decided_at: datetime | None
    key: str


async def hooks_of(db: Connection, owner: Owner, name: str | None = None) -> list[Hook]:
    """The owner's hooks by name; `name` may be an id, too."""
    return [Hook(**row) for row in await db.fetch(Q["hooks_of"], owner.organization_id, owner.project_id, name)]


async def hook_of(db: Connection, owner: Owner, name: str) -> Hook | None:
    """One of the owner's hooks, by id or else by name."""
    found = await hooks_of(db, owner, name)
    return next((one for one in found if str(one.id) == name), found[0] if found else None)


async def deliveries_of(
    db: Connection, hook_id: UUID, *, state: str | None = None, limit: int = 100, offset: int = 0
) -> list[Delivery]:
    """The hook's deliveries, the latest first."""
    return [Delivery(**row) for row in await db.fetch(Q["deliveries_of"], hook_id, state, None, limit, offset)]


async def delivery_of(db: Connection, hook_id: UUID, delivery_id: UUID) -> Delivery | None:
    """One delivery of the hook."""
    row = await db.fetchrow(Q["deliveries_of"], hook_id, None, delivery_id, 1, 0)
    return None if row is None else Delivery(**row)


async def questions_seen(
    db: Connection,
    *,
    hook_id: UUID | None = None,
    machine_id: UUID | None = None,
    question_id: UUID | None = None,
    state: str | None = None,
    limit: int = 100,
) -> list[QuestionSeen]:
    """What hooks were asked, the latest first."""
    rows = await db.fetch(Q["questions_seen"], hook_id, machine_id, question_id, state, limit)
    return [QuestionSeen(**row) for row in rows]


def facts_of(row: Any) -> dict[str, Any]:
    """The machine and the device that something is about, as hooks are told of them."""
    told: dict[str, Any] = {"machine": None, "device": None}
    if row["machine_id"] is not None:
        told["machine"] = {
            "id": str(row["machine_id"]),
            "name": row["machine"],
            "state": row["machine_state"],
            "reason": row["reason"],
            "mac": row["mac"],
            "plan": row["machine_plan"],
            "facility": row["facility"],
            "rack": row["rack"],
            "unit": row["rack_unit"],
            "leaf": row["leaf"],
            "port": row["port"],
        }
    if row["device_id"] is not None:
        told["device"] = {
            "id": str(row["device_id"]),
            "hostname": row["hostname"],
            "state": row["device_state"],
            "plan": row["device_plan"],
            "operating_system": row["operating_system"],
            "project": str(row["project_id"]),
        }
    return told
