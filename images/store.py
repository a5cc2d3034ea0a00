"""The artefact store: a folder of files named by their sha256, and an index that says which slug is made of which.

    index.json      {"debian_12": {"recipe", "release", "kernel": FILE, "initrd": FILE, "image": IMAGE}, "installer": …}
    sha256/HASH     the files; never changed once they are there, so any HTTP cache may keep them for ever

FILE is {"file": "sha256/HASH", "sha256": HASH, "bytes": N}; IMAGE has "disk_bytes" besides. "image" is absent for the
bare installer. A file is complete when its name exists: it is written under another name, synced, and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FIRST_STAGES = "first-stage"  # folder of the boot loaders that the builder makes; not named by their hashes
INDEX = "index.json"
_CHUNK = 1 << 20


class StoreError(Exception):
    """The store's index or one of its files cannot be read or is not what it says."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the store. `file` is its path below the store's folder, with forward slashes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True)
class StoredImage(StoredFile):
    """A compressed whole-disk image; `disk_bytes` is its size on the disk."""

    disk_bytes: int


@dataclass(frozen=True, slots=True)
class Artefact:
    """What one slug is made of."""

    slug: str
    recipe: str  # changes when anything that went into the build changed
    release: str  # of the kernel: `uname -r`
    kernel: StoredFile
    initrd: StoredFile
    image: StoredImage | None


def load(store: Path) -> dict[str, Artefact]:
    """Every artefact by its slug; empty where nothing has been built yet. Raises StoreError."""
    try:
        raw = json.loads((store / INDEX).read_text(encoding="utf-8"))
        return {slug: _artefact(slug, entry) for slug, entry in raw.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as err:
        raise StoreError(f"{store / INDEX}: {err!r}") from err


def _artefact(slug: str, entry: Mapping[str, Any]) -> Artefact:
    image = entry.get("image")
    return Artefact(
        slug=slug,
        recipe=entry["recipe"],
        release=entry["release"],
        kernel=StoredFile(**entry["kernel"]),
        initrd=StoredFile(**entry["initrd"]),
        image=StoredImage(**image) if image else None,
    )


def put_file(store: Path, source: Path) -> StoredFile:
    """Move a finished file into the store under its hash. `source` must be on the store's file system."""
    digest = hash_file(source)
    name = f"sha256/{digest}"
    size = source.stat().st_size
    with source.open("rb") as file:
        os.fsync(file.fileno())
    (store / "sha256").mkdir(parents=True, exist_ok=True)
    source.chmod(0o644)
    source.replace(store / name)
    return StoredFile(name, digest, size)


def put_image(store: Path, source: Path, disk_bytes: int) -> StoredImage:
    """As `put_file`, for a compressed disk image."""
    stored = put_file(store, source)
    return StoredImage(stored.file, stored.sha256, stored.bytes, disk_bytes)


def publish(store: Path, artefact: Artefact) -> None:
    """Enter or replace one artefact in the index; readers see the old index or the new one, never a part."""
    with _locked(store):
        entries = {slug: _entry(known) for slug, known in load(store).items()}
        entries[artefact.slug] = _entry(artefact)
        draft = store / f".{INDEX}.new"
        with draft.open("w", encoding="utf-8") as file:
            json.dump(entries, file, indent=2, sort_keys=True)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        draft.replace(store / INDEX)


def _entry(artefact: Artefact) -> dict[str, Any]:
    entry = asdict(artefact)
    del entry["slug"]
    if artefact.image is None:
        del entry["image"]
    return entry


@contextmanager
def _locked(store: Path) -> Iterator[None]:
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def current(store: Path, slug: str, recipe: str) -> Artefact | None:
    """The slug's artefact if it was built by this recipe and its files are all there with the right sizes."""
    artefact = load(store).get(slug)
    if artefact is None or artefact.recipe != recipe:
        return None
    files = [artefact.kernel, artefact.initrd, *([artefact.image] if artefact.image else [])]
    for stored in files:
        path = store / stored.file
        if not path.is_file() or path.stat().st_size != stored.bytes:
            return None
    return artefact


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
