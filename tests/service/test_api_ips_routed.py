"""Elastic addresses over the API that are led to devices: assigned, moved, split and merged under way, let go of."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

from ipam.elastic import parts_of
from ipam.ledger import held_by, tenure_by_id
from service.elastic import addresses_back, routes_seen
from tests.service.api_world import World
from tests.service.elastic_world import generation, placed, reserve


async def test_assigned_shown_everywhere_and_taken_away(elastic: World) -> None:
    device_id = await placed(elastic)
    before = await generation(elastic, device_id)
    block = await reserve(elastic, quantity=4, details="web")
    wish = {"address": f"{block['network']}/31", "manageable": False, "customdata": {"a": 1}}
    answer = await elastic.call("POST", f"/devices/{device_id}/ips", wish)
    assert answer.status == 201, answer.body
    part = answer.body
    assert (part["cidr"], part["management"], part["manageable"], part["customdata"]) == (31, False, False, {"a": 1})
    assert "type" not in part and part["assigned_to"] == {"href": f"/devices/{device_id}"}
    assert part["parent_block"] == {
        "network": block["network"],
        "netmask": "255.255.255.252",
        "cidr": 30,
        "href": f"/ips/{block['id']}",
    }
    assert await generation(elastic, device_id) == before + 1
    bare = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": "192.0.2.3"})).body
    assert bare["cidr"] == 32 and bare["network"] == "192.0.2.3"

    listed = (await elastic.call("GET", f"/devices/{device_id}/ips")).body["ip_addresses"]
    shown = (await elastic.call("GET", f"/devices/{device_id}")).body["ip_addresses"]
    assert listed == shown and [one["management"] for one in listed] == [True, True, True, False, False]
    assert (await elastic.call("GET", f"/ips/{part['id']}")).body == part
    kept = (await elastic.call("GET", f"/ips/{block['id']}")).body
    assert kept["assignments"] == [{"href": f"/ips/{part['id']}"}, {"href": f"/ips/{bare['id']}"}]
    path = f"/ips/{block['id']}/available"
    assert (await elastic.call("GET", path)).body == {"available": ["192.0.2.2/32"]}
    assert (await elastic.call("GET", f"{path}?cidr=31")).body == {"available": []}
    assert (await elastic.call("GET", f"{path}?cidr=29")).status == 422
    assert (await elastic.call("GET", f"/devices/{device_id}?include=ip_addresses.assigned_to")).status == 200

    refused = await elastic.call("DELETE", f"/ips/{block['id']}")
    assert refused.status == 422 and "192.0.2.0/31 of 192.0.2.0/30 is assigned to" in refused.body["errors"][0]
    assert (await elastic.call("DELETE", f"/ips/{part['id']}")).status == 204
    assert (await elastic.call("GET", f"/ips/{part['id']}")).status == 404
    assert await generation(elastic, device_id) == before + 3
    assert (await elastic.call("GET", f"{path}?cidr=31")).body == {"available": ["192.0.2.0/31"]}


async def test_what_cannot_be_assigned(elastic: World) -> None:
    here, there = await placed(elastic), await placed(elastic, facility="sjc1")
    failed = await placed(elastic, state="failed")
    await reserve(elastic, quantity=2)
    before = await elastic.db.fetchval("SELECT count(*) FROM tenure")

    async def said(device_id: UUID, address: object) -> str:
        answer = await elastic.call("POST", f"/devices/{device_id}/ips", {"address": address})
        assert answer.status == 422, answer.body
        return str(answer.body["errors"][0])

    assert "'web' is no address" in await said(here, "web")
    assert "has host bits set; the network is 192.0.2.0/31" in await said(here, "192.0.2.1/31")
    assert "192.0.2.9/32 lies in no elastic reservation" in await said(here, "192.0.2.9")
    assert "192.0.2.0/24 lies in no elastic reservation" in await said(here, "192.0.2.0/24")
    assert "is of ewr1, and the device of sjc1" in await said(there, "192.0.2.0")
    assert "the device has failed" in await said(failed, "192.0.2.0")
    assert "can't be blank" in await said(here, None)
    assert await elastic.db.fetchval("SELECT count(*) FROM tenure") == before
    assert (await elastic.call("POST", f"/devices/{here}/ips", {"address": "192.0.2.0"})).status == 201
    assert "192.0.2.0/32 is assigned to this device already" in await said(here, "192.0.2.0")
    assert "overlaps 192.0.2.0/32" in await said(here, "192.0.2.0/31")


async def test_the_same_key_assigns_once(elastic: World) -> None:
    device_id = await placed(elastic)
    await reserve(elastic, quantity=2)
    path, wish = f"/devices/{device_id}/ips", {"address": "192.0.2.1"}
    answers = await asyncio.gather(*(elastic.call("POST", path, wish, key="k") for _ in range(5)))
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["id"] for answer in answers}) == 1


async def test_moved_to_another_device_in_one_moment(elastic: World) -> None:
    first, second, far = await placed(elastic), await placed(elastic), await placed(elastic, facility="sjc1")
    await reserve(elastic)
    part = (await elastic.call("POST", f"/devices/{first}/ips", {"address": "192.0.2.0", "customdata": {"a": 1}})).body
    seen = [await generation(elastic, one) for one in (first, second)]
    answer = await elastic.call("POST", f"/ips/{part['id']}/move", {"device": str(second)}, key="m")
    assert answer.status == 201, answer.body
    assert answer.body["assigned_to"] == {"href": f"/devices/{second}"} and answer.body["customdata"] == {"a": 1}
    assert [await generation(elastic, one) for one in (first, second)] == [seen[0] + 1, seen[1] + 1]
    again = await elastic.call("POST", f"/ips/{part['id']}/move", {"device": str(second)}, key="m")
    assert (again.status, again.body["id"]) == (201, answer.body["id"])
    before, after = (
        await tenure_by_id(elastic.db, UUID(part["id"])),
        await tenure_by_id(elastic.db, UUID(answer.body["id"])),
    )
    assert before is not None and after is not None and before.until == after.since
    assert after.note["hostname"] == "web1" and after.note["port"] != before.note["port"]
    for device, said in ((far, "is of ewr1, and the device of sjc1"), (uuid4(), "is none of yours")):
        refused = await elastic.call("POST", f"/ips/{answer.body['id']}/move", {"device": str(device)})
        assert refused.status == 422 and said in refused.body["errors"][0]
    assert (await elastic.call("POST", f"/ips/{part['id']}/move", {"device": str(first)})).status == 404


async def test_moves_that_cross_end_in_one_of_them(elastic: World) -> None:
    devices = [await placed(elastic) for _ in range(3)]
    await reserve(elastic, quantity=2)
    parts = [
        (await elastic.call("POST", f"/devices/{device}/ips", {"address": f"192.0.2.{number}"})).body["id"]
        for number, device in enumerate(devices[:2])
    ]
    for _ in range(4):
        answers = await asyncio.gather(
            *(
                elastic.call("POST", f"/ips/{part}/move", {"device": str(device)})
                for part in parts
                for device in devices
            )
        )
        assert {answer.status for answer in answers} <= {201, 404}
        rows = await elastic.db.fetch("SELECT id, block FROM tenure WHERE kind = 'routed' AND upper_inf(during)")
        assert sorted(str(row["block"]) for row in rows) == ["192.0.2.0/32", "192.0.2.1/32"]
        parts = [str(row["id"]) for row in rows]


async def test_a_global_address_leads_to_many_devices(elastic: World) -> None:
    devices = [await placed(elastic), await placed(elastic), await placed(elastic, facility="sjc1")]
    one = await reserve(elastic, type="global_ipv4", facility=None)
    address = {"address": f"{one['network']}/32"}
    for device in devices:
        answer = await elastic.call("POST", f"/devices/{device}/ips", address)
        assert answer.status == 201 and answer.body["global_ip"] is True and answer.body["facility"] is None
    assert len((await elastic.call("GET", f"/ips/{one['id']}")).body["assignments"]) == 3
    assert (await elastic.call("GET", f"/ips/{one['id']}/available")).body == {"available": [f"{one['network']}/32"]}
    assert (await elastic.call("POST", f"/devices/{devices[0]}/ips", address)).status == 422


async def test_split_and_merged(elastic: World) -> None:
    device_id = await placed(elastic)
    whole = await reserve(elastic, quantity=8, details="web", tags=["a"])
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": "192.0.2.4/31"})).body
    path = f"/ips/{whole['id']}/split"
    refused = await elastic.call("POST", path, {"cidr": 32})
    assert refused.status == 422 and "192.0.2.4/31 is led to" in refused.body["errors"][0]
    answer = await elastic.call("POST", path, {"cidr": 30}, key="s")
    assert answer.status == 201, answer.body
    halves = answer.body["ip_addresses"]
    assert [(one["network"], one["cidr"], one["details"], one["tags"]) for one in halves] == [
        ("192.0.2.0", 30, "web", ["a"]),
        ("192.0.2.4", 30, "web", ["a"]),
    ]
    assert (await elastic.call("POST", path, {"cidr": 30}, key="s")).body["ip_addresses"] == halves
    assert (await elastic.call("POST", path, {"cidr": 30})).status == 404
    kept = (await elastic.call("GET", f"/ips/{part['id']}")).body
    assert kept["parent_block"]["href"] == f"/ips/{halves[1]['id']}"
    ids = [one["id"] for one in halves]
    stranger = await reserve(elastic)
    refused = await elastic.call("POST", "/ips/merge", {"ids": [ids[0], stranger["id"]]})
    assert refused.status == 422 and "do not make up one block" in refused.body["errors"][0]
    assert (await elastic.call("POST", "/ips/merge", {"ids": [ids[0]]})).status == 422
    merged = await elastic.call("POST", "/ips/merge", {"ids": ids}, key="m")
    assert (merged.status, merged.body["cidr"], merged.body["details"]) == (201, 29, "web")
    assert merged.body["assignments"] == [{"href": f"/ips/{part['id']}"}]
    assert (await elastic.call("POST", "/ips/merge", {"ids": ids}, key="m")).body["id"] == merged.body["id"]


async def test_a_release_and_the_end_of_the_parts_at_once_leave_nothing(elastic: World) -> None:
    for _ in range(6):
        device_id = await placed(elastic)
        block = await reserve(elastic, quantity=2)
        await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})
        await elastic.call("DELETE", f"/devices/{device_id}")

        async def closed(device_id: UUID = device_id) -> None:
            async with elastic.db.acquire() as conn, conn.transaction():
                await addresses_back(conn, device_id, now=datetime.now(UTC), by="run:test")

        answer, _ = await asyncio.gather(elastic.call("DELETE", f"/ips/{block['id']}"), closed())
        assert answer.status == 204
        held = await tenure_by_id(elastic.db, UUID(block["id"]))
        assert held is not None and held.until is not None


async def test_what_was_taken_from_a_device_goes_to_others_after_the_leaf_was_seen_without_it(elastic: World) -> None:
    device_id = await placed(elastic)
    block = await reserve(elastic)
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).body
    assert (await elastic.call("DELETE", f"/ips/{part['id']}")).status == 204
    # The same customer may lead it somewhere else at once.
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).body
    assert (await elastic.call("DELETE", f"/ips/{part['id']}")).status == 204
    assert (await elastic.call("DELETE", f"/ips/{block['id']}")).status == 204
    assert (await elastic.call("GET", f"/ips/{block['id']}")).status == 404
    leaf_id = await elastic.db.fetchval("SELECT id FROM leaf")

    async def look() -> bool:
        await routes_seen(elastic.db, leaf_id, now=datetime.now(UTC))
        held = await tenure_by_id(elastic.db, UUID(block["id"]))
        assert held is not None
        return held.until is not None

    assert not await look()
    await elastic.db.execute("UPDATE leaf_port SET applied = generation - 1")
    assert not await look()
    await elastic.db.execute("UPDATE leaf_port SET applied = generation")
    assert await look()
    assert await elastic.db.fetchval("SELECT count(*) FROM route_withdrawal") == 0


async def test_a_port_that_is_being_closed_holds_a_release_up_too(elastic: World) -> None:
    device_id = await placed(elastic, state="provisioning")
    block = await reserve(elastic)
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).body
    await elastic.db.execute("UPDATE machine SET device_id = NULL")  # it failed, and its device gets another
    await elastic.db.execute("UPDATE leaf_port SET device_id = NULL, applied = generation, generation = generation + 1")
    assert (await elastic.call("DELETE", f"/ips/{part['id']}")).status == 204
    assert (await elastic.call("DELETE", f"/ips/{block['id']}")).status == 204
    for applied, ended in (("generation - 1", False), ("generation", True)):
        await elastic.db.execute(f"UPDATE leaf_port SET applied = {applied}")
        await routes_seen(elastic.db, await elastic.db.fetchval("SELECT id FROM leaf"), now=datetime.now(UTC))
        held = await tenure_by_id(elastic.db, UUID(block["id"]))
        assert held is not None and (held.until is not None) is ended


async def test_a_device_that_never_had_a_port_lets_go_at_once(elastic: World) -> None:
    await elastic.add_machines(1)
    device_id = (await elastic.order()).body["id"]
    block = await reserve(elastic)
    assert (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).status == 201
    assert (await elastic.call("DELETE", f"/devices/{device_id}")).status == 204
    assert await parts_of(elastic.db, [UUID(block["id"])]) == []
    assert (await elastic.call("DELETE", f"/ips/{block['id']}")).status == 204
    held = await tenure_by_id(elastic.db, UUID(block["id"]))
    assert held is not None and held.until is not None


async def test_a_device_that_is_placed_again_keeps_what_leads_to_it(elastic: World) -> None:
    device_id = await placed(elastic, state="provisioning")
    block = await reserve(elastic)
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).body

    async def closed() -> None:
        async with elastic.db.acquire() as conn, conn.transaction():
            await addresses_back(conn, device_id, now=datetime.now(UTC), by="run:test")

    await closed()  # a former machine is prepared once more: the device has its addresses at another port now
    assert len(await held_by(elastic.db, device_id)) == 4
    await elastic.db.execute("UPDATE machine SET device_id = NULL WHERE device_id = $1", device_id)
    await closed()
    assert [str(tenure.id) for tenure in await held_by(elastic.db, device_id)] == [part["id"]]
