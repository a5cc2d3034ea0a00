"""Racks as a table: what is wrong is named by line and column, and what is on record comes out as it went in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ipam.prefixes import add_prefix, add_vrf
from service import racks_csv
from service.cli.main import main
from service.racks_csv import COLUMNS, Row, read, write
from tests.service.api_world import TOKEN, World

LEAF = "ewr1,R1,42,,,,,leaf1,,,,,10.0.0.1,,roundhouse,s3cret,ssh-ed25519 AAAA"
HEADER = (
    "facility,rack,unit,machine,plan,mac,arch,leaf,port,bmc_url,bmc_username,bmc_password,host,netconf_port,username,"
    "password,host_key"
)


def machine(number: int, *, unit: int | None = None, plan: str = "c1.small.x86", password: str = "pw") -> str:
    """A machine's line."""
    where = f"R1,{unit}" if unit else ","
    mac = "02:00:00:" + ":".join(f"{byte:02x}" for byte in number.to_bytes(3, "big"))
    bmc = f"https://10.9.{number >> 8}.{number & 255},admin,{password}"
    return f"ewr1,{where},m{number},{plan},{mac},amd64,leaf1,xe-0/0/{number},{bmc},,,,,"


def table(*lines: str) -> str:
    """Lines below the header."""
    return "\n".join((HEADER, *lines)) + "\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("facility,leaf,colour\n", "line 1, column colour: 'colour' is no column; allowed are facility, rack, unit"),
        ("leaf\n", "line 1, column facility: it is missing from the header"),
        (table(machine(1), machine(1)), "line 3, column machine: 'm1' is on line 2, too"),
        (
            table("ewr1,,,m1,c1.small.x86,zz,amd64,leaf1,xe-0/0/1,https://b,admin,pw,,,,,"),
            "line 2, column mac: 'zz' is not valid; allowed is six bytes, as 02:52:48:00:00:01",
        ),
        (
            table("ewr1,R1,x,m1" + "," * 13),
            "line 2, column unit: 'x' is not valid; allowed is a whole number from 1 to 100",
        ),
        (table("ewr1,,3,,,,,leaf1,xe-0/0/1" + "," * 8), "line 2, column unit: a unit needs a rack"),
        (table("ewr1,,,m1,,,,leaf1" + "," * 9), "line 2, column plan: it can't be empty for a machine"),
        (table(LEAF.replace("leaf1,,,", "leaf1,xe-0/0/1,,")), "line 2, column port: it must be empty for a leaf"),
        (table('ewr1,"'), "line 2: it is no line of comma-separated values: unexpected end of data"),
        (table(machine(1) + ",,,"), "line 2: it has 20 cells, the header 17"),
    ],
    ids=["column", "no-facility", "twice", "mac", "unit", "no-rack", "no-plan", "leaf-with-port", "quote", "cells"],
)
def test_what_is_wrong_is_named_by_line_and_column(text: str, said: str) -> None:
    _, faults = read(text)
    assert any(str(fault).startswith(said) for fault in faults), [str(fault) for fault in faults]


def test_a_password_that_is_not_valid_is_not_shown() -> None:
    assert set(racks_csv.SECRETS) <= set(COLUMNS)
    rows, faults = read(table(machine(1, password='"a,b ""c"'), LEAF))
    assert (faults, rows[0].bmc_password, rows[1].kind) == ([], 'a,b "c', "leaf")
    assert "a,b" not in write(rows)


_NAMES = st.from_regex(r"[a-z0-9][a-z0-9.-]{0,20}", fullmatch=True)
_TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1).map(str.strip).filter(bool)


@given(
    st.lists(
        st.builds(
            Row,
            line=st.just(0),
            facility=_NAMES,
            rack=_NAMES,
            unit=st.integers(1, 100),
            machine=_NAMES,
            plan=_NAMES,
            mac=st.integers(0, 255).map(lambda byte: f"02:00:00:00:00:{byte:02x}"),
            secure_boot=st.booleans(),
            leaf=_NAMES,
            port=st.integers(0, 99).map(lambda port: f"xe-0/0/{port}"),
            bmc_url=st.just("https://bmc"),
            bmc_username=_TEXTS,
        ),
        max_size=5,
    )
)
def test_what_is_written_is_read_again(rows: list[Row]) -> None:
    again, _ = read(write(rows))
    strip = [{name: getattr(row, name) for name in Row.__dataclass_fields__ if name != "line"} for row in rows]
    assert [{name: getattr(row, name) for name in strip[0]} for row in again] == strip


async def post(world: World, text: str, **more: Any) -> tuple[int, Any]:
    """The answer to an import."""
    answer = await world.call("POST", "/admin/v1/inventory/csv", {"csv": text, **more})
    return answer.status, answer.body


async def boot_prefix(world: World) -> None:
    """Links for the ports."""
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "10.64.0.0/16", "boot", block_length=31, facility="ewr1")


async def test_a_dry_run_changes_nothing_and_the_same_table_twice_is_once(world: World) -> None:
    await boot_prefix(world)
    free = "ewr1,R1,9,,,,,leaf1,xe-0/0/9,https://10.9.0.9,admin,pw,,,,,"
    text = table(LEAF, machine(1, unit=1), machine(2, unit=2), free)
    status, body = await post(world, text, dry_run=True)
    assert (status, body["counts"]) == (200, {"make": 4, "change": 0, "leave": 0})
    assert body["changes"][1]["fields"]["unit"] == {"before": None, "after": 1}
    assert "s3cret" not in json.dumps(body) and '"pw"' not in json.dumps(body)
    for kind in ("machine", "leaf", "rack", "leaf_port", "bmc_access"):
        assert await world.db.fetchval(f"SELECT count(*) FROM {kind}") == 0
    status, body = await post(world, text)
    assert (status, body["dry_run"]) == (200, False)
    row = await world.db.fetchrow(
        "SELECT m.state, m.rack_unit, r.name, t.block::text AS link"
        " FROM machine AS m JOIN rack AS r ON r.id = m.rack_id"
        " JOIN tenure AS t ON t.owner = m.port_id AND t.slot = 'boot' WHERE m.name = 'm2'"
    )
    assert (row["state"], row["rack_unit"], row["name"]) == ("preparing", 2, "R1")
    assert row["link"].startswith("10.64.")
    assert await world.db.fetchval("SELECT count(*) FROM run WHERE workflow = 'prepare'") == 2
    assert await world.db.fetchval("SELECT rack_unit FROM leaf_port WHERE name = 'xe-0/0/9'") == 9
    _, body = await post(world, text)
    assert body["counts"] == {"make": 0, "change": 0, "leave": 4}
    # What is written out is what was read, but for the secrets.
    exported = (await world.call("GET", "/admin/v1/inventory/csv?facility=ewr1")).body.decode()
    assert "s3cret" not in exported and ",pw" not in exported
    _, body = await post(world, exported)
    assert body["counts"] == {"make": 0, "change": 0, "leave": 4}


async def test_what_a_line_changes_is_shown_and_done(world: World) -> None:
    await boot_prefix(world)
    await post(world, table(LEAF, machine(1, unit=1)))
    changed = machine(1, unit=5, plan="baremetal_2", password="new").replace("10.9.0.1", "10.9.9.9")
    _, body = await post(world, table(changed))
    assert body["changes"][0]["fields"] == {
        "unit": {"before": 1, "after": 5},
        "plan": {"before": "c1.small.x86", "after": "m1.xlarge.x86"},
        "bmc_url": {"before": "https://10.9.0.1", "after": "https://10.9.9.9"},
        "bmc_password": {"before": "(secret)", "after": "(secret)"},
    }
    _, body = await post(world, table(changed))
    assert body["counts"]["leave"] == 1
    # A password by the side is as good as one in the table, and an empty one leaves what there is.
    assert (await post(world, table(machine(1, unit=5, password="")), passwords={"m1": "new"}))[0] == 200
    secrets = await world.db.fetchval("SELECT bmc_secret FROM machine WHERE name = 'm1'")
    await post(world, table(machine(1, unit=6, password="")))
    assert await world.db.fetchval("SELECT bmc_secret FROM machine WHERE name = 'm1'") == secrets


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (
            [machine(2, unit=1)],
            "line 2, column unit: unit 1 of rack R1 is taken by m1; nodes of one chassis need a plan",
        ),
        ([machine(2, unit=42)], "line 2, column unit: unit 42 of rack R1 is taken by leaf1"),
        ([machine(2, unit=43)], "line 2, column unit: 43 is not valid; rack R1 has 42 units"),
        ([machine(2, plan="gone")], "line 2, column plan: 'gone' is not known; allowed is c1.large.arm, "),
        ([machine(2).replace("leaf1", "leaf7")], "line 2, column leaf: 'leaf7' is not known, and no line of the table"),
        (
            [machine(2).replace("ewr1", "nyc1")],
            "line 2, column facility: 'nyc1' is not known; allowed is ams1, ewr1, sjc1",
        ),
        (
            [machine(1).replace("xe-0/0/1", "xe-0/0/3")],
            "line 2, column port: m1 hangs at leaf1 xe-0/0/1; a cable is moved",
        ),
        (
            [machine(2).replace("xe-0/0/2", "xe-0/0/1")],
            "line 2, column port: m1 hangs at leaf1 xe-0/0/1; retire it first",
        ),
        ([machine(2, password="")], "line 2, column bmc_password: it can't be empty: m2 is new"),
        (
            [machine(2).replace("02:00:00:00:00:02", "02:00:00:00:00:01")],
            "line 2, column mac: 02:00:00:00:00:01 is the card",
        ),
    ],
    ids=["unit", "leaf-unit", "too-high", "plan", "leaf", "facility", "moved", "port-taken", "no-password", "card"],
)
async def test_what_cannot_be_is_refused_and_nothing_is_changed(world: World, lines: list[str], said: str) -> None:
    await boot_prefix(world)
    await post(world, table(LEAF, machine(1, unit=1)))
    status, body = await post(world, table(*lines, machine(8)))
    assert status == 422
    assert any(error.startswith(said) for error in body["errors"]), body
    assert await world.db.fetchval("SELECT count(*) FROM machine") == 1


async def test_nodes_of_one_chassis_share_their_units(world: World) -> None:
    await boot_prefix(world)
    wide = {"rack_units": 2, "nodes": 2}
    assert (await world.call("PATCH", "/admin/v1/plans/c1.small.x86/hardware", wide)).status == 200
    status, _ = await post(world, table(LEAF, machine(1, unit=1), machine(2, unit=1)))
    assert status == 200
    _, body = await post(world, table(machine(3, unit=1), machine(4, unit=2)))
    assert body["errors"] == [
        "line 2, column unit: unit 1 of rack R1 is taken by m1, m2: a chassis of c1.small.x86 has 2 nodes",
        "line 3, column unit: unit 2 of rack R1 is taken by m1, m2, m3",
    ]


async def test_the_command_shows_the_plan_and_carries_it_out_when_told_to(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await boot_prefix(world)
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    file, passwords = tmp_path / "racks.csv", tmp_path / "passwords.csv"
    file.write_text(table(LEAF, machine(1, unit=1, password="")))
    passwords.write_text("m1,from a file\n")
    words = ["machine", "import", str(file), "--passwords", str(passwords)]
    assert await asyncio.to_thread(main, [*words, "--dry-run"]) == 0
    assert await asyncio.to_thread(main, words) == 2
    said = capsys.readouterr()
    assert "make  machine  m1     rack R1; unit 1; plan c1.small.x86" in said.out
    assert "2 to make, 0 to change, 0 stay as they are" in said.out
    assert "say --yes to carry it out" in said.err
    assert await world.db.fetchval("SELECT count(*) FROM machine") == 0
    capsys.readouterr()
    assert await asyncio.to_thread(main, [*words, "--yes", "--json"]) == 0
    said_json = capsys.readouterr().out
    assert json.loads(said_json[said_json.index("{\n") :])["counts"]["make"] == 2
    assert await asyncio.to_thread(main, ["machine", "export"]) == 0
    assert "ewr1,R1,1,m1,c1.small.x86,02:00:00:00:00:01,amd64,no,leaf1,xe-0/0/1," in capsys.readouterr().out
