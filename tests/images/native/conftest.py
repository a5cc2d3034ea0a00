"""What the tests of several installers share."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

INITRD = Path("/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/initrd.gz")
SCHEMAS = Path(__file__).parents[4] / "shared" / "installer-schemas"


@pytest.fixture(scope="session")
def initrd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """debian-installer's own RAM disk, unpacked."""
    if not INITRD.exists():
        pytest.skip("needs the Debian package debian-installer-12-netboot-amd64")
    if os.geteuid() != 0:
        pytest.skip("only root may change into it")
    root = tmp_path_factory.mktemp("initrd")
    subprocess.run(f"zcat {INITRD} | cpio -idm --quiet", shell=True, cwd=root, check=True, timeout=60)
    return root


@pytest.fixture(scope="session")
def schemas() -> Path:
    """The installers' published JSON schemas, which are not part of this repository."""
    if not SCHEMAS.exists():
        pytest.skip(f"needs the schemas in {'/'.join(SCHEMAS.parts[-2:])} beside the repository")
    return SCHEMAS
