"""The Redfish client against the virtual BMC: evidence for each state, and the faults of both kinds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession

from service.lab.bmc import Credentials, VirtualBmc
from service.lab.console import SerialLine
from service.lab.parts import BootSource, PowerTarget
from service.power.errors import BmcLied, BmcRefused, BmcUnreachable
from service.power.redfish import Redfish


class Machine:
    """A machine that only has power."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.starts: list[BootSource] = []
        self._powered = False
        self._console = SerialLine()

    @property
    def console(self) -> SerialLine:
        return self._console

    @property
    def mac(self) -> str:
        return "02:52:48:00:00:01"

    @property
    def powered(self) -> bool:
        return self._powered

    async def power_on(self, boot: BootSource) -> None:
        self._powered = True
        self.starts.append(boot)

    async def power_off(self) -> None:
        self._powered = False


@pytest.fixture
def machine() -> Machine:
    return Machine("m1")


@pytest.fixture
async def bmc(machine: Machine) -> AsyncIterator[VirtualBmc]:
    target: PowerTarget = machine
    async with VirtualBmc([target, Machine("m2")], "127.0.0.1", 0, Credentials("admin", "secret")) as running:
        yield running


@pytest.fixture
async def redfish(bmc: VirtualBmc) -> AsyncIterator[Redfish]:
    async with client(bmc.system_url("m1")) as opened:
        yield opened


def client(url: str, password: str = "secret") -> Redfish:
    return Redfish(url, "admin", password, poll_s=0.02)


@pytest.fixture
async def impatient(bmc: VirtualBmc) -> AsyncIterator[Redfish]:
    """A client that soon sees that nothing comes of what it has asked for."""
    async with Redfish(bmc.system_url("m1"), "admin", "secret", deadline_s=0.3, poll_s=0.02) as opened:
        yield opened


async def test_power_is_switched_and_seen(redfish: Redfish, machine: Machine) -> None:
    assert await redfish.power_state() == "off"
    await redfish.power_on()
    assert machine.powered
    await redfish.power_on()
    assert machine.starts == ["none"]
    await redfish.power_cycle()
    assert machine.starts == ["none", "none"]
    await redfish.power_off()
    assert not machine.powered
    assert await redfish.power_state() == "off"


@pytest.mark.parametrize(("wanted", "source"), [("pxe", "pxe"), ("disk", "disk")])
async def test_a_boot_source_is_good_for_one_start(
    redfish: Redfish, machine: Machine, wanted: str, source: BootSource
) -> None:
    await redfish.set_boot_once(wanted)  # type: ignore[arg-type]
    await redfish.power_cycle()
    await redfish.power_cycle()
    assert machine.starts == [source, "none"]


async def test_resets(redfish: Redfish, machine: Machine) -> None:
    with pytest.raises(BmcRefused):
        await redfish.reset("ForceRestart")  # nothing to restart
    await redfish.reset("On")
    await redfish.reset("ForceRestart")
    async with asyncio.timeout(60):
        while len(machine.starts) < 2:
            await asyncio.sleep(0.01)
    await redfish.reset("GracefulShutdown")
    async with asyncio.timeout(60):
        while machine.powered:
            await asyncio.sleep(0.01)


async def test_a_bmc_that_ignores_a_reset_is_found_out(bmc: VirtualBmc, impatient: Redfish) -> None:
    bmc.faults("m1").ignores_resets = True
    with pytest.raises(BmcLied, match="power on"):
        await impatient.power_on()


async def test_a_bmc_that_ignores_the_boot_source_is_found_out(bmc: VirtualBmc, impatient: Redfish) -> None:
    bmc.faults("m1").ignores_boot_source = True
    with pytest.raises(BmcLied, match="boot source pxe"):
        await impatient.set_boot_once("pxe")


async def test_a_bmc_that_shows_the_wrong_power(bmc: VirtualBmc, impatient: Redfish) -> None:
    bmc.faults("m1").shows_power = "Off"
    with pytest.raises(BmcLied):
        await impatient.power_on()
    bmc.faults("m1").shows_power = "PoweringOn"
    assert await impatient.power_state() is None


async def test_a_slow_bmc_is_waited_for(bmc: VirtualBmc, redfish: Redfish, machine: Machine) -> None:
    bmc.faults("m1").power_s = 0.1
    bmc.faults("m1").answer_s = 0.02
    await redfish.power_cycle()
    assert machine.powered


async def test_an_unreachable_bmc(bmc: VirtualBmc, redfish: Redfish) -> None:
    bmc.faults("m1").unreachable = True
    with pytest.raises(BmcUnreachable):
        await redfish.power_state()
    bmc.faults("m1").unreachable = False
    assert await redfish.power_state() == "off"
    async with client("http://127.0.0.1:9/redfish/v1/Systems/m1") as nobody:
        with pytest.raises(BmcUnreachable):
            await nobody.power_on()


async def test_a_wrong_password_and_a_wrong_name(bmc: VirtualBmc, machine: Machine) -> None:
    async with client(bmc.system_url("m1"), password="wrong") as stranger:
        with pytest.raises(BmcRefused, match="401") as refused:
            await stranger.power_on()
        assert "wrong" not in str(refused.value)
    async with client(bmc.system_url("m9")) as lost:
        with pytest.raises(BmcRefused, match="404"):
            await lost.power_state()
    assert not machine.powered


async def test_the_only_system_of_a_service_needs_no_name(machine: Machine) -> None:
    async with VirtualBmc([machine], "127.0.0.1", 0, Credentials("admin", "secret")) as bmc, client(bmc.url) as redfish:
        await redfish.power_on()
        assert machine.powered


async def test_a_service_of_many_systems_needs_a_name(bmc: VirtualBmc) -> None:
    async with client(bmc.url) as redfish:
        with pytest.raises(BmcRefused, match="2 systems"):
            await redfish.power_state()


async def test_a_stale_etag_and_bad_bodies_are_refused(bmc: VirtualBmc) -> None:
    url = bmc.system_url("m1")
    async with ClientSession(headers={"Authorization": "Basic YWRtaW46c2VjcmV0"}) as session:
        override = {"Boot": {"BootSourceOverrideEnabled": "Once", "BootSourceOverrideTarget": "Pxe"}}
        for headers, body, status in (
            ({"If-Match": '"stale"'}, override, 412),
            ({}, {"Boot": {"BootSourceOverrideTarget": "Floppy"}}, 400),
            ({}, ["Boot"], 400),
            ({"If-Match": "*"}, override, 204),
        ):
            async with session.patch(url, json=body, headers=headers) as response:
                assert response.status == status
        async with session.post(f"{url}/Actions/ComputerSystem.Reset", json={"ResetType": "Nmi"}) as response:
            assert response.status == 400
        async with session.get(f"{bmc.url}/redfish/v1/") as response:
            assert (await response.json())["Systems"] == {"@odata.id": "/redfish/v1/Systems"}
