"""The image store as the service sees it: which files an installer boots from and which image an order gets."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from images.build.netboot import name_of
from images.signing import NotSigned, PublicKeys, check
from images.store import FIRST_STAGES, INDEX, Artefact, Releases, StoredImage, StoreError, is_there, load_releases

_INSTALLER = "installer"
_NO_KEYS: PublicKeys = {}


class NotBuilt(LookupError):
    """The store has no such artefact, or none that may be given out."""


class Artefacts:
    """The store in one folder; its index is read again when it was replaced.

    With `keys`, releases that none of them has signed are as if they were not there.
    """

    def __init__(self, root: Path, keys: PublicKeys = _NO_KEYS) -> None:
        self.root = root
        self._keys = keys
        self._seen: tuple[int, int] | None = None
        self._entries: dict[str, Releases] = {}
        self._refused: dict[
            tuple[str, str], str
        ] = {}  # slug and id of releases, and what is wrong with their signature

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
        return self.release(_INSTALLER if arch == "amd64" else f"{_INSTALLER}-{arch}")

    def netboot(self, slug: str, arch: str = "amd64") -> Artefact:
        """Kernel and initrd of the installer that the operating system brings itself. Raises NotBuilt."""
        return self.release(name_of(slug, arch))

    def image(self, slug: str, release: str | None = None) -> StoredImage:
        """The disk image of an operating system, of that release or of the current one. Raises NotBuilt."""
        image = self.release(slug, release).image
        if image is None:
            raise NotBuilt(f"{slug} has no disk image in {self.root}")
        return image

    def has_image(self, slug: str, release: str) -> bool:
        """Whether that release could be installed now."""
        try:
            self.image(slug, release)
        except NotBuilt:
            return False
        return True

    def current_image(self, slug: str) -> str:
        """The id of the current release, which has an image. Raises NotBuilt."""
        self.image(slug)
        return self.index()[slug].current

    def release(self, slug: str, release: str | None = None) -> Artefact:
        """That release, or the current one, with all its files there and signed as it must be. Raises NotBuilt."""
        known = self.index().get(slug)
        name = known.current if known is not None and release is None else release
        found = known.releases.get(name) if known is not None and name else None
        if found is None or name is None:
            what = slug if release is None else f"{slug} release {release}"
            raise NotBuilt(f"{what} is not in {self.root}; `roundhouse image build` makes it")
        if (why := self._refused.get((slug, name))) is not None:
            raise NotBuilt(why)
        for stored in found.files.values():
            if not is_there(self.root, stored):
                raise NotBuilt(f"{slug} release {name} is out of service: {stored.file} is missing in {self.root}")
        return found

    def refused(self) -> Mapping[tuple[str, str], str]:
        """Releases by slug and id that are not signed as they must be, each with what is wrong."""
        self.index()
        return self._refused

    def index(self) -> Mapping[str, Releases]:
        """Every slug with its releases, whether they may be given out or not. Raises NotBuilt."""
        try:
            stat = (self.root / INDEX).stat()
            if (seen := (stat.st_mtime_ns, stat.st_ino)) != self._seen:
                entries = load_releases(self.root)
                self._refused = self._not_signed(entries)
                self._entries, self._seen = entries, seen
            return self._entries
        except FileNotFoundError:
            return {}
        except StoreError as err:
            raise NotBuilt(str(err)) from err

    def _not_signed(self, entries: Mapping[str, Releases]) -> dict[tuple[str, str], str]:
        found: dict[tuple[str, str], str] = {}
        for slug, known in entries.items() if self._keys else ():
            for name, release in known.releases.items():
                try:
                    check(self._keys, release)
                except NotSigned as err:
                    found[slug, name] = f"{err}; `roundhouse image sign` signs it"
        return found
