"""Carries runs out: claims one, takes its steps, and writes each down under the run's epoch.

Dispatch is pgqueuer's (one job is one hint); the run's row says what there is to do. A worker that dies loses its
lease, and any other goes on with the step that was under way, which is why a step run twice leaves what one run
leaves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import structlog
from pgqueuer import Job as QueueJob
from pgqueuer import QueueManager
from pgqueuer.adapters.drivers.asyncpg import AsyncpgPoolDriver
from pgqueuer.ports.driver import NotifyCallback
from pgqueuer.queries import Queries

from service.parts import Parts
from service.store.rows import AWAY, Pool
from service.store.runs import ENTRYPOINT, hint
from service.workflow import Back, Done, Failed, Job, Outcome, RunLost, Step, Wait, Workflow
from sql.loader import Q

log = structlog.get_logger()

_ATTEMPTS = 8  # unexpected errors in one step before the run counts as failed
_RETRY_S = (0.2, 0.5, 1, 2, 5, 10, 20, 30)
_UNDO_RETRY_S = 5.0  # an undo is tried until it is through: half undone is no end
_SWEEP_S = 1.0
_LOOK = timedelta(seconds=1)  # at the queue without a hint: one may be lost with the connection that it comes by
_RECONNECT_S = 1.0


class _Driver(AsyncpgPoolDriver):
    """pgqueuer's driver, which tells besides when the connection that hints come by is cut."""

    lost: Callable[[], None]

    async def add_listener(self, channel: str, callback: NotifyCallback) -> None:
        """Listen, on a connection that is told of when it ends."""
        await super().add_listener(channel, callback)
        assert self._listener_connection is not None
        self._listener_connection.add_termination_listener(lambda _connection: self.lost())


class Worker:
    """One process's worker. `run` returns when `stop` was called and the runs in hand have reached a pause."""

    def __init__(self, db: Pool, parts: Parts, workflows: Mapping[str, Workflow]) -> None:
        self._db = db
        self._parts = parts
        self.workflows = workflows  # by name; what a run's row says is looked up here
        self._id = uuid4()
        self._lease = timedelta(seconds=parts.settings.lease_s)
        self._queries, self._queue = self._new_queue()
        self._stopped = False
        # What is in hand, by run and epoch. A run that was claimed by a call whose answer was lost is in nobody's.
        self._held: set[tuple[UUID, int]] = set()

    def _new_queue(self) -> tuple[Queries, QueueManager]:
        """With a driver of its own: one whose listening connection was cut never lets go of it."""
        driver = _Driver(self._db)
        queries = Queries(driver)
        queue = QueueManager(queries)
        driver.lost = queue.shutdown.set
        queue.entrypoint(ENTRYPOINT, accepts_context=False)(self._take)
        return queries, queue

    def stop(self) -> None:
        """Ask `run` to come to an end."""
        self._stopped = True
        self._queue.shutdown.set()

    async def run(self) -> None:
        """Work until stopped; while the database is away, wait for it."""
        async with asyncio.TaskGroup() as tasks:
            keepers = [tasks.create_task(self._keep_leases()), tasks.create_task(self._sweep())]
            while not self._stopped:
                try:
                    await self._queue.run(
                        dequeue_timeout=_LOOK,
                        batch_size=max(1, self._parts.settings.workers // 2),
                        max_concurrent_tasks=self._parts.settings.workers,
                        heartbeat_timeout=self._lease,
                    )
                except* AWAY as lost:
                    reasons = [str(err) or type(err).__name__ for err in lost.exceptions]
                    log.warning("queue_lost", reason=", ".join(reasons))
                if not self._stopped:
                    self._queries, self._queue = self._new_queue()
                    await asyncio.sleep(_RECONNECT_S)
            for keeper in keepers:
                keeper.cancel()

    async def _keep_leases(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            try:
                held = list(self._held)
                ids, epochs = [run_id for run_id, _ in held], [epoch for _, epoch in held]
                await self._db.execute(Q["extend_leases"], ids, epochs, self._lease)
            except Exception:
                log.warning("leases_not_extended", exc_info=True)

    async def _sweep(self) -> None:
        """Find what is due and nobody hinted at: waits that are over, lost hints, the runs of dead workers."""
        while True:
            try:
                rows = await self._db.fetch(Q["runs_due"], self._parts.clock.now())
                await hint(self._queries, {str(row["id"]): row["id"] for row in rows})
            except Exception:
                log.warning("sweep_failed", exc_info=True)
            await asyncio.sleep(_SWEEP_S)

    async def _take(self, queued: QueueJob) -> None:
        run_id = UUID((queued.payload or b"").decode())
        try:
            while await self._carry_out(run_id):
                pass
        except RunLost:
            log.info("run_lost", run_id=str(run_id))

    async def _carry_out(self, run_id: UUID) -> bool:
        """Claim the run and take steps until it pauses; True when it was signalled while it went to sleep."""
        row = await self._db.fetchrow(Q["claim_run"], run_id, self._id, self._lease, self._parts.clock.now())
        if row is None:
            return False
        held = (run_id, row["epoch"])
        self._held.add(held)
        try:
            return await self._steps(row)
        finally:
            self._held.discard(held)

    async def _steps(self, row: Mapping[str, Any]) -> bool:
        """Take steps of the claimed run until it pauses; True when it was signalled while it went to sleep."""
        workflow = self.workflows[row["workflow"]]
        state, step, signals = row["state"], workflow.step(row["step"]), row["signals"]
        job = Job(
            run_id=row["id"],
            subject=row["subject"],
            epoch=row["epoch"],
            data=row["data"],
            attempt=row["attempt"],
            step_since=row["step_since"],
            created_at=row["created_at"],
            deadline=row["deadline"],
            db=self._db,
            parts=self._parts,
        )
        with structlog.contextvars.bound_contextvars(run_id=str(job.run_id), workflow=workflow.name):
            while True:
                outcome, attempt = await self._outcome(job, step, undoing=state == "undoing")
                job = replace(job, data={**job.data, **getattr(outcome, "data", {})})
                if isinstance(outcome, Wait):
                    return await self._park(job, step, outcome, attempt, signals)
                moved = await self._move(job, workflow, step, state, outcome)
                if moved is None:
                    return False
                state, step, job = moved

    async def _outcome(self, job: Job, step: Step, *, undoing: bool) -> tuple[Outcome, int]:
        """What the step says, with the number of errors that it has met so far."""
        act = step.undo if undoing else step.act
        if act is None:
            return Done(), 0
        try:
            outcome = await act(job)
        except RunLost:
            raise
        except Exception as err:
            log.warning("step_error", step=step.name, undoing=undoing, attempt=job.attempt, exc_info=True)
            reason = f"{step.name}: {type(err).__name__}: {err}"
            if undoing:
                return Wait(reason, _UNDO_RETRY_S), job.attempt + 1
            if job.attempt + 1 < _ATTEMPTS:
                return Wait(reason, self._parts.jitter.around(_RETRY_S[job.attempt])), job.attempt + 1
            outcome = Failed(reason)
        if isinstance(outcome, Wait) and not undoing and self._over_budget(job, step):
            log.warning("step_over_budget", step=step.name, reason=outcome.reason)
            if step.overrun is not None:
                return await step.overrun(job), 0
            return Failed(f"{outcome.reason} (for longer than {self._budget(step):g} s)"), 0
        return outcome, 0

    def _budget(self, step: Step) -> float:
        return float(getattr(self._parts.settings, step.budget))

    def _over_budget(self, job: Job, step: Step) -> bool:
        return (self._parts.clock.now() - job.step_since).total_seconds() > self._budget(step)

    async def _park(self, job: Job, step: Step, wait: Wait, attempt: int, signals: int) -> bool:
        now = self._parts.clock.now()
        # The budget's end is looked at when it comes, not when the step would look by itself.
        over = job.step_since + timedelta(seconds=self._budget(step) + 0.01)
        wake = now + timedelta(seconds=wait.again_in)
        wake = min(wake, over) if over > now else wake
        row = await self._db.fetchrow(
            Q["park_run"], job.run_id, job.epoch, wait.reason, dict(job.data), attempt, signals, now, wake
        )
        if row is None:
            raise RunLost(job.run_id)
        return bool(row["again"])

    async def _move(
        self, job: Job, workflow: Workflow, step: Step, state: str, outcome: Done | Back | Failed
    ) -> tuple[str, Step, Job] | None:
        """Write the outcome down; the next step, or None when the run has ended."""
        following: Step | None
        reason = getattr(outcome, "reason", None)
        match outcome:
            case Done() if state == "undoing":
                following, state, mark = workflow.before(step.name), "undoing", "undone"
                ended = "failed"
            case Done():
                following, state, mark = workflow.after(step.name), "running", "done"
                ended = "done"
            case Back():
                following, mark, ended = workflow.step(outcome.step), "failed", ""
            case Failed():
                following, state, mark, ended = step, "undoing", "failed", ""
                log.warning("run_failing", step=step.name, reason=reason)
        goal = state if following is not None else ended
        now = self._parts.clock.now()
        moved = await self._db.fetchval(
            Q["advance_run"],
            job.run_id,
            job.epoch,
            step.name,
            step.name if following is None else following.name,
            dict(job.data),
            goal,
            now,
            mark,
            reason,
        )
        if not moved:
            raise RunLost(job.run_id)
        if following is None:
            log.info("run_ended", state=goal)
            return None
        return goal, following, replace(job, attempt=0, step_since=now)
