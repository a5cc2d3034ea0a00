"""What a rack without real firmware serves where the real files would be: whole files of the right names and kinds.

A light machine runs no code, so it checks sizes and hashes and nothing else. `zstd` itself accepts the image: it is
one skippable frame (RFC 8878 §3.1.2) and decompresses to an empty disk.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from images.store import Artefact, ImageStore

_FIRST_STAGES = {"undionly.kpxe": 90_000, "snponly.efi": 200_000, "snponly-arm64.efi": 200_000}
_KERNEL_BYTES = 64 * 1024
_SKIPPABLE = 0x184D2A50


def _filler(name: str, size: int) -> bytes:
    return hashlib.shake_256(name.encode()).digest(size)


def write_first_stages(folder: Path) -> None:
    """Put a file for each firmware into `folder`, where none is yet."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in _FIRST_STAGES.items():
        if not (folder / name).exists():
            (folder / name).write_bytes(_filler(name, size))


def publish_light_images(store: ImageStore, slugs: Iterable[str], *, image_bytes: int) -> None:
    """Give the store an installer and an image for each slug that has none."""
    store.root.mkdir(parents=True, exist_ok=True)
    listed = store.names()
    if "installer-amd64" not in listed:
        kernel, initrd = (_add(store, _filler(name, _KERNEL_BYTES)) for name in ("kernel", "initrd"))
        store.publish("installer-amd64", {"kernel": kernel, "initrd": initrd, "kernel_release": "light"})
    missing = [slug for slug in slugs if slug not in listed]
    if missing:
        frame = _SKIPPABLE.to_bytes(4, "little") + image_bytes.to_bytes(4, "little") + _filler("image", image_bytes)
        image = _add(store, frame)
        for slug in missing:
            store.publish(slug, {"image": image, "kernel_release": "light"})


def _add(store: ImageStore, content: bytes) -> Artefact:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        return store.add(Path(file.name), disk_bytes=len(content))
