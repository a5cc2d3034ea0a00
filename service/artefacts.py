"""The image store as the service sees it: which files an installer boots from and which image an order gets."""

from __future__ import annotations

from pathlib import Path

from images.store import FIRST_STAGES, INDEX, Artefact, StoredImage, load

_INSTALLER = "installer"


class NotBuilt(LookupError):
    """The store has no such artefact."""


class Artefacts:
    """The store in one folder; its index is read again when it was replaced."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen: tuple[int, int] | None = None
        self._entries: dict[str, Artefact] = {}

    @property
    def files(self) -> Path:
        """The folder of the files, each named by its sha256."""
        return self.root / "sha256"

    @property
    def first_stages(self) -> Path:
        """The folder of the boot loaders that the builder made."""
        return self.root / FIRST_STAGES

    def installer(self, arch: str = "amd64") -> Artefact:
        """Kernel and initrd of the in-RAM installer for machines of that architecture. Raises NotBuilt."""
        return self._entry(_INSTALLER if arch == "amd64" else f"{_INSTALLER}-{arch}")

    def image(self, slug: str) -> StoredImage:
        """The disk image of an operating system. Raises NotBuilt."""
        image = self._entry(slug).image
        if image is None:
            raise NotBuilt(f"{slug} has no disk image in {self.root}")
        return image

    def _entry(self, slug: str) -> Artefact:
        try:
            stat = (self.root / INDEX).stat()
            if (seen := (stat.st_mtime_ns, stat.st_ino)) != self._seen:
                self._entries, self._seen = load(self.root), seen
            return self._entries[slug]
        except (FileNotFoundError, KeyError):
            raise NotBuilt(f"{slug} is not in {self.root}; `roundhouse image build` makes it") from None
