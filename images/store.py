"""The image store: files named by the sha256 of their bytes, and `index.json` that says which file is what.

    ROOT/sha256/HASH     the bytes
    ROOT/index.json      {"installer-amd64": {"kernel": FILE, "initrd": FILE, "kernel_release": "6.1…"},
                          "debian_12": {"image": FILE, "kernel_release": "6.1…"}, …}
                         FILE: {"sha256", "bytes"} and, for an image, "disk_bytes"

A file is written beside its place and renamed into it, and the index is replaced as a whole, so a reader never sees
half of either.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20
_CONSOLE = "console=tty0 console=ttyS0,115200"


class NotInStore(LookupError):
    """The store has no such artefact."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """One file of the store; `disk_bytes` is what a disk image decompresses to, 0 for anything else."""

    sha256: str
    bytes: int
    disk_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Installer:
    """The in-RAM installer for one architecture."""

    kernel: Artefact
    initrd: Artefact
    kernel_release: str
    cmdline: str = _CONSOLE


class ImageStore:
    """A store in one folder. The index is read anew when it was replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: tuple[int, int] | None = None
        self._index: Mapping[str, Any] = {}

    @property
    def files(self) -> Path:
        """The folder of the files, each named by its hash."""
        return self.root / "sha256"

    def _entries(self) -> Mapping[str, Any]:
        try:
            stat = (self.root / "index.json").stat()
        except FileNotFoundError:
            return {}
        if (seen := (stat.st_mtime_ns, stat.st_ino)) != self._seen:
            self._index = json.loads((self.root / "index.json").read_text(encoding="utf-8"))
            self._seen = seen
        return self._index

    def names(self) -> list[str]:
        """What the index lists."""
        return sorted(self._entries())

    def installer(self, arch: str) -> Installer:
        """The in-RAM installer. Raises NotInStore."""
        entry = self._entry(f"installer-{arch}")
        return Installer(Artefact(**entry["kernel"]), Artefact(**entry["initrd"]), entry["kernel_release"])

    def image(self, slug: str) -> Artefact:
        """The disk image of an operating system. Raises NotInStore."""
        return Artefact(**self._entry(slug)["image"])

    def _entry(self, name: str) -> Mapping[str, Any]:
        try:
            entry: Mapping[str, Any] = self._entries()[name]
        except KeyError:
            raise NotInStore(
                f"{name} is not in the image store {self.root}; `roundhouse image build` makes it"
            ) from None
        return entry

    def add(self, source: Path, *, disk_bytes: int = 0) -> Artefact:
        """Copy a file into the store under its hash; what is there already is left alone."""
        digest, size = hashlib.sha256(), 0
        self.files.mkdir(parents=True, exist_ok=True)
        with source.open("rb") as reader, tempfile.NamedTemporaryFile(dir=self.files, delete=False) as writer:
            while block := reader.read(_BLOCK):
                digest.update(block)
                writer.write(block)
                size += len(block)
            writer.flush()
            os.fsync(writer.fileno())
        Path(writer.name).chmod(0o644)
        Path(writer.name).rename(self.files / digest.hexdigest())
        return Artefact(digest.hexdigest(), size, disk_bytes)

    def publish(self, name: str, entry: Mapping[str, Artefact | str]) -> None:
        """Put an entry into the index; its files are in the store already."""
        values = {
            key: {k: v for k, v in asdict(value).items() if v or k != "disk_bytes"}
            if isinstance(value, Artefact)
            else value
            for key, value in entry.items()
        }
        index = dict(self._entries()) | {name: values}
        with tempfile.NamedTemporaryFile("w", dir=self.root, delete=False, encoding="utf-8") as writer:
            json.dump(index, writer, indent=1, sort_keys=True)
        Path(writer.name).chmod(0o644)
        shutil.move(writer.name, self.root / "index.json")
