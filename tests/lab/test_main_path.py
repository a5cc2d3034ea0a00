"""From an order to an active machine and back, over every real protocol, and what that leaves behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from service.lab.leaf.faults import PortRefusal
from service.lab.up import LabSettings
from service.leaves import actor
from service.wiring import WORKFLOWS
from service.workflow import Act, Done, Failed, Job, Outcome, Step, Workflow
from tests.lab.world import all_over, all_ready, doubled, lab, leaves_differ, left_behind, over_budget, soon


async def test_twenty_orders_and_releases_leave_the_leaves_as_the_database_says(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=20, leaves=2)) as (running, customer):
        db, parts, rack = running.service.db, running.service.parts, running.rack
        foreign = {name: leaf.foreign() for name, leaf in rack.leaves.items()}
        devices = [await customer.order(number) for number in range(20)]
        active = [await customer.until(device, "active") for device in devices]
        assert await leaves_differ(db, parts, rack) == []
        assert await doubled(db) == []
        assert len({address["address"] for device in active for address in device["ip_addresses"]}) == 60
        for device in devices:
            assert (await customer.call("DELETE", f"/devices/{device}"))[0] == 204
            assert (await customer.call("GET", f"/devices/{device}"))[0] == 404
        await all_ready(db)
        assert await leaves_differ(db, parts, rack) == []
        assert await left_behind(db) == []
        assert {name: leaf.foreign() for name, leaf in rack.leaves.items()} == foreign
        assert await db.fetchval("SELECT count(*) FROM erase_certificate") == 40


async def test_an_active_device_shows_what_was_proved(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        assert device["host_keys"][0].startswith("ssh-ed25519 ")
        assert device["provisioning_percentage"] in (None, 100.0)
        events = (await customer.call("GET", f"/devices/{device['id']}/events?per_page=100"))[1]["events"]
        types = [event["type"] for event in reversed(events) if event["type"].startswith("provisioning.")]
        assert types == [f"provisioning.{number}" for number in range(101, 111)]
        status, waterfall = await customer.call("GET", f"/devices/{device['id']}/waterfall")
        assert status == 200
        assert [stage["state"] for stage in waterfall["runs"][0]["stages"]] == ["done"] * len(
            WORKFLOWS["provision"].steps
        )
        machine = next(iter(running.rack.machines.values()))
        assert machine.stage == "system"


async def test_a_device_without_a_public_address(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        wish = [{"address_family": 4, "public": False}]
        device = await customer.until(await customer.order(ip_addresses=wish), "active")
        shown = [(one["address_family"], one["public"]) for one in device["ip_addresses"]]
        assert shown == [(4, False)] and device["host_keys"], "proved at its private address"
        _, block = await customer.call(
            "POST", f"/projects/{customer.project}/ips", {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"}
        )
        assert (await customer.call("POST", f"/devices/{device['id']}/ips", {"address": block["address"]}))[0] == 201
        leaf = next(iter(running.rack.leaves.values()))
        route = f"static route {block['address']}/32 next-hop {device['ip_addresses'][0]['address']}"
        await soon(lambda: any(route in line for line in leaf.set_lines()))


async def test_power_reboot_and_reinstall(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        path = f"/devices/{device['id']}/actions"
        machine = next(iter(running.rack.machines.values()))

        async def act(**body: Any) -> int:
            return (await customer.call("POST", path, body))[0]

        assert await act(type="power_off") == 202
        await customer.until(device["id"], "inactive")
        assert not machine.powered
        assert await act(type="reboot") == 422
        assert await act(type="power_on") == 202
        await customer.until(device["id"], "active")
        assert await act(type="reboot") == 202
        await all_over(running.service.db)
        assert machine.disks[0].installed is not None
        assert machine.disks[0].installed.host_key_public.split()[1] == device["host_keys"][0].split()[1]
        assert await act(type="reinstall", operating_system="ubuntu_24_04") == 202
        again = await customer.until(device["id"], "active")
        async with asyncio.timeout(60):
            while again["host_keys"] == device["host_keys"] or again["state"] != "active":
                await asyncio.sleep(0.05)
                again = await customer.until(device["id"], "active", "reinstalling")
        assert again["operating_system"]["slug"] == "ubuntu_24_04"
        kept = [sorted(address["address"] for address in one["ip_addresses"]) for one in (device, again)]
        assert kept[0] == kept[1]
        assert await act(type="dance") == 422


async def test_a_reinstall_without_an_image_leaves_the_device_as_it_was(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        index = tmp_path / "images" / "index.json"
        index.write_text(index.read_text().replace('"ubuntu_22_04"', '"withdrawn"'))
        path, body = f"/devices/{device['id']}/actions", {"type": "reinstall", "operating_system": "ubuntu_22_04"}
        assert (await customer.call("POST", path, body))[0] == 202
        await all_over(running.service.db)
        again = await customer.until(device["id"], "active")
        assert "ubuntu_22_04 is not in" in again["failure"]
        assert again["host_keys"] == device["host_keys"]
        assert again["operating_system"]["slug"] == "debian_12"
        assert next(iter(running.rack.machines.values())).stage == "system"


async def test_custom_ipxe_boots_the_customers_script(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        chosen = "iseq ${packet_facility} ewr1 && iseq ${packet_plan} c1.small.x86 || exit"
        script = f"#!ipxe\n{chosen}\nshell\n"
        device_id = await customer.order(operating_system="custom_ipxe", userdata=script)
        device = await customer.until(device_id, "active")
        assert device["operating_system"]["slug"] == "custom_ipxe"
        machine = next(iter(running.rack.machines.values()))
        await soon(lambda: machine.stage == "foreign")
        seen: list[str] = []
        machine.console.look(lambda data: seen.append(data.decode()))

        async def started(*, by_script: bool) -> None:
            seen.clear()
            assert (await customer.call("POST", f"/devices/{device_id}/actions", {"type": "reboot"}))[0] == 202
            await all_over(running.service.db)
            if by_script:
                await soon(lambda: machine.stage == "foreign")
            else:
                # Its disk is empty: what is not told to run the script tries one start after the other.
                await soon(lambda: sum("ipxe" in line for line in seen) > 2)
                assert not any("foreign" in line for line in seen)

        # The first start alone leads into the script, unless one more is allowed, or each.
        await started(by_script=False)
        assert (await customer.call("PATCH", f"/devices/{device_id}", {"allow_pxe": True}))[0] == 200
        await started(by_script=True)
        await started(by_script=False)
        assert (await customer.call("PATCH", f"/devices/{device_id}", {"always_pxe": True}))[0] == 200
        await started(by_script=True)
        await started(by_script=True)


async def test_deleting_an_order_under_way_gives_everything_back(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=4, leaves=1, commit_s=0.5)) as (running, customer):
        for pause in (0.0, 0.1, 0.4, 0.8):
            device = await customer.order()
            await asyncio.sleep(pause)
            assert (await customer.call("DELETE", f"/devices/{device}"))[0] == 204
        await all_ready(running.service.db)
        assert await left_behind(running.service.db) == []
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []


@pytest.mark.parametrize("fault", ["hangs", "never phones home"])
async def test_a_machine_that_fails_is_replaced_under_the_same_order(
    database_url: str, tmp_path: Path, fault: str
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db = running.service.db
        first = await db.fetchval("SELECT name FROM machine WHERE state = 'ready' ORDER BY state_since LIMIT 1")
        faults = running.rack.machines[first].faults
        if fault == "hangs":
            faults.hang_at = "install"
        else:
            faults.never_phones_home = True
        device_id = await customer.order()
        if fault == "hangs":
            await over_budget(db, "install")
        else:
            for _ in range(4):  # two ways of handing over, and a start from the disk after each
                await over_budget(db, "await_phone_home")
        device = await customer.until(device_id, "active")
        assert await db.fetchval("SELECT name FROM machine WHERE device_id = $1", device["id"]) != first
        faults.hang_at, faults.never_phones_home = None, False
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT state FROM machine WHERE name = $1", first) != "ready":
                await asyncio.sleep(0.1)
        assert await doubled(db) == []


async def test_the_only_machine_is_tried_again_when_it_was_prepared(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        faults = running.rack.machines["m0001"].faults
        faults.hang_at = "install"
        device_id = await customer.order()
        await over_budget(running.service.db, "install")
        async with asyncio.timeout(60):
            while not await running.service.db.fetchval("SELECT EXISTS (SELECT FROM run WHERE data ? 'tried')"):
                await asyncio.sleep(0.05)
        faults.hang_at = None
        await customer.until(device_id, "active")


async def test_one_refused_port_fails_one_order_and_no_other(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_REFUSED_S", 1.0)
    limits = {"port_limit_s": 20}
    async with lab(database_url, tmp_path, LabSettings(machines=6, leaves=1), **limits) as (running, customer):
        leaf = next(iter(running.rack.leaves.values()))
        leaf.faults.refuse_ports = PortRefusal({"xe-0/0/2": "mgd: no such optic"}, at="commit", named=False)
        # Nothing is committed before all are placed: what is refused goes to another machine, and would take it from
        # an order that comes later.
        leaf.lock_holder = "root terminal p0 (pid 4711) on since 2025-01-01 00:00:00 UTC, exclusive"
        orders = await asyncio.gather(*(customer.order(number) for number in range(6)))
        db = running.service.db
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT EXISTS (SELECT FROM machine WHERE state = 'ready')"):
                await asyncio.sleep(0.02)
        leaf.lock_holder = None
        states: dict[str, Any] = {}
        async with asyncio.timeout(100):
            while len(states) < len(orders):
                for device_id in orders:
                    _, device = await customer.call("GET", f"/devices/{device_id}")
                    if device["state"] in ("active", "failed"):
                        states[device_id] = device
                await asyncio.sleep(0.1)
        failed = [device for device in states.values() if device["state"] == "failed"]
        assert len(failed) == 1
        assert "xe-0/0/2" in failed[0]["failure"] and "no such optic" in failed[0]["failure"]
        leaf.faults.refuse_ports = None
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT EXISTS (SELECT FROM leaf_port WHERE applied < generation)"):
                await asyncio.sleep(0.1)
        assert await leaves_differ(db, running.service.parts, running.rack) == []


async def test_a_change_that_the_leaf_refuses_fails_the_order_with_the_leafs_reason(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        leaf = next(iter(running.rack.leaves.values()))
        leaf.faults.refuse_always = "mgd: license limit reached"
        device_id = await customer.order()
        async with asyncio.timeout(60):
            while (device := (await customer.call("GET", f"/devices/{device_id}"))[1])["state"] != "failed":
                await asyncio.sleep(0.1)
        assert "license limit reached" in device["failure"]
        db = running.service.db
        await over_budget(db, "await_closed_port")
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT state FROM machine") != "quarantined":
                await asyncio.sleep(0.1)
        # Nobody may have the addresses while the leaf was not seen to have let go of them.
        assert await db.fetchval("SELECT count(*) FROM tenure WHERE upper_inf(during) AND slot <> 'boot'") == 3
        leaf.faults.refuse_always = ""
        assert (await customer.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        await all_ready(db)
        assert await left_behind(running.service.db) == []


def _broken(step: Step) -> Step:
    """The step does all its work, and then says that it failed."""

    async def act(job: Job) -> Outcome:
        outcome = await step.act(job)
        return Failed("broken on purpose") if isinstance(outcome, Done) else outcome

    return replace(step, act=act)


def _twice(step: Step) -> Step:
    """The step is run a second time, as by a worker that took over before its end was written down."""

    def doubled_act(act: Act) -> Act:
        async def run(job: Job) -> Outcome:
            first = await act(job)
            return await act(job) if isinstance(first, Done) else first

        return run

    return replace(step, act=doubled_act(step.act), undo=doubled_act(step.undo) if step.undo else None)


def _with(name: str, steps: tuple[Step, ...]) -> dict[str, Workflow]:
    return {**WORKFLOWS, name: Workflow(name, steps)}


@pytest.mark.parametrize("broken", [step.name for step in WORKFLOWS["provision"].steps])
async def test_an_order_that_fails_at_any_step_leaves_nothing_behind(
    database_url: str, tmp_path: Path, broken: str
) -> None:
    steps = tuple(_broken(step) if step.name == broken else step for step in WORKFLOWS["provision"].steps)
    asked = LabSettings(machines=1, leaves=1, workflows=_with("provision", steps))
    async with lab(database_url, tmp_path, asked) as (running, customer):
        device_id = await customer.order()
        async with asyncio.timeout(60):
            while (device := (await customer.call("GET", f"/devices/{device_id}"))[1])["state"] not in (
                "failed",
                "active",
            ):
                await asyncio.sleep(0.05)
        if broken == "activate":  # it was active before the step could fail: it keeps what it has proved
            return
        assert (device["state"], device["failure"]) == ("failed", "broken on purpose")
        await all_ready(running.service.db)
        assert await left_behind(running.service.db) == []
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []


@pytest.mark.parametrize("broken", [step.name for step in WORKFLOWS["prepare"].steps])
async def test_a_machine_whose_preparation_fails_at_any_step_never_reaches_the_pool(
    database_url: str, tmp_path: Path, broken: str
) -> None:
    asked = LabSettings(machines=1, leaves=1)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        device_id = await customer.order()
        await customer.until(device_id, "active")
        steps = tuple(_broken(step) if step.name == broken else step for step in WORKFLOWS["prepare"].steps)
        running.service.worker.workflows = _with("prepare", steps)
        assert (await customer.call("DELETE", f"/devices/{device_id}"))[0] == 204
        db = running.service.db
        await all_over(db)
        machine = await db.fetchrow("SELECT state, reason FROM machine")
        if broken == "pool":
            assert machine["state"] == "ready"
        else:
            assert (machine["state"], machine["reason"]) == ("quarantined", "broken on purpose")


async def test_every_step_run_twice_changes_nothing(database_url: str, tmp_path: Path) -> None:
    workflows = {
        name: Workflow(name, tuple(_twice(step) for step in workflow.steps)) for name, workflow in WORKFLOWS.items()
    }
    asked = LabSettings(machines=2, leaves=1, workflows=workflows)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        db = running.service.db
        devices = [await customer.order(number) for number in range(2)]
        for device in devices:
            await customer.until(device, "active")
        assert await db.fetchval("SELECT count(*) FROM tenure WHERE upper_inf(during) AND slot <> 'boot'") == 6
        assert await db.fetchval("SELECT count(*) FROM agent_work WHERE kind = 'install'") == 2
        types = await db.fetch("SELECT type, count(*) FROM event WHERE device_id = $1 GROUP BY type", devices[0])
        assert {row["count"] for row in types if row["type"] in ("provisioning.101", "provisioning.110")} == {1}
        assert await leaves_differ(db, running.service.parts, running.rack) == []
        for device in devices:
            await customer.call("DELETE", f"/devices/{device}")
        await all_ready(db)
        assert await left_behind(db) == []
        assert await db.fetchval("SELECT count(*) FROM erase_certificate") == 4
