"""What the agent does beside installing and erasing, on the light rack: over the API, to the machine, and back."""

from __future__ import annotations

import asyncio
import io
import tarfile
from pathlib import Path
from typing import Any

import asyncssh

from service.lab.up import Lab, LabSettings
from tests.lab.world import KEY, Customer, all_ready, lab, leaves_differ, left_behind

ONE = LabSettings(machines=1, leaves=1)


async def machine_when(customer: Customer, name: str, *states: str, limit: float = 60) -> dict[str, Any]:
    """The machine as soon as it is in one of the states and nothing is under way."""
    async with asyncio.timeout(limit):
        while True:
            _, machine = await customer.call("GET", f"/admin/v1/machines/{name}")
            if machine["state"] in states and machine["run"] is None:
                return dict(machine)
            await asyncio.sleep(0.05)


async def events(running: Lab, type_: str) -> list[str]:
    """What was said in events of a type, the oldest first."""
    return [
        row["body"]
        for row in await running.service.db.fetch("SELECT body FROM event WHERE type = $1 ORDER BY id", type_)
    ]


async def work(customer: Customer, name: str) -> dict[str, Any]:
    """The machine's latest piece of work."""
    status, body = await customer.call("GET", f"/admin/v1/machines/{name}/work")
    assert status == 200
    return dict(body["work"][0])


async def test_a_machine_is_burnt_in_and_comes_back_to_the_pool(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        [name] = running.rack.machines
        assert (await customer.call("POST", f"/admin/v1/machines/{name}/burn-in", {"minutes": 1}))[0] == 202
        status, refused = await customer.call("POST", f"/admin/v1/machines/{name}/burn-in", {})
        assert (status, refused["errors"]) == (
            422,
            [f"machine {name} is being prepared; ask again when that has ended"],
        )
        await machine_when(customer, name, "ready")
        assert await events(running, "machine.burnt_in") == [f"Burn-in of {name}: passed: cpu, memory, disk, network"]
        _, told = await customer.call("GET", f"/admin/v1/machines/{name}/work")
        assert [one["kind"] for one in told["work"][:2]] == ["erase", "burn_in"]
        assert told["work"][1]["result"]["network"]["errors"] == 0


async def test_a_machine_beyond_its_plans_limits_is_quarantined_with_figure_and_limit(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        [name] = running.rack.machines
        path = "/admin/v1/plans/c1.small.x86/burn-in"
        status, body = await customer.call("PATCH", path, {"limits": {"disk_read_mbps_min": 600, "no_such": 1}})
        assert status == 422
        assert "no_such" in body["errors"][0]
        status, body = await customer.call("PATCH", path, {"limits": {"disk_read_mbps_min": 600}})
        assert status == 200
        assert {one["name"]: one["value"] for one in body["limits"]}["disk_read_mbps_min"] == 600
        running.rack.machines[name].faults.memory_errors = 7
        body = {"minutes": 1, "parts": ["memory", "disk"]}
        assert (await customer.call("POST", f"/admin/v1/machines/{name}/burn-in", body))[0] == 202
        machine = await machine_when(customer, name, "quarantined")
        assert machine["reason"] == (
            "burn-in: MiB of memory that lost what was written: 7, at most 0 is allowed; "
            f"/dev/vda (LIGHT-{name}), reading: 500 MB/s, at least 600 MB/s is allowed"
        )
        assert (await customer.call("PATCH", path, {"limits": {"disk_read_mbps_min": None}}))[0] == 200
        running.rack.machines[name].faults.memory_errors = 0
        assert (await customer.call("POST", f"/admin/v1/machines/{name}/burn-in", {"minutes": 1}))[0] == 202
        await machine_when(customer, name, "ready")


async def test_a_customer_is_let_into_the_rescue_system_and_leaves_it_by_a_reboot(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        key = asyncssh.generate_private_key("ssh-ed25519")
        public = key.export_public_key().decode().strip()
        order = await customer.order(ssh_keys=[{"label": "mine", "key": public}])
        device = await customer.until(order, "active")
        [(name, machine)] = running.rack.machines.items()
        path = f"/devices/{device['id']}/actions"
        assert (await customer.call("POST", path, {"type": "rescue"}))[0] == 202
        await machine_when(customer, name, "in_use")
        async with asyncio.timeout(60):
            while not await events(running, "instance.rescue"):
                await asyncio.sleep(0.05)
        [said] = await events(running, "instance.rescue")
        address = next(one["address"] for one in device["ip_addresses"] if one["public"] and one["address_family"] == 4)
        result = (await work(customer, name))["result"]
        assert said == f"Rescue system is ready: root@{address}, SSH host key {result['host_keys'][0]}"
        assert (await customer.until(device["id"], "active"))["host_keys"] == device["host_keys"]
        assert await leaves_differ(running.service.db, running.service.parts, running.rack) == []

        # A power cut leads back into it, with a new host key.
        await machine.power_off()
        await machine.power_on("none")
        async with asyncio.timeout(60):
            while len(await events(running, "instance.rescue")) < 2:
                await asyncio.sleep(0.05)
        shown = (await work(customer, name))["result"]["host_keys"][0].split()[:2]
        trusted = asyncssh.import_known_hosts(f"* {' '.join(shown)}\n")
        port = machine._board.settings.ssh_port
        async with asyncssh.connect(address, port, username="root", client_keys=[key], known_hosts=trusted) as login:
            answered = await login.run("hostname")
            assert answered.stdout == "rescue: hostname\n"

        assert (await customer.call("POST", path, {"type": "reboot"}))[0] == 202
        async with asyncio.timeout(60):
            while machine.stage != "system":
                await asyncio.sleep(0.05)
        await machine_when(customer, name, "in_use")
        assert (await work(customer, name))["state"] == "withdrawn"
        assert (
            await running.service.db.fetchval("SELECT profile FROM leaf_port WHERE device_id IS NOT NULL") == "active"
        )
        assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] == 204
        await all_ready(running.service.db)
        assert await left_behind(running.service.db) == []


async def test_a_device_that_is_deleted_in_rescue_leaves_nothing_behind(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        assert (await customer.call("POST", f"/devices/{device['id']}/actions", {"type": "rescue"}))[0] == 202
        async with asyncio.timeout(60):
            while not await events(running, "instance.rescue"):
                await asyncio.sleep(0.05)
        assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] == 204
        await all_ready(running.service.db)
        assert await left_behind(running.service.db) == []
        assert not await running.service.db.fetchval("SELECT bool_or(rescue) FROM machine")


async def test_a_device_without_keys_has_no_rescue(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, ONE) as (_, customer):
        device = await customer.until(await customer.order(ssh_keys=[], no_ssh_keys=True), "active")
        status, body = await customer.call("POST", f"/devices/{device['id']}/actions", {"type": "rescue"})
        assert status == 422
        assert "no SSH key" in body["errors"][0]


async def test_an_operator_is_let_in_and_the_machine_is_prepared_afterwards(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        [name] = running.rack.machines
        path = f"/admin/v1/machines/{name}"
        assert (await customer.call("POST", f"{path}/ssh-on", {"keys": ["no key"]}))[0] == 422
        assert (await customer.call("POST", f"{path}/ssh-off"))[0] == 422
        assert (await customer.call("POST", f"{path}/ssh-on", {"keys": [KEY]}))[0] == 202
        machine = await machine_when(customer, name, "maintenance")
        assert machine["profile"] == "maintenance"
        [told] = await events(running, "machine.ssh_on")
        assert (await work(customer, name))["result"]["host_keys"][0] in told
        assert (await customer.call("POST", f"{path}/burn-in", {}))[0] == 422  # somebody works on it
        certificates = await running.service.db.fetchval("SELECT count(*) FROM erase_certificate")
        assert (await customer.call("POST", f"{path}/ssh-off"))[0] == 202
        await machine_when(customer, name, "ready")
        assert await running.service.db.fetchval("SELECT count(*) FROM erase_certificate") == certificates + 1
        assert await left_behind(running.service.db) == []


async def test_a_firmware_bundle_runs_where_the_operator_allows_any(database_url: str, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    with tarfile.open(bundles / "bios-3.5.tar", "w") as tar:
        entry = tarfile.TarInfo("run")
        entry.size, entry.mode = 10, 0o755
        tar.addfile(entry, io.BytesIO(b"#!/bin/sh\n"))
    body = {"bundle": "bios-3.5.tar", "program": "run", "arguments": ["--all"], "minutes": 5}
    async with lab(database_url, tmp_path, ONE) as (running, customer):
        [name] = running.rack.machines
        status, refused = await customer.call("POST", f"/admin/v1/machines/{name}/firmware", body)
        assert (status, "firmware_dir names no folder" in refused["errors"][0]) == (422, True)


async def test_a_firmware_bundle_is_told_and_followed_by_a_restart(database_url: str, tmp_path: Path) -> None:
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "bios-3.5.tar").write_bytes(bytes(10_240))
    body = {"bundle": "bios-3.5.tar", "program": "run", "arguments": ["--all"], "minutes": 5}
    async with lab(database_url, tmp_path, ONE, firmware_dir=str(bundles)) as (running, customer):
        [name] = running.rack.machines
        path = f"/admin/v1/machines/{name}/firmware"
        status, refused = await customer.call("POST", path, body | {"bundle": "../bundles/bios-3.5.tar"})
        assert (status, "is not one of bios-3.5.tar" in refused["errors"][0]) == (422, True)
        assert (await customer.call("POST", path, body))[0] == 202
        await machine_when(customer, name, "ready")
        assert await events(running, "machine.firmware") == [f"Firmware bundle bios-3.5.tar ran on {name} for 1 s"]
        result = await running.service.db.fetchval("SELECT result FROM agent_work WHERE kind = 'firmware'")
        assert result["told"] == {"program": "run", "arguments": ["--all"]}
