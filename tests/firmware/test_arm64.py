"""Firmware of arm64 behind a relay on a /31: PXE and HTTP Boot, GRUB, and the in-RAM installer."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.build.first_stage import GRUB
from images.store import FIRST_STAGES, load
from pxe import grub
from pxe.decide import Arch, Script, Stage, Target
from service.lab.qemu import Firmware
from tests.firmware.scene import HOST, IMAGES, MAC, TOKEN, URL, scene, skip_unless
from tests.firmware.test_chain import at_a_leaf, once

INSTALLER = "installer-arm64"
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        INSTALLER not in load(IMAGES),
        reason=f"needs the arm64 installer in {IMAGES} (roundhouse image build installer --arch arm64)",
    ),
]

# What each firmware asks for until GRUB runs, and what GRUB asks for first.
FIRST: dict[Firmware, list[str]] = {
    "uefi-arm64": ["dhcp firmware", f"tftp {GRUB}", f"tftp {grub.SERVICE_FILE}", "http GET /boot/grub"],
    "uefi-arm64-http": [
        *("dhcp http-firmware", f"http HEAD /boot/files/{GRUB}", f"http GET /boot/files/{GRUB}"),
        "http GET /boot/grub",
    ],
}
STAGE: dict[Firmware, Stage] = {"uefi-arm64": Stage.FIRMWARE, "uefi-arm64-http": Stage.HTTP_FIRMWARE}


def first_stage() -> dict[str, bytes]:
    """What the image builder made, and where the service is."""
    return {GRUB: (IMAGES / FIRST_STAGES / GRUB).read_bytes(), grub.SERVICE_FILE: grub.service_file(URL)}


def installer() -> Script:
    """The script of the arm64 installer of the image store."""
    found = load(IMAGES)[INSTALLER]
    return Script(
        Target.INSTALLER,
        kernel_url=f"{URL}/images/{found.kernel.sha256}",
        initrd_urls=(f"{URL}/images/{found.initrd.sha256}",),
        cmdline=f"quiet console=ttyAMA0,115200 roundhouse.url={URL} roundhouse.token={TOKEN}",
    )


@pytest.mark.parametrize(
    "firmware", [pytest.param(one, marks=[pytest.mark.smoke] if one == "uefi-arm64" else []) for one in FIRST]
)
def test_a_machine_reaches_the_installer(firmware: Firmware, tmp_path: Path) -> None:
    """The one that boots by HTTP is told to wait at first."""
    skip_unless(firmware)
    waits = firmware == "uefi-arm64-http"

    async def course() -> None:
        async with scene(tmp_path, firmware, Script(Target.WAIT) if waits else installer()) as here:
            here.files |= first_stage()
            await here.power_on()
            await here.until(lambda: here.heard.count("http GET /boot/grub") == 1 + waits)
            here.script = installer()
            await here.until(lambda: bool(here.hellos))
            hello = here.hellos[0]
            assert (hello["token"], hello["source"]) == (TOKEN, str(HOST))
            inventory = hello["inventory"]
            assert (inventory["architecture"], inventory["firmware"]) == ("aarch64", "uefi")
            assert once(here.heard)[: len(FIRST[firmware])] == FIRST[firmware]
            asked = [request for request in here.requests if request.stage is STAGE[firmware]]
            assert {(request.arch, request.mac) for request in asked} == {(Arch.UEFI_ARM64, MAC)}
            assert here.requests[-1].stage is Stage.SYSTEM

    at_a_leaf(course())


def test_firmware_refuses_a_program_for_another_machine(tmp_path: Path) -> None:
    skip_unless("uefi-arm64")

    async def course() -> None:
        async with scene(tmp_path, "uefi-arm64", installer()) as here:
            here.files[GRUB] = here.files["snponly.efi"]
            await here.power_on()
            await here.until(lambda: "Unsupported" in here.console())
            assert here.names("tftp") == [GRUB]
            assert not here.sources

    at_a_leaf(course())
