"""`roundhouse image import-netboot SLUG`: kernel and initrd of a distribution's own installer into the store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from images.build import netboot, targets
from images.build.host import BuildError
from images.catalogue import load_catalogue
from images.store import StoreError
from service.settings import BadSetting, images_of, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The system, and where its installer lies."""
    native = [system.slug for system in load_catalogue() if "native" in system.engines]
    parser.add_argument("slug", choices=native, metavar="SLUG", help=f"what it installs: {', '.join(native)}")
    parser.add_argument("--kernel", required=True, metavar="FILE|URL")
    parser.add_argument("--initrd", required=True, metavar="FILE|URL")
    parser.add_argument(
        "--live", metavar="FILE|URL", help="what the kernel fetches besides: an ISO, a root file system"
    )
    parser.add_argument("--live-sha256", metavar="HASH", help="needed for a URL")
    parser.add_argument("--kernel-sha256", metavar="HASH", help="needed for a URL")
    parser.add_argument("--initrd-sha256", metavar="HASH", help="needed for a URL")
    parser.add_argument("--arch", choices=targets.ARCHITECTURES, default="amd64", help="the machines' (amd64)")
    parser.add_argument("--images", type=Path, help="the store (default: images_dir, then var/images)")


def run(arguments: argparse.Namespace) -> int:
    """Import; the exit code."""
    names = ("kernel", "initrd", "live")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    hashes = {name: told for name in names if (told := getattr(arguments, f"{name}_sha256"))}
    try:
        settings = read_settings()
        artefact = netboot.import_files(
            (arguments.images or images_of(settings)).resolve(),
            arguments.slug,
            arguments.arch,
            given,
            hashes,
            settings.build_proxy,
        )
    except (BadSetting, BuildError, StoreError) as err:
        print(f"roundhouse image import-netboot: {err}", file=sys.stderr)
        return 1
    print(f"{artefact.slug}: kernel {artefact.kernel_release or 'of unknown release'}, {artefact.kernel.sha256}")
    return 0
