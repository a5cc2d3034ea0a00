"""Making the plain disk of an image again, to look at it or to start it."""

from __future__ import annotations

import ctypes
import hashlib
from pathlib import Path

from images import chunks
from images.store import StoredImage, StoreError, verify

_lib = ctypes.CDLL("libzstd.so.1")
_lib.ZSTD_decompress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
_lib.ZSTD_decompress.restype = ctypes.c_size_t


def map_of(store: Path, image: StoredImage) -> chunks.Map:
    """The image's map, verified. Raises StoreError."""
    verify(store, image.map)
    try:
        return chunks.decode((store / image.map.file).read_bytes())
    except chunks.BadMap as err:
        raise StoreError(f"{store / image.map.file}: {err}") from err


def restore(store: Path, image: StoredImage, target: Path) -> None:
    """Write the image's disk to `target`, a sparse file. Each chunk is verified first. Raises StoreError, OSError."""
    map_ = map_of(store, image)
    buffer = ctypes.create_string_buffer(chunks.MAX_RAW)
    with (store / image.file).open("rb") as data, target.open("wb") as disk:
        for chunk in map_.chunks:
            frame = data.read(chunk.frame_bytes)
            if hashlib.sha256(frame).hexdigest() != chunk.sha256:
                raise StoreError(f"{data.name}: the chunk at {chunk.position} is damaged")
            if _lib.ZSTD_decompress(buffer, len(buffer), frame, len(frame)) != chunk.raw_bytes:
                raise StoreError(f"{data.name}: the chunk at {chunk.position} has not {chunk.raw_bytes} bytes")
            disk.seek(chunk.offset)
            disk.write(memoryview(buffer)[: chunk.raw_bytes])
        disk.truncate(map_.disk_bytes)
