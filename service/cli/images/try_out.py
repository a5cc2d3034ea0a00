"""`roundhouse image test SLUG`: starts a copy of an image in QEMU and writes down how that ended."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from images.store import StoreError, release
from service.cli.images.place import add_patience, add_store, carried_out, try_out
from service.lab.qemu import Firmware
from service.lab.trial import firmwares_of
from service.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """What to start, and how."""
    parser.add_argument("slug")
    parser.add_argument("--release", metavar="ID", help="default: the current one")
    parser.add_argument(
        "--firmware", choices=("bios", "uefi", "both"), help="default: all that the image has a boot partition for"
    )
    add_patience(parser)
    add_store(parser)


def run(arguments: Namespace) -> int:
    """Try the image out; 1 if it did not come up."""
    return carried_out("test", arguments, _test)


def _test(arguments: Namespace, _: Settings, store: Path) -> int:
    artefact = release(store, arguments.slug, arguments.release)
    if artefact.image is None:
        raise StoreError(f"{artefact.slug} has no disk image that could be started")
    firmwares: dict[str, list[Firmware]] = {"bios": ["bios"], "uefi": ["uefi"], "both": ["bios", "uefi"]}
    chosen = firmwares[arguments.firmware] if arguments.firmware else firmwares_of(store, artefact.image)
    return 0 if try_out(store, artefact, chosen, arguments.patience) else 1
