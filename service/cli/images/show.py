"""`roundhouse image show SLUG`: one release: its files, its partitions, how it was tested."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from images.build.restoring import map_of
from images.store import described, release
from service.cli.images.listing import size, tested
from service.cli.images.place import add_json, add_store, carried_out, output_of
from service.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """Which release of which store."""
    parser.add_argument("slug")
    parser.add_argument("--release", metavar="ID", help="default: the current one")
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the release."""
    return carried_out("show", arguments, _show)


def _show(arguments: Namespace, _: Settings, store: Path) -> int:
    artefact = release(store, arguments.slug, arguments.release)
    out = output_of(arguments)
    if out.as_json:
        out.json({"slug": artefact.slug, "release": artefact.id, **described(artefact)})
        return 0
    lines = {
        "slug": artefact.slug,
        "release": artefact.id,
        "recipe": artefact.recipe,
        "published": artefact.published or "-",
        "kernel": artefact.kernel_release,
        "tested": tested(artefact) or "-",
        "signed by": ", ".join(artefact.signatures) or "-",
    }
    lines |= {name: f"{size(file.bytes)}  {file.sha256}" for name, file in artefact.files.items()}
    if artefact.image is not None:
        map_ = map_of(store, artefact.image)
        lines["disk"] = f"{size(map_.disk_bytes)}, {size(sum(one.raw_bytes for one in map_.chunks))} of it in chunks"
        for one in map_.partitions:
            what = " ".join(word for word in (one.role, one.filesystem, one.uuid) if word)
            lines[f"partition {one.number}"] = f"{size(one.bytes)}  {what}"
    width = max(map(len, lines))
    print("\n".join(f"{name.ljust(width)}  {value}" for name, value in lines.items()))
    return 0
