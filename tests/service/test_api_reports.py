"""Reports over the wire and on the command line: filters, groups, CSV, and what a customer is told."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from argparse import ArgumentParser
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
import structlog

from ipam.ledger import take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from service.cli import reports
from service.cli.client import Client
from service.cli.output import Output
from tests.service.api_world import TOKEN, Answer, World

REPORTS = "/ipam/v1/reports"
NOW = datetime.now(UTC)
BY = "user:test"


async def report(world: World, path: str, token: str = TOKEN) -> Answer:
    return await world.call("GET", f"{REPORTS}/{path}", token=token)


async def hold_some(world: World, role: str, count: int, *, project: UUID | None = None, days: int = 0) -> None:
    async with world.db.acquire() as conn:
        prefixes = await prefixes_for(conn, role, "ewr1")
        for number in range(count):
            since = NOW - timedelta(days=days * (count - number) / count)
            await take(conn, prefixes, uuid4(), role, now=since, by=BY, project_id=project)


async def test_utilization_by_node_and_by_group(world: World) -> None:
    await hold_some(world, "public", 4, project=world.project)
    await hold_some(world, "ipv6", 3, project=world.project)
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "203.0.112.0/21", "container")
    answer = await report(world, "utilization?prefix=203.0.112.0/20")
    assert answer.body["group"] == "node"
    container, public = answer.body["utilization"]
    assert (container["prefix"], container["role"], container["total"]) == ("203.0.112.0/21", "container", 2048)
    assert (container["held"], container["free"], container["unassigned"]) == (8, 2040, 2048 - 256)
    assert public["owner"] == {"kind": "provider", "id": None, "name": None}
    assert {name: public[name] for name in ("unit", "total", "held", "free", "utilization")} == {
        "unit": "address",
        "total": 256,
        "held": 8,
        "free": 248,
        "utilization": 8 / 256,
    }
    by_role = {row["role"]: row for row in (await report(world, "utilization?group=role")).body["utilization"]}
    assert by_role["ipv6"] | {"unit": "/64", "total": 2 * 2**16, "held": 3} == by_role["ipv6"]
    assert by_role["public"]["total"] == 512 and "container" not in by_role
    by_place = (await report(world, "utilization?group=facility&role=public")).body["utilization"]
    assert [(row["facility"], row["held"]) for row in by_place] == [("ewr1", 8), ("sjc1", 0)]
    (owner,) = (await report(world, "utilization?group=owner&facility=ewr1&role=public")).body["utilization"]
    assert owner["owner"]["kind"] == "provider" and owner["held"] == 8
    projects = (await report(world, "utilization?group=project")).body["utilization"]
    assert [(row["name"], row["family"], row["unit"], row["held"]) for row in projects] == [
        ("default", 4, "address", 8),
        ("default", 6, "/64", 3),
    ]


async def test_a_nodes_owner_is_the_nearest_above_that_is_named(world: World) -> None:
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        home = world.organization
        await add_prefix(conn, vrf, "198.18.0.0/15", "container", organization_id=home)
        leaf = await add_prefix(conn, vrf, "198.18.7.0/24", "public", block_length=31)
    (row,) = (await report(world, f"utilization?prefix={leaf.id}")).body["utilization"]
    assert row["owner"] == {"kind": "organization", "id": str(home), "name": "Roundhouse"}
    owned = (await report(world, f"utilization?owner={home}")).body["utilization"]
    assert [row["prefix"] for row in owned] == ["198.18.0.0/15", "198.18.7.0/24"]
    others = (await report(world, "utilization?owner=provider&vrf=default")).body["utilization"]
    assert len(others) == 6


async def test_forecast_names_its_method_with_each_date(world: World) -> None:
    await world.db.execute("UPDATE prefix SET created_at = now() - interval '1 year'")
    await hold_some(world, "public", 60, days=30)
    answer = await report(world, "forecast?role=public&days=20")
    idle, growing = answer.body["forecast"]
    assert growing["state"] == "growing" and growing["days"] == 20 and growing["left"] == 256 - 120
    assert growing["per_day_low"] <= growing["per_day"] == pytest.approx(4, abs=0.2)
    date = datetime.fromisoformat(growing["exhausted_at"])
    assert date - NOW == pytest.approx(timedelta(days=(256 - 120) / 4), abs=timedelta(days=3))
    assert growing["earliest"] <= growing["exhausted_at"] <= growing["latest"]
    assert growing["confidence"] == 0.95 and "Student's t" in growing["method"]
    assert idle["state"] == "not growing" and idle["exhausted_at"] is None
    by_role = (await report(world, "forecast?group=role&role=public")).body["forecast"]
    assert [(row["role"], row["facility"], row["state"]) for row in by_role] == [
        ("public", "ewr1", "growing"),
        ("public", "sjc1", "not growing"),
    ]


async def test_a_young_prefix_has_no_trend_yet(world: World) -> None:
    (row,) = (await report(world, "forecast?prefix=203.0.113.0/24")).body["forecast"]
    assert row["state"] == "too little history" and row["per_day"] is None and row["exhausted_at"] is None


async def test_fragmentation_tells_its_definition(world: World) -> None:
    await hold_some(world, "public", 1)
    answer = await report(world, "fragmentation?role=public&group=node")
    second, first = answer.body["fragmentation"]
    assert (first["free_addresses"], first["largest_free"], first["free_blocks"]) == (254, "/25", 7)
    assert first["blocks"] == {f"/{length}": 1 for length in range(25, 32)}
    assert first["fragmentation"] == 1 - 128 / 254
    assert (second["largest_free"], second["fragmentation"]) == ("/24", 0.0)
    assert answer.body["definition"].startswith("1 - largest free block / all that is free")
    (role,) = (await report(world, "fragmentation?role=public&group=role")).body["fragmentation"]
    assert role["free_addresses"] == 254 + 256 and role["largest_free"] == "/24"


async def test_csv_has_a_column_for_each_field(world: World) -> None:
    for name in ("utilization", "forecast", "fragmentation"):
        answer = await report(world, f"{name}?format=csv")
        assert answer.status == 200 and answer.headers["Content-Type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
        listed = (await report(world, name)).body[name]
        assert [row["prefix"] for row in rows] == [row["prefix"] for row in listed]
        assert {row["owner_kind"] for row in rows} == {"provider"}
    (first, *_) = csv.DictReader(io.StringIO((await report(world, "forecast?format=csv")).body.decode()))
    assert first["confidence"] == "0.95" and first["method"]


@pytest.mark.parametrize(
    "asked",
    ["group=rack", "format=xml", "vrf=other", "owner=me", "prefix=here", "days=0", "days=99999999", "days=x"],
)
async def test_what_is_not_allowed_is_named(world: World, asked: str) -> None:
    answer = await report(world, f"forecast?{asked}")
    assert answer.status == 422 and asked.split("=")[0].capitalize() in answer.body["errors"][0]


async def test_a_customer_is_told_of_his_own_space_and_holdings(world: World) -> None:
    other = await world.other_tenant()
    await hold_some(world, "public", 2, project=world.project)
    await hold_some(world, "public", 3, project=other)
    tenant = await world.tenant_token()
    for name in ("utilization", "forecast", "fragmentation"):
        assert (await report(world, name, tenant)).body[name] == []
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "198.18.0.0/15", "container")
        await add_prefix(conn, vrf, "198.18.7.0/24", "public", block_length=31, organization_id=world.organization)
    for name in ("utilization", "forecast", "fragmentation"):
        assert [row["prefix"] for row in (await report(world, name, tenant)).body[name]] == ["198.18.7.0/24"]
    mine = (await report(world, "utilization?group=project", tenant)).body["utilization"]
    assert [(row["project"], row["held"]) for row in mine] == [(str(world.project), 4)]
    theirs = (await report(world, "utilization?group=project", "other-token")).body["utilization"]
    assert [(row["project"], row["held"]) for row in theirs] == [(str(other), 6)]


async def run(world: World, capsys: pytest.CaptureFixture[str], *words: str, as_json: bool = False) -> str:
    """A command of this family, as main would call it."""
    (command,) = [one for one in reports.COMMANDS if one.verb == words[0]]
    parser = ArgumentParser()
    command.arguments(parser)
    args = parser.parse_args(words[1:])
    with structlog.testing.capture_logs():
        assert await asyncio.to_thread(command.run, args, Client(world.url, TOKEN), Output(as_json)) == 0
    return capsys.readouterr().out


async def test_a_table_without_rows_has_the_same_columns(world: World) -> None:
    await hold_some(world, "public", 2, project=world.project)
    groups = ("node", "role", "facility", "owner")
    asked = [(name, group) for name in ("utilization", "forecast", "fragmentation") for group in groups]
    for name, group in (*asked, ("utilization", "project")):
        path = f"{name}?format=csv&group={group}"
        full = (await report(world, path)).body.decode().splitlines()
        empty = (await report(world, f"{path}&role=nothing")).body.decode().splitlines()
        assert len(full) > 1 and empty == full[:1], path


async def test_the_command_line_shows_tables_json_and_csv(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    await hold_some(world, "public", 64)
    title, _, row = (await run(world, capsys, "utilization", "--role", "public")).splitlines()
    assert title.split()[:5] == ["PREFIX", "VRF", "ROLE", "FACILITY", "OWNER"]
    assert row.startswith("203.0.113.0/24") and "█████░░░░░ 50.0%" in row
    out = await run(world, capsys, "forecast", "--group", "role")
    assert out.splitlines()[0].split()[:2] == ["ROLE", "FACILITY"] and "Student's t" in out and "(95%)" in out
    out = await run(world, capsys, "fragmentation", "--group", "owner")
    assert "provider" in out and "1 - largest free block" in out
    out = await run(world, capsys, "utilization", "--group", "project", as_json=True)
    assert json.loads(out)["utilization"] == []
    out = await run(world, capsys, "utilization", "--group", "facility", "--csv")
    assert out.splitlines()[0].startswith("facility,family,unit,total,held")
