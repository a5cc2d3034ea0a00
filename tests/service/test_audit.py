"""The audit log: who changed what, with before and after; nothing secret, and nothing is taken back."""

from __future__ import annotations

import re
from typing import Any

import asyncpg
import pytest

from service.store.acting import ACTING
from service.store.rows import Pool
from tests.service.api_world import ED25519, World

# Tables whose changes no operator and no customer makes by hand, or that keep their own history.
UNAUDITED = {
    "address_price": "versions with who set each",
    "agent_session": "the agents' own",
    "agent_work": "what runs ask of agents",
    "asn_tenure": "the ledger names who opened and closed each tenure",
    "audit": "itself",
    "bgp_session": "versions with who set and who ended each",
    "batch_device": "orders",
    "bmc_password": "on its way to a BMC; the request that asks for it is told",
    "boot_node": "processes report themselves",
    "console_lease": "processes report themselves",
    "console_session": "names who logged in where",
    "device": "events and runs tell a device's course",
    "device_batch": "orders, each with who made it",
    "device_tally": "counted by triggers",
    "discovery": "machines report themselves",
    "dns_zone": "the updater's own",
    "erase_certificate": "written by runs, signed",
    "event": "a log itself",
    "event_tail": "a number that counts on by itself",
    "facility_event": "a log itself",
    "hook_delivery": "a log itself",
    "hook_question": "a log itself",
    "event_tally": "counted by triggers",
    "free_asn": "follows from the ledger",
    "free_block": "follows from the ledger",
    "idempotency": "answers to repeated requests",
    "image_install": "measurements of runs",
    "ip_label": "the ledger names who took and gave back each address",
    "leaf_plan": "names who planned and who applied",
    "native_install": "runs' own",
    "plan_price": "follows from the plan",
    "ptr_pushed": "the updater's own",
    "route_withdrawal": "follows from the ledger",
    "run": "a course, with its own steps",
    "run_step": "a course",
    "schema_migration": "written by the program",
    "service_secret": "made by the service",
    "spot_market_request": "orders, each with who made it",
    "spot_price": "the market's own history",
    "tenure": "the ledger names who opened and closed each tenure",
    "traffic_sample": "measured",
}
_SECRET = re.compile("secret|password|digest|private_key|token$|md5|hash$")


async def audit(world: World, **asked: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    answer = await world.call("GET", f"/admin/v1/audit?{query}")
    assert answer.status == 200
    found: list[dict[str, Any]] = answer.body["audit"]
    return found


async def test_a_change_is_told_with_before_and_after(world: World) -> None:
    answer = await world.call("PATCH", f"/projects/{world.project}", {"name": "renamed"})
    assert answer.status == 200
    email = await world.db.fetchval("SELECT email FROM user_account WHERE id = $1", world.user)
    (row,) = await audit(world, subject=str(world.project))
    assert (row["kind"], row["action"], row["name"]) == ("project", "update", "renamed")
    assert row["before"]["name"] != "renamed" and row["after"]["name"] == "renamed"
    assert set(row["after"]) == {"name", "updated_at"}
    assert (row["actor"], row["email"], row["source"]) == (f"user:{world.user}", email, "127.0.0.1")
    assert (row["method"], row["path"]) == ("PATCH", f"/projects/{world.project}")
    assert row["request"] == answer.headers["X-Request-Id"]
    both = await audit(world, request=row["request"])
    assert [(one["kind"], one["status"]) for one in both] == [("request", 200), ("project", None)]
    assert both == await audit(world, actor=email) == await audit(world, actor=str(world.user))
    assert await audit(world, actor="nobody@example.org") == [] == await audit(world, until="2020-01-01T00:00:00Z")


async def test_customers_are_named_too_and_their_secrets_are_not(world: World) -> None:
    token = await world.tenant_token()
    made = await world.call("POST", "/ssh-keys", {"label": "mine", "key": ED25519}, token=token)
    assert made.status == 201
    (row,) = await audit(world, kind="ssh_key")
    assert (row["email"], row["action"], row["before"], row["after"]["label"]) == (
        "tenant-token@example.org",
        "insert",
        None,
        "mine",
    )
    assert await audit(world, kind="request") == []  # a customer's requests are told by what they change
    assert (await world.call("GET", "/admin/v1/audit", token=token)).status == 403


async def test_an_act_of_staff_without_a_row_is_told_and_so_is_a_refusal(world: World) -> None:
    await world.call("PATCH", "/admin/v1/plans/nothing-like-it/burn-in", {"limits": {}})
    (row,) = await audit(world)
    assert (row["kind"], row["action"], row["status"]) == ("request", "request", 404)
    assert (row["method"], row["path"]) == ("PATCH", "/admin/v1/plans/nothing-like-it/burn-in")


async def test_a_dry_run_is_told_as_one(world: World) -> None:
    path = "/admin/v1/plans/c1.small.x86"
    assert (await world.call("PATCH", path, {"price_hourly": 9, "dry_run": True})).status == 200
    assert (await world.call("POST", "/admin/v1/inventory/csv", {"csv": "facility\n", "dry_run": True})).status == 422
    assert (await world.call("PATCH", path, {"price_hourly": 9})).status == 200
    told = [(row["kind"], row["action"], row["status"]) for row in await audit(world)]
    assert told[::-1][:2] == [("request", "dry_run", 200), ("request", "dry_run", 422)]
    assert told[0] == ("request", "request", 200) and ("plan", "update", None) in told


async def test_an_order_is_not_slowed_down_by_it(world: World) -> None:
    await world.add_machines(1)
    assert (await world.order()).status == 201
    assert await audit(world) == []


async def test_only_the_caller_s_own_connections_name_him(world: World) -> None:
    named = "SELECT current_setting('roundhouse.actor', true)"
    await world.call("PATCH", f"/projects/{world.project}", {"name": "renamed"})
    async with world.db.acquire() as first, world.db.acquire() as second, world.db.acquire() as third:
        assert {await conn.fetchval(named) or None for conn in (first, second, third)} == {None}
    await world.db.execute("UPDATE project SET name = 'by hand'")
    assert len(await audit(world, kind="project")) == 1
    assert ACTING.get() is None


async def test_what_is_secret_stays_so(world: World) -> None:
    await world.add_machines(1)
    async with world.db.acquire() as conn:
        actor = {"actor": f"user:{world.user}", "user": str(world.user), "method": "PATCH", "path": "/x"}
        actor |= {"request": "00000000-0000-4000-8000-000000000000"}
        await conn.execute("SELECT set_config('roundhouse.actor', $1::jsonb::text, false)", actor)
        await conn.execute("UPDATE machine SET bmc_secret = 'new', rack_unit = NULL, reason = 'why'")
        await conn.execute("UPDATE leaf SET epoch = epoch + 1, held_until = now()")
        await conn.execute("RESET roundhouse.actor")
    (row,) = await audit(world)
    assert row["after"] == {"bmc_secret": "(secret)", "reason": "why"}
    assert row["before"] == {"bmc_secret": "(secret)", "reason": None}


@pytest.mark.parametrize("act", ["UPDATE audit SET actor = 'me'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_nothing_is_taken_back(world: World, act: str) -> None:
    await world.call("PATCH", f"/projects/{world.project}", {"name": "renamed"})
    with pytest.raises(asyncpg.RaiseError, match="neither changed nor removed"):
        await world.db.execute(act)


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=yesterday", "since is not valid: 'yesterday' is no time as 2026-05-01T14:00:00Z"),
        ("limit=0", "limit is not valid: '0'; allowed is 1 to 1000"),
        ("before=-1", "before is not valid: '-1'; allowed is 1 to 9223372036854775807"),
        ("request=7", "request is not valid: '7' is no id"),
    ],
)
async def test_a_bad_question_is_refused(world: World, query: str, said: str) -> None:
    answer = await world.call("GET", f"/admin/v1/audit?{query}")
    assert (answer.status, answer.body) == (422, {"errors": [said]})


async def test_the_log_is_read_page_by_page(world: World) -> None:
    for number in range(5):
        await world.call("PATCH", f"/projects/{world.project}", {"name": f"name {number}"})
    first = (await world.call("GET", "/admin/v1/audit?kind=project&limit=3")).body
    rest = (await world.call("GET", f"/admin/v1/audit?kind=project&limit=3&before={first['next']}")).body
    assert [one["name"] for one in first["audit"] + rest["audit"]] == [f"name {number}" for number in range(4, -1, -1)]
    assert rest["next"] is None


async def test_every_table_is_audited_or_has_a_reason_not_to_be(db: Pool) -> None:
    tables = await db.fetch(
        """SELECT c.relname AS name, t.tgargs AS arguments,
                  array(SELECT a.attname::text FROM pg_attribute AS a
                        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
                  array(SELECT a.attname::text FROM pg_attribute AS a WHERE a.attrelid = c.oid
                        AND a.attnum > 0 AND a.atttypid = 'bytea'::regtype AND NOT a.attisdropped) AS sealed
           FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
           LEFT JOIN pg_trigger AS t ON t.tgrelid = c.oid AND t.tgname = 'audit_change'
           WHERE c.relkind = 'r' AND n.nspname = 'public' AND c.relname NOT LIKE 'pgqueuer%'"""
    )
    untold = {one["name"] for one in tables if one["arguments"] is None}
    assert untold == set(UNAUDITED)
    for one in tables:
        if one["arguments"] is None:
            continue
        subject, secrets, quiet, _ = one["arguments"].decode().split("\0")
        assert {subject, *secrets.split(), *quiet.split()} <= set(one["columns"]), one["name"]
        hidden = {name for name in one["columns"] if _SECRET.search(name)} | set(one["sealed"])
        assert hidden <= {*secrets.split(), *quiet.split()}, one["name"]
