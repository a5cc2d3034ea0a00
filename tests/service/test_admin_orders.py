"""Orders of all tenants, why one is slow, and runs that are hurried or called off."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.slowness import compare, sentences
from service.store.orders_seen import Usual
from tests.service.api_world import World


async def ended(world: World, count: int, *, install_s: float = 2.0) -> None:
    """Orders that became active, of which each has one measured stage."""
    for number in range(count):
        device = (await world.order(hostname=f"old{number}")).body["id"]
        run = await world.db.fetchval(
            "UPDATE run SET state = 'done', finished_at = now() WHERE subject = $1 RETURNING id", UUID(device)
        )
        await world.db.execute(
            """INSERT INTO run_step (run_id, step, attempt, state, started_at, finished_at)
               VALUES ($1, 'install', 1, 'done', now(), now() + make_interval(secs => $2))""",
            run,
            install_s,
        )
        await world.db.execute("UPDATE device SET state = 'active', active_at = now() WHERE id = $1", UUID(device))


async def test_operators_see_where_every_order_is(world: World) -> None:
    await world.add_machines(8)
    await ended(world, 1)
    device = (await world.order(hostname="web1")).body["id"]
    (one,) = (await world.call("GET", "/admin/v1/orders")).body["orders"]
    assert (one["id"], one["hostname"], one["state"], one["run"]["step"]) == (
        device,
        "web1",
        "queued",
        "await_addresses",
    )
    assert (one["organization"]["name"], one["plan"], one["facility"]) == ("Roundhouse", "c1.small.x86", "ewr1")
    every = (await world.call("GET", "/admin/v1/orders?all=true")).body["orders"]
    assert [each["hostname"] for each in every] == ["web1", "old0"]
    assert (await world.call("GET", "/admin/v1/orders?customer=nobody")).body["orders"] == []
    for name in ("web1", device, device[:8]):
        assert (await world.call("GET", f"/admin/v1/orders/{name}")).body["runs"][0]["workflow"] == "provision"
    assert (await world.call("GET", "/admin/v1/orders/web9")).status == 404
    second = (await world.order(hostname="web1")).body["id"]
    both = await world.call("GET", "/admin/v1/orders/web1")
    assert both.status == 422 and second[:8] in both.body["errors"][0]


async def test_a_slow_stage_is_named_beside_what_it_usually_takes(world: World) -> None:
    await world.add_machines(12)
    await ended(world, 6)
    device = UUID((await world.order(hostname="web1")).body["id"])
    run = await world.db.fetchval("SELECT id FROM run WHERE subject = $1", device)
    await world.db.execute(
        """INSERT INTO run_step (run_id, step, attempt, state, reason, started_at, finished_at)
           VALUES ($1, 'install', 1, 'done', 'm3 is to install: chunks 9 %', now(), now() + interval '31 s')""",
        run,
    )
    found = (await world.call("GET", "/admin/v1/orders/web1/why")).body
    stage = next(one for one in found["stages"] if one["step"] == "install")
    assert (stage["median_s"], stage["measured"], stage["slow"]) == (2.0, 6, True)
    assert any(
        one.startswith("install took 31 s, usually 2.00 s (95 of 100 within 2.00 s)") and "chunks 9 %" in one
        for one in found["why"]
    )
    assert (await world.call("GET", "/admin/v1/orders/old0/why")).body["why"] == [
        "no stage took longer than it usually does"
    ]


async def test_a_run_is_hurried_and_called_off(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    (run,) = (await world.call("GET", "/admin/v1/runs")).body["runs"]
    await world.db.execute("UPDATE run SET wake_at = now() + interval '1 h', step_since = now() - interval '1 h'")
    path = f"/admin/v1/runs/{run['id'][:8]}"
    before = (await world.call("GET", path)).body
    assert before["id"] == run["id"] and before["stages"][0]["step"] == "await_addresses"
    hurried = await world.call("POST", f"{path}/retry", {})
    assert hurried.status == 202 and hurried.body["wake_at"] < before["wake_at"]
    assert hurried.body["step_since"] == before["step_since"]
    forced = (await world.call("POST", f"{path}/retry", {"force": True})).body
    assert forced["step_since"] > before["step_since"]
    refused = await world.call("POST", f"{path}/cancel", {})
    assert refused.body["errors"] == ["Reason can't be blank"]
    cancelled = await world.call("POST", f"{path}/cancel", {"reason": "ordered twice"})
    assert (cancelled.status, cancelled.body["state"], cancelled.body["failure"]) == (202, "undoing", "ordered twice")
    twice = await world.call("POST", f"{path}/cancel", {"reason": "once more"})
    assert twice.body["errors"] == [f"run {run['id']} is undoing already"]
    await world.db.execute("UPDATE run SET state = 'failed', finished_at = now()")
    for act in ("retry", "cancel"):
        late = await world.call("POST", f"{path}/{act}", {"reason": "late"})
        assert late.status == 422 and "has ended as failed" in late.body["errors"][0]
    events = (await world.call("GET", f"/devices/{device}/events")).body["events"]
    assert {"run.retried", "run.cancelled"} <= {one["type"] for one in events}


async def test_an_erase_is_cut_short_only_by_force(world: World) -> None:
    (machine,) = await world.add_machines(1, state="preparing")
    run = await world.db.fetchval(
        """INSERT INTO run (workflow, subject, step, deadline) VALUES ('prepare', $1, 'erase', now() + interval '1 h')
           RETURNING id""",
        machine,
    )
    await world.db.execute(
        "INSERT INTO run_step (run_id, step, attempt, state) VALUES ($1, 'erase', 1, 'started')", run
    )
    refused = await world.call("POST", f"/admin/v1/runs/{run}/cancel", {"reason": "why not"})
    assert refused.status == 422 and "say force" in refused.body["errors"][0]
    forced = await world.call("POST", f"/admin/v1/runs/{run}/cancel", {"reason": "why not", "force": True})
    assert (forced.status, forced.body["state"]) == (202, "undoing")


def stage(**more: Any) -> dict[str, Any]:
    return {"step": "install", "attempt": 1, "state": "done", "reason": None, "actual_s": 2.0, "budget_s": 60.0} | more


@given(st.floats(0, 1e5), st.floats(0, 1e4), st.floats(0, 1e4), st.integers(0, 300))
def test_a_stage_is_slow_only_beyond_nearly_all_others(actual: float, one: float, other: float, measured: int) -> None:
    usual = Usual("install", measured, min(one, other), max(one, other))
    (found,) = compare([stage(actual_s=actual)], {"install": usual})
    if found.slow:
        assert actual > (usual.p95_s if measured >= 5 else 30.0)
    said = sentences([found], waiting=False)
    assert said and (found.slow == ("took" in said[0] and "longer" not in said[0]))


def test_what_it_waits_for_and_what_failed_is_told() -> None:
    found = compare(
        [
            stage(state="failed", reason="m1 fell silent", actual_s=90.0),
            stage(step="place", state="running", attempt=2, reason="no machine is ready", actual_s=3.0),
            stage(step="prove", state="pending"),
        ],
        {},
    )
    assert sentences(found, waiting=True) == [
        "install failed after 90 s: m1 fell silent",
        "it is at place (time 2) for 3.00 s, and no other order of the plan has measured it; its budget is 60 s:"
        " no machine is ready",
    ]
