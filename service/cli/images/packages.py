"""`roundhouse image packages SLUG`: what software a release is made of, or what another has instead."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from dataclasses import asdict
from pathlib import Path

from images.build import sbom
from images.store import Artefact, StoreError, release, verify
from service.cli.images.place import add_json, add_store, carried_out, output_of
from service.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """Which release, and which other one to compare it with."""
    parser.add_argument("slug")
    parser.add_argument("--release", metavar="ID", help="default: the current one")
    parser.add_argument("--diff", metavar="ID", help="only what is different in this other release")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the packages, or the differences."""
    return carried_out("packages", arguments, _packages)


def _packages(arguments: Namespace, _: Settings, store: Path) -> int:
    found = _read(store, release(store, arguments.slug, arguments.release))
    out = output_of(arguments)
    if arguments.diff is None:
        columns = [("NAME", "name"), ("VERSION", "version"), ("ARCHITECTURE", "architecture")]
        out.rows(map(asdict, found), [(title, what) for title, what in columns])
        return 0
    other = _read(store, release(store, arguments.slug, arguments.diff))
    titles = [("NAME", "name"), ("ARCHITECTURE", "architecture"), ("HERE", "before"), (arguments.diff, "after")]
    out.rows(map(asdict, sbom.changes(found, other)), [(title, what) for title, what in titles])
    return 0


def _read(store: Path, artefact: Artefact) -> tuple[sbom.Package, ...]:
    if artefact.sbom is None:
        raise StoreError(f"{artefact.slug} {artefact.id} has no list of packages")
    verify(store, artefact.sbom)
    return sbom.decode((store / artefact.sbom.file).read_bytes())
