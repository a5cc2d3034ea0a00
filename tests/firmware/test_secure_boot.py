"""Secure Boot with Microsoft's keys: what is signed reaches the installer, what is not does not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from pxe.decide import Script, Target
from pxe.first_stage import PACKAGED
from tests.firmware.scene import HOST, IMAGES, TOKEN, URL, installer, scene, skip_unless
from tests.firmware.test_chain import at_a_leaf, once

MISSING = sorted(PACKAGED[name].package for name in ("shimx64.efi", "grubx64.efi") if not PACKAGED[name].path.is_file())
pytestmark = [
    pytest.mark.qemu,
    pytest.mark.timeout(300),
    pytest.mark.skipif(bool(MISSING), reason=f"needs the packages {', '.join(MISSING)}"),
]


@pytest.mark.smoke
def test_the_signed_path_reaches_the_installer(tmp_path: Path) -> None:
    skip_unless("uefi-secure", installer=True)

    async def course() -> None:
        async with scene(tmp_path, "uefi-secure", installer(), signed=True) as here:
            await here.power_on()
            await here.until(lambda: bool(here.hellos))
            assert {(hello["token"], hello["source"]) for hello in here.hellos} == {(TOKEN, str(HOST))}
            assert "Secure boot enabled" in here.console()
            wanted = ["shimx64.efi", "grubx64.efi", "grub/grub.cfg", "boot/grub"]
            names = once(here.names("tftp"))
            assert [name for name in names if name in wanted] == wanted
            assert "dhcp ipxe" not in here.heard

    at_a_leaf(course())


@pytest.mark.smoke
def test_firmware_refuses_an_unsigned_first_stage(tmp_path: Path) -> None:
    skip_unless("uefi-secure")

    async def course() -> None:
        async with scene(tmp_path, "uefi-secure", installer() if IMAGES.is_dir() else Script(Target.WAIT)) as here:
            await here.power_on()
            await here.until(lambda: "Access Denied" in here.console())
            assert here.names("tftp") == ["snponly.efi"]
            assert "dhcp ipxe" not in here.heard
            assert not here.sources

    at_a_leaf(course())


def test_grub_refuses_a_kernel_that_was_changed(tmp_path: Path) -> None:
    skip_unless("uefi-secure", installer=True)
    kernel = bytearray((IMAGES / "sha256" / installer().kernel_url.rpartition("/")[2]).read_bytes())
    kernel[len(kernel) // 2] ^= 1
    changed = Script(Target.INSTALLER, kernel_url=f"{URL}/changed", cmdline="console=ttyS0,115200")

    async def course() -> None:
        async with scene(tmp_path, "uefi-secure", changed, signed=True) as here:
            here.files["changed"] = bytes(kernel)
            await here.power_on()
            await here.until(lambda: "Loading failed, trying again in 2 s" in here.console())
            assert "bad shim signature" in here.console()
            assert "Linux version" not in here.console()

    at_a_leaf(course())


def test_a_custom_ipxe_script_is_not_run_and_the_console_says_why(tmp_path: Path) -> None:
    skip_unless("uefi-secure")

    async def course() -> None:
        script = Script(Target.CUSTOM_IPXE, custom=f"{URL}/custom")
        async with scene(tmp_path, "uefi-secure", script, signed=True) as here:
            await here.power_on()
            await here.until(lambda: "iPXE is not signed" in here.console())
            assert "http GET /custom" not in here.heard

    at_a_leaf(course())
