"""Batches: many orders by one request, placed one by one, whoever dies at it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest

from service.batches import place_waiting
from service.parts import Parts
from service.settings import Settings
from service.store.rows import Pool, open_pool
from tests.service.api_world import World
from tests.service.parts import make_parts

KIND = {"plan": "baremetal_1", "operating_system": "debian_12", "facility": "ewr1"}


@pytest.fixture
def parts(tmp_path: Any) -> Parts:
    return make_parts(Settings(state_dir=tmp_path))


async def ordered(world: World, *batches: dict[str, Any], key: str | None = None) -> list[dict[str, Any]]:
    body = {"batches": [KIND | one for one in batches]}
    # packet-python's path has a slash too many.
    answer = await world.call("POST", f"//projects/{world.project}/devices/batch?", body, key=key)
    assert answer.status == 201, answer.body
    return list(answer.body["batches"])


async def hostnames(world: World) -> list[str]:
    found = (await world.call("GET", f"/projects/{world.project}/devices?per_page=250")).body["devices"]
    return sorted(one["hostname"] for one in found)


async def test_each_device_is_placed_or_says_why_not(world: World, parts: Parts) -> None:
    await world.add_machines(3)
    (batch,) = await ordered(world, {"hostname": "web{{index}}", "quantity": 5, "features": {}, "tags": {}})
    assert batch["state"] == "queued" and batch["quantity"] == 5 and batch["devices"] == []
    assert UUID(batch["id"]).version == 4 and batch["project"] == {"href": f"/projects/{world.project}"}
    assert await place_waiting(world.db, parts)
    assert await hostnames(world) == ["web01", "web02", "web03"]
    found = (await world.call("GET", f"/batches/{batch['id']}")).body
    assert found["state"] == "failed" and len(found["devices"]) == 3
    assert [one.split(":")[0] for one in found["error_messages"]] == ["web04", "web05"]
    assert "There aren't available servers in that facility" in found["error_messages"][0]
    assert (await world.call("GET", f"/projects/{world.project}/batches?")).body["batches"] == [found]
    assert not await place_waiting(world.db, parts)
    whole = (await world.call("GET", f"/batches/{batch['id']}?include=devices")).body
    assert sorted(one["hostname"] for one in whole["devices"]) == await hostnames(world)


async def test_names_and_several_batches(world: World, parts: Parts) -> None:
    await world.add_machines(4)
    first, second = await ordered(world, {"hostnames": ["a", "b"]}, {"hostname": "c", "quantity": "2"})
    await place_waiting(world.db, parts)
    assert await hostnames(world) == ["a", "b", "c", "c"]
    for batch in (first, second):
        assert (await world.call("GET", f"/batches/{batch['id']}")).body["state"] == "completed"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"quantity": 0}, "quantity is not valid: 0"),
        ({"quantity": 1001}, "quantity is not valid: 1001"),
        ({"plan": "x9"}, "Plan is not valid: 'x9'"),
        ({"hostname": "web_{{index}}"}, "Hostname is not valid: 'web_01'"),
        ({"hostnames": ["a"], "quantity": 2}, "Hostnames is not valid: 1 names for 2 devices"),
        ({"facility_diversity_level": 2}, "Facility diversity level is not valid: 2"),
        ({"storage": {"passphrase": "correct horse"}}, "Storage is not valid: a batch takes no passphrase"),
        ({"hardware_reservation_id": "next-available", "spot_instance": True, "spot_price_max": 1}, "Spot instance"),
    ],
)
async def test_a_bad_batch_changes_nothing(world: World, fields: dict[str, Any], said: str) -> None:
    answer = await world.call("POST", f"/projects/{world.project}/devices/batch", {"batches": [KIND | fields]})
    assert answer.status == 422, answer.body
    assert any(said in error for error in answer.body["errors"]), answer.body
    assert await world.db.fetchval("SELECT count(*) FROM device_batch") == 0


async def test_diversity_deals_the_devices_out(world: World, parts: Parts) -> None:
    await world.add_machines(3)
    await world.add_machines(3, facility="sjc1")
    wish = {"hostname": "d{{index}}", "quantity": 4, "facility": ["ewr1", "sjc1"], "facility_diversity_level": 2}
    await ordered(world, wish)
    await place_waiting(world.db, parts)
    found = (await world.call("GET", f"/projects/{world.project}/devices")).body["devices"]
    assert sorted(one["facility"]["code"] for one in found) == ["ewr1", "ewr1", "sjc1", "sjc1"]


async def test_one_facility_for_all_is_one_with_room(world: World, parts: Parts) -> None:
    await world.add_machines(1)
    await world.add_machines(3, facility="sjc1")
    await ordered(world, {"quantity": 3, "facility": ["ewr1", "sjc1"], "facility_diversity_level": 1})
    await place_waiting(world.db, parts)
    found = (await world.call("GET", f"/projects/{world.project}/devices")).body["devices"]
    assert [one["facility"]["code"] for one in found] == ["sjc1"] * 3


async def test_the_same_key_makes_the_same_batches(world: World, parts: Parts) -> None:
    await world.add_machines(4)
    first = await ordered(world, {"quantity": 2}, {"quantity": 1}, key="k")
    await place_waiting(world.db, parts)
    again = await ordered(world, {"quantity": 2}, {"quantity": 1}, key="k")
    assert [one["id"] for one in again] == [one["id"] for one in first]
    await place_waiting(world.db, parts)
    assert len(await hostnames(world)) == 3


async def test_several_workers_and_one_that_dies_order_each_device_once(
    world: World, parts: Parts, database_url: str
) -> None:
    await world.add_machines(12)
    await ordered(world, {"hostname": "n{{index}}", "quantity": 12})
    pools = [await open_pool(database_url) for _ in range(3)]

    async def work(pool: Pool) -> None:
        await place_waiting(pool, parts)

    tasks = [asyncio.create_task(work(pool)) for pool in pools]
    while await world.db.fetchval("SELECT count(*) FROM batch_device WHERE state = 'ordered'") < 3:
        await asyncio.sleep(0.01)
    for pool in pools:
        pool.terminate()  # as a killed process leaves its connections
    await asyncio.gather(*tasks, return_exceptions=True)
    while await place_waiting(world.db, parts):
        pass
    assert await hostnames(world) == [f"n{place:02}" for place in range(1, 13)]
    (batch,) = (await world.call("GET", f"/projects/{world.project}/batches")).body["batches"]
    assert batch["state"] == "completed"


@pytest.mark.parametrize("remove", [False, True])
async def test_deleting_a_batch(world: World, parts: Parts, remove: bool) -> None:
    await world.add_machines(3)
    (batch,) = await ordered(world, {"hostname": "web{{index}}", "quantity": 2})
    await place_waiting(world.db, parts)
    (late,) = await ordered(world, {"hostname": "late"})
    path = f"/batches/{batch['id']}" + ("?remove_associated_instances=true" if remove else "")
    device = (await world.call("GET", f"/projects/{world.project}/devices")).body["devices"][0]
    await world.call("PATCH", f"/devices/{device['id']}", {"locked": True})
    if remove:
        refused = await world.call("DELETE", path)
        assert refused.status == 422 and "unlock" in refused.body["errors"][0]
        await world.call("PATCH", f"/devices/{device['id']}", {"locked": False})
    assert (await world.call("DELETE", path)).status == 204
    assert (await world.call("DELETE", f"/batches/{late['id']}")).status == 204
    assert (await world.call("GET", f"/batches/{batch['id']}")).status == 404
    await place_waiting(world.db, parts)
    assert await hostnames(world) == ([] if remove else ["web01", "web02"])


async def test_batches_are_nobody_elses(world: World, parts: Parts) -> None:
    (batch,) = await ordered(world, {"hostname": "a"})
    await world.other_tenant()
    for method, path in (("GET", ""), ("DELETE", "?remove_associated_instances=true")):
        answer = await world.call(method, f"/batches/{batch['id']}{path}", token="other-token")
        assert answer.status == 404
    assert (await world.call("GET", f"/batches/{batch['id']}")).status == 200
