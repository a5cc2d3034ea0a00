"""An unknown machine at a free port: in the pool without a human, or waiting in quarantine with the reason."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from service.lab.board import LightSettings, VirtualDisk
from service.lab.light import LightMachine
from service.lab.parts import Nic
from service.lab.rack import Rack, mac_of
from service.lab.up import Lab, LabSettings, light_settings
from tests.lab.test_boot import until
from tests.lab.world import TOKEN, all_ready, lab

PLAN = "c1.small.x86"


class Operator:
    """Somebody of the staff, at the API."""

    def __init__(self, session: aiohttp.ClientSession, running: Lab) -> None:
        self._session = session
        self.running = running

    async def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """One call; its answer's body."""
        async with self._session.request(method, f"/admin/v1{path}", json=body) as answer:
            text = await answer.text()
            assert answer.status == status, text
            return await answer.json() if text else None

    async def found(self) -> list[dict[str, Any]]:
        """What waits at free ports."""
        return list((await self.call("GET", "/discoveries"))["discoveries"])

    async def refused(self, count: int = 1) -> list[dict[str, Any]]:
        """Those that wait in quarantine, as soon as there are so many."""

        async def all_there() -> list[dict[str, Any]] | None:
            found = [one for one in await self.found() if one["state"] == "quarantined"]
            return found if len(found) == count else None

        return list(await until(all_there))

    async def ready(self) -> None:
        """Say what the facility's machines are, and where its BMCs are."""
        rack = self.running.rack
        await self.call("PATCH", f"/plans/{PLAN}/hardware", {"like": "m0001"})
        await self.call("PUT", "/bmc-access", rack.bmc_access())

    async def pooled(self, name: str) -> dict[str, Any]:
        """The machine of that name, when it is in the pool."""

        async def there() -> dict[str, Any] | None:
            machines = (await self.call("GET", "/machines?state=ready"))["machines"]
            return next((one for one in machines if one["name"] == name), None)

        return dict(await until(there))


@asynccontextmanager
async def rack_with_strangers(
    database_url: str, folder: Path, count: int = 1, **settings: Any
) -> AsyncIterator[tuple[Operator, list[LightMachine]]]:
    """A rack with one enrolled machine, and strangers at free ports that are still off."""
    asked = LabSettings(machines=1, leaves=1, strangers=count)
    async with (
        lab(database_url, folder, asked, newcomer_burn_in_s=1, **settings) as (running, _),
        aiohttp.ClientSession(running.api, headers={"X-Auth-Token": TOKEN}) as session,
    ):
        rack = running.rack
        await until(lambda: _all_relay(rack))
        yield Operator(session, running), [rack.machines[name] for name in rack.strange]


async def _all_relay(rack: Rack) -> bool:
    return all(rack.machines[name].nic.port.relay_source is not None for name in rack.strange)


async def test_an_unknown_machine_comes_to_the_pool_by_itself(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        db = operator.running.service.db
        await operator.ready()
        await stranger.power_on("none")
        machine = await operator.pooled("leaf1-xe-0-0-1")
        assert (machine["plan"], machine["mac"], machine["port"]) == (PLAN, stranger.mac, "xe-0/0/1")
        assert await operator.found() == []
        await all_ready(db)
        workflows = [row["workflow"] for row in await db.fetch("SELECT workflow FROM run ORDER BY created_at")]
        assert workflows == ["prepare", "newcomer", "burn_in"]
        # It was erased with a certificate, and an order gets it.
        certificates = (await operator.call("GET", f"/machines/{machine['name']}/certificates"))["certificates"]
        assert [one["valid"] for one in certificates] == [True]
        told = await db.fetchval("SELECT body FROM event WHERE type = 'machine.enrolled'")
        assert told == f"leaf1-xe-0-0-1 was found at leaf1 xe-0/0/1, is a {PLAN}, and is enrolled"
        link = await db.fetchval(
            "SELECT t.note->>'machine' FROM tenure AS t JOIN leaf_port AS o ON o.id = t.owner"
            " WHERE t.slot = 'boot' AND o.name = 'xe-0/0/1' AND t.corrected_at IS NULL"
        )
        assert link == machine["name"]


async def test_what_fits_no_plan_waits_with_the_difference_and_comes_in_when_it_fits(
    database_url: str, tmp_path: Path
) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        stranger.disks[:] = [VirtualDisk(serial="A"), VirtualDisk(path="/dev/vdb", serial="B", bytes=10**12)]
        await operator.ready()
        await stranger.power_on("none")
        (one,) = await operator.refused()
        assert one["reason"] == (
            f"{stranger.mac} at leaf1 xe-0/0/1: it fits no plan; nearest is {PLAN}: /dev/vdb (ssd, 1000 GB) is one disk"
            " too many (and 5 plans that fit less)"
        )
        assert (await operator.call("GET", "/machines"))["machines"][0]["name"] == "m0001"
        # The port still lets nothing through but the boot services, and nobody was woken by the BMC.
        db = operator.running.service.db
        assert await db.fetchval("SELECT profile FROM leaf_port WHERE name = 'xe-0/0/1'") == "quarantine"
        # The operator says that a plan's machines look like this one; it is looked at again.
        await operator.call("PATCH", "/plans/m1.xlarge.x86/hardware", {"like": "leaf1 xe-0/0/1"})
        assert (await operator.pooled("leaf1-xe-0-0-1"))["plan"] == "m1.xlarge.x86"


async def test_two_plans_that_fit_equally_are_a_matter_for_an_operator(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        await operator.ready()
        await operator.call("PATCH", "/plans/c3.small.x86/hardware", {"like": "m0001"})
        await stranger.power_on("none")
        (one,) = await operator.refused()
        assert one["reason"].endswith(
            "it fits c1.small.x86 and c3.small.x86 equally: give one of them a bill of materials that tells them apart"
        )
        # The one that tells more is the better one.
        await operator.call("PATCH", "/plans/c3.small.x86/hardware", {"bom": {"cpu": {"model": "light"}}})
        assert (await operator.pooled("leaf1-xe-0-0-1"))["plan"] == PLAN


async def test_two_machines_at_one_port_are_named(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        running = operator.running
        second = LightMachine(
            "x0001", Nic(mac_of(77), stranger.nic.port), light_settings(running.service.parts.settings, LightSettings())
        )
        # They share the address of the port's one link, as two machines behind a switch would.
        running.rack.machines["x0001"] = second
        await stranger.power_on("none")
        await operator.refused()
        await second.power_on("none")
        await operator.refused(2)
        cards = f"{stranger.mac} and {second.mac}"
        reason = f"leaf1 xe-0/0/1: 2 machines say hello there, {cards}; a port has one machine's cable"
        await until(lambda: _says(operator, reason))
        # Also when everything else would fit.
        await operator.ready()
        await until(lambda: _says(operator, reason))
        assert await running.service.db.fetchval("SELECT count(*) FROM machine") == 1


async def _says(operator: Operator, reason: str) -> bool:
    return {one["reason"] for one in await operator.found()} == {reason}


async def test_a_machine_without_a_bmc_waits_until_somebody_says_where_it_is(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        rack = operator.running.rack
        await operator.call("PATCH", f"/plans/{PLAN}/hardware", {"like": "m0001"})
        await stranger.power_on("none")
        (one,) = await operator.refused()
        assert one["reason"] == (
            f"{stranger.mac} at leaf1 xe-0/0/1: its BMC was not found: nobody has said where BMCs of ewr1 are"
        )
        # The word of an operator for one port is believed, but for a BMC that says it is another machine's.
        of_port = {**rack.bmc_access(), "leaf": "leaf1", "port": "xe-0/0/1"}
        wrong = {**of_port, "url": rack.bmc.system_url("m0001")}
        await operator.call("PUT", "/bmc-access", wrong)

        async def in_use() -> bool:
            (one,) = await operator.found()
            return one["reason"] is not None and one["reason"].endswith("its BMC was not found: none is its own")

        await until(in_use)
        await operator.call("PUT", "/bmc-access", {**of_port, "url": rack.bmc.system_url(stranger.name)})
        machine = await operator.pooled("leaf1-xe-0-0-1")
        url = await operator.running.service.db.fetchval("SELECT bmc_url FROM machine WHERE name = $1", machine["name"])
        assert url == rack.bmc.system_url(stranger.name)


async def test_a_cable_that_lldp_sees_elsewhere_is_named(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path, 2) as (operator, (first, second)):
        await operator.ready()
        # What the machine hears by LLDP is another port than the one that its DHCP came from.
        first.faults.hears = ("leaf1", "xe-0/0/9")
        await first.power_on("none")
        await second.power_on("none")
        await operator.pooled("leaf1-xe-0-0-2")
        (one,) = await operator.refused()
        assert one["reason"] == f"the machine ({first.mac}): expected leaf1 xe-0/0/1, LLDP shows leaf1 xe-0/0/9"
        # The cable is put right, and the machine restarted.
        await first.power_off()
        first.faults.hears = None
        await first.power_on("none")
        await operator.pooled("leaf1-xe-0-0-1")


async def test_a_place_in_a_rack_gives_the_name(database_url: str, tmp_path: Path) -> None:
    async with rack_with_strangers(database_url, tmp_path) as (operator, (stranger,)):
        db = operator.running.service.db
        rack_id = await db.fetchval(
            "INSERT INTO rack (facility_id, name) SELECT id, 'R1' FROM facility WHERE code = 'ewr1' RETURNING id"
        )
        await db.execute("UPDATE leaf_port SET rack_id = $1, rack_unit = 7 WHERE name = 'xe-0/0/1'", rack_id)
        await operator.ready()
        await stranger.power_on("none")
        await operator.pooled("ewr1-r1-u07")
