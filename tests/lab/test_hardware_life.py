"""Hardware that leaves the pool: for maintenance, to its maker and back, and for good."""

from __future__ import annotations

import asyncio
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from service.cli.main import main
from service.lab.board import VirtualDisk
from service.lab.up import LabSettings
from tests.lab.test_boot import until
from tests.lab.test_newcomers import Operator
from tests.lab.world import TOKEN, Customer, lab


@asynccontextmanager
async def rack(database_url: str, folder: Path, machines: int = 1) -> AsyncIterator[tuple[Operator, Customer]]:
    """A light rack with an operator and a customer."""
    async with (
        lab(database_url, folder, LabSettings(machines=machines, leaves=1)) as (running, customer),
        aiohttp.ClientSession(running.api, headers={"X-Auth-Token": TOKEN}) as session,
    ):
        yield Operator(session, running), customer


async def state(operator: Operator, name: str, wanted: str) -> dict[str, Any]:
    """The machine as soon as it is in the state."""

    async def there() -> dict[str, Any] | None:
        one = await operator.call("GET", f"/machines/{name}")
        return one if one["state"] == wanted and one["run"] is None else None

    return dict(await until(there))


async def test_a_machine_in_use_leaves_when_its_device_is_gone_and_comes_back(
    database_url: str, tmp_path: Path
) -> None:
    async with rack(database_url, tmp_path) as (operator, customer):
        device = await customer.order()
        await customer.until(device, "active")
        told = await operator.call("POST", "/machines/m0001/maintain", {"reason": "new power supply"}, 202)
        assert (told["state"], told["leaving"]) == ("in_use", "new power supply")
        (listed,) = (await operator.call("GET", "/machines"))["machines"]
        assert listed["advice"] == "It goes to maintenance when its device is gone: new power supply."
        # Its customer notices nothing.
        assert (await customer.call("GET", f"/devices/{device}"))[1]["state"] == "active"
        refused = await operator.call("POST", "/machines/m0001/retire", {"reason": "old age"}, 422)
        assert refused["errors"][0].startswith(f"m0001 serves device {device}; have it leave for maintenance first")
        await customer.call("DELETE", f"/devices/{device}")
        machine = await state(operator, "m0001", "maintenance")
        assert (machine["reason"], machine["leaving"], machine["profile"]) == ("new power supply", None, "maintenance")
        # It was erased on its way, and no order gets it.
        assert len((await operator.call("GET", "/machines/m0001/certificates"))["certificates"]) == 2
        db = operator.running.service.db
        assert await db.fetchval("SELECT count(*) FROM machine WHERE state = 'ready'") == 0
        await operator.call("POST", "/machines/m0001/give-back", {}, 202)
        assert (await state(operator, "m0001", "ready"))["profile"] == "provisioning"


async def test_who_is_to_leave_may_stay_after_all(database_url: str, tmp_path: Path) -> None:
    async with rack(database_url, tmp_path) as (operator, customer):
        device = await customer.order()
        await customer.until(device, "active")
        await operator.call("POST", "/machines/m0001/maintain", {"reason": "new power supply"}, 202)
        await operator.call("POST", "/machines/m0001/give-back", {}, 202)
        refused = await operator.call("POST", "/machines/m0001/give-back", {}, 422)
        assert refused["errors"] == ["a machine that is in_use takes no give_back"]
        await customer.call("DELETE", f"/devices/{device}")
        await state(operator, "m0001", "ready")


async def test_a_machine_goes_to_its_maker_with_signed_evidence_and_comes_back_changed(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with rack(database_url, tmp_path) as (operator, _):
        monkeypatch.setenv("ROUNDHOUSE_API", operator.running.api)
        monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
        file = tmp_path / "evidence.tar"
        words = ["machine", "rma", "m0001", "--reason", "disk makes noises", "--output", str(file)]
        assert await asyncio.to_thread(main, words) == 0
        assert "bytes of evidence" in capsys.readouterr().out
        machine = await state(operator, "m0001", "maintenance")
        assert machine["reason"] == "RMA: disk makes noises"
        with tarfile.open(file) as archive:
            archive.extractall(tmp_path, filter="data")
        (folder,) = tmp_path.glob("m0001-*")
        evidence = json.loads((folder / "evidence.json").read_text())
        assert evidence["inventory"]["disks"][0]["serial"] == "LIGHT-m0001"
        assert [one["valid"] for one in evidence["certificates"]] == [True]
        assert {run["workflow"] for run in evidence["runs"]} == {"prepare"}
        assert "machine.pooled" in {event["type"] for event in evidence["events"]}
        assert evidence["bmc"]
        assert evidence["links"][0]["note"]["port"] == "xe-0/0/0"
        verify = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "public.pem", "-rawin"]
        verify += ["-in", "evidence.json", "-sigfile", "evidence.sig"]
        assert subprocess.run(verify, cwd=folder, capture_output=True, check=False).returncode == 0
        (folder / "evidence.json").write_text((folder / "evidence.json").read_text() + " ")
        assert subprocess.run(verify, cwd=folder, capture_output=True, check=False).returncode != 0
        twice = await operator.call("POST", "/machines/m0001/rma", {"reason": "once more"}, 422)
        assert twice["errors"] == ["m0001 has an open RMA; give it back, or retire it"]
        # The disk is exchanged; the new inventory tells it, and so does the RMA.
        operator.running.rack.machines["m0001"].disks[:] = [VirtualDisk(serial="NEW")]
        await operator.call("POST", "/machines/m0001/give-back", {}, 202)
        await state(operator, "m0001", "ready")
        (rma,) = (await operator.call("GET", "/machines/m0001/rmas"))["rmas"]
        assert rma["closed_at"] is not None
        assert rma["changes"] == [
            "disk /dev/vda (light, LIGHT-m0001, 480 GB) is gone",
            "disk /dev/vda (light, NEW, 480 GB) is new",
        ]


async def test_a_retired_machine_is_off_its_port_and_name_free_and_its_secret_forgotten(
    database_url: str, tmp_path: Path
) -> None:
    async with rack(database_url, tmp_path, 2) as (operator, customer):
        db, running = operator.running.service.db, operator.running
        device = await customer.order()
        used = (await customer.until(device, "active"))["hostname"]
        assert used == "host0"
        name = await db.fetchval("SELECT name FROM machine WHERE device_id IS NOT NULL")
        await customer.call("DELETE", f"/devices/{device}")
        await state(operator, name, "ready")
        gone = running.rack.machines[name]
        await operator.call("POST", f"/machines/{name}/retire", {"reason": "five years old"}, 202)
        machine = await state(operator, name, "retired")
        assert (machine["leaf"], machine["port"], machine["reason"]) == ("", "", "five years old")
        assert not gone.powered
        row = await db.fetchrow("SELECT bmc_secret, bmc_url, port_id FROM machine WHERE name = $1", name)
        assert (row["bmc_secret"], row["bmc_url"], row["port_id"]) == (b"", "", None)
        assert [one["name"] for one in (await operator.call("GET", "/machines"))["machines"]] != [name]
        assert len((await operator.call("GET", "/machines?state=retired"))["machines"]) == 1
        told = await db.fetchval("SELECT body FROM event WHERE type = 'machine.retired'")
        assert "its disks were erased with a certificate, its power is off, leaf1 xe-0/0/" in told
        # Switched on again where it was, it is known, and does not come back by itself.
        await gone.power_on("none")
        (one,) = await operator.refused()
        assert one["reason"].endswith(f"this is {name}, which was retired; import it to have it back")
        # Its name, its card and its port are another's, when somebody says so.
        inventory = running.rack.inventory()
        await operator.call("POST", "/inventory", inventory)
        await state(operator, name, "ready")
        assert await db.fetchval("SELECT count(*) FROM machine WHERE name = $1", name) == 2


async def test_what_cannot_be_erased_is_retired_when_somebody_says_that_its_disks_are_gone(
    database_url: str, tmp_path: Path
) -> None:
    async with rack(database_url, tmp_path) as (operator, _):
        db, machine = operator.running.service.db, operator.running.rack.machines["m0001"]
        machine.faults.dirty_disk = "the disk is dead"
        await operator.call("POST", "/machines/m0001/prepare", {}, 202)
        seen = await state(operator, "m0001", "quarantined")
        assert "the disk is dead" in seen["reason"]
        assert seen["advice"].startswith("A disk could not be erased: `machine rma`")
        # Whatever was on it since is not shown to be gone: it has to be erased first.
        await db.execute("INSERT INTO event (type, body, machine_id) SELECT 'machine.place', '', id FROM machine")
        await operator.call("POST", "/machines/m0001/retire", {"reason": "dead disk"}, 202)
        assert "the disk is dead" in (await state(operator, "m0001", "quarantined"))["reason"]
        operator.running.rack.bmc.faults("m0001").unreachable = True
        await operator.call("POST", "/machines/m0001/retire", {"reason": "dead disk", "disks_gone": True}, 202)
        await state(operator, "m0001", "retired")
        told = await db.fetchval("SELECT body FROM event WHERE type = 'machine.retired'")
        assert told.startswith("m0001 was retired: dead disk; its disks are gone, its power could not be cut: ")
