"""What answers about all customers' orders and about runs look like."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import Field

from service.admin.schemas import Run
from service.api.device_schemas import CourseRun, RunState, Stage
from service.api.schemas import Answer
from service.lifecycle import DeviceState


class NamedCustomer(Answer):
    """An organization, or a project."""

    id: UUID
    name: str


class OrderRun(Answer):
    """The course that an order is on."""

    id: UUID
    workflow: str
    state: RunState
    step: str
    step_since: datetime
    waits_for: str | None


class Order(Answer):
    """A device with whose it is, and where its course is."""

    id: UUID
    hostname: str
    state: DeviceState
    failure: str | None
    organization: NamedCustomer
    project: NamedCustomer
    plan: str
    facility: str
    operating_system: str
    machine: str | None
    created_at: datetime
    active_at: datetime | None
    deleted_at: datetime | None
    deadline: datetime
    took_s: float | None = Field(
        description="Seconds from the order to the machine in the customer's hands, or until now; null where it failed "
        "or was deleted before."
    )
    run: OrderRun | None
    href: str


class OrderWhole(Order):
    """An order with everything that was done for it."""

    runs: list[CourseRun]


class StageCompared(Answer):
    """A stage of an order beside what it usually takes, in seconds."""

    step: str
    attempt: int
    state: str
    reason: str | None
    actual_s: float
    budget_s: float | None
    median_s: float | None
    p95_s: float | None
    measured: int = Field(description="Of how many orders `median_s` and `p95_s` are.")
    slow: bool


class OrderExplained(Order):
    """An order's latest course, and why it took as long as it did."""

    workflow: str | None
    stages: list[StageCompared]
    why: list[str] = Field(description="In sentences.")


class RunWhole(Run):
    """A run with its stages."""

    stages: list[Stage]
