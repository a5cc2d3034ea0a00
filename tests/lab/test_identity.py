"""The port is the identity: what boot, agent and metadata say to whom, and what they say to anyone else."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import aiohttp

from service.lab.parts import Nic
from service.lab.up import LabSettings
from service.store.rows import Pool
from tests.lab.world import lab


async def ask(
    source: str, method: str, url: str, body: Any = None, data: str | None = None, **headers: str
) -> tuple[int, str]:
    """One call from a source address."""
    connector = aiohttp.TCPConnector(local_addr=(source, 0))
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.request(method, url, json=body, data=data, headers=headers) as answer,
    ):
        return answer.status, await answer.text()


async def boot_addresses(db: Pool) -> dict[str, str]:
    """The host's side of each machine's boot link."""
    rows = await db.fetch(
        "SELECT m.name, host(t.block::inet + 1) AS address FROM machine m JOIN tenure t ON t.owner = m.port_id"
        " WHERE t.slot = 'boot'"
    )
    return {row["name"]: row["address"] for row in rows}


async def test_metadata_is_told_to_the_device_alone(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        base = running.service.parts.boot_url
        devices = [
            await customer.until(await customer.order(n, userdata=f"#!/bin/sh\n# {n}"), "active") for n in (1, 2)
        ]
        for number, device in enumerate(devices, 1):
            public = next(a["address"] for a in device["ip_addresses"] if a["public"] and a["address_family"] == 4)
            status, text = await ask(public, "GET", f"{base}/metadata")
            assert (status, f'"id": "{device["id"]}"' in text) == (200, True)
            assert (await ask(public, "GET", f"{base}/userdata"))[1] == f"#!/bin/sh\n# {number}"
            tree = f"{base}/2009-04-04/meta-data"
            status, listing = await ask(public, "GET", f"{tree}/")
            assert status == 200
            for leaf in listing.split("\n"):
                assert (await ask(public, "GET", f"{tree}/{leaf}"))[0] == 200, leaf
            assert (await ask(public, "GET", f"{tree}/hostname"))[1] == f"host{number}"
            assert (await ask(public, "GET", f"{base}/2021-03-23/meta-data/instance-id"))[0] == 404
        for path in ("metadata", "userdata", "2009-04-04/meta-data"):
            status, text = await ask("127.0.0.1", "GET", f"{base}/{path}")
            assert (status, "error" in text) == (404, True)


async def test_phone_home_takes_every_encoding_and_only_counts_once(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        url = f"{running.service.parts.boot_url}/phone-home"
        device = await customer.until(await customer.order(), "active")
        public = next(a["address"] for a in device["ip_addresses"] if a["public"] and a["address_family"] == 4)
        form = "application/x-www-form-urlencoded"
        for method, sent in (
            ("POST", {}),
            ("PUT", {"body": {"instance_id": device["id"]}}),
            ("POST", {"data": f"instance_id={device['id']}", "Content-Type": form}),
            ("POST", {"data": "body=hello&type=provisioning.104.01", "Content-Type": form}),
            ("PUT", {"body": {"type": "failure", "reason": "disk"}}),
        ):
            assert (await ask(public, method, url, **sent))[0] == 200
        assert (await ask("127.0.0.1", "POST", url))[0] == 200
        assert (await ask(public, "POST", url, data="<x/>", **{"Content-Type": "text/xml"}))[0] == 400
        assert (await ask(public, "POST", url, data="[1", **{"Content-Type": "application/json"}))[0] == 400
        assert (await ask(public, "GET", url))[0] == 405
        events = (await customer.call("GET", f"/devices/{device['id']}/events?per_page=100"))[1]["events"]
        assert [event["type"] for event in events].count("provisioning.110") == 1
        assert "provisioning.104.01" in [event["type"] for event in events]
        state = f"{running.service.parts.boot_url}/events"
        assert (await ask(public, "POST", state, data='{"state": "running", "code": 1042, "message": "m"}'))[0] == 200
        assert (await ask(public, "POST", state, data='{"state": "flying", "code": 1000}'))[0] == 400
        assert (await ask(public, "POST", state, data='{"code": 5}'))[0] == 400


async def test_a_boot_token_is_good_for_its_own_port_only(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, _):
        base, addresses = running.service.parts.boot_url, await boot_addresses(running.service.db)
        own, other = addresses["m0001"], addresses["m0002"]
        status, script = await ask(own, "GET", f"{base}/boot/ipxe")
        assert status == 200
        token = script.split("roundhouse.token=")[1].split()[0].strip('"')
        hello = {"token": token, "mac": "02:52:48:00:00:01", "inventory": {}}
        assert (await ask(other, "POST", f"{base}/agent/v1/hello", hello))[0] == 403
        assert (await ask("127.0.0.1", "POST", f"{base}/agent/v1/hello", hello))[0] == 403
        status, first = await ask(own, "POST", f"{base}/agent/v1/hello", hello)
        assert status == 200
        # The answer may have been lost: the same hello gets the same session.
        assert await ask(own, "POST", f"{base}/agent/v1/hello", hello) == (200, first)
        session = {"Authorization": "Bearer " + first.split('"session": "')[1].split('"')[0]}
        assert (await ask(own, "GET", f"{base}/agent/v1/work", **session))[0] == 204
        assert (await ask(other, "GET", f"{base}/agent/v1/work", **session))[0] == 401
        # A later boot ends the session, and its token with it.
        later = (await ask(own, "GET", f"{base}/boot/ipxe"))[1].split("roundhouse.token=")[1].split()[0].strip('"')
        assert (await ask(own, "POST", f"{base}/agent/v1/hello", hello | {"token": later}))[0] == 200
        assert (await ask(own, "GET", f"{base}/agent/v1/work", **session))[0] == 401
        assert (await ask(own, "POST", f"{base}/agent/v1/hello", hello))[0] == 403
        assert (await ask("127.0.0.1", "GET", f"{base}/boot/ipxe"))[0] == 404
        for path in ("..%2f..%2fkey", "%2e%2e/key", "x" * 300):
            assert (await ask(own, "GET", f"{base}/boot/files/{path}"))[0] == 404


async def test_a_wrong_cable_is_named_with_both_ports(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, _):
        db, machine = running.service.db, running.rack.machines["m0001"]
        await machine.power_off()
        machine.nic = Nic(machine.nic.mac, running.rack.free_port(1))
        await machine.power_on("pxe")
        async with asyncio.timeout(60):
            while (body := await db.fetchval("SELECT body FROM event WHERE type = 'machine.wrong_cable'")) is None:
                await asyncio.sleep(0.05)
        assert "expected leaf1 xe-0/0/0, seen leaf1 xe-0/0/1, where m0002" in body
