"""The real virtual machine: from the order to an SSH login by the host key that the API shows."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from images.store import load
from service.lab.qemu import PLATFORMS, Firmware

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))


def why_not(firmware: Firmware) -> str | None:
    """Why such a machine cannot be ordered here."""
    if os.geteuid() != 0:
        return "needs root, for the network namespace"
    if missing := PLATFORMS[firmware].missing_packages():
        return f"needs the Debian packages {', '.join(missing)} (make system)"
    if not {"installer", "debian_12"} <= set(load(IMAGES)):
        return f"needs the images in {IMAGES} (make images)"
    return None


@pytest.mark.qemu
@pytest.mark.smoke
@pytest.mark.timeout(400)
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_a_virtual_machine_is_ordered_installed_logged_into_and_released(firmware: Firmware) -> None:
    if why := why_not(firmware):
        pytest.skip(why)
    demo = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-m", "service.cli.main", "lab", "demo", "--once"),
            *("--machines", "0", "--leaves", "1", "--qemu", "1", "--firmware", firmware, "--images", IMAGES),
        ],
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert demo.returncode == 0, demo.stderr[-3000:]
    assert re.search(r"SSH login by the published host key, [\d.]+ s after the order: Linux 6\.", demo.stderr)
    assert "released: quarantined, erased with a certificate" in demo.stderr
    print(demo.stderr)
