"""The command line against the real API: tables, JSON, exit statuses, one line for an error, progress."""

from __future__ import annotations

import asyncio
import io
import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from service.cli.main import COMMANDS
from service.cli.output import span
from service.cli.progress import Progress
from tests.service.api_world import ED25519, World
from tests.service.shell import Shell

ORDER = ("--plan", "baremetal_1", "--os", "debian_12", "--facility", "ewr1")


async def test_devices_from_order_to_release(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    status, out, err = await shell("device", "create", *ORDER, "--hostname", "cli1", "--tag", "a", "--tag", "b")
    assert (status, err) == (0, "") and "cli1" in out and "a, b" in out
    status, out, _ = await shell("--json", "device", "list")
    (device,) = json.loads(out)
    assert device["hostname"] == "cli1"
    status, out, _ = await shell("device", "list", "--state", "queued", "--search", "cli")
    title, row = out.splitlines()
    assert title.split()[:3] == ["ID", "HOSTNAME", "STATE"] and row.split()[1:3] == ["cli1", "queued"]
    for name in (device["id"], device["short_id"], "cli1"):
        status, out, _ = await shell("device", "show", name, "--json")
        assert (status, json.loads(out)["id"]) == (0, device["id"])
    status, out, _ = await shell("device", "waterfall", "cli1")
    assert status == 0 and "await addresses" in out and "provision running" in out
    status, out, _ = await shell("device", "events", "cli1")
    assert status == 0 and out.startswith("TIME")
    status, out, err = await shell("device", "reboot", "cli1")
    assert status == 1 and err.startswith("roundhouse: device reboot: Type is not valid: 'reboot'")
    status, out, err = await shell("device", "delete", "cli1")
    assert (status, out) == (2, "") and "--yes" in err
    status, out, err = await shell("device", "delete", "cli1", "--yes")
    assert (status, err) == (0, "") and "is deleted" in out
    assert (await shell("device", "list", "--json"))[1] == "[]\n"


async def test_engine_and_disks_are_named_in_the_order(world: World, shell: Shell, tmp_path: Path) -> None:
    await world.add_machines(1)
    file = tmp_path / "storage.json"
    file.write_text('{"lvm": true, "passphrase": "correct horse", "disks": [{"type": "ssd"}]}', encoding="utf-8")
    how = ("--engine", "native", "--storage", str(file))
    status, out, err = await shell("device", "create", *ORDER, "--hostname", "cli1", *how)
    assert (status, err) == (0, "")
    assert "native" in out and "one disk, LVM, encrypted, type=ssd" in out and "correct" not in out
    status, _, err = await shell("device", "create", *ORDER, "--storage", '{"raid": "5"}')
    assert status == 1 and "storage.raid is not valid: '5'" in err
    status, _, err = await shell("device", "create", *ORDER, "--storage", "{")
    assert status == 1 and "--storage: no JSON" in err


async def test_the_same_key_orders_once(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    first = await shell("device", "create", *ORDER, "--idempotency-key", "k", "--json")
    second = await shell("device", "create", *ORDER, "--idempotency-key", "k", "--json")
    assert json.loads(first[1])["id"] == json.loads(second[1])["id"]


@pytest.mark.parametrize(("goal", "status"), [("active", 0), ("failed", 1)])
async def test_waiting_shows_the_stages_and_ends_with_the_order(
    world: World, shell: Shell, goal: str, status: int
) -> None:
    await world.add_machines(1)
    waiting = asyncio.create_task(shell("device", "create", *ORDER, "--wait", "--json"))
    while (device := await world.db.fetchrow("SELECT id FROM device")) is None:
        await asyncio.sleep(0.05)
    async with world.db.acquire() as conn, conn.transaction():
        await conn.execute("UPDATE run_step SET state = 'done', finished_at = now()")
        await conn.execute("UPDATE device SET state = $2 WHERE id = $1", device["id"], goal)
        await conn.execute("SELECT pg_notify('roundhouse', $1)", f"device:{device['id']}")
    ended, out, err = await asyncio.wait_for(waiting, 60)
    assert ended == status and json.loads(out)["state"] == goal
    assert "await addresses done after" in err


async def test_errors_are_one_line_and_status_one(world: World, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    for words, said in (
        (("device", "create", "--plan", "x", "--os", "debian_12", "--facility", "ewr1"), "Plan is not valid: 'x'"),
        (("device", "create", *ORDER), "There aren't available servers in that facility"),
        (("device", "show", "nobody"), "0 devices of the project are named 'nobody'"),
        (("project", "delete", "nowhere", "--yes"), "0 projects are named 'nowhere'"),
        (("machine", "show", "../leaves"), "Not found"),
        (("key", "add", "/no/such/file"), "No such file"),
    ):
        status, out, err = await shell(*words)
        assert (status, out) == (1, "") and said in err and err.count("\n") == 1, (words, err)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", "wrong")
    status, _, err = await shell("user", "show")
    assert status == 1 and "Invalid authentication token" in err
    monkeypatch.setenv("ROUNDHOUSE_API", "http://127.0.0.1:9")
    status, _, err = await shell("plan", "list")
    assert status == 1 and "cannot be reached" in err


@pytest.mark.parametrize("words", [(), ("device",), ("device", "fly"), ("device", "create"), ("plan", "list", "--x")])
async def test_wrong_usage_is_status_two(shell: Shell, words: tuple[str, ...]) -> None:
    status, out, err = await shell(*words)
    assert (status, out) == (2, "") and err.startswith("usage:")


async def test_every_list_is_a_table_and_json(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    await world.order()
    for command in COMMANDS:
        parser = ArgumentParser()
        command.arguments(parser)
        if command.verb == "list" and not any(action.required for action in parser._actions):
            status, out, err = await shell(command.noun, "list")
            assert (status, err) == (0, "") and out.splitlines()[0].isupper(), command.noun
            status, out, _ = await shell(command.noun, "list", "--json")
            assert status == 0 and isinstance(json.loads(out), list)


async def test_projects_and_keys(world: World, shell: Shell, tmp_path: Path) -> None:
    file = tmp_path / "id.pub"
    file.write_text(ED25519 + " me@laptop\n")
    assert "me@laptop" in (await shell("key", "add", str(file)))[1]
    _, out, _ = await shell("key", "list", "--json")
    assert [key["label"] for key in json.loads(out)] == ["me@laptop"]
    assert (await shell("key", "delete", json.loads(out)[0]["id"], "--yes"))[0] == 0
    project = json.loads((await shell("project", "create", "one", "--json"))[1])
    assert (await shell("key", "add", str(file), "--project", "one", "--label", "p"))[0] == 0
    assert "p" in (await shell("key", "list", "--project", project["id"]))[1]
    assert (await shell("project", "delete", "one", "--yes"))[0] == 0
    assert (await shell("project", "list", "--name", "one", "--json"))[1] == "[]\n"


async def test_racks_are_shown(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    assert "xe-0/0/1" in (await shell("leaf", "show", "leaf-ewr1"))[1]
    assert "m0" in (await shell("machine", "show", "m0"))[1]
    assert "203.0.113.0/24" in (await shell("prefix", "list"))[1]
    assert "Round House" in (await shell("user", "show"))[1]


async def test_the_doctor_names_what_is_wrong(
    world: World, shell: Shell, monkeypatch: pytest.MonkeyPatch, database_url: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("ROUNDHOUSE_DATABASE_URL", database_url)
    monkeypatch.setenv("ROUNDHOUSE_STATE_DIR", str(tmp_path))
    await world.add_machines(1)
    own = tmp_path / "first-stage" / "own"
    own.mkdir(parents=True)
    for name in ("undionly.kpxe", "snponly.efi"):
        (own / name).write_bytes(b"an operator's own build")
    status, out, _ = await shell("doctor", "--json")
    found = {one["check"]: one["detail"] for one in json.loads(out) if not one["ok"]}
    assert (status, found) == (1, {"boot nodes": "none is alive: machines that boot get no answer"})
    await world.db.execute(
        "INSERT INTO boot_node (id, host, pid, address, started_at, seen_at, ports, counters)"
        " VALUES (gen_random_uuid(), 'h', 1, '192.0.2.1', now(), now(), 1, '{}')"
    )
    status, out, _ = await shell("doctor")
    assert status == 0 and "schema up to date" in out and "1 alive" in out, out
    assert (tmp_path / "first-stage" / "snponly.efi").read_bytes() == b"an operator's own build"
    await world.db.execute("UPDATE machine SET state = 'quarantined', reason = 'the fan is loud'")
    status, out, _ = await shell("doctor", "--json")
    ill = [one for one in json.loads(out) if not one["ok"]]
    assert status == 1 and [one["check"] for one in ill] == ["machines"] and "the fan is loud" in ill[0]["detail"]
    await world.db.execute("UPDATE machine SET state = 'ready'")
    await world.db.execute("UPDATE leaf_port SET booted_mac = '02:ff:00:00:00:01', booted_at = now()")
    status, out, _ = await shell("doctor")
    assert status == 1 and "MAC 02:ff:00:00:00:01: expected no port, seen leaf-ewr1 xe-0/0/0, where m0 (" in out
    monkeypatch.setenv("ROUNDHOUSE_WORKERS", "many")
    status, out, _ = await shell("doctor")
    assert status == 1 and "workers: 'many' is no whole number" in out


async def test_migrate_says_what_it_did(world: World, shell: Shell, database_url: str) -> None:
    assert await shell("migrate", "--database-url", database_url) == (0, "nothing to apply\n", "")
    status, _, err = await shell("migrate", "--database-url", database_url + "_nowhere")
    assert status == 1 and err.startswith("roundhouse: migrate: ")


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def _stage(state: str, percent: float | None = None) -> dict[str, Any]:
    return {
        "step": "install",
        "attempt": 1,
        "state": state,
        "reason": None,
        "budget_s": 10.0,
        "actual_s": 5.0,
        "percent": percent,
        "detail": "writing",
    }


def test_bars_are_drawn_over_themselves_on_a_terminal() -> None:
    terminal = Terminal()
    progress = Progress(terminal)
    progress.show({"hostname": "web1", "state": "queued", "runs": [{"stages": [_stage("pending")]}]})
    progress.show({"hostname": "web1", "state": "provisioning", "runs": [{"stages": [_stage("running", 25.0)]}]})
    first, _, second = terminal.getvalue().partition("\x1b[2A")
    assert "░" * 20 in first and "█" * 5 + "░" * 15 in second and "25 % writing" in second


def test_a_stage_is_told_once_where_there_is_no_terminal() -> None:
    stream = io.StringIO()
    progress = Progress(stream)
    for state in ("pending", "running", "running", "done", "done"):
        progress.show({"hostname": "web1", "state": "x", "runs": [{"stages": [_stage(state)]}]})
    assert stream.getvalue() == "install done after 5.00 s\n"


def test_a_span_lies_where_its_time_lay() -> None:
    assert span(0, 5, 10, 10) == "█" * 5 + "░" * 5
    assert span(9.99, 0.01, 10, 10) == "░" * 9 + "█"
    assert span(0, 0, 0, 4) == "░" * 4
