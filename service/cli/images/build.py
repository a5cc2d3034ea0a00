"""`roundhouse image build WHAT`: the in-RAM installer and disk images, from distribution packages into the store."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from images.build import targets
from images.store import promote
from service.cli.images.place import add_patience, add_store, carried_out, said, try_out
from service.cli.output import warn
from service.lab.trial import firmwares_of
from service.settings import Settings, origins_of


def add_arguments(parser: ArgumentParser) -> None:
    """What to build, and where to."""
    parser.add_argument("what", choices=targets.NAMES, help="nothing is done when it is there already")
    parser.add_argument("--arch", choices=targets.ARCHITECTURES, default="amd64", help="the machines' (amd64)")
    parser.add_argument("--test", action="store_true", help="give the image out only after it has booted in QEMU")
    add_patience(parser)
    add_store(parser)


def run(arguments: Namespace) -> int:
    """Build; the exit code."""
    return carried_out("build", arguments, _build)


def _build(arguments: Namespace, settings: Settings, store: Path) -> int:
    origins = origins_of(settings)
    artefact = targets.build(arguments.what, arguments.arch, store, origins, current=not arguments.test)
    if arguments.test and artefact.image is not None:
        if not try_out(store, artefact, firmwares_of(store, artefact.image), arguments.patience):
            warn(f"roundhouse image build: {artefact.slug} {artefact.id} is kept, but not given out")
            return 1
        promote(store, artefact.slug, artefact.id)
    print(said(artefact))
    return 0
