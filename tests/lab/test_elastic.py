"""What becomes of elastic addresses on the leaves: led to a device, moved, shared, and gone when it is gone."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp

from service.lab.up import Lab, LabSettings
from tests.lab.world import Customer, all_ready, lab, leaves_differ, left_behind, over_budget, soon


def routes(running: Lab, block: str) -> list[tuple[str, str]]:
    """Where the leaves lead a block: leaf and next hop."""
    return sorted(
        (name, line.rpartition(" ")[2])
        for name, leaf in running.rack.leaves.items()
        for line in leaf.set_lines()
        if f"static route {block} next-hop" in line
    )


async def leaf_of(running: Lab, device_id: str) -> str:
    found: str = await running.service.db.fetchval(
        "SELECT l.name FROM leaf_port AS o JOIN leaf AS l ON l.id = o.leaf_id WHERE o.device_id = $1", UUID(device_id)
    )
    return found


def own(device: dict[str, Any], family: int, *, public: bool = True) -> str:
    """A device's own address."""
    return next(
        str(one["address"])
        for one in device["ip_addresses"]
        if one["management"] and one["public"] is public and one["address_family"] == family
    )


async def reserved(customer: Customer, **wish: Any) -> dict[str, Any]:
    asked = {"type": "public_ipv4", "facility": "ewr1"} | wish
    status, body = await customer.call("POST", f"/projects/{customer.project}/ips", asked)
    assert status == 201, body
    return dict(body)


async def assigned(customer: Customer, device_id: str, address: str) -> dict[str, Any]:
    status, body = await customer.call("POST", f"/devices/{device_id}/ips", {"address": address})
    assert status == 201, body
    return dict(body)


async def test_an_assignment_has_its_effect_on_the_leaf_until_its_device_is_gone(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=2)) as (running, customer):
        db = running.service.db
        ids = [await customer.order(number) for number in range(2)]
        devices = [await customer.until(id_, "active") for id_ in ids]
        leaves = [await leaf_of(running, id_) for id_ in ids]
        hops = [(leaf, own(device, 4)) for leaf, device in zip(leaves, devices, strict=True)]

        block = await reserved(customer, quantity=2)
        part = await assigned(customer, ids[0], block["network"])
        host = f"{block['network']}/32"
        await soon(lambda: routes(running, host) == [hops[0]])
        item = f"set policy-options prefix-list rh4-own-xe-0/0/0 {host}"
        assert item in running.rack.leaves[leaves[0]].set_lines()
        assert await leaves_differ(db, running.service.parts, running.rack) == []

        # The device itself is told.
        connector = aiohttp.TCPConnector(local_addr=(hops[0][1], 0))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"{running.service.parts.boot_url}/metadata"
            told = (await (await session.get(url)).json())["network"]["addresses"]
        assert [(one["address"], one["management"]) for one in told][3:] == [(block["network"], False)]

        # To another device, on another leaf.
        status, moved = await customer.call("POST", f"/ips/{part['id']}/move", {"device": ids[1]})
        assert status == 201, moved
        await soon(lambda: routes(running, host) == [hops[1]])

        # IPv6 and anycast.
        six = await reserved(customer, type="public_ipv6", cidr=64)
        await assigned(customer, ids[1], f"{six['network']}/64")
        await soon(lambda: routes(running, f"{six['network']}/64") == [(leaves[1], own(devices[1], 6))])
        everywhere = await reserved(customer, type="global_ipv4", quantity=1, facility=None)
        for id_ in ids:
            await assigned(customer, id_, everywhere["network"])
        await soon(lambda: routes(running, f"{everywhere['network']}/32") == sorted(hops))

        # As live clients do: the device, at once its reservations.
        assert (await customer.call("DELETE", f"/devices/{ids[1]}"))[0] == 204
        for one in (block, six):
            assert (await customer.call("DELETE", f"/ips/{one['id']}"))[0] == 204
        status, left = await customer.call("GET", f"/projects/{customer.project}/ips?management=false")
        assert [one["id"] for one in left["ip_addresses"]] == [everywhere["id"]]
        await soon(lambda: routes(running, f"{everywhere['network']}/32") == [hops[0]])
        assert routes(running, host) == [] and routes(running, f"{six['network']}/64") == []

        # Taken from a device that lives: the reservation ends when the leaf was seen without it.
        status, body = await customer.call("GET", f"/ips/{everywhere['id']}")
        assert (await customer.call("DELETE", body["assignments"][0]["href"]))[0] == 204
        assert (await customer.call("DELETE", f"/ips/{everywhere['id']}"))[0] == 204
        await soon(lambda: routes(running, f"{everywhere['network']}/32") == [])
        assert (await customer.call("DELETE", f"/devices/{ids[0]}"))[0] == 204
        await all_ready(db)
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT EXISTS (SELECT FROM ip_label WHERE released_at IS NOT NULL)"):
                await asyncio.sleep(0.05)
        assert await left_behind(db) == [] and await leaves_differ(db, running.service.parts, running.rack) == []


async def test_what_leads_to_an_order_follows_it_to_another_machine(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=2)) as (running, customer):
        db = running.service.db
        first = await db.fetchval("SELECT name FROM machine WHERE state = 'ready' ORDER BY state_since LIMIT 1")
        running.rack.machines[first].faults.hang_at = "install"
        block = await reserved(customer, quantity=1)
        host = f"{block['network']}/32"
        device_id = await customer.order()
        await assigned(customer, device_id, block["network"])
        await over_budget(db, "install")
        device = await customer.until(device_id, "active")
        assert await db.fetchval("SELECT name FROM machine WHERE device_id = $1", UUID(device_id)) != first
        await soon(lambda: [hop for _, hop in routes(running, host)] == [own(device, 4)])
        assert routes(running, host)[0][0] == await leaf_of(running, device_id)
        rows = await db.fetch("SELECT note->>'machine' AS machine FROM tenure WHERE kind = 'routed' ORDER BY during")
        assert rows[-1]["machine"] != first and len({row["machine"] for row in rows}) == len(rows)
        running.rack.machines[first].faults.hang_at = None
        assert (await customer.call("DELETE", f"/devices/{device_id}"))[0] == 204
        assert (await customer.call("DELETE", f"/ips/{block['id']}"))[0] == 204
        await all_ready(db)
        assert await left_behind(db) == []
