"""Plan and apply, against real actors and virtual leaves: drift, acceptance, profiles, cables, and who is touched."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from service.lab.leaf import VirtualLeaf
from service.lab.parts import Nic
from service.lab.up import Lab, LabSettings
from tests.lab.leaves import applied, drift, planned, typed_in
from tests.lab.world import Customer, lab, leaves_differ

MTU = "<interfaces><interface><name>xe-0/0/{port}</name><mtu>1400</mtu></interface></interfaces>"
FIREWALL = (
    "<firewall><family><inet><filter><name>rh4-xe-0/0/{port}</name><term><name>spoof</name><then><count>mine</count>"
    "</then></term></filter></inet></family></firewall>"
)
OLD = (
    "<interfaces><interface><name>xe-0/0/0</name><description>a customer of old</description></interface></interfaces>"
)


async def test_drift_is_found_shown_and_repaired(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        foreign = leaf.foreign()
        assert (await drift(operator, "leaf1"))["drifted"] == 0
        await typed_in(running.rack, "leaf1", MTU.format(port=0))
        found = await drift(operator, "leaf1")
        assert [(one["object"], one["ports"]) for one in found["objects"]] == [("interfaces xe-0/0/0", ["xe-0/0/0"])]
        assert "-  mtu 9216;" in found["difference"] and "+  mtu 1400;" in found["difference"]
        assert (await operator.call("GET", "/admin/v1/leaves/leaf1"))[1]["drifted"] == 1
        plan = await planned(operator, "leaf1", "repair")
        assert "+  mtu 9216;" in plan["difference"] and [one["port"] for one in plan["ports"]] == ["xe-0/0/0"]
        assert plan["machines"] == ["m0001"] and plan["customers"] == []
        assert "<mtu>1400</mtu>" in _text(leaf), "a plan changes nothing"
        done = await applied(operator, plan)
        assert done["applied_by"] and (await drift(operator, "leaf1"))["drifted"] == 0
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []
        assert leaf.foreign() == foreign


async def test_a_change_of_one_port_takes_no_drift_back_on_another(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator):
        await typed_in(running.rack, "leaf1", MTU.format(port=0))
        plan = await planned(operator, "leaf1", "profile", ports=["xe-0/0/1"], profile="maintenance")
        assert [one["port"] for one in plan["ports"]] == ["xe-0/0/1"] and "1400" not in plan["difference"]
        await applied(operator, plan)
        assert (await drift(operator, "leaf1"))["drifted"] == 1


async def test_what_is_accepted_stays_until_an_order_changes_it(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        await typed_in(running.rack, "leaf1", MTU.format(port=0) + FIREWALL.format(port=0))
        status, refused = await operator.call(
            "POST", "/admin/v1/leaves/leaf1/plans", {"action": "accept", "arguments": {"objects": ["xe-0/0/9"]}}
        )
        assert status == 422 and "allowed are" in refused["errors"][0] and "interfaces xe-0/0/0" in refused["errors"][0]
        plan = await planned(operator, "leaf1", "accept", objects=["interfaces xe-0/0/0"])
        assert any("stays as it runs" in note for note in plan["notes"])
        await applied(operator, plan)
        found = await drift(operator, "leaf1")
        assert [one["object"] for one in found["objects"]] == ["firewall family inet filter rh4-xe-0/0/0"]
        await applied(operator, await planned(operator, "leaf1", "repair"))
        assert (await drift(operator, "leaf1"))["drifted"] == 0 and "<mtu>1400</mtu>" in _text(leaf)
        (exempt,) = (await operator.call("GET", "/admin/v1/leaves/leaf1/exemptions"))[1]["exemptions"]
        assert (exempt["object"], exempt["lapsed"]) == ("interfaces xe-0/0/0", False)
        await operator.until(await operator.order(), "active")
        assert "<mtu>1400</mtu>" not in _text(leaf)
        (exempt,) = (await operator.call("GET", "/admin/v1/leaves/leaf1/exemptions"))[1]["exemptions"]
        assert exempt["lapsed"]
        await applied(operator, await planned(operator, "leaf1", "revoke"))
        assert (await operator.call("GET", "/admin/v1/leaves/leaf1/exemptions"))[1]["exemptions"] == []
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []


async def test_revoking_brings_ours_back(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        await typed_in(running.rack, "leaf1", MTU.format(port=0))
        await applied(operator, await planned(operator, "leaf1", "accept"))
        plan = await planned(operator, "leaf1", "revoke", objects=["xe-0/0/0"])
        assert "+  mtu 9216;" in plan["difference"] and plan["machines"] == ["m0001"]
        await applied(operator, plan)
        assert "<mtu>1400</mtu>" not in _text(leaf)


def _text(leaf: VirtualLeaf) -> str:
    return etree.tostring(leaf.running).decode()


async def test_a_plan_names_the_customer_and_is_carried_out_once(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator):
        device = await operator.until(await operator.order(), "active")
        port = await running.service.db.fetchval("SELECT name FROM leaf_port WHERE device_id IS NOT NULL")
        plan = await planned(operator, "leaf1", "profile", ports=[port], profile="maintenance")
        (touched,) = plan["ports"]
        assert (touched["device"]["id"], touched["profile"], touched["becomes"]) == (
            device["id"],
            "active",
            "maintenance",
        )
        assert plan["devices"] == ["host0"] and [one["name"] for one in plan["customers"]] == ["Roundhouse"]
        assert plan["customers"][0]["projects"][0]["id"] == operator.project
        assert any("host0" in note and "cut off" in note for note in plan["notes"])
        assert await running.service.db.fetchval("SELECT profile FROM leaf_port WHERE name = $1", port) == "active"
        await applied(operator, plan)
        status, again = await operator.call("POST", f"/admin/v1/leaf-plans/{plan['id']}/apply")
        assert status == 409 and "was carried out" in again["errors"][0]
        back = await planned(operator, "leaf1", "profile", ports=[port], profile="active")
        await applied(operator, back)
        row = await running.service.db.fetchrow("SELECT * FROM leaf_port WHERE name = $1", port)
        assert str(row["device_id"]) == device["id"] and row["profile"] == "active"
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []
        plans = (await operator.call("GET", "/admin/v1/leaves/leaf1/plans"))[1]["plans"]
        assert [(one["action"], one["state"]) for one in plans] == [("profile", "done")] * 2


async def test_a_stale_plan_is_refused(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        await typed_in(running.rack, "leaf1", MTU.format(port=0))
        plan = await planned(operator, "leaf1", "repair")
        await typed_in(running.rack, "leaf1", MTU.format(port=1))
        status, refused = await operator.call("POST", f"/admin/v1/leaf-plans/{plan['id']}/apply")
        assert status == 409 and "plan again" in refused["errors"][0]
        assert "<mtu>1400</mtu>" in _text(leaf), "nothing was done"
        old = await planned(operator, "leaf1", "repair")
        await running.service.db.execute("UPDATE leaf_plan SET planned_at = planned_at - interval '2 hours'")
        status, refused = await operator.call("POST", f"/admin/v1/leaf-plans/{old['id']}/apply")
        assert status == 409 and "older than 1 h" in refused["errors"][0]
        assert (await operator.call("GET", f"/admin/v1/leaf-plans/{old['id']}"))[1]["state"] == "expired"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "Action can't be blank"),
        ({"action": "explode"}, "Action is not valid: 'explode'; allowed are repair, accept"),
        ({"action": "profile", "arguments": {"ports": ["xe-0/0/0"]}}, "Profile can't be blank"),
        ({"action": "profile", "arguments": {"ports": ["xe-0/0/77"], "profile": "rescue"}}, "has no port 'xe-0/0/77'"),
        ({"action": "profile", "arguments": {"ports": ["xe-0/0/0"], "profile": "active"}}, "may become maintenance"),
        ({"action": "accept"}, "leaf1 has not drifted"),
        ({"action": "revoke"}, "nothing that runs on leaf1 is accepted"),
        ({"action": "adopt"}, "nothing of somebody else's"),
        ({"action": "recable"}, "sees no machine that is recorded elsewhere"),
        ({"action": "database", "arguments": {"database": "running"}}, "Database is not valid: 'running'"),
        ({"action": "database", "arguments": {"database": "candidate"}}, "through candidate already"),
        ({"action": "fabric", "arguments": {"fabric": {"asn": 0}}}, "fabric.asn is not valid: 0"),
        ({"action": "repair", "arguments": {"force": True}}, "Force is not valid"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_what_would(refusing: Customer, body: Any, said: str) -> None:
    status, refused = await refusing.call("POST", "/admin/v1/leaves/leaf1/plans", body)
    assert status == 422 and said in "; ".join(refused["errors"]), refused


@pytest.fixture
async def refusing(database_url: str, tmp_path: Path) -> Any:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (_, operator):
        yield operator


def plug(running: Lab, machine: str, leaf: str, port: str) -> None:
    """Put a machine's cable into another port."""
    light = running.rack.machines[machine]
    light.nic = Nic(light.nic.mac, running.rack.leaves[leaf].port_view(port))


async def test_a_swap_is_named_with_both_ports_and_put_right(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=3, leaves=1)) as (running, operator):
        running.rack.swap("m0001", "m0002")
        await drift(operator, "leaf1")
        found = (await operator.call("GET", "/admin/v1/leaves/leaf1/neighbors"))[1]["neighbors"]
        assert [one["swapped"] for one in found] == [True, True, False] and found[2]["as_recorded"]
        assert "xe-0/0/0" in found[0]["verdict"] and "xe-0/0/1" in found[0]["verdict"]
        plan = await planned(operator, "leaf1", "recable", machines=["m0002"])
        assert plan["machines"] == ["m0001", "m0002"] and len(plan["notes"]) == 2
        await applied(operator, plan)
        found = (await operator.call("GET", "/admin/v1/leaves/leaf1/neighbors"))[1]["neighbors"]
        assert [(one["machine"], one["as_recorded"]) for one in found] == [
            ("m0002", True),
            ("m0001", True),
            ("m0003", True),
        ]
        notes = await running.service.db.fetch(
            "SELECT o.name, t.note->>'machine' AS machine FROM tenure t JOIN leaf_port o ON o.id = t.owner"
            " WHERE t.slot = 'boot' AND corrected_at IS NULL ORDER BY 1"
        )
        assert [tuple(row) for row in notes] == [("xe-0/0/0", "m0002"), ("xe-0/0/1", "m0001"), ("xe-0/0/2", "m0003")]
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []


async def test_a_machine_moves_to_another_leaf_and_not_under_a_device(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=2)) as (running, operator):
        db = running.service.db
        device = await operator.until(await operator.order(), "active")
        used = await db.fetchval("SELECT name FROM machine WHERE device_id IS NOT NULL")
        idle = "m0001" if used == "m0002" else "m0002"
        home, other = ("leaf1", "leaf2") if idle == "m0001" else ("leaf2", "leaf1")
        await db.execute("INSERT INTO leaf_port (leaf_id, name) SELECT id, 'xe-0/0/7' FROM leaf WHERE name = $1", other)
        plug(running, idle, other, "xe-0/0/7")
        plug(running, used, home, "xe-0/0/0")
        for leaf in ("leaf1", "leaf2"):
            await drift(operator, leaf)
        status, refused = await operator.call(
            "POST", f"/admin/v1/leaves/{home}/plans", {"action": "recable", "arguments": {"machines": [used]}}
        )
        assert status == 422 and "serves device host0" in refused["errors"][0], refused
        plan = await planned(operator, other, "recable", machines=[idle])
        assert {(one["leaf"], one["port"], one["becomes"]) for one in plan["ports"]} == {
            (home, "xe-0/0/0", "quarantine"),
            (other, "xe-0/0/7", "provisioning"),
        }
        assert f"# {home}" in plan["difference"] and f"# {other}" in plan["difference"]
        await applied(operator, plan)
        assert await leaves_differ(db, running.service.parts, running.rack) == []
        assert device["id"] == str(await db.fetchval("SELECT device_id FROM machine WHERE name = $1", used))


async def test_a_machine_goes_to_maintenance_and_back_through_preparation(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        db = running.service.db
        plan = await planned(operator, "leaf1", "profile", ports=["xe-0/0/0"], profile="maintenance")
        await applied(operator, plan)
        assert await db.fetchval("SELECT state FROM machine") == "maintenance"
        back = await planned(operator, "leaf1", "profile", ports=["xe-0/0/0"], profile="provisioning")
        assert any("erases its disks" in note for note in back["notes"])
        assert await db.fetchval("SELECT state FROM machine") == "maintenance"
        await applied(operator, back)
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT state FROM machine") != "ready":
                await asyncio.sleep(0.05)


async def test_a_foreign_port_is_adopted(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        db = running.service.db
        await typed_in(running.rack, "leaf1", OLD)
        plan = await planned(operator, "leaf1", "adopt")
        assert "customer of old" in plan["difference"] and [one["port"] for one in plan["ports"]] == ["xe-0/0/0"]
        await applied(operator, plan)
        assert await db.fetchval("SELECT take_over FROM leaf_port")
        assert await leaves_differ(db, running.service.parts, running.rack) == []


async def test_what_the_leaf_refuses_is_told(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        plan = await planned(operator, "leaf1", "profile", ports=["xe-0/0/0"], profile="maintenance")
        leaf.faults.refuse_always = "mgd: license limit reached"
        done = await applied(operator, plan, ends="refused")
        assert "license limit reached" in done["waits_for"]


async def test_who_drives_the_leaf_may_be_chosen(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (_, operator):
        plan = await planned(operator, "leaf1", "database", database="ephemeral")
        assert plan["difference"] == "" and "cannot be committed on trial" in " ".join(plan["notes"])
        assert plan["machines"] == ["m0001"]
        await applied(operator, plan)
        assert (await operator.call("GET", "/admin/v1/leaves/leaf1"))[1]["database"] == "ephemeral"


async def test_configuration_and_bootstrap(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (_, operator):
        await drift(operator, "leaf1")
        _, wanted = await operator.call("GET", "/admin/v1/leaves/leaf1/config")
        _, have = await operator.call("GET", "/admin/v1/leaves/leaf1/config?running=true")
        assert wanted["set"] == have["set"] and "set interfaces xe-0/0/0 mtu 9216" in wanted["set"]
        assert "<mtu>9216</mtu>" in wanted["xml"]


async def test_a_leaf_out_of_reach_is_said_to_be(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, operator):
        leaf = running.rack.leaves["leaf1"]
        await drift(operator, "leaf1")
        leaf.faults.reboot_seconds = 60.0
        leaf.reboot()
        async with asyncio.timeout(60):
            while (shown := (await operator.call("GET", "/admin/v1/leaves/leaf1/drift?read=true"))[1])["fresh"]:
                await asyncio.sleep(0.1)
        assert shown["state"] == "unreachable" and shown["read_at"] is not None
        plan = await planned(operator, "leaf1", "profile", ports=["xe-0/0/0"], profile="maintenance")
        assert any("could not be read now, it is unreachable" in note for note in plan["notes"])
        status, done = await operator.call("POST", f"/admin/v1/leaf-plans/{plan['id']}/apply")
        assert status == 200 and done["state"] == "applying" and "out of reach" in done["waits_for"], done
