"""`roundhouse image list`: every release of the store in a line."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from images.store import Artefact, load_releases
from service.cli.images.place import add_json, add_store, carried_out, output_of
from service.settings import Settings


def add_arguments(parser: ArgumentParser) -> None:
    """Which store."""
    add_store(parser)
    add_json(parser)


def run(arguments: Namespace) -> int:
    """Print the list."""
    return carried_out("list", arguments, _list)


def size(count: int) -> str:
    """Bytes as people read them."""
    return f"{count / (1 << 20):.1f} MiB"


def tested(artefact: Artefact) -> str:
    """How test boots ended, by firmware."""
    return ", ".join(
        f"{firmware} {one['seconds']:g} s" if one["booted"] else f"{firmware} failed"
        for firmware, one in sorted(artefact.tested.items())
    )


def _list(arguments: Namespace, _: Settings, store: Path) -> int:
    rows: list[dict[str, Any]] = [
        {
            "slug": slug,
            "release": name,
            "current": name == known.current,
            "image_bytes": one.image.bytes if one.image else None,
            "disk_bytes": one.image.disk_bytes if one.image else None,
            "published": one.published,
            "tested": dict(one.tested),
            "row": one,
        }
        for slug, known in sorted(load_releases(store).items())
        for name, one in sorted(known.releases.items(), key=lambda item: item[1].published)
    ]
    out = output_of(arguments)
    if out.as_json:
        out.json([{name: value for name, value in row.items() if name != "row"} for row in rows])
        return 0
    out.rows(
        rows,
        [
            ("SLUG", "slug"),
            ("RELEASE", "release"),
            ("CURRENT", "current"),
            ("IMAGE", lambda row: size(row["image_bytes"]) if row["image_bytes"] else "-"),
            ("DISK", lambda row: size(row["disk_bytes"]) if row["disk_bytes"] else "-"),
            ("PUBLISHED", lambda row: row["published"] or "-"),
            ("TESTED", lambda row: tested(row["row"]) or "-"),
        ],
    )
    return 0
