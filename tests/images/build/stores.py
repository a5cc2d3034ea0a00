"""Image stores for tests."""

from __future__ import annotations

from pathlib import Path

from images.store import Artefact, publish, put_file


def with_installer(root: Path) -> Path:
    """A store whose installer is there by name only."""
    root.mkdir(parents=True)
    files = []
    for name in ("kernel", "initrd"):
        (root / name).write_text(name)
        files.append(put_file(root, root / name))
    publish(root, Artefact("installer", "r", "6.1", files[0], files[1], None))
    return root
