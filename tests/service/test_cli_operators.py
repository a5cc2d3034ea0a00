"""The operators' nouns at the terminal: facilities, plans, racks, ports, orders, runs, selections of machines."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.cli.output import ordered
from service.cli.watch import changes, drawn
from tests.service.api_world import TOKEN, World
from tests.service.shell import Shell
from tests.service.test_admin_offering import SPECS


async def test_a_facility_is_added_shown_and_changed_by_agreement(shell: Shell) -> None:
    added = "facility add fra2 --name 'Frankfurt 2' --metro fr --metro-name Frankfurt --country DE"
    status, out, _ = await shell(added)
    assert status == 0 and "fr (Frankfurt, DE)" in out
    status, out, err = await shell("facility change fra2 --name Sossenheim")
    assert status == 2 and "nothing is done; say --yes" in err
    assert out.splitlines()[1].split() == ["name", "Frankfurt", "2", "→", "Sossenheim"]
    assert (await shell("facility change fra2 --name Sossenheim --yes"))[0] == 0
    assert (await shell.json("facility show fra2"))["name"] == "Sossenheim"
    assert (await shell("facility change fra2 --name Sossenheim --yes"))[1] == "nothing would change\n"


async def test_a_facility_s_events_and_its_secret(world: World, shell: Shell) -> None:
    made = await shell.json("facility set-secret ewr1 --overlap 60")
    assert made["secret"].startswith("whsec_")
    status, out, _ = await shell("facility secret ewr1")
    assert status == 0 and f"user:{world.user}" in out and "whsec_" not in out
    told = {"id": "e1", "kind": "failed", "machine": "m0", "at": "2026-01-01T00:00:00Z"}
    assert (await world.call("POST", "/admin/v1/facility-events", told)).body["state"] == "unknown"
    status, out, _ = await shell("facility events --state unknown")
    assert status == 0 and "no machine is m0" in out
    await world.add_machines(1)
    (event,) = await shell.json("facility events")
    assert (await shell.json(f"facility replay {event['id']}"))["outcome"] == "m0 is in quarantine"
    assert (await shell("facility events --state unknown"))[1].count("\n") <= 1
    assert (await shell("facility remove-secret ewr1"))[0] == 2
    assert (await shell("facility remove-secret ewr1 --yes"))[0] == 0
    assert (await shell.json("facility secret ewr1"))["set_at"] is None


async def test_a_price_is_shown_before_it_is_set(world: World, shell: Shell, tmp_path: Path) -> None:
    await world.add_machines(1)
    await world.order()
    status, out, _ = await shell("plan price c1.small.x86 0.55 --dry-run")
    assert status == 0 and "1 devices of 1 projects and 1 machines are of this plan" in out
    assert (await shell.json("plan show c1.small.x86"))["price_hourly"] == 0.4
    assert (await shell("plan price c1.small.x86 0.55 --yes"))[0] == 0
    (row,) = await shell.json("audit list --kind plan --subject c1.small.x86")
    assert row["after"] == {"price_hourly": 0.55}
    specs = tmp_path / "specs.json"
    specs.write_text(json.dumps(SPECS), encoding="utf-8")
    assert (await shell(f"plan add e1.medium.x86 --price 0.75 --specs {specs}"))[0] == 0
    assert "2 × 480GB SSD" in (await shell("plan show e1.medium.x86"))[1]
    status, _, err = await shell(f"plan add e1.medium.x86 --price 0.75 --specs {specs}")
    assert status == 1 and "plan e1.medium.x86 has one of" in err


async def test_a_rack_is_drawn_from_its_top(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    await shell("rack add ewr1 r1 --units 4")
    await shell("rack put r1 1 --machine m0")
    status, out, _ = await shell("rack put r1 4 --leaf leaf-ewr1")
    assert status == 0
    assert [line.split()[:3] for line in out.splitlines()[2:]] == [
        ["4", "leaf", "leaf-ewr1"],
        ["3", "·", "·"],
        ["2", "·", "·"],
        ["1", "machine", "m0"],
    ]
    assert (await shell("rack list"))[1].splitlines()[1].split()[:4] == ["r1", "ewr1", "4", "2"]
    assert (await shell("rack remove r1 --yes"))[2] == "roundhouse: rack remove: r1 is not empty: leaf-ewr1, m0\n"
    found = await shell.json("machine show m0")
    assert (found["rack"], found["rack_unit"], found["port_seen"]["name"]) == ("r1", 1, "xe-0/0/0")
    assert "r1 unit 1" in (await shell("machine show m0"))[1]


async def test_ports_are_listed_and_shown(world: World, shell: Shell) -> None:
    await world.add_machines(2)
    assert len((await shell("port list --showing used"))[1].splitlines()) == 3
    assert "provisioning" in (await shell("port show leaf-ewr1 xe-0/0/1"))[1]
    assert (await shell("port show leaf-ewr1 xe-0/0/9"))[2].endswith("leaf-ewr1 has no port xe-0/0/9\n")


async def test_an_order_is_followed_from_outside(world: World, shell: Shell) -> None:
    await world.add_machines(1)
    device = (await world.order(hostname="web1")).body["id"]
    assert "Roundhouse" in (await shell("order list"))[1]
    assert "await addresses" in (await shell("order show web1"))[1]
    status, out, _ = await shell(f"order why {device[:8]}")
    assert status == 0 and out.startswith(f"web1 ({device[:8]}) is queued, ") and "it is at await addresses for" in out
    (run,) = await shell.json("run list")
    assert "await addresses" in (await shell(f"run show {run['id'][:8]}"))[1]
    assert "looks again at await_addresses" in (await shell(f"run retry {run['id'][:8]}"))[1]
    assert (await shell(f"run cancel {run['id']} --reason twice"))[0] == 2
    assert "is being undone: twice" in (await shell(f"run cancel {run['id']} --reason twice --yes"))[1]
    assert (await shell("order cancel web1 --yes"))[0] == 0
    await world.db.execute("UPDATE device SET state = 'failed', deleted_at = NULL WHERE id = $1", UUID(device))
    assert (await shell("order wait web1"))[0] == 1


async def test_a_selection_is_shown_before_anything_is_done_to_it(world: World, shell: Shell) -> None:
    await world.add_machines(2, state="quarantined")
    await world.add_machines(1, state="preparing")
    status, out, _ = await shell("machine bulk prepare --where facility=ewr1 --dry-run")
    rows = [line.split() for line in out.splitlines()[1:]]
    assert status == 0 and [row[4:6] for row in rows] == [["quarantined", "preparing"]] * 2 + [["preparing"] * 2]
    assert rows[2][-2:] == ["is", "preparing"]
    assert (await shell("machine bulk prepare --where state=quarantined"))[0] == 2
    assert (await shell("machine bulk prepare --where colour=red --yes"))[0] == 1
    assert {one["state"] for one in await shell.json("machine list --state quarantined")} == {"quarantined"}


async def test_columns_and_order_are_chosen(world: World, shell: Shell) -> None:
    await world.add_machines(11)
    status, out, _ = await shell("machine list --columns name,mac --sort name --reverse")
    lines = out.splitlines()
    assert status == 0 and lines[0].split() == ["NAME", "MAC"] and lines[1].split() == ["m10", "02:00:00:00:00:0a"]
    assert [one["name"] for one in await shell.json("machine list --sort port")] == [f"m{n}" for n in range(11)]
    status, _, err = await shell("machine list --columns colour")
    assert status == 2 and "there is no column 'colour'; there are name, state, plan" in err


@given(st.lists(st.integers(0, 10**6)))
def test_numbers_in_names_count_as_numbers(numbers: list[int]) -> None:
    items = [{"name": f"xe-0/0/{number}"} for number in numbers]
    found = ordered(items, [("NAME", "name")], "name")
    assert [one["name"] for one in found] == [f"xe-0/0/{number}" for number in sorted(numbers)]


async def test_a_prefix_s_change_is_rehearsed(shell: Shell) -> None:
    status, out, _ = await shell("prefix set 203.0.113.0/24 --status draining --dry-run")
    assert status == 0 and "active" in out and "draining" in out and "0 blocks of it are taken" in out
    assert (await shell.json("prefix show 203.0.113.0/24"))["status"] == "active"


def _heeds_ctrl_c() -> None:
    """A shell has what it starts in the background ignore SIGINT, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


async def test_watching_tells_what_changes_until_it_is_interrupted(world: World) -> None:
    await world.add_machines(2)
    env = os.environ | {"ROUNDHOUSE_API": world.url, "ROUNDHOUSE_TOKEN": TOKEN}
    words = ("-m", "service.cli.main", "machine", "list", "--columns", "name,state", "--watch", "0.1")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, env=env, stdout=PIPE, preexec_fn=_heeds_ctrl_c
    )
    assert process.stdout is not None
    try:
        first = [(await process.stdout.readline()).decode().split() for _ in range(3)]
        assert first == [["NAME", "STATE"], ["m0", "ready"], ["m1", "ready"]]
        await world.db.execute("UPDATE machine SET state = 'quarantined' WHERE name = 'm1'")
        told = [(await process.stdout.readline()).decode().split() for _ in range(2)]
        assert told == [["-", "m1", "ready"], ["+", "m1", "quarantined"]]
    finally:
        process.send_signal(signal.SIGINT)
    assert await process.wait() == 130


async def test_following_events_goes_on_with_what_happens(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    env = os.environ | {"ROUNDHOUSE_API": world.url, "ROUNDHOUSE_TOKEN": TOKEN}
    words = ("-m", "service.cli.main", "event", "list", "--follow", "--json", "--type", "instance.deleted")
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, env=env, stdout=PIPE, preexec_fn=_heeds_ctrl_c
    )
    assert process.stdout is not None
    try:
        await world.call("DELETE", f"/devices/{device}")
        event = json.loads(await process.stdout.readline())
        assert event["type"] == "instance.deleted"
    finally:
        process.send_signal(signal.SIGINT)
    assert await process.wait() == 130


def test_what_is_drawn_fits_the_terminal() -> None:
    text = drawn("\n".join("x" * 200 for _ in range(50)), "title", columns=80, rows=24)
    lines = text.split("\n")
    assert len(lines) == 24 and lines[0].startswith("\x1b[Htitle") and lines[-1].startswith("… 28 more lines")
    assert all(len(line) <= 80 + len("\x1b[H\x1b[K\x1b[J") for line in lines)


@given(st.lists(st.text("ab", max_size=3)), st.lists(st.text("ab", max_size=3)))
def test_changes_are_the_lines_that_went_and_came(before: list[str], after: list[str]) -> None:
    found = changes("\n".join(before), "\n".join(after))
    assert {line[0] for line in found} <= {"+", "-"}
    assert (not found) == ("\n".join(before).splitlines() == "\n".join(after).splitlines())
