"""The engine: what a run survives, and what it never does twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.parts import Parts
from service.settings import Settings
from service.store.rows import Pool
from service.store.runs import signal, start_run, supersede
from service.worker import Worker
from service.workflow import Act, Back, Done, Failed, Job, Outcome, RunLost, Step, Wait, Workflow
from sql.loader import Q
from tests.service.parts import make_parts

_RUN = "SELECT * FROM run WHERE id = $1"
_STEPS = "SELECT step, state FROM run_step WHERE run_id = $1 ORDER BY started_at, attempt"


@dataclass
class Diary:
    """What the steps of a test's workflow did, in order."""

    lines: list[str] = field(default_factory=list)

    def step(self, name: str, answer: Callable[[Job], Outcome] | None = None, *, undo: bool = True) -> Step:
        async def act(job: Job) -> Outcome:
            self.lines.append(name)
            return answer(job) if answer else Done()

        async def take_back(job: Job) -> Outcome:
            self.lines.append(f"undo {name}")
            return Done()

        return Step(name, act, "leaf_limit_s", undo=take_back if undo else None)


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return make_parts(Settings(state_dir=tmp_path, lease_s=1.0, workers=8))


@asynccontextmanager
async def worker(db: Pool, parts: Parts, workflow: Workflow) -> AsyncIterator[Worker]:
    made = Worker(db, parts, {workflow.name: workflow})
    task = asyncio.create_task(made.run())
    yield made
    made.stop()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def begin(db: Pool, workflow: Workflow, subject: UUID | None = None, **data: Any) -> UUID:
    now = datetime.now(UTC)
    async with db.acquire() as conn, conn.transaction():
        return await start_run(
            conn,
            workflow.name,
            subject or uuid4(),
            workflow.steps[0].name,
            now=now,
            deadline=now + timedelta(minutes=5),
            data=data,
        )


async def ended(db: Pool, run_id: UUID, limit: float = 60) -> Any:
    async with asyncio.timeout(limit):
        while (row := await db.fetchrow(_RUN, run_id))["finished_at"] is None:
            await asyncio.sleep(0.02)
        return row


async def test_steps_are_taken_in_order_and_their_data_is_kept(db: Pool, parts: Parts) -> None:
    diary = Diary()
    flow = Workflow("flow", (diary.step("one", lambda job: Done({"one": 1})), diary.step("two"), diary.step("three")))
    async with worker(db, parts, flow):
        row = await ended(db, await begin(db, flow, given=0))
    assert diary.lines == ["one", "two", "three"]
    assert (row["state"], row["data"]) == ("done", {"given": 0, "one": 1})
    steps = await db.fetch(_STEPS, row["id"])
    assert [(step["step"], step["state"]) for step in steps] == [("one", "done"), ("two", "done"), ("three", "done")]


async def test_a_failure_undoes_every_step_that_was_begun_the_last_first(db: Pool, parts: Parts) -> None:
    diary = Diary()
    flow = Workflow(
        "flow",
        (diary.step("one"), diary.step("two"), diary.step("three", lambda job: Failed("no")), diary.step("four")),
    )
    async with worker(db, parts, flow):
        row = await ended(db, await begin(db, flow))
    assert diary.lines == ["one", "two", "three", "undo three", "undo two", "undo one"]
    assert (row["state"], row["failure"]) == ("failed", "no")


async def test_an_error_is_tried_again_before_it_counts(db: Pool, parts: Parts) -> None:
    diary, left = Diary(), [2]

    def shaky(job: Job) -> Outcome:
        if left[0]:
            left[0] -= 1
            raise OSError("cable")
        return Done()

    flow = Workflow("flow", (diary.step("one", shaky),))
    async with worker(db, parts, flow):
        row = await ended(db, await begin(db, flow))
    assert (diary.lines, row["state"]) == (["one"] * 3, "done")


async def test_a_wait_ends_with_a_signal_and_tells_its_reason(db: Pool, parts: Parts) -> None:
    diary, subject, open_ = Diary(), uuid4(), [False]
    flow = Workflow("flow", (diary.step("one", lambda job: Done() if open_[0] else Wait("the door is shut", 3600)),))
    async with worker(db, parts, flow):
        run_id = await begin(db, flow, subject)
        async with asyncio.timeout(60):
            while (await db.fetchrow(_RUN, run_id))["reason"] != "the door is shut":
                await asyncio.sleep(0.02)
        open_[0] = True
        async with db.acquire() as conn, conn.transaction():
            await signal(conn, subject, now=datetime.now(UTC))
        assert (await ended(db, run_id))["state"] == "done"


async def test_a_signal_during_the_step_is_not_lost(db: Pool, parts: Parts) -> None:
    subject, looked = uuid4(), []

    async def look(job: Job) -> Outcome:
        looked.append(1)
        if len(looked) == 1:
            # It comes after the step has looked and before it goes to sleep.
            async with db.acquire() as conn, conn.transaction():
                await signal(conn, subject, now=datetime.now(UTC))
            # Who has the run in hand needs no hint.
            assert await db.fetchval("SELECT count(*) FROM pgqueuer WHERE status = 'queued'") == 0
            return Wait("not yet", 3600)
        return Done()

    flow = Workflow("flow", (Step("look", look, "leaf_limit_s"),))
    async with worker(db, parts, flow):
        assert (await ended(db, await begin(db, flow, subject)))["state"] == "done"
    assert len(looked) == 2


async def test_a_wait_over_its_budget_takes_its_exit(db: Pool, tmp_path: Path) -> None:
    short = make_parts(Settings(state_dir=tmp_path, leaf_limit_s=1))

    async def never(job: Job) -> Outcome:
        return Wait("it never comes", 0.3)

    async def other_way(job: Job) -> Outcome:
        return Back("first", "too slow", {"late": True})

    diary = Diary()
    first = diary.step("first")
    for overrun, state, failure in ((None, "failed", "it never comes"), (other_way, "done", None)):
        waiting: Act = never

        async def late(job: Job) -> Outcome:
            return Done() if job.data.get("late") else await never(job)

        flow = Workflow("flow", (first, Step("wait", late if overrun else waiting, "leaf_limit_s", overrun=overrun)))
        async with worker(db, short, flow):
            row = await ended(db, await begin(db, flow))
        assert row["state"] == state
        assert failure is None or failure in row["failure"]
    assert diary.lines == ["first", "undo first", "first", "first"]


async def test_a_dead_workers_run_goes_on_elsewhere_and_the_dead_can_write_nothing(db: Pool, parts: Parts) -> None:
    entered, elsewhere, lost = asyncio.Event(), asyncio.Event(), []
    diary = Diary()

    async def hang_once(job: Job) -> Outcome:
        diary.lines.append("hang")
        if not entered.is_set():
            entered.set()
            await elsewhere.wait()  # its lease of one second is not kept: see below
            try:
                async with job.transaction():
                    raise AssertionError("a fenced worker has written")
            except RunLost:
                lost.append(job.epoch)
                raise
        elsewhere.set()
        return Done()

    flow = Workflow("flow", (diary.step("one"), Step("hang", hang_once, "leaf_limit_s")))
    dead = Worker(db, parts, {flow.name: flow})
    dead._keep_leases = asyncio.Event().wait  # type: ignore[method-assign,assignment]  # a process that was stopped
    dying = asyncio.create_task(dead.run())
    run_id = await begin(db, flow)
    await asyncio.wait_for(entered.wait(), 60)
    async with worker(db, parts, flow):
        row = await ended(db, run_id)
        assert row["state"] == "done"
        async with asyncio.timeout(60):
            while not lost:
                await asyncio.sleep(0.05)
    dead.stop()
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    assert diary.lines == ["one", "hang", "hang"]
    assert (await db.fetchrow(_RUN, run_id))["epoch"] > lost[0]


async def test_a_run_whose_claim_was_answered_to_nobody_is_taken_again(db: Pool, parts: Parts) -> None:
    diary = Diary()
    flow = Workflow("flow", (diary.step("one"),))
    async with worker(db, parts, flow) as running:
        async with db.acquire() as conn, conn.transaction():
            run_id = await start_run(
                conn,
                flow.name,
                uuid4(),
                "one",
                now=datetime.now(UTC),
                deadline=datetime.now(UTC) + timedelta(minutes=5),
            )
            claimed = (run_id, running._id, timedelta(seconds=1), datetime.now(UTC))
            assert await conn.fetchrow(Q["claim_run"], *claimed) is not None
        assert (await ended(db, run_id))["state"] == "done"
    assert diary.lines == ["one"]


async def test_a_worker_that_hears_no_hints_any_more_listens_anew(db: Pool, parts: Parts) -> None:
    diary = Diary()
    flow = Workflow("flow", (diary.step("one"),))
    listener = "SELECT pid FROM pg_stat_activity WHERE query ILIKE 'LISTEN %' AND datname = current_database()"
    async with worker(db, parts, flow):
        async with asyncio.timeout(60):
            while (deaf := await db.fetchval(listener)) is None:
                await asyncio.sleep(0.05)
        assert await db.fetchval("SELECT pg_terminate_backend($1)", deaf)
        async with asyncio.timeout(60):
            while await db.fetchval(f"{listener} AND pid <> $1", deaf) is None:
                await asyncio.sleep(0.05)
        assert (await ended(db, await begin(db, flow)))["state"] == "done"


async def test_a_superseded_run_writes_no_more_and_undoes_nothing(db: Pool, parts: Parts) -> None:
    diary, subject = Diary(), uuid4()
    flow = Workflow("flow", (diary.step("one", lambda job: Wait("for ever", 0.1)),))
    async with worker(db, parts, flow):
        first = await begin(db, flow, subject)
        async with asyncio.timeout(60):
            while not diary.lines:
                await asyncio.sleep(0.02)
        now = datetime.now(UTC)
        async with db.acquire() as conn, conn.transaction():
            await supersede(conn, subject, now=now, reason="deleted")
            await start_run(conn, flow.name, subject, "one", now=now, deadline=now + timedelta(minutes=1))
        await asyncio.sleep(0.5)
    assert (await db.fetchrow(_RUN, first))["state"] == "superseded"
    assert not any(line.startswith("undo") for line in diary.lines)


async def test_a_subject_has_one_run_at_a_time(db: Pool) -> None:
    import asyncpg

    flow, subject = Workflow("flow", (Diary().step("one"),)), uuid4()
    await begin(db, flow, subject)
    with pytest.raises(asyncpg.UniqueViolationError, match="run_one_per_subject"):
        await begin(db, flow, subject)


async def test_a_lost_hint_is_found_by_the_sweep(db: Pool, parts: Parts) -> None:
    diary = Diary()
    flow = Workflow("flow", (diary.step("one"),))
    run_id = await begin(db, flow)
    await db.execute("DELETE FROM pgqueuer")
    async with worker(db, parts, flow):
        assert (await ended(db, run_id))["state"] == "done"
