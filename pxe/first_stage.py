"""The first-stage boot files: which there are, and where Debian's packages keep them.

Those of arm64 are in packages of arm64 only, so the build of its installer takes them along into the image store.

An operator's own build of one goes into the folder `own` under the name that it is to have. It wins; everything else
in the folder is ours and follows the packages.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from pxe.grub import FIRST_FILES, LOCAL_DISK

log = structlog.get_logger()

OWN = "own"


@dataclass(frozen=True, slots=True)
class Packaged:
    """A file of a Debian package."""

    package: str
    path: Path


# By our names. UEFI gets the small build of iPXE that drives the card by the firmware's own SNP. Shim and what it
# starts bear the names that shim itself asks for.
PACKAGED = {
    "undionly.kpxe": Packaged("ipxe", Path("/usr/lib/ipxe/undionly.kpxe")),
    "snponly.efi": Packaged("ipxe", Path("/usr/lib/ipxe/snponly.efi")),
    "shimx64.efi": Packaged("shim-signed", Path("/usr/lib/shim/shimx64.efi.signed")),
    "grubx64.efi": Packaged("grub-efi-amd64-signed", Path("/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")),
    "mmx64.efi": Packaged("shim-helpers-amd64-signed", Path("/usr/lib/shim/mmx64.efi.signed")),
}

# By the names under which the build leaves them, and what makes them. Debian's iPXE has no arm64 build: GRUB, made to
# ask for its configuration over HTTP, takes its place. What shim starts is Debian's own signed GRUB.
BUILT = ("grub-arm64.efi", "grubaa64.efi", "shimaa64.efi")
BUILD = "roundhouse image build installer --arch arm64"

# A GRUB that looks for the loader on the disks and starts it, for firmware that does not do so itself when iPXE ends.
LOCAL_DISK_PROGRAM = "local-disk.efi"
_GRUB_FOLDER = Path("/usr/lib/grub/x86_64-efi")
_GRUB_PACKAGE = "grub-efi-amd64-bin"
_GRUB_MODULES = (
    *("memdisk", "tar", "normal", "part_gpt", "part_msdos", "fat"),
    *("search", "search_fs_file", "chain", "test", "echo", "sleep", "minicmd"),
)


def collect_first_stages(folder: Path, built: Path | None = None) -> dict[str, str]:
    """Bring `folder` up to date; the names of the files that are still missing, each with what has or makes it.

    `built` is the folder into which the image builder puts first-stage files.

    Each file's origin, version and hash are logged. Files are replaced whole, so that another process that serves
    them may read at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    versions = _versions()
    wanted = {name: packaged.package for name, packaged in PACKAGED.items()}
    wanted |= {LOCAL_DISK_PROGRAM: _GRUB_PACKAGE} | dict.fromkeys(BUILT, BUILD)
    for name, content in FIRST_FILES.items():
        _write(folder / name, content)
    missing = {}
    for name, package in wanted.items():
        own = folder / OWN / name
        if own.is_file():
            content, origin, version = own.read_bytes(), OWN, ""
        elif (found := _built(built, name) if name in BUILT else _from_package(name)) is not None:
            content, origin, version = found, package, versions.get(package, "")
        else:
            if not (folder / name).exists():
                missing[name] = package
                log.warning("first_stage_missing", file=name, needs=package)
            continue
        _write(folder / name, content)
        sha256 = hashlib.sha256(content).hexdigest()
        log.info("first_stage", file=name, origin=origin, version=version, sha256=sha256, bytes=len(content))
    return missing


def _built(folder: Path | None, name: str) -> bytes | None:
    path = None if folder is None else folder / name
    return path.read_bytes() if path is not None and path.is_file() else None


def _from_package(name: str) -> bytes | None:
    if name == LOCAL_DISK_PROGRAM:
        return _local_disk_program()
    path = PACKAGED[name].path
    return path.read_bytes() if path.is_file() else None


def _local_disk_program() -> bytes | None:
    """GRUB with its configuration inside; None where the package is missing."""
    if not _GRUB_FOLDER.is_dir():
        return None
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        scratch.joinpath("early.cfg").write_text("normal (memdisk)/grub.cfg\n")  # it knows neither "if" nor "for" yet
        scratch.joinpath("memdisk").write_bytes(_tar("grub.cfg", LOCAL_DISK.encode()))
        options = ["-O", "x86_64-efi", "-d", str(_GRUB_FOLDER), "-p", "/none", "-c", "early.cfg", "-m", "memdisk"]
        command = ["grub-mkimage", *options, "-o", "program", *_GRUB_MODULES]
        try:
            subprocess.run(command, cwd=scratch, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as err:
            log.warning("local_disk_program_not_made", detail=str(getattr(err, "stderr", "") or err))
            return None
        return scratch.joinpath("program").read_bytes()


def _tar(name: str, content: bytes) -> bytes:
    """An archive of one file, without a time, so that the same content gives the same bytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def _versions() -> dict[str, str]:
    """Which versions of the packages are installed."""
    packages = sorted({packaged.package for packaged in PACKAGED.values()} | {_GRUB_PACKAGE})
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *packages]
    try:
        told = subprocess.run(command, check=False, capture_output=True, text=True).stdout
    except OSError:
        return {}  # not a Debian: the files may be there all the same
    return dict(line.split(" ", 1) for line in told.splitlines() if not line.endswith(" "))


def _write(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        file.write(content)
    written = Path(file.name)
    written.chmod(0o644)
    written.replace(path)
