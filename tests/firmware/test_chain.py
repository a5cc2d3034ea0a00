"""From power-on through every stage to iPXE's script, and to the in-RAM installer, behind a relay on a /31."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from pxe.decide import Script, Stage, Target
from service.lab.qemu import Firmware
from tests.firmware.scene import HOST, MAC, SERVER, TOKEN, URL, Scene, installer, leaf, scene, skip_unless
from tests.lab.namespace import in_namespace

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(300)]

# What each firmware asks for until iPXE runs. SeaBIOS runs the card's ROM, which is iPXE; OVMF asks for a file's size
# and for the file.
FIRST: dict[Firmware, list[str]] = {
    "bios": [],
    "uefi": ["dhcp firmware", "tftp snponly.efi"],
    "uefi-http": ["dhcp http-firmware", "http HEAD /boot/files/snponly.efi", "http GET /boot/files/snponly.efi"],
}
IPXE = ["dhcp ipxe", "http GET /boot/ipxe"]


def at_a_leaf(course: Coroutine[Any, Any, None]) -> None:
    """Run `course` inside the namespace of a leaf's port."""
    with leaf() as namespace:
        in_namespace(namespace, lambda: asyncio.run(course))


def once(heard: list[str]) -> list[str]:
    """What was heard, each thing at its first time."""
    return list(dict.fromkeys(heard))


@pytest.mark.parametrize("firmware", list(FIRST))
def test_a_machine_gets_its_script_and_outlasts_a_server_that_fails(firmware: Firmware, tmp_path: Path) -> None:
    skip_unless(firmware)

    async def course() -> None:
        async with scene(tmp_path, firmware, Script(Target.CUSTOM_IPXE, custom=f"{URL}/custom")) as here:
            here.failures = 2
            await here.power_on()
            await here.until(lambda: any(what.startswith("http GET /told/") for what in here.heard))
            check(here)

    def check(here: Scene) -> None:
        platform = "pcbios" if firmware == "bios" else "efi"
        told = f"http GET /told/{platform}/4"  # the pause after two failures
        assert once(here.heard) == [*FIRST[firmware], *IPXE, "http GET /custom", told]
        assert here.heard.count("http GET /custom") == 3
        assert here.sources == {str(HOST)}
        assert {(asked.circuit_id, asked.remote_id, asked.mac) for asked in here.requests} == {
            ("xe-0/0/12.0", "leaf1", MAC)
        }

    at_a_leaf(course())


@pytest.mark.parametrize(
    "firmware", [pytest.param(one, marks=[pytest.mark.smoke] if one == "uefi-http" else []) for one in FIRST]
)
def test_a_machine_reaches_the_installer(firmware: Firmware, tmp_path: Path) -> None:
    skip_unless(firmware, installer=True)

    async def course() -> None:
        async with scene(tmp_path, firmware, installer()) as here:
            here.failures = 1
            await here.power_on()
            await here.until(lambda: bool(here.hellos))
            assert {(hello["token"], hello["source"]) for hello in here.hellos} == {(TOKEN, str(HOST))}
            assert here.failures == 0
            assert once(here.heard)[: len(FIRST[firmware]) + 2] == [*FIRST[firmware], *IPXE]
            assert here.requests[-1].stage is Stage.SYSTEM

    at_a_leaf(course())


@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_machine_that_is_to_wait_asks_again(firmware: Firmware, tmp_path: Path) -> None:
    skip_unless(firmware)

    async def course() -> None:
        async with scene(tmp_path, firmware, Script(Target.WAIT)) as here:
            await here.power_on()
            await here.until(lambda: here.heard.count("http GET /boot/ipxe") == 3)
            here.script = Script(Target.CUSTOM_IPXE, custom=f"{URL}/custom")
            await here.until(lambda: any(what.startswith("http GET /told/") for what in here.heard))
            asked = [request.stage for request in here.requests]
            assert asked.count(Stage.IPXE) == 2  # DISCOVER and REQUEST of one and the same run

    at_a_leaf(course())


def test_undionly_takes_over_the_network_stack_of_the_cards_rom(tmp_path: Path) -> None:
    """As on a PXE ROM: the ROM loads it by TFTP, and it drives the card by the ROM's UNDI."""
    skip_unless("bios")
    program = f"#!ipxe\nchain tftp://{SERVER}/undionly.kpxe ||\nsleep 60\n"

    async def course() -> None:
        async with scene(tmp_path, "bios", Script(Target.CUSTOM_IPXE, custom=program)) as here:
            await here.power_on()
            await here.until(lambda: "tftp undionly.kpxe" in here.heard)
            here.script = Script(Target.CUSTOM_IPXE, custom=f"{URL}/custom")
            await here.until(lambda: "http GET /told/pcbios/1" in here.heard)
            assert once(here.heard) == [*IPXE, "tftp undionly.kpxe", "http GET /custom", "http GET /told/pcbios/1"]
            assert here.heard.count("http GET /boot/ipxe") == 2
            assert "UNDI" in here.console()

    at_a_leaf(course())
