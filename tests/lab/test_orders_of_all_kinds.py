"""Orders on reserved hardware, in batches, on the spot market, and with an end; and what the leaf counts of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.lab.up import LabSettings
from tests.lab.world import Customer, all_ready, lab


async def come_true(look: Callable[[], Awaitable[Any]], limit: float = 60) -> Any:
    """What `look` finds, as soon as it finds something."""
    async with asyncio.timeout(limit):
        while not (found := await look()):
            await asyncio.sleep(0.1)
        return found


async def gone(customer: Customer, device_id: str) -> bool:
    return (await customer.call("GET", f"/devices/{device_id}"))[0] == 404


async def test_a_reserved_machine_comes_back_to_its_reservation(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db, project = running.service.db, customer.project
        _, machines = await customer.call("GET", "/admin/v1/machines")
        machine = machines["machines"][0]
        status, made = await customer.call(
            "POST", "/admin/v1/hardware-reservations", {"machine": machine["name"], "project_id": project}
        )
        assert status == 201, made
        for _ in range(2):
            device = await customer.until(await customer.order(hardware_reservation_id=made["id"]), "active")
            on = await db.fetchval("SELECT name FROM machine WHERE device_id::text = $1", device["id"])
            assert on == machine["name"]
            assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] == 204
            await all_ready(db)
        usages = (await customer.call("GET", f"/projects/{project}/usages"))[1]["usages"]
        assert [one["type"] for one in usages].count("Hardware reservation") == 1
        assert all(one["total"] == "0.000000" for one in usages if one["type"] == "Instance")


async def test_a_batch_becomes_active_and_is_taken_back(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=4, leaves=2)) as (running, customer):
        wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1", "hostname": "n{{index}}"}
        path = f"/projects/{customer.project}/devices/batch"
        status, made = await customer.call("POST", path, {"batches": [wish | {"quantity": 4}]})
        assert status == 201, made
        (batch,) = made["batches"]

        async def completed() -> Any:
            found = (await customer.call("GET", f"/batches/{batch['id']}"))[1]
            return found if found["state"] == "completed" else None

        found = await come_true(completed)
        ids = [one["href"].rpartition("/")[2] for one in found["devices"]]
        active = [await customer.until(id_, "active") for id_ in ids]
        assert [one["hostname"] for one in active] == ["n01", "n02", "n03", "n04"]
        path = f"/batches/{batch['id']}?remove_associated_instances=true"
        assert (await customer.call("DELETE", path))[0] == 204
        assert all([await gone(customer, id_) for id_ in ids])
        await all_ready(running.service.db)


async def test_spot_instances_come_and_go_with_the_price(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        wish = {
            "devices_min": 1,
            "devices_max": 1,
            "max_bid_price": 0.05,
            "facilities": ["ewr1"],
            "instance_parameters": {"plan": "c1.small.x86", "operating_system": "debian_12", "hostname": "spot"},
        }
        path = f"/projects/{customer.project}/spot-market-requests"
        status, request = await customer.call("POST", path, wish)
        assert status == 201, request

        async def instance() -> Any:
            found = (await customer.call("GET", f"/spot-market-requests/{request['id']}"))[1]["instances"]
            return found and found[0]["href"].rpartition("/")[2]

        device = await customer.until(await come_true(instance), "active")
        assert device["spot_instance"] and device["termination_time"] is None
        assert (await customer.call("DELETE", f"/spot-market-requests/{request['id']}"))[0] == 204
        await customer.until(await customer.order(), "active")  # half of the pool is taken: the price is above the bid

        async def notice() -> Any:
            return (await customer.call("GET", f"/devices/{device['id']}"))[1]["termination_time"]

        ends = datetime.fromisoformat(await come_true(notice))
        assert ends > datetime.now(UTC) + timedelta(seconds=60)
        machine = await running.service.db.fetchval("SELECT name FROM machine WHERE device_id::text = $1", device["id"])
        assert machine is not None
        await running.service.db.execute("UPDATE device SET termination_time = now() WHERE id::text = $1", device["id"])
        await come_true(lambda: gone(customer, device["id"]))


async def test_the_leafs_counters_become_traffic(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=1, leaves=1)
    async with lab(database_url, tmp_path, asked, traffic_sample_s=1) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        db, (leaf,) = running.service.db, running.rack.leaves.values()
        port = await db.fetchval("SELECT o.name FROM leaf_port AS o WHERE o.device_id::text = $1", device["id"])

        async def samples(more_than: int) -> Any:
            count = await db.fetchval("SELECT count(*) FROM traffic_sample WHERE device_id::text = $1", device["id"])
            return count if count > more_than else None

        seen = await come_true(lambda: samples(0))
        leaf.traffic.flow(port, received=3_000_000, sent=70_000_000)
        seen = await come_true(lambda: samples(seen + 1))
        leaf.traffic.restart()
        leaf.traffic.flow(port, sent=5_000_000)
        await come_true(lambda: samples(seen + 1))

        async def total(direction: str) -> int:
            path = f"/devices/{device['id']}/traffic?direction={direction}"
            return int((await customer.call("GET", path))[1]["traffic"]["total"])

        assert 75_000_000 <= await total("inbound") < 75_100_000
        assert 3_000_000 <= await total("outbound") < 3_100_000
        found = (await customer.call("GET", f"/devices/{device['id']}/bandwidth"))[1]["bandwidth"]
        assert found[0]["target"] == "inbound" and max(point[0] for point in found[0]["datapoints"]) > 1_000_000
