"""The store's files: how they get their names, and whether they are there and right."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from images.store.artefact import FILES, StoredFile, StoredImage, StoreError

FIRST_STAGES = "first-stage"  # folder of the boot loaders that the builder makes; not named by their hashes
_CHUNK = 1 << 20


def put_file(store: Path, source: Path) -> StoredFile:
    """Move a finished file into the store under its hash. `source` must be on the store's file system."""
    digest = hash_file(source)
    name = f"{FILES}/{digest}"
    size = source.stat().st_size
    with source.open("rb") as file:
        os.fsync(file.fileno())
    (store / FILES).mkdir(parents=True, exist_ok=True)
    source.chmod(0o644)
    with locked(store):  # collection must not take an older file of the same content for this one
        source.replace(store / name)
    sync_folder(store / FILES)
    return StoredFile(name, digest, size)


def put_image(store: Path, data: Path, map_: Path, disk_bytes: int) -> StoredImage:
    """As `put_file`, for a disk image's data file and its map. The data file goes first: a map never leads nowhere."""
    stored = put_file(store, data)
    return StoredImage(stored.file, stored.sha256, stored.bytes, disk_bytes, put_file(store, map_))


def sync_folder(folder: Path) -> None:
    """Return when the folder's names are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """The store to oneself, among all processes of this host, while the block runs; not to be nested."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def is_there(store: Path, stored: StoredFile) -> bool:
    """Whether the file is in the store with its size; its content is another matter (`verify`)."""
    try:
        return (store / stored.file).stat().st_size == stored.bytes
    except OSError:
        return False


def hash_file(path: Path) -> str:
    """The sha256 of a file's content, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def verify(store: Path, stored: StoredFile) -> None:
    """Raises StoreError when the file's content is not what its name says."""
    path = store / stored.file
    try:
        digest = hash_file(path)
    except OSError as err:
        raise StoreError(f"{path}: {err.strerror}") from err
    if digest != stored.sha256:
        raise StoreError(f"{path}: sha256 is {digest}")
