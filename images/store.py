"""The artefact store: a folder of files named by their sha256, and an index of releases that are made of them.

    index.json      {"debian_12": {"current": ID, "serial": N, "releases": {ID: RELEASE, …}}, "installer": …}
    sha256/HASH     the files; never changed once they are there, so any HTTP cache may keep them for ever

RELEASE is {"recipe", "kernel_release", "kernel": FILE, "initrd": FILE, "image": IMAGE, …, "published", "tested",
"signatures"}; FILE is {"file": "sha256/HASH", "sha256": HASH, "bytes": N}; IMAGE is
the chunked data file and has "disk_bytes" and "map", another FILE, besides (`images.chunks`). What a release has not
is absent. A release's ID says what it is made of; `serial` rises with each change of the slug.
A file is complete when its name exists: it is written under another name, synced, and renamed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FIRST_STAGES = "first-stage"  # folder of the boot loaders that the builder makes; not named by their hashes
INDEX = "index.json"
FILES = "sha256"  # folder of the files
HASH = re.compile(r"[0-9a-f]{64}")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_CHUNK = 1 << 20


class StoreError(Exception):
    """The store's index or one of its files cannot be read or is not what it says."""


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of the store. `file` is its path below the store's folder, with forward slashes.

    Raises ValueError for a file that is not named by its hash.
    """

    file: str
    sha256: str
    bytes: int

    def __post_init__(self) -> None:
        if not HASH.fullmatch(self.sha256) or self.file != f"{FILES}/{self.sha256}":
            raise ValueError(f"{self.file!r} is not {FILES}/ with the sha256 {self.sha256!r}")
        if not isinstance(self.bytes, int) or self.bytes < 0:
            raise ValueError(f"{self.file}: {self.bytes!r} is no size")


@dataclass(frozen=True, slots=True)
class StoredImage(StoredFile):
    """A whole-disk image: the data file with its chunks, and their map. `disk_bytes` is its size on the disk."""

    disk_bytes: int
    map: StoredFile


_ABOUT = ("slug", "published", "tested", "signatures")  # what is told about a release rather than what it is made of
_ID_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Artefact:
    """One release of a slug: what it is made of, and what is known about it.

    A file is a field of type StoredFile; collection, replication and verification find it by that.
    """

    slug: str
    recipe: str  # changes when anything that went into the build changed
    kernel_release: str  # `uname -r`
    kernel: StoredFile
    initrd: StoredFile
    image: StoredImage | None
    toolbox: StoredFile | None = None  # programs that only some of the agent's work needs
    sbom: StoredFile | None = None
    live: StoredFile | None = None  # what the kernel of a distribution's installer fetches besides
    published: str = ""  # ISO 8601 in UTC; empty: by a program that did not write it down
    tested: Mapping[str, Any] = field(default_factory=dict)  # by firmware: how a test boot ended
    signatures: Mapping[str, str] = field(default_factory=dict)  # Ed25519 in base64, by the key's id

    @property
    def id(self) -> str:
        """The release's name: the first digits of the sha256 of what it is made of."""
        made_of = {name: value for name, value in described(self).items() if name not in _ABOUT}
        return hashlib.sha256(canonical(made_of)).hexdigest()[:_ID_DIGITS]

    @property
    def files(self) -> dict[str, StoredFile]:
        """Every file that the release refers to, by the name of its part ("image", "image.map")."""
        return dict(_files_in(self, ""))


@dataclass(frozen=True, slots=True)
class Releases:
    """All releases of one slug."""

    current: str  # the release that is given out; empty: none yet
    serial: int  # rises with each change, so that an older index is known for one
    releases: Mapping[str, Artefact]  # by id


_NONE = Releases("", 0, {})
_NOTHING: Mapping[str, Any] = {}


def _files_in(part: Any, above: str) -> Iterator[tuple[str, StoredFile]]:
    for known in fields(part):
        value, name = getattr(part, known.name), f"{above}{known.name}"
        if isinstance(value, StoredFile):
            yield name, value
        if is_dataclass(value):
            yield from _files_in(value, f"{name}.")


def canonical(value: Any) -> bytes:
    """The one way in which a value is written as JSON where it is hashed or signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def load(store: Path) -> dict[str, Artefact]:
    """The current release of every slug; empty where nothing has been built yet. Raises StoreError."""
    return {slug: known.releases[known.current] for slug, known in load_releases(store).items() if known.current}


def load_releases(store: Path) -> dict[str, Releases]:
    """Every slug with all its releases. Raises StoreError."""
    try:
        return parse_index((store / INDEX).read_bytes())
    except FileNotFoundError:
        return {}
    except (StoreError, OSError) as err:
        raise StoreError(f"{store / INDEX}: {err}") from err


def parse_index(content: bytes) -> dict[str, Releases]:
    """An index from anywhere: no name in it leads out of the store. Raises StoreError."""
    try:
        raw = json.loads(content)
        return {_slug(slug): _releases(slug, entry) for slug, entry in raw.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as err:
        raise StoreError(f"{type(err).__name__}: {err}") from err


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise ValueError(f"{text!r} is no slug")
    return text


def _releases(slug: str, entry: Mapping[str, Any]) -> Releases:
    if "releases" not in entry:  # an index from before there were releases
        only = _artefact(
            slug, {"kernel_release": entry["release"]} | {k: v for k, v in entry.items() if k != "release"}
        )
        return Releases(only.id, 0, {only.id: only})
    known = {name: _artefact(slug, one) for name, one in entry["releases"].items()}
    if entry["current"] and entry["current"] not in known:
        raise ValueError(f"{slug}: no release {entry['current']}")
    return Releases(entry["current"], int(entry["serial"]), known)


def _artefact(slug: str, entry: Mapping[str, Any]) -> Artefact:
    image = entry.get("image")
    # An index of old may name images without a map, which nobody can install any more: as if they were not built.
    return Artefact(
        slug=slug,
        recipe=entry["recipe"],
        kernel_release=entry["kernel_release"],
        kernel=StoredFile(**entry["kernel"]),
        initrd=StoredFile(**entry["initrd"]),
        image=_image(image) if image and "map" in image else None,
        toolbox=_optional(entry, "toolbox"),
        sbom=_optional(entry, "sbom"),
        live=_optional(entry, "live"),
        published=entry.get("published", ""),
        tested=entry.get("tested", {}),
        signatures=entry.get("signatures", {}),
    )


def _optional(entry: Mapping[str, Any], name: str) -> StoredFile | None:
    return StoredFile(**entry[name]) if name in entry else None


def _image(entry: Mapping[str, Any]) -> StoredImage:
    return StoredImage(**{**entry, "map": StoredFile(**entry["map"])})


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


def publish(store: Path, artefact: Artefact, current: bool = True) -> Artefact:
    """Enter a release that was made here in the index, and give it out from now on if `current`; as it stands there.

    Its time is now, unless it is there already; then it keeps time and signatures, and the newer test results count.
    Readers see the old index or the new one, never a part. Raises StoreError.
    """
    with locked(store):
        index = load_releases(store)
        known = index.get(artefact.slug, _NONE)
        before = known.releases.get(artefact.id)
        published = before.published if before else datetime.now(UTC).isoformat(timespec="microseconds")
        entered = replace(
            artefact,
            published=published,
            tested={**before.tested, **artefact.tested} if before else artefact.tested,
            signatures=before.signatures if before else {},
        )
        index[artefact.slug] = Releases(
            entered.id if current else known.current, known.serial + 1, {**known.releases, entered.id: entered}
        )
        write_index(store, index)
    return entered


def annotate(
    store: Path,
    slug: str,
    release_id: str,
    *,
    tested: Mapping[str, Any] = _NOTHING,
    signatures: Mapping[str, str] = _NOTHING,
) -> Artefact:
    """Write down about a release how test boots ended, or who has signed it. Raises StoreError."""
    with locked(store):
        index = load_releases(store)
        known = index.get(slug, _NONE)
        before = _chosen(store, slug, known, release_id)
        after = replace(before, tested={**before.tested, **tested}, signatures={**before.signatures, **signatures})
        index[slug] = Releases(known.current, known.serial + 1, {**known.releases, release_id: after})
        write_index(store, index)
    return after


def promote(store: Path, slug: str, release_id: str) -> None:
    """Give out this release of the slug from now on. Raises StoreError where there is none such."""
    with locked(store):
        index = load_releases(store)
        known = index.get(slug, _NONE)
        _chosen(store, slug, known, release_id)
        if known.current != release_id:
            index[slug] = Releases(release_id, known.serial + 1, known.releases)
            write_index(store, index)


def release(store: Path, slug: str, release_id: str | None = None) -> Artefact:
    """One release of the slug, the current one if none is named. Raises StoreError where there is none such."""
    known = load_releases(store).get(slug, _NONE)
    return _chosen(store, slug, known, known.current if release_id is None else release_id)


def _chosen(store: Path, slug: str, known: Releases, release_id: str) -> Artefact:
    if (found := known.releases.get(release_id)) is None:
        wanted = f"release {release_id}" if release_id else "current release"
        there = f"{slug} has {', '.join(known.releases)}" if known.releases else f"there is none of {slug} at all"
        raise StoreError(f"{slug} has no {wanted} in {store}; {there}")
    return found


def write_index(store: Path, index: Mapping[str, Releases]) -> None:
    """Replace the index, by whoever has the store locked."""
    entries = {
        slug: {
            "current": known.current,
            "serial": known.serial,
            "releases": {name: described(one) for name, one in known.releases.items()},
        }
        for slug, known in index.items()
    }
    draft = store / f".{INDEX}.new"
    with draft.open("w", encoding="utf-8") as file:
        json.dump(entries, file, indent=2, sort_keys=True)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(store / INDEX)
    sync_folder(store)


def sync_folder(folder: Path) -> None:
    """Return when the folder's names are on the disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def described(artefact: Artefact) -> dict[str, Any]:
    """A release as the index has it."""
    entry = {name: value for name, value in asdict(artefact).items() if value is not None and value != {}}
    del entry["slug"]
    return entry


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """The store to oneself, among all processes of this host, while the block runs; not to be nested."""
    store.mkdir(parents=True, exist_ok=True)
    with (store / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def current(store: Path, slug: str, recipe: str) -> Artefact | None:
    """The slug's newest release that was built by this recipe and whose files are all there with the right sizes."""
    known = load_releases(store).get(slug, _NONE)
    for artefact in sorted(known.releases.values(), key=lambda one: one.published, reverse=True):
        if artefact.recipe == recipe and all(is_there(store, stored) for stored in artefact.files.values()):
            return artefact
    return None


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
