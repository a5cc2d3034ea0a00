"""Real virtual machines with disk layouts: from the order to a login, from the disks again, without each of them."""

from __future__ import annotations

import subprocess
import sys

import pytest

from service.lab.qemu import Firmware
from tests.lab.test_qemu import IMAGES, why_not

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(600)]


def installed(*words: str, firmware: Firmware = "bios") -> str:
    """What `tests.lab.installed` saw."""
    if why := why_not(firmware):
        pytest.skip(why)
    command = [sys.executable, "-W", "ignore", "-m", "tests.lab.installed", "--images", str(IMAGES)]
    done = subprocess.run(
        [*command, "--firmware", firmware, *words], capture_output=True, text=True, timeout=580, check=False
    )
    print(done.stderr)
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stderr


@pytest.mark.parametrize("way", ["kexec", "reboot"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_single_disk(firmware: Firmware, way: str) -> None:
    assert f"handed over by {way}" in installed("--handover", way, "--again", firmware=firmware)


def test_a_mirror_starts_from_each_of_its_disks() -> None:
    seen = installed("--raid", "1", "--disks", "virtio:4,virtio:4", "--lose-each")
    assert "handed over by switch_root" in seen
    assert "without disk 0: SSH login" in seen and "without disk 1: SSH login" in seen


@pytest.mark.parametrize("way", ["kexec", "reboot"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_mirror(firmware: Firmware, way: str) -> None:
    words = ("--raid", "1", "--disks", "nvme:4,virtio:4", "--handover", way, "--update-grub", "--again")
    assert f"handed over by {way}" in installed(*words, firmware=firmware)


@pytest.mark.parametrize("raid", ["none", "1"])
def test_power_cuts_at_any_moment_end_in_a_repeat_that_succeeds(raid: str) -> None:
    moments = "writing:0,writing:1.5,writing:3,writing:5,growing:0,configuring:0.3,handing-over:0"
    installed("--raid", raid, "--disks", "virtio:4,virtio:4", "--cut", moments, "--again")


def test_four_disks_with_everything() -> None:
    words = ("--raid", "10", "--lvm", "--passphrase", "correct horse", "--disks", "virtio:3,virtio:3,nvme:3,scsi:3")
    assert "crypt" in installed(*words)


def test_a_volume_group_started_by_kexec_and_from_the_disk() -> None:
    installed("--lvm", "--handover", "kexec", "--update-grub", "--again", firmware="uefi")


def test_an_encrypted_root_is_open_after_kexec() -> None:
    installed("--passphrase", "correct horse", "--handover", "kexec")


def test_sectors_of_4096_bytes() -> None:
    installed("--disks", "nvme:4:4096", "--handover", "reboot", "--again", firmware="uefi")


def test_secure_boot() -> None:
    installed("--handover", "reboot", "--again", firmware="uefi-secure")
