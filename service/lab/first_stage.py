"""What a rack without real firmware serves where the real files would be: whole files of the right names and kinds.

A light machine runs no code, so it checks sizes and hashes and nothing else. The image is a real one all the same: of
zstd frames that were not compressed (RFC 8878 §3.1.1), without partitions.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from pathlib import Path

from images import chunks, store
from pxe.first_stage import collect_first_stages

_FIRST_STAGE_BYTES = 100_000
_KERNEL_BYTES = 64 * 1024
_CHUNK_BYTES = 256 << 10
_MAGIC = 0xFD2FB528
_BLOCK_BYTES = 128 << 10  # the most that a block of a frame may have


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
    image = light_image(root, "image", image_bytes)
    for slug in missing:
        whole = None if slug == "installer" else image
        store.publish(root, store.Artefact(slug, "light", "light", kernel, initrd, whole))


def light_image(root: Path, name: str, image_bytes: int) -> store.StoredImage:
    """Put an image into the store at `root`; another name gives another content."""
    data, map_ = packed(_filler(name, -(-image_bytes // chunks.SECTOR) * chunks.SECTOR))
    return store.put_image(root, _written(root, data), _written(root, chunks.encode(map_)), map_.disk_bytes)


def packed(disk: bytes) -> tuple[bytes, chunks.Map]:
    """The data file and the map of an image of `disk`, as it is, without a compressor."""
    data = b""
    found = []
    for offset in range(0, len(disk), _CHUNK_BYTES):
        piece = disk[offset : offset + _CHUNK_BYTES]
        frame = _frame(piece)
        found.append(chunks.Chunk(offset, len(piece), len(data), len(frame), hashlib.sha256(frame).hexdigest()))
        data += frame
    return data, chunks.Map(len(disk), found, ())


def _frame(content: bytes) -> bytes:
    """A single-segment frame with its size in four bytes, then raw blocks: three bytes of size, type and last mark."""
    parts = [_MAGIC.to_bytes(4, "little"), b"\xa0", len(content).to_bytes(4, "little")]
    for start in range(0, len(content), _BLOCK_BYTES):
        block = content[start : start + _BLOCK_BYTES]
        last = start + len(block) == len(content)
        parts += [(len(block) << 3 | last).to_bytes(3, "little"), block]
    return b"".join(parts)


def _written(root: Path, content: bytes) -> Path:
    with tempfile.NamedTemporaryFile(dir=root, delete=False) as file:
        file.write(content)
    return Path(file.name)
