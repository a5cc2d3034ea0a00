"""BGP to hosts on the leaves: what a device may announce is there while it may, and no block goes to another customer
before the leaves were seen without it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import UUID

from service.lab.leaf import VirtualLeaf
from service.lab.up import LabSettings
from tests.lab.world import Customer, all_ready, lab, leaves_differ, left_behind, soon

PASSWORD = "correcthorse12"


def bgp_lines(leaf: VirtualLeaf, port: str) -> list[str]:
    """The statements of a port's sessions."""
    groups = tuple(f"set protocols bgp group rh{version}-{port} " for version in (4, 6))
    return [line for line in leaf.set_lines() if line.startswith(groups)]


def announced(leaf: VirtualLeaf, port: str) -> set[str]:
    """The prefixes that a port's sessions may announce."""
    return {
        line.split()[-1]
        for line in leaf.set_lines()
        if line.startswith("set policy-options prefix-list rh") and line.split()[3].endswith(f"-{port}")
        if "-bgp" in line.split()[3]
    }


async def reserved(customer: Customer, quantity: int) -> dict[str, Any]:
    asked = {"type": "public_ipv4", "facility": "ewr1", "quantity": quantity}
    status, body = await customer.call("POST", f"/projects/{customer.project}/ips", asked)
    assert status == 201, body
    return dict(body)


async def test_a_session_is_on_the_leaf_with_what_the_project_holds(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db, leaf = running.service.db, running.rack.leaves["leaf1"]
        config = {"deployment_type": "local", "asn": 65_001, "md5": PASSWORD}
        assert (await customer.call("POST", f"/projects/{customer.project}/bgp-configs", config))[0] == 204
        block = await reserved(customer, 4)
        ids = [await customer.order(number) for number in range(2)]
        devices = [await customer.until(id_, "active") for id_ in ids]
        ports = [await db.fetchval("SELECT name FROM leaf_port WHERE device_id = $1", UUID(id_)) for id_ in ids]
        assert bgp_lines(leaf, ports[0]) == []
        status, session = await customer.call("POST", f"/devices/{ids[0]}/bgp/sessions", {"default_route": True})
        assert status == 201
        private = next(one["address"] for one in devices[0]["ip_addresses"] if not one["public"])
        await soon(lambda: announced(leaf, ports[0]) == {f"{block['network']}/30"})
        lines = bgp_lines(leaf, ports[0])
        assert any(f"neighbor {private} " in f"{line} " for line in lines)
        assert any(line.endswith("peer-as 65001") for line in lines)
        assert not any(PASSWORD in line for line in leaf.set_lines())
        assert bgp_lines(leaf, ports[1]) == []
        assert await leaves_differ(db, running.service.parts, running.rack) == []

        # A part that has a static route is announced by nobody.
        status, part = await customer.call("POST", f"/devices/{ids[1]}/ips", {"address": block["network"]})
        assert status == 201, part
        await soon(lambda: f"{block['network']}/30" not in announced(leaf, ports[0]))
        assert len(announced(leaf, ports[0])) == 2
        assert (await customer.call("DELETE", part["href"]))[0] == 204
        await soon(lambda: announced(leaf, ports[0]) == {f"{block['network']}/30"})

        # What is reserved later may be announced, too; what is released may not, and ends when the leaf was seen so.
        more = await reserved(customer, 1)
        await soon(lambda: f"{more['network']}/32" in announced(leaf, ports[0]))
        leaf.faults.refuse_always = "mgd: not now"
        assert (await customer.call("DELETE", f"/ips/{more['id']}"))[0] == 204
        still = "SELECT count(*) FROM tenure WHERE id = $1 AND upper_inf(during)"
        await asyncio.sleep(0.5)
        assert await db.fetchval(still, UUID(more["id"])) == 1
        leaf.faults.refuse_always = ""
        await db.execute("UPDATE leaf SET generation = generation + 1")
        await db.execute("SELECT pg_notify('roundhouse', 'leaf:' || id) FROM leaf")
        await soon(lambda: f"{more['network']}/32" not in announced(leaf, ports[0]))
        async with asyncio.timeout(60):
            while await db.fetchval(still, UUID(more["id"])):
                await asyncio.sleep(0.05)

        assert (await customer.call("DELETE", session["href"]))[0] == 204
        await soon(lambda: bgp_lines(leaf, ports[0]) == [] and announced(leaf, ports[0]) == set())
        for id_ in ids:
            assert (await customer.call("DELETE", f"/devices/{id_}"))[0] == 204
        assert (await customer.call("DELETE", f"/ips/{block['id']}"))[0] == 204
        await all_ready(db)
        async with asyncio.timeout(60):
            while await db.fetchval("SELECT EXISTS (SELECT FROM ip_label WHERE released_at IS NOT NULL)"):
                await asyncio.sleep(0.05)
        assert await left_behind(db) == [] and await leaves_differ(db, running.service.parts, running.rack) == []
