"""What answers about releases of operating systems look like, and how machines are handed over to them."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import Field

from images.protocol import Handover
from service.api.schemas import Answer
from service.store.releases import RolloutState, Stage


class ReleaseFile(Answer):
    """A file of a release."""

    sha256: str
    bytes: int


class ReleaseTally(Answer):
    """How the installs of a release went, of all plans or of one. Times are seconds of those that succeeded."""

    plan: str | None
    active: int
    failed: int
    not_begun: int = Field(description="That failed before, which is no fault of the image.")
    running: int
    p50_s: float | None
    p99_s: float | None
    order_p99_s: float | None = Field(description="From the order on.")


class ReleaseStage(Answer):
    """How long a step took, in seconds, of installs of a release that succeeded."""

    step: str
    p50_s: float
    p99_s: float


class Release(Answer):
    """A release of an operating system."""

    id: str
    current: bool
    fault: str | None
    recipe: str
    kernel_release: str
    published_at: datetime | None
    bytes: int
    files: dict[str, ReleaseFile]
    tested: dict[str, Any] = Field(description="By firmware, how a test boot ended.")
    signed_by: list[str]
    installs: ReleaseTally | None
    by_plan: list[ReleaseTally]
    stages: list[ReleaseStage]


class ReleaseFailure(Answer):
    """An install that failed."""

    release: str
    plan: str
    stage: Stage
    reason: str | None
    machine: str | None
    device: UUID
    at: datetime


class Rollout(Answer):
    """A release that some orders get, to be judged by its installs."""

    id: UUID
    slug: str
    release: str
    baseline: str = Field(description="The release that the others get.")
    plans: list[str] = Field(description="Of these plans; empty: of all.")
    percent: int = Field(description="Of orders that get it.")
    enough: int = Field(description="Installs that a step is judged by.")
    state: RolloutState
    reason: str
    started_at: datetime
    step_since: datetime
    ended_at: datetime | None


class Slug(Answer):
    """An operating system's releases, and the rollout that runs."""

    slug: str
    releases: list[Release]
    rollout: Rollout | None
    failures: list[ReleaseFailure]


class ReferredTo(Answer):
    """By slug, the releases that are needed."""

    releases: dict[str, list[str]]


class HandoverRule(Answer):
    """How a hardware model is handed over to its system; what is empty stands for any."""

    id: UUID
    plan: str | None
    vendor: str
    product: str
    ways: list[Handover]
    note: str
    changed_at: datetime
    changed_by: str


class HandoverRules(Answer):
    """The rules, and what holds where none fits."""

    handover_rules: list[HandoverRule]
    default: list[Handover]
