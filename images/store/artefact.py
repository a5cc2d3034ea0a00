"""What the index says: files, releases that are made of them, and the JSON that both are written as."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import Any

FILES = "sha256"  # folder of the files
HASH = re.compile(r"[0-9a-f]{64}")
_SLUG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ABOUT = ("slug", "published", "tested", "signatures")  # what is told about a release rather than what it is made of
_ID_DIGITS = 12


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

    def with_installer_of(self, other: Artefact) -> Artefact:
        """The same image with the in-RAM installer that the other has."""
        return replace(
            self, kernel_release=other.kernel_release, kernel=other.kernel, initrd=other.initrd, toolbox=other.toolbox
        )


@dataclass(frozen=True, slots=True)
class Releases:
    """All releases of one slug."""

    current: str  # the release that is given out; empty: none yet
    serial: int  # rises with each change, so that an older index is known for one
    releases: Mapping[str, Artefact]  # by id


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


def described(artefact: Artefact) -> dict[str, Any]:
    """A release as the index has it."""
    entry = {name: value for name, value in asdict(artefact).items() if value is not None and value != {}}
    del entry["slug"]
    return entry


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
