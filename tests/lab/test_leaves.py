"""The leaves in service: what an order touches there, who else's hand is seen, and what holds an order up."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lxml import etree

from netconf.session import LeafAddress, open_session
from service.lab.leaf import PortRefusal, VirtualLeaf
from service.lab.up import Lab, LabSettings
from service.leaves import actor
from service.leaves.actor import LeafActor, gather_s
from service.secrets import open_sealed
from service.store.leaves import ask_read, raise_generation
from tests.lab.world import all_ready, lab, leaves_differ, soon

MISTAKE = """<configuration><interfaces><interface><name>xe-0/0/{}</name><mtu>{}</mtu></interface></interfaces>
</configuration>"""


async def address_of(running: Lab, leaf: VirtualLeaf) -> LeafAddress:
    """As an operator would log in."""
    row = await leaf_now(running, leaf.name)
    secret = open_sealed(running.service.parts.key, row["secret"])
    return LeafAddress(leaf.address, leaf.port, row["username"], secret, leaf.host_key)


async def meddle(running: Lab, leaf: VirtualLeaf, number: int, mtu: int) -> None:
    """Somebody changes the MTU of one of our ports by hand."""
    async with open_session(await address_of(running, leaf)) as operator:
        await operator.lock()
        await operator.edit_candidate(etree.fromstring(MISTAKE.format(number, mtu)))
        await operator.confirm(None)
        await operator.unlock()


def mtus(leaf: VirtualLeaf) -> dict[str, str]:
    return {
        line.split()[2]: line.split()[-1]
        for line in leaf.set_lines()
        if line.startswith("set interfaces") and line.split()[3] == "mtu"
    }


async def leaf_now(running: Lab, name: str = "leaf1") -> Any:
    return await running.service.db.fetchrow("SELECT * FROM leaf WHERE name = $1", name)


async def read_again(running: Lab, name: str = "leaf1") -> Any:
    leaf = await leaf_now(running, name)
    assert await ask_read(running.service.db, running.service.hub, leaf["id"], timeout_s=60)
    return await leaf_now(running, name)


def test_a_hint_waits_for_others_the_longer_the_leaf_takes() -> None:
    assert gather_s(None) == (0, 0)
    assert gather_s(8) == gather_s(60) == (0.5, 2)
    for seconds in (0.01, 0.05, 1, 8, 100):
        gap, most = gather_s(seconds)
        assert gap <= seconds / 16 and gap < most <= seconds / 4


async def test_an_order_changes_its_own_port_and_takes_nothing_back_on_others(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db, leaf = running.service.db, running.rack.leaves["leaf1"]
        await meddle(running, leaf, 0, 1500)
        await meddle(running, leaf, 1, 1600)
        device = await customer.order()
        await customer.until(device, "active")
        ordered = await db.fetchval("SELECT name FROM leaf_port WHERE device_id = $1", UUID(device))
        other, wrong = ("xe-0/0/1", "1600") if ordered == "xe-0/0/0" else ("xe-0/0/0", "1500")
        assert mtus(leaf) == {ordered: "9216", other: wrong}

        row = await read_again(running)
        assert (row["state"], row["drifted"]) == ("in_sync", 1)
        assert mtus(leaf)[other] == wrong
        await raise_generation(db, row["id"])
        await soon(lambda: mtus(leaf)[other] == "9216")
        assert (await read_again(running))["drifted"] == 0
        assert await leaves_differ(db, running.service.parts, running.rack) == []


async def test_whoever_holds_the_candidate_is_named_until_he_lets_go(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        leaf = running.rack.leaves["leaf1"]
        async with open_session(await address_of(running, leaf)) as operator:
            await operator.lock()
            device = await customer.order()
            async with asyncio.timeout(60):
                while (await leaf_now(running))["state"] != "locked":
                    await asyncio.sleep(0.1)
            row = await leaf_now(running)
            assert f"session {operator.session_id}" in row["fault"] and row["locked_since"] is not None
            async with asyncio.timeout(60):
                query = "SELECT reason FROM run WHERE subject = $1 AND finished_at IS NULL"
                while "is locked" not in (await running.service.db.fetchval(query, UUID(device)) or ""):
                    await asyncio.sleep(0.1)
            await operator.unlock()
        await customer.until(device, "active")
        row = await leaf_now(running)
        assert (row["state"], row["fault"], row["locked_since"]) == ("in_sync", None, None)


async def test_what_the_leaf_refuses_goes_to_another_machine_or_fails_with_its_reason(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(actor, "_REFUSED_S", 1.0)
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db, leaf = running.service.db, running.rack.leaves["leaf1"]
        first = await db.fetchval(
            "SELECT o.name FROM machine AS m JOIN leaf_port AS o ON o.id = m.port_id ORDER BY m.state_since LIMIT 1"
        )
        leaf.faults.refuse_ports = PortRefusal({first: "mgd: no room for another filter"}, "commit", named=True)
        device = await customer.order()
        await customer.until(device, "active")
        assert await db.fetchval("SELECT name FROM leaf_port WHERE device_id = $1", UUID(device)) != first
        # The one that was refused can be closed as little as it could be opened; it goes to nobody before it was.
        assert await db.fetchval("SELECT count(*) FROM machine WHERE state = 'preparing'") == 1
        leaf.faults.refuse_ports = None
        await all_ready_but(db, 1)
        leaf.faults.refuse_ports = PortRefusal({first: "mgd: no room for another filter"}, "commit", named=True)
        second = await customer.order(1)
        async with asyncio.timeout(60):
            while True:
                _, found = await customer.call("GET", f"/devices/{second}")
                if found["state"] == "failed":
                    break
                await asyncio.sleep(0.1)
        failure = await db.fetchval("SELECT failure FROM device WHERE id = $1", UUID(second))
        assert failure == f"leaf1 refuses {first}: mgd: no room for another filter"


async def all_ready_but(db: Any, count: int) -> None:
    async with asyncio.timeout(60):
        while await db.fetchval("SELECT count(*) FROM machine WHERE state <> 'ready'") != count:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("mirrors", ["192.0.2.0/24"])
async def test_a_setting_that_changes_what_ports_are_reaches_the_leaves(
    database_url: str, tmp_path: Path, mirrors: str
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, _):
        leaf, parts = running.rack.leaves["leaf1"], running.service.parts
        assert not any(mirrors in line for line in leaf.set_lines())
        await read_again(running)
        generation = (await leaf_now(running))["generation"]
        changed = replace(parts, settings=replace(parts.settings, mirrors=mirrors))
        async with asyncio.TaskGroup() as tasks:
            row = await leaf_now(running)
            another = LeafActor(running.service.db, changed, running.service.hub, row["id"], row["holder"])
            task = tasks.create_task(another.run())
            await soon(lambda: any(mirrors in line for line in leaf.set_lines()))
            assert (await leaf_now(running))["generation"] > generation
            task.cancel()
        await all_ready(running.service.db)
