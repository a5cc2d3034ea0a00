"""From the installer to the system on the disk: by hardware model, and what is tried when it does not arrive."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from service.cli.client import Client
from service.cli.handover import COMMANDS
from service.cli.output import Output
from service.lab.up import Lab, LabSettings
from service.store.handover import ways_of
from tests.lab.world import KEY, TOKEN, Customer, lab, over_budget

RULES = "/admin/v1/handover-rules"


async def told(running: Lab, device: str) -> list[str]:
    """What staff read of the hand-overs."""
    query = "SELECT body FROM event WHERE device_id = $1 AND type = 'provisioning.handover' ORDER BY seq"
    return [row["body"] for row in await running.service.db.fetch(query, device)]


async def used(running: Lab, device: str) -> list[str]:
    """How each install under the device's run was handed over."""
    query = """SELECT w.result FROM agent_work AS w JOIN run AS r ON r.id = w.run_id
        WHERE r.subject = $1 AND w.kind = 'install' ORDER BY w.created_at"""
    return [row["result"]["handover"] for row in await running.service.db.fetch(query, device)]


async def in_vain(running: Lab, times: int) -> None:
    """The installed system is waited for so many times, one after the other, for longer than it may take."""
    for _ in range(times):
        await over_budget(running.service.db, "await_phone_home")


async def first_machine(running: Lab) -> Any:
    query = "SELECT name FROM machine WHERE state = 'ready' ORDER BY state_since LIMIT 1"
    return running.rack.machines[await running.service.db.fetchval(query)]


@pytest.mark.parametrize(
    ("dead", "ways", "words"),
    [
        pytest.param({"switch_root"}, ["switch_root"], ["power cycle, to boot from its disk"], id="from-its-disk"),
        pytest.param(
            {"switch_root", "disk"},
            ["switch_root", "kexec"],
            ["power cycle, to boot from its disk", "installed once more, to go on by kexec"],
            id="by-the-next-way",
        ),
    ],
)
async def test_the_same_machine_is_tried_in_other_ways(
    database_url: str, tmp_path: Path, dead: set[Any], ways: list[str], words: list[str]
) -> None:
    asked = LabSettings(machines=2, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        machine = await first_machine(running)
        machine.faults.dead_ways = dead
        device = await customer.order()
        await in_vain(running, len(words))
        await customer.until(device, "active")
        query = "SELECT name FROM machine WHERE device_id = $1"
        assert await running.service.db.fetchval(query, device) == machine.name
        assert await used(running, device) == ways
        found = await told(running, device)
        assert [text.partition(": ")[2] for text in found] == words
        assert all(f"the system on {machine.name} did not phone home after switch_root" in text for text in found)
        status, waterfall = await customer.call("GET", f"/devices/{device}/waterfall")
        assert status == 200
        assert any(text in str(waterfall) for text in found)


async def test_a_machine_that_never_arrives_is_replaced(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=2, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        machine = await first_machine(running)
        machine.faults.dead_ways = {"switch_root", "kexec", "disk"}
        device = await customer.order()
        await in_vain(running, 4)
        await customer.until(device, "active")
        query = "SELECT name FROM machine WHERE device_id = $1"
        assert await running.service.db.fetchval(query, device) != machine.name
        assert await used(running, device) == ["switch_root", "kexec", "switch_root"]
        assert len(await told(running, device)) == 3  # two from the disk


@pytest.mark.parametrize("slug", ["coreos_stable", "flatcar_stable"])
async def test_a_system_that_ignition_configures_is_told_all_and_rebooted(
    database_url: str, tmp_path: Path, slug: str
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(operating_system=slug), "active")
        assert await used(running, device["id"]) == ["reboot"]
        (spec,) = [
            row["spec"] for row in await running.service.db.fetch("SELECT spec FROM agent_work WHERE kind = 'install'")
        ]
        config = json.loads(spec["ignition"])
        assert config["passwd"]["users"][0]["sshAuthorizedKeys"] == [KEY]
        assert "/etc/hostname" in {file["path"] for file in config["storage"]["files"]}
        assert "PRIVATE KEY" not in spec["ignition"]
        assert len(device["host_keys"]) == 1


async def test_no_other_way_is_tried_with_a_system_that_ignition_configures(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=2, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        machine = await first_machine(running)
        machine.faults.dead_ways = {"reboot"}
        device = await customer.order(operating_system="coreos_stable")
        await in_vain(running, 1)
        await customer.until(device, "active")
        query = "SELECT name FROM machine WHERE device_id = $1"
        assert await running.service.db.fetchval(query, device) != machine.name
        assert await used(running, device) == ["reboot", "reboot"]
        assert await told(running, device) == []


async def _make(customer: Customer, **body: Any) -> dict[str, Any]:
    status, rule = await customer.call("POST", RULES, body)
    assert status == 200, rule
    return dict(rule)


async def test_the_most_particular_rule_holds_and_the_agent_keeps_to_it(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        db = running.service.db
        machine = await db.fetchval("SELECT id FROM machine")
        system = {"system": {"sys_vendor": "Example Corp", "product_name": "R 1"}}
        await db.execute("UPDATE machine SET inventory = inventory || $2 WHERE id = $1", machine, system)
        assert await ways_of(db, machine) == ["switch_root", "kexec", "reboot"]
        for body, ways in (
            ({}, ["kexec"]),
            ({"plan": "c1.small.x86"}, ["kexec", "reboot"]),
            ({"vendor": "Other"}, ["switch_root"]),
            ({"vendor": "example corp"}, ["switch_root", "reboot"]),
            ({"product": "R 1"}, ["reboot"]),
        ):
            rule = await _make(customer, ways=ways, **body)
            assert await ways_of(db, machine) == (["kexec", "reboot"] if body.get("vendor") == "Other" else ways)
        changed = await _make(customer, product="R 1", ways=["reboot"], note="its network card is lost by kexec")
        assert changed["id"] == rule["id"]
        status, listed = await customer.call("GET", RULES)
        assert (status, len(listed["handover_rules"])) == (200, 5)
        device = (await customer.until(await customer.order(), "active"))["id"]
        assert await used(running, device) == ["reboot"]
        assert (await customer.call("DELETE", f"{RULES}/{rule['id']}"))[0] == 204
        assert (await customer.call("DELETE", f"{RULES}/{rule['id']}"))[0] == 404
        assert await ways_of(db, machine) == ["switch_root", "reboot"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        pytest.param({"ways": []}, "Ways is not valid", id="none"),
        pytest.param({"ways": ["fly"]}, "'switch_root', 'kexec' or 'reboot'", id="unknown"),
        pytest.param({"ways": ["kexec", "kexec"]}, "each way is named once", id="twice"),
        pytest.param({"ways": ["kexec"], "plan": "z9"}, "plan", id="plan"),
    ],
)
async def test_a_rule_that_cannot_be_is_refused(
    database_url: str, tmp_path: Path, body: dict[str, Any], words: str
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=0, leaves=1)) as (_, customer):
        status, problem = await customer.call("POST", RULES, body)
        assert status == 422
        assert words in str(problem)


async def test_the_commands(database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import asyncio
    from argparse import ArgumentParser

    async with lab(database_url, tmp_path, LabSettings(machines=0, leaves=1)) as (running, _):
        client = Client(running.api, TOKEN)

        async def command(verb: str, *words: str) -> str:
            row = next(row for row in COMMANDS if row.verb == verb)
            parser = ArgumentParser()
            row.arguments(parser)
            assert await asyncio.to_thread(row.run, parser.parse_args(words), client, Output(as_json=False)) == 0
            return capsys.readouterr().out

        assert "reboot" in await command("set", "reboot", "--vendor", "Example", "--note", "why not")
        listed = await command("list")
        assert "Example" in listed and "why not" in listed
        rule = listed.splitlines()[1].split()[0]
        await command("remove", rule)
        assert "Example" not in await command("list")


async def test_a_machine_whose_power_cannot_be_cut_is_replaced(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=2, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        machine = await first_machine(running)
        machine.faults.dead_ways = {"switch_root"}
        running.rack.bmc.faults(machine.name).unreachable = True
        device = await customer.order()
        await in_vain(running, 1)
        await customer.until(device, "active")
        query = "SELECT name FROM machine WHERE device_id = $1"
        assert await running.service.db.fetchval(query, device) != machine.name
