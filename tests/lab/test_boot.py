"""The boot node in a rack: wrong cables, strangers, replays, and a database that goes away."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import aiohttp
import asyncpg
import pytest

from pxe.dhcp import options as opt
from pxe.dhcp.message import BOOTREQUEST, Message, decode, encode
from service.lab.board import LightSettings
from service.lab.light import LightMachine
from service.lab.parts import Nic
from service.lab.rack import mac_of
from service.lab.relay import Relay, relayed
from service.lab.up import Lab, LabSettings, light_settings
from service.store.rows import Pool
from tests.lab.test_identity import ask, boot_addresses
from tests.lab.world import TOKEN, all_ready, away, lab


async def until(true: Callable[[], Awaitable[Any]], limit: float = 60) -> Any:
    """Wait until it says something, and return that."""
    async with asyncio.timeout(limit):
        while not (found := await true()):
            await asyncio.sleep(0.05)
        return found


async def state_of(db: Pool, name: str) -> tuple[str, str, str]:
    """A machine's state, its reason, and its port's profile."""
    row = await db.fetchrow(
        "SELECT m.state, coalesce(m.reason, '') AS reason, o.profile FROM machine AS m"
        " JOIN leaf_port AS o ON o.id = m.port_id WHERE m.name = $1",
        name,
    )
    return row["state"], row["reason"], row["profile"]


async def prepare(running: Lab, name: str) -> int:
    """Send a machine through preparation, as an operator."""
    url = f"{running.api}/admin/v1/machines/{name}/prepare"
    async with aiohttp.ClientSession(headers={"X-Auth-Token": TOKEN}) as session, session.post(url) as answer:
        return answer.status


async def as_staff(running: Lab, path: str) -> Any:
    """What a call of the staff's says."""
    async with (
        aiohttp.ClientSession(headers={"X-Auth-Token": TOKEN}) as session,
        session.get(running.api + path) as got,
    ):
        assert got.status == 200
        return await got.json()


async def test_swapped_cables_take_both_machines_out_of_the_pool_until_they_are_put_right(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, _):
        db, rack = running.service.db, running.rack
        for machine in rack.machines.values():
            await machine.power_off()
        rack.swap("m0001", "m0002")
        for machine in rack.machines.values():
            await machine.power_on("pxe")

        async def both_out() -> bool:
            return all([(await state_of(db, name))[0] == "quarantined" for name in rack.machines])

        await until(both_out)
        assert await state_of(db, "m0001") == (
            "quarantined",
            f"m0002 ({mac_of(2)}): expected leaf1 xe-0/0/1, seen leaf1 xe-0/0/0, where m0001 ({mac_of(1)}) belongs",
            "quarantine",
        )
        assert (await state_of(db, "m0002"))[1].startswith(f"m0001 ({mac_of(1)}): expected leaf1 xe-0/0/0, seen leaf1")
        page = await console(running, "/boot")
        assert "Cables in the wrong place" in page and f"m0002 ({mac_of(2)}): expected leaf1 xe-0/0/1" in page
        told = await as_staff(running, "/admin/v1/wrong-cables")
        assert [(one["port"], one["machine"], one["seen_machine"]) for one in told["wrong_cables"]] == [
            ("xe-0/0/0", "m0001", "m0002"),
            ("xe-0/0/1", "m0002", "m0001"),
        ]

        async def heard() -> Any:
            (node,) = (await as_staff(running, "/admin/v1/boot-nodes"))["boot_nodes"]
            return node["ports"] == 2 and node

        node = await until(heard)
        assert (node["state"], node["address"]) == ("alive", "127.0.0.1")
        # Neither gets into the installer, whose work would be the other one's.
        assert await db.fetchval("SELECT count(*) FROM agent_session WHERE ended_at IS NULL AND seen_at > now()") == 0
        # Preparation in this state stops with the sentence, before anything is erased.
        assert await prepare(running, "m0001") == 202

        async def stopped() -> bool:
            return (await state_of(db, "m0001"))[0] == "quarantined"

        await until(stopped)
        assert "seen leaf1 xe-0/0/" in (await state_of(db, "m0001"))[1]
        erasures = await db.fetchval("SELECT count(*) FROM agent_work WHERE kind = 'erase'")
        assert erasures == 2  # those of the enrolment
        rack.swap("m0001", "m0002")
        for name in rack.machines:
            assert await prepare(running, name) == 202
        await all_ready(db)


async def test_a_machine_nobody_knows_is_discovered_at_a_free_port_and_enrolled(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, _):
        db, rack = running.service.db, running.rack
        port = rack.free_port(7)
        async with aiohttp.ClientSession(running.api, headers={"X-Auth-Token": TOKEN}) as api:
            free = {"facility": "ewr1", "free_ports": [{"leaf": "leaf1", "ports": [port.name]}]}
            async with api.post("/admin/v1/inventory", json=free) as answer:
                assert (answer.status, (await answer.json())["free_ports"]) == (200, 1)
            await until(lambda: _relays(port))
            stranger = LightMachine(
                "m0008", Nic(mac_of(8), port), light_settings(running.service.parts.settings, LightSettings())
            )
            rack.machines["m0008"] = stranger
            rack.bmc.add(stranger)
            await stranger.power_on("pxe")

            async def found() -> Any:
                async with api.get("/admin/v1/discoveries") as answer:
                    return (await answer.json())["discoveries"]

            (one,) = await until(found)
            assert (one["leaf"], one["port"], one["mac"]) == ("leaf1", port.name, mac_of(8))
            assert one["inventory"]["system"]["product_serial"] == "m0008"
            assert await db.fetchval("SELECT count(*) FROM event WHERE type = 'machine.discovered'") == 1
            assert (one["system"], one["memory_bytes"], one["disks_bytes"]) == (
                "Roundhouse light m0008",
                32 << 30,
                [480 * 10**9],
            )
            page = await console(running, "/boot")
            assert all(word in page for word in ("nobody has enrolled", mac_of(8), "32 GiB", "480 GB", "alive"))
            # It has no work, and no order gets it.
            assert await db.fetchval("SELECT count(*) FROM machine") == 1
            rack.cable("m0008", port, mac_of(8))
            async with api.post("/admin/v1/inventory", json=rack.inventory()) as answer:
                assert answer.status == 200, await answer.text()
            await all_ready(db)
            assert await db.fetchval("SELECT state FROM machine WHERE name = 'm0008'") == "ready"
            async with api.get("/admin/v1/discoveries") as answer:
                assert (await answer.json())["discoveries"] == []


async def console(running: Lab, path: str) -> str:
    """A page as a browser of the staff gets it."""
    jar = aiohttp.CookieJar(unsafe=True)
    async with aiohttp.ClientSession(running.api, cookie_jar=jar) as browser:
        await browser.post("/console/login", data={"token": TOKEN})
        async with browser.get(f"/console{path}") as answer:
            assert answer.status == 200
            return await answer.text()


async def _relays(port: Any) -> bool:
    return port.relay_source is not None


async def test_a_known_machine_at_a_free_port_is_named_and_not_discovered(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, _):
        db, rack, machine = running.service.db, running.rack, running.rack.machines["m0001"]
        port = rack.free_port(7)
        async with aiohttp.ClientSession(running.api, headers={"X-Auth-Token": TOKEN}) as api:
            free = {"facility": "ewr1", "free_ports": [{"leaf": "leaf1", "ports": [port.name]}]}
            async with api.post("/admin/v1/inventory", json=free) as answer:
                assert answer.status == 200
        await until(lambda: _relays(port))
        await machine.power_off()
        machine.nic = Nic(machine.nic.mac, port)
        await machine.power_on("pxe")
        body = await until(lambda: db.fetchval("SELECT body FROM event WHERE type = 'machine.wrong_cable'"))
        assert body == (f"m0001 ({mac_of(1)}): expected leaf1 xe-0/0/0, seen leaf1 xe-0/0/7, which has no machine")
        assert await db.fetchval("SELECT count(*) FROM discovery") == 0
        # An order that gets it finds out at its network boot, and says where it is.
        assert await prepare(running, "m0001") == 202

        async def out() -> bool:
            return (await state_of(db, "m0001"))[0] == "quarantined"

        await until(out)
        assert (await state_of(db, "m0001"))[1] == f"m0001 ({mac_of(1)}): expected leaf1 xe-0/0/0, seen leaf1 xe-0/0/7"


async def discover(machine: LightMachine, settings: LightSettings, mac: str) -> Message:
    """What the firmware at that machine's port is offered when it says another MAC."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    relay = Relay(machine.nic.port, heard.put_nowait, server_port=settings.dhcp_port, relay_port=settings.relay_port)
    options = {
        opt.MESSAGE_TYPE: bytes((opt.DISCOVER,)),
        opt.CLIENT_ARCH: b"\0\7",
        opt.VENDOR_CLASS: b"PXEClient:Arch:00007:UNDI:003016",
    }
    try:
        asked = Message(op=BOOTREQUEST, xid=7, chaddr=bytes.fromhex(mac.replace(":", "")), options=options)
        relay.from_client(encode(asked))
        return decode(await asyncio.wait_for(heard.get(), 60))
    finally:
        relay.close()


async def test_a_device_that_says_another_machines_mac_gets_its_own_address_and_harms_nobody(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        db, rack = running.service.db, running.rack
        device = await customer.until(await customer.order(), "active")
        name = await db.fetchval("SELECT name FROM machine WHERE device_id = $1", device["id"])
        other = next(one for one in rack.machines if one != name)
        addresses = await boot_addresses(db)
        settings = light_settings(running.service.parts.settings, LightSettings())
        for _ in range(3):
            offer = await discover(rack.machines[name], settings, rack.machines[other].nic.mac)
            assert offer.yiaddr == IPv4Address(addresses[name])
        body = await until(lambda: db.fetchval("SELECT body FROM event WHERE type = 'machine.wrong_cable'"))
        assert f"where {name} (" in body
        await asyncio.sleep(0.3)
        # It is said once, and nothing more: neither the device nor the other machine is touched.
        assert await db.fetchval("SELECT count(*) FROM event WHERE type = 'machine.wrong_cable'") == 1
        assert [(await state_of(db, one))[::2] for one in (name, other)] == [
            ("in_use", "active"),
            ("ready", "provisioning"),
        ]
        assert (await customer.call("GET", f"/devices/{device['id']}"))[1]["state"] == "active"
        second = await customer.until(await customer.order(1), "active")
        assert await db.fetchval("SELECT name FROM machine WHERE device_id = $1", second["id"]) == other


async def test_a_token_is_used_once_and_only_by_the_machine_itself(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, _):
        base, addresses = running.service.parts.boot_url, await boot_addresses(running.service.db)
        own = addresses["m0001"]

        async def token() -> str:
            status, script = await ask(own, "GET", f"{base}/boot/ipxe?mac={mac_of(1)}&arch=bios")
            assert status == 200
            return script.split("roundhouse.token=")[1].split()[0]

        async def hello(token: str, mac: str = mac_of(1)) -> tuple[int, str]:
            return await ask(own, "POST", f"{base}/agent/v1/hello", {"token": token, "mac": mac, "inventory": {}})

        first, second = await token(), await token()
        assert first != second
        assert (await hello(first))[0] == 200
        assert (await hello(second))[0] == 200  # the machine has booted again: the first session is over
        status, body = await hello(first)
        assert (status, json.loads(body)) == (
            403,
            {"errors": ["the boot token was used before, and its session has ended"]},
        )
        assert (await hello("x" * 64))[0] == 403
        status, body = await hello(await token(), mac_of(2))
        assert (status, f"{mac_of(2)} is not the card that is recorded at this port: {mac_of(1)}" in body) == (
            403,
            True,
        )
        # Another machine at this port is not led into the installer at all; nobody else's word makes it one.
        for mac, leads in ((mac_of(2), False), ("02:ff:00:00:00:01", False), ("junk", True), (mac_of(1), True)):
            _, script = await ask(own, "GET", f"{base}/boot/ipxe?mac={mac}")
            assert ("roundhouse.token=" in script) is leads, mac


async def test_machines_boot_while_the_database_is_away(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=3, leaves=1)) as (running, customer):
        device = await customer.until(await customer.order(), "active")
        used = await running.service.db.fetchval("SELECT name FROM machine WHERE device_id = $1", device["id"])
        async with away(database_url):
            for machine in running.rack.machines.values():
                await machine.power_off()
                await machine.power_on("pxe")
            expected = {name: "system" if name == used else "agent" for name in running.rack.machines}

            async def there() -> bool:
                return {name: machine.stage for name, machine in running.rack.machines.items()} == expected

            # Warm machines are in the installer and insist on their hello, the device runs from its disk.
            await until(there)
        await all_ready_but(running.service.db, used)


async def all_ready_but(db: Pool, used: str) -> None:
    """Wait until the agents of all other machines ask for work again."""

    async def asking() -> bool:
        try:
            return not await db.fetchval(
                "SELECT EXISTS (SELECT FROM machine AS m WHERE m.name <> $1 AND NOT EXISTS ("
                " SELECT FROM agent_session AS s WHERE s.machine_id = m.id AND s.ended_at IS NULL"
                " AND s.seen_at > now() - interval '3 s'))",
                used,
            )
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False

    await until(asking)


@pytest.mark.parametrize("circuit", ["xe-0/0/40.0", "xe-0/0/1.0"])
async def test_a_relay_that_names_another_port_than_its_address_is_answered_by_silence(
    database_url: str, tmp_path: Path, circuit: str
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, _):
        settings = running.service.parts.settings
        giaddr = running.rack.free_port(0).relay_source
        assert giaddr is not None
        loop = asyncio.get_running_loop()
        transport, heard = await loop.create_datagram_endpoint(
            Heard, local_addr=(str(giaddr), settings.dhcp_relay_port)
        )
        try:
            for xid, named in ((1, circuit), (2, "xe-0/0/0.0")):
                mac = bytes.fromhex(mac_of(1).replace(":", ""))
                asked = Message(op=BOOTREQUEST, xid=xid, chaddr=mac, options={opt.MESSAGE_TYPE: bytes((opt.DISCOVER,))})
                message = encode(relayed(asked, giaddr, named, "leaf1"))
                transport.sendto(message, (settings.boot_host, settings.dhcp_port))
            # Both were sent; the only answer is to the second.
            assert decode(await asyncio.wait_for(heard.messages.get(), 60)).xid == 2
            assert heard.messages.empty()
        finally:
            transport.close()


class Heard(asyncio.DatagramProtocol):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[bytes] = asyncio.Queue()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.messages.put_nowait(data)
