"""The first-stage boot files: which there are, and where Debian's `ipxe` package keeps them."""

from __future__ import annotations

import shutil
from pathlib import Path

# Our name: its place in the package. UEFI gets the small build that drives the card by the firmware's own SNP.
PACKAGED = {
    "undionly.kpxe": Path("/usr/lib/ipxe/undionly.kpxe"),
    "snponly.efi": Path("/usr/lib/ipxe/snponly.efi"),
    "snponly-arm64.efi": Path("/usr/lib/ipxe/snponly-arm64.efi"),
}


def collect_first_stages(folder: Path) -> list[str]:
    """Copy what the package has and `folder` lacks; returns the names that are still missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, packaged in PACKAGED.items():
        if not (folder / name).exists() and packaged.exists():
            shutil.copyfile(packaged, folder / name)
    return [name for name in PACKAGED if not (folder / name).exists()]
