"""Network boot hands over to the disk: by BIOS, by UEFI, where firmware needs another way, and under Secure Boot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pxe.decide import LocalBoot, Script, Target
from pxe.first_stage import PACKAGED
from service.lab import qemu
from tests.firmware.disks import GRUB, SAYS, SHIM, SIGNED_GRUB, bios_disk, missing_packages, signed_uefi_disk, uefi_disk
from tests.firmware.scene import scene, skip_unless
from tests.firmware.test_chain import at_a_leaf

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(300)]
PROGRAM = "http GET /boot/files/local-disk.efi"


def test_bios(tmp_path: Path) -> None:
    skip_unless("bios")
    disk = bios_disk(tmp_path / "disk.img")

    async def course() -> None:
        async with scene(tmp_path, "bios", Script(Target.LOCAL_DISK), disk=disk) as here:
            await here.power_on()
            await here.until(lambda: SAYS in here.console())
            assert here.heard[-1] == "http GET /boot/ipxe"

    at_a_leaf(course())


@pytest.mark.parametrize(
    ("way", "smbios", "fetched"),
    [
        pytest.param(LocalBoot.AUTO, "", False, id="auto"),
        pytest.param(LocalBoot.CHAIN_EFI, "", True, id="chain-efi"),
        # A comma is doubled in QEMU's options.
        pytest.param(LocalBoot.AUTO, "type=1,manufacturer=VMware,, Inc.,product=VMware20,,1", True, id="auto-quirk"),
    ],
)
def test_uefi(way: LocalBoot, smbios: str, fetched: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    skip_unless("uefi")
    if missing := missing_packages(GRUB):
        pytest.skip(f"needs the packages {', '.join(missing)}")
    if smbios:
        platform = qemu.PLATFORMS["uefi"]
        arguments = (*platform.arguments, "-smbios", smbios)
        monkeypatch.setitem(qemu.PLATFORMS, "uefi", replace(platform, arguments=arguments))
    disk = uefi_disk(tmp_path / "disk.img")

    async def course() -> None:
        async with scene(tmp_path, "uefi", Script(Target.LOCAL_DISK, local_boot=way), disk=disk) as here:
            await here.power_on()
            await here.until(lambda: SAYS in here.console())
            assert (PROGRAM in here.heard) is fetched
            assert ("Starting /EFI/BOOT/BOOTX64.EFI" in here.console()) is fetched

    at_a_leaf(course())


def test_secure_boot(tmp_path: Path) -> None:
    skip_unless("uefi-secure")
    if missing := missing_packages(SHIM, SIGNED_GRUB, PACKAGED["grubx64.efi"].path):
        pytest.skip(f"needs the packages {', '.join(missing)}")
    disk = signed_uefi_disk(tmp_path / "disk.img")

    async def course() -> None:
        async with scene(tmp_path, "uefi-secure", Script(Target.LOCAL_DISK), signed=True, disk=disk) as here:
            await here.power_on()
            await here.until(lambda: SAYS in here.console())
            assert "Starting /EFI/debian/shimx64.efi" in here.console()
            assert "tftp boot/grub" in here.heard

    at_a_leaf(course())
