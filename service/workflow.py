"""What a workflow is: a tuple of steps, each of which may be run twice, and what a step can answer.

The worker (`service.worker`) carries runs out; their rows in PostgreSQL are the truth about them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from service.store.rows import Connection, Pool
from sql.loader import Q

if TYPE_CHECKING:
    from service.parts import Parts


class RunLost(Exception):
    """Another worker has taken the run over, or it was superseded: write nothing more."""


@dataclass(frozen=True, slots=True)
class Done:
    """The step is finished; `data` is added to the run's data."""

    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again later, or as soon as the run is signalled. The reason is a sentence that an operator reads."""

    reason: str
    again_in: float = 5.0
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Back:
    """Go back to an earlier step, because of `reason`. The step that says so bounds how often."""

    step: str
    reason: str
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """The run cannot be carried out: what was done is undone, and the reason is kept."""

    reason: str


Outcome = Done | Wait | Back | Failed


@dataclass(frozen=True, slots=True)
class Job:
    """A run in its worker's hands."""

    run_id: UUID
    subject: UUID
    epoch: int
    data: Mapping[str, Any]
    attempt: int
    step_since: datetime
    created_at: datetime
    deadline: datetime
    db: Pool
    parts: Parts

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """A transaction that only the run's present worker can commit. Raises RunLost.

        It must end before anyone talks to hardware.
        """
        async with self.db.acquire() as conn, conn.transaction():
            if not await conn.fetchval(Q["hold_run"], self.run_id, self.epoch):
                raise RunLost(self.run_id)
            yield conn


Act = Callable[[Job], Awaitable[Outcome]]


@dataclass(frozen=True, slots=True)
class Step:
    """One step. `undo` needs only the job; it also runs for the step that failed, whose work may have been half done.

    `budget` names the setting (seconds) after which a waiting step is over; `overrun` then says what to do instead of
    failing the run.
    """

    name: str
    act: Act
    budget: str
    undo: Act | None = None
    overrun: Act | None = None


@dataclass(frozen=True, slots=True)
class Workflow:
    """Steps in their order. What a run of it must leave behind when it fails is told by its steps' undo."""

    name: str
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step of that name. Raises KeyError for a step that this version of the program does not know."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(f"workflow {self.name} has no step {name}")

    def after(self, name: str) -> Step | None:
        """The step behind that one; None behind the last."""
        place = self.steps.index(self.step(name)) + 1
        return self.steps[place] if place < len(self.steps) else None

    def before(self, name: str) -> Step | None:
        """The step in front of that one; None in front of the first."""
        place = self.steps.index(self.step(name))
        return self.steps[place - 1] if place else None
