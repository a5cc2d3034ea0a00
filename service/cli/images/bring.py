"""`roundhouse image import SLUG SOURCE --sha256 HASH`: an image that others publish, into the store."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from images.build import foreign, importing
from images.store import promote
from service.cli.images.place import add_patience, add_store, carried_out, said, try_out
from service.cli.output import warn
from service.lab.trial import firmwares_of
from service.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """What to import, as what."""
    parser.add_argument("slug", help="of the operating system, as in the catalogue: ubuntu_24_04")
    parser.add_argument("source", help="an http(s) URL, or a file of this machine")
    parser.add_argument("--sha256", required=True, metavar="HASH", help="of the file as it is published")
    forms = "{raw,qcow2,vmdk}[.xz|.gz|.bz2|.zst]"
    parser.add_argument(
        "--format", choices=foreign.FORMATS, default="", metavar="FORMAT", help=f"{forms} (default: as it begins)"
    )
    limit = importing.DEFAULT_LIMIT >> 30
    parser.add_argument("--limit", type=int, default=limit, metavar="GIB", help=f"of the file and the disk ({limit})")
    parser.add_argument("--force", action="store_true", help="give it out without a test boot")
    add_patience(parser)
    add_store(parser)


def run(arguments: Namespace) -> int:
    """Import, try out, and give out; the exit code."""
    return carried_out("import", arguments, _import)


def _import(arguments: Namespace, settings: Settings, store: Path) -> int:
    wanted = importing.Import(
        slug=arguments.slug,
        source=arguments.source,
        sha256=arguments.sha256,
        form=arguments.format,
        limit=arguments.limit << 30,
        proxy=settings.build_proxy,
    )
    artefact = importing.bring(store, wanted, current=arguments.force)
    if not arguments.force and artefact.image is not None:
        if not try_out(store, artefact, firmwares_of(store, artefact.image), arguments.patience):
            warn(f"roundhouse image import: {artefact.slug} {artefact.id} is kept, but not given out without --force")
            return 1
        promote(store, artefact.slug, artefact.id)
    print(said(artefact))
    return 0
