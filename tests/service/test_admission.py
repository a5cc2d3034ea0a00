"""Orders are admitted by what was measured: refused with the time to come again, or queued until then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images.catalogue import Catalogue, load_catalogue
from service.forecast import Lately, Pool, Took
from service.limits import limits_of
from service.settings import Settings
from sql.loader import Q
from tests.service.api_world import World

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@given(st.integers(0, 5), st.integers(0, 12), st.lists(st.integers(1, 999), max_size=5))
def test_each_order_before_takes_one_machine(ready: int, ahead: int, seconds: list[int]) -> None:
    coming = sorted(NOW + timedelta(seconds=one) for one in seconds)
    start = Pool(ready, ahead, coming).start(NOW)
    every = [*[NOW] * ready, *coming]
    assert start == (every[ahead] if ahead < len(every) else None)


@given(st.floats(0, 1000), st.sampled_from(["start", "install", "prove"]))
def test_what_is_left_never_grows_with_time(elapsed: float, step: str) -> None:
    order, steps = ["place", "start", "install", "prove"], {"start": 1.0, "install": 40.0, "prove": 2.0}
    took = Took(43, 60, 9, steps)
    left = took.left_s(step, elapsed, order)
    assert left <= took.left_s(step, 0, order) + 1e-6 and left >= 0
    assert took.left_s("start", 0, order) == 43


async def measured(world: World, workflow: str, subject: UUID, seconds: float, ago_s: float = 0) -> None:
    """A run that came to its end."""
    ended = datetime.now(UTC) - timedelta(seconds=ago_s)
    begun = ended - timedelta(seconds=seconds)
    run = await world.db.fetchval(
        "INSERT INTO run (workflow, subject, state, step, created_at, finished_at, deadline)"
        " VALUES ($1, $2, 'done', 'end', $3, $4, $4) RETURNING id",
        workflow,
        subject,
        begun,
        ended,
    )
    await world.db.execute(
        "INSERT INTO run_step (run_id, step, attempt, state, started_at, finished_at)"
        " VALUES ($1, 'install', 1, 'done', $2, $3)",
        run,
        begun,
        ended,
    )


async def prepared_before(world: World, *, prepare_s: float, provision_s: float) -> UUID:
    """A plan whose machines were prepared and installed before; its one machine is in use."""
    (machine,) = await world.add_machines(1)
    device = UUID((await world.order(hostname="first")).body["id"])
    await world.db.execute("UPDATE run SET state = 'superseded', finished_at = now() WHERE subject = $1", device)
    await measured(world, "provision", device, provision_s)
    await measured(world, "prepare", machine, prepare_s)
    await world.db.execute("UPDATE device SET state = 'active', active_at = now() WHERE id = $1", device)
    await world.db.execute("UPDATE machine SET state = 'in_use', device_id = $2 WHERE id = $1", machine, device)
    return machine


async def preparing(world: World, count: int, *, since_s: float) -> None:
    """Machines on their way to the pool, for so long already."""
    for machine in await world.add_machines(count, state="preparing"):
        begun = datetime.now(UTC) - timedelta(seconds=since_s)
        run = await world.db.fetchval(
            "INSERT INTO run (workflow, subject, step, created_at, deadline) VALUES ('prepare', $1, 'erase', $2, $2)"
            " RETURNING id",
            machine,
            begun,
        )
        assert run


async def place(world: World, device: str) -> None:
    """The order's run has come to where it waits for a machine."""
    await world.db.execute("UPDATE run SET step = 'place' WHERE subject = $1::text::uuid", device)


async def test_an_order_without_a_deadline_is_refused_with_the_time(world: World) -> None:
    await prepared_before(world, prepare_s=600, provision_s=120)
    answer = await world.order(hostname="late")
    assert answer.status == 422 and "no c1.small.x86 is ready in ewr1" in answer.body["errors"][0]
    assert "not before" not in answer.body["errors"][0], "nothing is being prepared"
    await preparing(world, 1, since_s=300)
    before = await world.db.fetchval("SELECT count(*) FROM device")
    answer = await world.order(hostname="late")
    expected = datetime.now(UTC) + timedelta(seconds=300 + 120)
    assert answer.status == 422
    assert any(
        f"not before {moment:%H:%M} UTC" in answer.body["errors"][0]
        for moment in (expected - timedelta(seconds=5), expected)
    )
    assert await world.db.fetchval("SELECT count(*) FROM device") == before


async def test_whoever_waits_long_enough_is_queued_and_told_when(world: World) -> None:
    await prepared_before(world, prepare_s=600, provision_s=120)
    await preparing(world, 1, since_s=300)
    now = datetime.now(UTC)
    early = await world.order(hostname="early", deadline=(now + timedelta(seconds=400)).isoformat())
    assert early.status == 422 and "Deadline is not valid" in early.body["errors"][0]
    queued = await world.order(hostname="queued", deadline=900)
    assert queued.status == 201 and queued.body["state"] == "queued"
    eta, deadline = (datetime.fromisoformat(queued.body[name]) for name in ("eta", "deadline"))
    assert abs((eta - now).total_seconds() - 420) < 15
    assert abs((deadline - now).total_seconds() - 900) < 15
    await place(world, queued.body["id"])
    second = await world.order(hostname="second", deadline=900)
    assert second.status == 422, "one machine is coming, and somebody waits for it"
    again = await world.call("GET", f"/devices/{queued.body['id']}")
    assert abs((datetime.fromisoformat(again.body["eta"]) - eta).total_seconds()) < 15


@pytest.mark.parametrize(
    "deadline", [0, -5, 31 * 86400, "yesterday", True, [1]], ids=["zero", "below", "month", "word", "bool", "list"]
)
async def test_a_deadline_that_is_none_is_refused(world: World, deadline: object) -> None:
    await world.add_machines(1)
    answer = await world.order(deadline=deadline)
    assert answer.status == 422 and "eadline" in answer.body["errors"][0]


async def test_an_order_that_cannot_be_in_time_is_refused_though_a_machine_is_free(world: World) -> None:
    await prepared_before(world, prepare_s=600, provision_s=120)
    await world.add_machines(1)
    assert (await world.order(deadline=60)).status == 422
    answer = await world.order(deadline="180")
    assert answer.status == 201
    eta = datetime.fromisoformat(answer.body["eta"]) - datetime.fromisoformat(answer.body["created_at"])
    assert 115 <= eta.total_seconds() <= 130


async def test_the_eta_is_told_before_an_order(world: World) -> None:
    await prepared_before(world, prepare_s=600, provision_s=120)
    asked = "/capacity/eta?plan=c1.small.x86&facility=ewr1&operating_system=debian_12"
    (found,) = (await world.call("GET", asked)).body["etas"]
    assert found["eta"] is None and found["free"] == 0 and found["seconds"] == {"p50": 120.0, "p95": 120.0}
    await preparing(world, 1, since_s=0)
    (found,) = (await world.call("GET", asked)).body["etas"]
    eta = (datetime.fromisoformat(found["eta"]) - datetime.now(UTC)).total_seconds()
    assert 705 < eta <= 720 and found["measured"] == 1
    assert (await world.call("GET", "/capacity/eta?plan=c9")).status == 422
    assert (await world.call("GET", "/capacity/eta")).status == 422


async def test_projects_take_turns_at_the_pool(world: World) -> None:
    """One project's many orders come first; another's single one is not behind them all."""
    ids = await world.add_machines(8)
    mine = [(await world.order(hostname=f"many{number}")).body["id"] for number in range(6)]
    theirs = await world.other_tenant()
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1", "hostname": "single"}
    single = (await world.call("POST", f"/projects/{theirs}/devices", wish, token="other-token")).body["id"]
    for device in (*mine, single):
        await place(world, device)
    await world.db.execute("UPDATE machine SET state = 'preparing' WHERE id <> $1", ids[0])

    async def queue() -> list[str]:
        rows = await world.db.fetch("SELECT device_id, ahead FROM pool_queue ORDER BY ahead")
        assert [row["ahead"] for row in rows] == list(range(len(rows)))
        return [str(row["device_id"]) for row in rows]

    assert await queue() == [mine[0], single, *mine[1:]]
    where = await world.db.fetchrow("SELECT facility_id, plan_id FROM device WHERE id = $1::text::uuid", single)
    turns = {
        device: (await world.db.fetchrow(Q["turn_in_pool"], UUID(device), *where))["mine"] for device in (*mine, single)
    }
    assert [device for device, its in turns.items() if its] == [mine[0]], "one machine is ready"
    await world.db.execute("UPDATE device SET placed_at = now() WHERE id = $1", UUID(mine[0]))
    await world.db.execute("UPDATE run SET step = 'start' WHERE subject = $1::text::uuid", mine[0])
    assert await queue() == [single, *mine[1:]], "whoever was served longest ago comes first"
    assert await world.db.fetchrow(Q["turn_in_pool"], uuid4(), *where) is None


async def test_what_was_not_measured_is_told_as_a_limit(world: World) -> None:
    await world.add_machines(2)
    asked = "/capacity/eta?plan=c1.small.x86&facility=ewr1"
    settings = Settings()
    for system, most in (("", settings.order_limit_s), ("&operating_system=debian_12", settings.order_limit_s)):
        (found,) = (await world.call("GET", asked + system)).body["etas"]
        assert (found["basis"], found["measured"], found["seconds"]["p50"]) == ("limit", 0, most)
    image, native = await world.order(), await world.order(hostname="web2", engine="native")
    for answer, most in (
        (image, settings.order_limit_s),
        (native, settings.order_limit_s + settings.native_limit_s),
    ):
        assert answer.body["eta_basis"] == "limit"
        took = datetime.fromisoformat(answer.body["eta"]) - datetime.fromisoformat(answer.body["created_at"])
        assert abs(took.total_seconds() - most) < 15
    # Under way: what the stages may still take, and not beyond the deadline.
    await world.db.execute("UPDATE run SET step = 'prove', step_since = now() WHERE subject = $1", image.body["id"])
    shown = (await world.call("GET", f"/devices/{image.body['id']}")).body
    left = (datetime.fromisoformat(shown["eta"]) - datetime.now(UTC)).total_seconds()
    assert abs(left - settings.prove_limit_s) < 15 and shown["eta_basis"] == "limit"
    await prepared_before(world, prepare_s=600, provision_s=120)
    (found,) = (await world.call("GET", asked)).body["etas"]
    assert (found["basis"], found["measured"], found["seconds"]["p50"]) == ("measurement", 1, 120.0)
    measured = (await world.call("GET", f"/devices/{native.body['id']}")).body
    assert measured["eta_basis"] == "measurement"


@pytest.mark.parametrize(("install", "first_boot", "whole"), [(240, 240, 300), (60, 50, 230)], ids=["usual", "quick"])
def test_the_catalogue_s_budgets_are_the_limit(install: int, first_boot: int, whole: float) -> None:
    system = replace(load_catalogue().get("debian_12"), install_budget_s=install, first_boot_budget_s=first_boot)
    limits = limits_of(Catalogue({"debian_12": system}), Settings(), "debian_12", None)
    assert (limits.p50_s, limits.measured, limits.basis) == (whole, 0, "limit")
    order = ["place", "install", "await_phone_home", "prove", "activate"]
    assert limits.left_s("await_phone_home", 20, order) == first_boot - 20 + 120


async def test_of_few_runs_each_counts_at_once_and_of_many_none_within_seconds(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    now, lately = datetime.now(UTC), Lately()

    async def ran(count: int, seconds: int) -> None:
        await world.db.execute(
            """WITH ended AS (
                   INSERT INTO run (workflow, subject, state, step, finished_at, deadline)
                   SELECT 'provision', $1, 'done', 'end', clock_timestamp(), now() FROM generate_series(1, $2)
                   RETURNING id)
               INSERT INTO run_step (run_id, step, attempt, state, started_at, finished_at)
               SELECT id, 'install', 1, 'done', now(), now() + make_interval(secs => $3) FROM ended""",
            UUID(device),
            count,
            seconds,
        )

    async def p50_s(later_s: float = 0) -> float:
        async with world.db.acquire() as conn:
            times = await lately.times_of(conn, "provision", now=now + timedelta(seconds=later_s))
        (took,) = times.values()
        return took.p50_s

    for count, seconds in ((3, 10), (4, 20), (8, 30)):
        await ran(count, seconds)
        assert await p50_s() == seconds
    await ran(200, 40)
    assert await p50_s() == 40
    await ran(200, 50)
    assert await p50_s(4.9) == 40
    assert await p50_s(5.1) == 50
