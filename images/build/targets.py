"""What can be built, for which architectures."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from images import store
from images.build import debian, installer
from images.build.architecture import AMD64, ARM64
from images.build.host import BuildError

_TARGETS: dict[tuple[str, str], Callable[[Path], store.Artefact]] = {
    ("installer", AMD64.debian): installer.build,
    ("installer", ARM64.debian): partial(installer.build, architecture=ARM64),
    ("debian-12", AMD64.debian): debian.build,
}
NAMES = sorted({name for name, _ in _TARGETS})
ARCHITECTURES = sorted({architecture for _, architecture in _TARGETS})


def build(name: str, architecture: str, out: Path) -> store.Artefact:
    """Build into the store at `out` what has changed. Raises BuildError."""
    if (chosen := _TARGETS.get((name, architecture))) is None:
        there = ", ".join(known for target, known in _TARGETS if target == name)
        raise BuildError(f"there is no {name} for {architecture!r}, only for {there}")
    return chosen(out)
