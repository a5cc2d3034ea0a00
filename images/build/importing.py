"""Images that others publish, cloud or metal: fetched, checked, converted, and packed like our own."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images import store
from images.build import fetching, foreign, layout, pack, sbom
from images.build.host import BuildError, Steps, digest_of, require
from images.chunks import SECTOR, Partition

DEFAULT_LIMIT = 32 << 30
_BASE = "installer"
_HERE = Path(__file__).parent
_SOURCES = ("importing.py", "foreign.py", "layout.py", "pack.py", "sbom.py")
_SLUG = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_ROOTS = ("ext4", "xfs", "btrfs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Import:
    """What is to be imported. `sha256` is of the file as it is published."""

    slug: str
    source: str  # an http(s) URL, or a path of this machine
    sha256: str
    form: str = ""  # one of foreign.FORMATS; empty: told by the file's first bytes
    limit: int = DEFAULT_LIMIT  # bytes of the file, and of the disk
    proxy: str = ""


def bring(out: Path, wanted: Import, current: bool = True) -> store.Artefact:
    """Import an image into the store at `out`, or return it when it is there already. Raises BuildError, StoreError.

    It is installed by the in-RAM installer that is in the store; an installer that changed since is exchanged alone.
    """
    require({**foreign.TOOLS, **layout.TOOLS})
    if not _SLUG.fullmatch(wanted.slug) or wanted.slug.startswith(_BASE):
        raise BuildError(f"slug {wanted.slug!r}: allowed are lower-case words and digits joined by underscores")
    if (base := store.load(out).get(_BASE)) is None:
        raise BuildError("the store has no installer, which every image needs: roundhouse image build installer")
    recipe = digest_of((_HERE / name for name in _SOURCES), wanted.sha256)
    known = store.current(out, wanted.slug, recipe)
    if known and known.image:
        image, listing = known.image, known.sbom
    else:
        image, listing = _image(out, wanted)
    artefact = store.Artefact(
        slug=wanted.slug,
        recipe=recipe,
        kernel_release=base.kernel_release,
        kernel=base.kernel,
        initrd=base.initrd,
        image=image,
        toolbox=base.toolbox,
        sbom=listing,
    )
    return store.publish(out, artefact, current)


def _image(out: Path, wanted: Import) -> tuple[store.StoredImage, store.StoredFile | None]:
    steps = Steps(wanted.slug)
    steps("fetching")
    downloads = out / ".downloads"
    fetched = fetching.fetch(wanted.source, wanted.sha256, downloads, wanted.limit, wanted.proxy, steps.so_far)
    try:
        with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
            scratch = Path(work)
            steps("unpacking and converting")
            raw = foreign.as_disk(fetched, wanted.form, scratch, wanted.limit, steps.so_far)
            steps("looking at the partitions")
            partitions = checked(raw)
            inventory = _inventory(raw, partitions, scratch, steps)
            steps("packing")
            data, map_ = scratch / "data", scratch / "map"
            try:
                packed = pack.pack(raw, partitions, data, map_, told=steps.so_far)
            except OSError as err:
                raise BuildError(f"the disk cannot be packed: {err}") from err
            image = store.put_image(out, data, map_, packed.disk_bytes)
            listing = None
            if inventory is not None:
                data.write_bytes(sbom.encode(wanted.slug, inventory))
                listing = store.put_file(out, data)
    finally:
        fetched.unlink(missing_ok=True)
    steps(f"done: image {image.bytes:,} bytes for {image.disk_bytes:,} on the disk")
    return image, listing


def _inventory(raw: Path, partitions: Sequence[Partition], scratch: Path, steps: Steps) -> sbom.Inventory | None:
    """The image's packages; where they cannot be told, the image is good without."""
    root = next(one for one in partitions if one.role == "root")
    try:
        if (found := sbom.of_disk(raw, root, scratch)) is None:
            steps(f"no list of packages: {root.filesystem} can be read by mounting it only")
    except BuildError as err:
        steps(f"no list of packages: {err}")
        return None
    return found


def checked(raw: Path) -> Sequence[Partition]:
    """The partitions of a disk that the in-RAM installer can install. Raises BuildError, which says what is amiss."""
    size = raw.stat().st_size
    with raw.open("rb") as file:
        head = file.read(2 * 4096)
    if size < 4096 or size % SECTOR:
        raise BuildError(f"the disk has {size:,} bytes, which is no number of sectors")
    if head[4096:4104] == b"EFI PART":
        raise BuildError("the disk has sectors of 4096 bytes; only those with sectors of 512 bytes can be installed")
    if head[SECTOR : SECTOR + 8] != b"EFI PART":
        if head[510:512] == b"\x55\xaa":
            raise BuildError("the disk has no GUID partition table but an MBR: take the image's variant for UEFI")
        raise BuildError("the disk has no partition table: it is a file system, an archive, or no disk at all")
    partitions = layout.partitions_of(raw)
    roles = {one.role for one in partitions}
    if not roles & {"bios", "esp"}:
        raise BuildError("the disk has neither an EFI system partition nor a BIOS boot partition: nothing can start it")
    root = next((one for one in partitions if one.role == "root"), None)
    if root is None or root.filesystem not in _ROOTS:
        found = ", ".join(f"{one.number}: {one.filesystem or 'unknown'}" for one in partitions)
        raise BuildError(f"the disk has no root partition with {', '.join(_ROOTS)}; found: {found}")
    if any(one.end > size for one in partitions):
        raise BuildError("a partition ends behind the end of the disk: the image was cut off")
    return partitions
