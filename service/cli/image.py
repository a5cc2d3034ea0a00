"""`roundhouse image build WHAT`: the in-RAM installer and disk images, from distribution packages into the store."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from images.build import targets
from images.build.host import BuildError
from images.store import StoreError
from service.settings import BadSetting, images_of, origins_of, read_settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What to build, and where to."""
    parser.add_argument("what", choices=targets.NAMES, help="nothing is done when it is there already")
    parser.add_argument("--arch", choices=targets.ARCHITECTURES, default="amd64", help="the machines' (amd64)")
    parser.add_argument("--images", type=Path, help="the store (default: images_dir, then var/images)")


def run(arguments: argparse.Namespace) -> int:
    """Build; the exit code."""
    try:
        settings = read_settings()
        store = arguments.images or images_of(settings)
        artefact = targets.build(arguments.what, arguments.arch, store.resolve(), origins_of(settings))
    except (BadSetting, BuildError, StoreError) as err:
        print(f"roundhouse image build: {err}", file=sys.stderr)
        return 1
    image = artefact.image
    size = f", image {image.bytes >> 20} MiB of {image.disk_bytes >> 20} MiB" if image else ""
    print(f"{artefact.slug}: kernel {artefact.kernel_release}, initrd {artefact.initrd.bytes >> 20} MiB{size}")
    return 0
