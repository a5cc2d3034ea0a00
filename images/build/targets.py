"""What can be built, for which architectures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from images import store
from images.build import centos, debian, installer, netboot
from images.build.architecture import AMD64, ARM64, Architecture, with_kernel
from images.build.distributions import DISTRIBUTIONS, Distribution
from images.build.host import BuildError
from images.build.origins import Origins

Build = Callable[[Path, Origins, bool], store.Artefact]


def _installer(out: Path, origins: Origins, _current: bool, architecture: Architecture) -> store.Artefact:
    return installer.build(out, with_kernel(architecture, origins.kernel))


def _debian(out: Path, origins: Origins, current: bool, distribution: Distribution) -> store.Artefact:
    return debian.build(out, distribution, origins, current)


def _netboot(out: Path, _: Origins, _current: bool, row: netboot.Netboot, architecture: str) -> store.Artefact:
    return netboot.build(out, row, architecture)


_TARGETS: dict[tuple[str, str], Build] = {
    **{("installer", one.debian): partial(_installer, architecture=one) for one in (AMD64, ARM64)},
    **{(row.target, AMD64.debian): partial(_debian, distribution=row) for row in DISTRIBUTIONS},
    ("centos-stream-9", AMD64.debian): centos.build,
    **{key: partial(_netboot, row=row, architecture=key[1]) for key, row in netboot.INSTALLERS.items()},
}
NAMES = sorted({name for name, _ in _TARGETS})
ARCHITECTURES = sorted({architecture for _, architecture in _TARGETS})


def build(name: str, architecture: str, out: Path, origins: Origins, current: bool = True) -> store.Artefact:
    """Build into the store at `out` what has changed, and give an image out from now on if `current`.

    Raises BuildError.
    """
    if (chosen := _TARGETS.get((name, architecture))) is None:
        there = ", ".join(known for target, known in _TARGETS if target == name)
        raise BuildError(f"there is no {name} for {architecture!r}, only for {there}")
    return chosen(out, origins, current)
