"""Kernel and initrd of a distribution's own installer, into the store under the name of what it installs."""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from images import store
from images.build import apt, fetching
from images.build.architecture import AMD64, ARM64, Architecture
from images.build.host import BuildError, Steps, recipe, require
from images.build.importing import DEFAULT_LIMIT

_TOOLS = {"apt-get": "apt", "dpkg-deb": "dpkg"}
_SOURCE = Path(__file__)

# Linux x86 boot protocol: the header's magic, and where a pointer to the version stands, both from the file's start.
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
_VERSION_AT, _VERSION_BASE, _VERSION_LENGTH = 0x20E, 0x200, 128


@dataclass(frozen=True, slots=True)
class Netboot:
    """An installer that Debian has a package of."""

    target: str  # what `image build` is told
    system: str  # the slug that it installs
    package: str
    folder: str  # with `linux` and `initrd.gz`, in the package


def _debian(version: str, architecture: Architecture) -> Netboot:
    arch = architecture.debian
    return Netboot(
        f"debian-{version}-netboot",
        f"debian_{version}",
        f"debian-installer-{version}-netboot-{arch}",
        f"usr/lib/debian-installer/images/{version}/{arch}/text/debian-installer/{arch}",
    )


INSTALLERS: Mapping[tuple[str, str], Netboot] = {
    (row.target, architecture.debian): row
    for architecture in (AMD64, ARM64)
    for row in (_debian(version, architecture) for version in ("11", "12", "13"))
}


def name_of(system: str, architecture: str) -> str:
    """Under which slug of the store a system's installer lies."""
    return f"{system}-netboot" if architecture == AMD64.debian else f"{system}-netboot-{architecture}"


def build(out: Path, netboot: Netboot, architecture: str) -> store.Artefact:
    """Take the installer from Debian's package, unless the store has that version. Raises BuildError."""
    require(_TOOLS)
    wanted = recipe([_SOURCE], [netboot.package])
    slug = name_of(netboot.system, architecture)
    if known := store.current(out, slug, wanted):
        return known
    steps = Steps(slug)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
        steps(f"unpacking {netboot.package}")
        tree = Path(work, "tree")
        apt.unpack([netboot.package], [], tree)
        folder = tree / netboot.folder
        return _publish(out, slug, wanted, folder / "linux", folder / "initrd.gz")


def import_files(
    out: Path, system: str, architecture: str, origins: Mapping[str, str], sha256: Mapping[str, str], proxy: str
) -> store.Artefact:
    """Take the installer from files or http(s) URLs: "kernel", "initrd", and "live" where there is such.

    `sha256` has the hashes that they must have. Raises BuildError, also where a URL comes without its hash.
    """
    slug = name_of(system, architecture)
    steps = Steps(slug)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
        found = {}
        for name, where in origins.items():
            steps(f"fetching the {name}")
            found[name] = _fetched(where, sha256.get(name), Path(work), proxy, steps).rename(Path(work, name))
        hashes = ":".join(store.hash_file(path) for path in found.values())
        return _publish(out, slug, f"imported {hashes}", found["kernel"], found["initrd"], found.get("live"))


def _fetched(where: str, sha256: str | None, folder: Path, proxy: str, steps: Steps) -> Path:
    if sha256 is None and "://" in where:
        raise BuildError(f"{where}: what comes over the network needs its sha256")
    try:
        # What lies here and is vouched for by nobody is what it is.
        wanted = store.hash_file(Path(where)) if sha256 is None else sha256.lower()
    except OSError as err:
        raise BuildError(f"{where}: {err}") from err
    return fetching.fetch(where, wanted, folder, DEFAULT_LIMIT, proxy, steps.so_far)


def _publish(
    out: Path, slug: str, made_by: str, kernel: Path, initrd: Path, live: Path | None = None
) -> store.Artefact:
    for path in (kernel, initrd):
        if not path.is_file() or not path.stat().st_size:
            raise BuildError(f"{path.name}: there is no such file, or it is empty")
    release = kernel_release(kernel)
    files = store.put_file(out, kernel), store.put_file(out, initrd)
    more = None if live is None else store.put_file(out, live)
    return store.publish(out, store.Artefact(slug, made_by, release, *files, None, live=more))


def kernel_release(path: Path) -> str:
    """What `uname -r` will say, as a kernel for x86 tells in its header; empty for any other file.

    Linux, Documentation/arch/x86/boot.rst, field kernel_version.
    """
    with path.open("rb") as file:
        head = file.read(0x10000)
    if head[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] != _MAGIC:
        return ""
    (pointer,) = struct.unpack_from("<H", head, _VERSION_AT)
    text = head[pointer + _VERSION_BASE : pointer + _VERSION_BASE + _VERSION_LENGTH].split(b"\0")[0]
    return text.decode("ascii", "replace").split(" ")[0]
