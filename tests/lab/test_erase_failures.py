"""A disk that cannot be proved clean: its machine goes to quarantine with the reason, and comes back when it is."""

from __future__ import annotations

import asyncio
from pathlib import Path

from service.lab.up import LabSettings
from tests.lab.world import all_ready, lab, left_behind

REASON = "/dev/vda (S1): discard-zeroes was reported as done and left the bytes of before at offset 4096"


async def test_a_disk_that_is_not_clean_keeps_its_machine_out_of_the_pool(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        db, machine = running.service.db, running.rack.machines["m0001"]
        device = await customer.order(0)
        await customer.until(device, "active")
        machine.faults.dirty_disk = REASON
        assert (await customer.call("DELETE", f"/devices/{device}"))[0] == 204
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT state FROM machine") != "quarantined":
                await asyncio.sleep(0.1)
        _, shown = await customer.call("GET", "/admin/v1/machines/m0001")
        assert REASON in shown["reason"] and shown["profile"] == "quarantine"
        path = "/admin/v1/machines/m0001/certificates"
        assert len((await customer.call("GET", path))[1]["certificates"]) == 1  # of its enrolment
        machine.faults.dirty_disk = ""
        assert (await customer.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        await all_ready(db)
        certificates = (await customer.call("GET", path))[1]["certificates"]
        assert [one["valid"] for one in certificates] == [True, True]
        assert await left_behind(db) == []
