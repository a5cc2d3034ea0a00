"""What a rack without real firmware serves where the real files would be: whole files of the right names and kinds.

A light machine runs no code, so it checks sizes and hashes and nothing else. `zstd` itself accepts the image: it is
one skippable frame (RFC 8878 §3.1.2) and decompresses to an empty disk.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from images import store
from pxe.first_stage import collect_first_stages

_FIRST_STAGE_BYTES = 100_000
_KERNEL_BYTES = 64 * 1024
_SKIPPABLE = 0x184D2A50


def _filler(name: str, size: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(size)


def write_first_stages(folder: Path) -> None:
    """Put a file for each firmware into `folder`: the real one where its package is installed."""
    for name in collect_first_stages(folder):
        (folder / name).write_bytes(_filler(name, _FIRST_STAGE_BYTES))


def publish_light_images(root: Path, slugs: Iterable[str], *, image_bytes: int) -> None:
    """Give the store at `root` an installer, and an image for each slug that has none."""
    root.mkdir(parents=True, exist_ok=True)
    listed = store.load(root)
    missing = [slug for slug in ("installer", *slugs) if slug not in listed]
    if not missing:
        return
    kernel, initrd = (
        store.put_file(root, _written(root, _filler(name, _KERNEL_BYTES))) for name in ("kernel", "initrd")
    )
    frame = _SKIPPABLE.to_bytes(4, "little") + image_bytes.to_bytes(4, "little") + _filler("image", image_bytes)
    image = store.put_image(root, _written(root, frame), image_bytes)
    for slug in missing:
        whole = None if slug == "installer" else image
        store.publish(root, store.Artefact(slug, "light", "light", kernel, initrd, whole))


def _written(root: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=root, delete=False) as file:
        file.write(content)
    return Path(file.name)
