"""Debian's packages of another architecture, by an apt configuration of our own: this machine's stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from images.build.architecture import Architecture, is_native
from images.build.host import run


def options(architecture: Architecture, folder: Path) -> list[str]:
    """Options that make apt speak of `architecture`; its package lists are fetched to `folder` where they are needed.

    The package sources and their keys are this machine's own. Raises BuildError.
    """
    if is_native(architecture):
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
    run(["apt-get", *words, "update", "-qq"])
    return words


def unpack(packages: Sequence[str], apt_options: Sequence[str], folder: Path) -> None:
    """Unpack packages, without what they depend on and without running their scripts. Raises BuildError."""
    downloads = folder / "downloads"
    downloads.mkdir(parents=True)
    run(["apt-get", *apt_options, "download", "-qq", *packages], cwd=downloads)
    for package in sorted(downloads.glob("*.deb")):
        run(["dpkg-deb", "-x", package, folder])
