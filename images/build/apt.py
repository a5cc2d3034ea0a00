"""Packages of another architecture or release, by an apt configuration of our own: this machine's stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from images.build.architecture import Architecture, is_native
from images.build.host import run
from images.build.origins import Sources


def options(architecture: Architecture, folder: Path, sources: Sources | None = None) -> list[str]:
    """Options that make apt speak of `architecture` and of `sources`; package lists are fetched to `folder` for them.

    Without `sources`, the package sources and their keys are this machine's own. Raises BuildError.
    """
    foreign = sources is not None and not sources.own
    if is_native(architecture) and not foreign:
        return []
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    status = folder / "status"  # of dpkg: nothing is installed
    status.touch()
    settings = {
        "APT::Architecture": architecture.debian,
        "APT::Architectures": architecture.debian,
        "APT::Sandbox::User": "root",  # nobody else may read the folder
        "APT::Update::Error-Mode": "any",
        "Dir::State": folder / "state",
        "Dir::State::status": status,
        "Dir::Cache": folder / "cache",
    }
    words = [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
    if sources is not None and foreign:
        listing = folder / "sources.list"
        listing.write_text(sources.listing(), encoding="utf-8")
        own = [f"Dir::Etc::sourcelist={listing}", "Dir::Etc::sourceparts=-", *sources.options()]
        words += [word for setting in own for word in ("-o", setting)]
    run(["apt-get", *words, "update", "-qq"])
    return words


def unpack(packages: Sequence[str], apt_options: Sequence[str], folder: Path) -> None:
    """Unpack packages, without what they depend on and without running their scripts. Raises BuildError."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    run(["apt-get", *apt_options, "download", "-qq", *packages], cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        run(["dpkg-deb", "-x", package, folder])
