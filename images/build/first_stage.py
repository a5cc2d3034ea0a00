"""The first-stage files of arm64, which are in no package for other machines: fetched and made, into the store.

Debian's iPXE has no arm64 build, so GRUB takes its place: made here from Debian's modules, because Debian's own network
image, which is signed, knows no HTTP. That one is taken along for firmware that starts signed programs only: shim
starts it, and looks for it under this very name.
"""

from __future__ import annotations

import io
import os
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path

from images.build.apt import unpack
from images.build.architecture import ARM64, Architecture
from images.build.host import require, run
from images.store import FIRST_STAGES

GRUB = "grub-arm64.efi"

# Our name: Debian's package, the path in it.
_PACKAGED = {
    "grubaa64.efi": ("grub-efi-arm64-signed", "usr/lib/grub/arm64-efi-signed/grubnetaa64.efi.signed"),
    "shimaa64.efi": ("shim-signed", "usr/lib/shim/shimaa64.efi.signed"),
}
_MODULES = ("grub-efi-arm64-bin", "usr/lib/grub/arm64-efi")
_WANTED = (
    # the network, and what a kernel is started by
    *("efinet", "net", "tftp", "http", "linux"),
    # the language of configurations
    *("normal", "configfile", "test", "true", "regexp", "echo", "sleep", "reboot", "memdisk", "tar"),
    # an installed system's loader on a disk
    *("chain", "search", "search_fs_file", "part_gpt", "part_msdos", "fat", "ext2"),
)
# With a prefix, GRUB would first ask for lists of modules, and it waits 30 s for each that HTTP answers with 404.
_START = "unset prefix\nnormal (memdisk)/grub.cfg\n"
# Asks the service over HTTP, which is faster than the TFTP that most come by, what the machine is to do. Firmware that
# fetched this over HTTP named the service, and TFTP has a file that names it. Each "source" ends when there was nothing
# to start. GRUB counts nothing, so the growing pauses are written out; after some five minutes DHCP is asked anew.
_ASK = """\
service="http,$net_default_server"
if regexp '^\\(tftp,' "$cmdpath"; then
  source "(tftp,$net_default_server)/grub/service.cfg"
fi
for pause in 1 2 4 8 16 16 16 16 16 16 16 16 16 16 16 16 16 16 16 16 16; do
  root=$service
  source "($root)/boot/grub?arch=uefi-arm64&mac=$net_default_mac"
  echo "Asking $service again in $pause s"
  sleep $pause
done
reboot
"""


def _made_for(architecture: Architecture) -> bool:
    return architecture.debian == ARM64.debian


def packages(architecture: Architecture) -> set[str]:
    """Debian's packages that the files are made of; none where this machine's own packages have the files."""
    return {_MODULES[0], *(package for package, _ in _PACKAGED.values())} if _made_for(architecture) else set()


def complete(store: Path, architecture: Architecture) -> bool:
    """True when the store has them all."""
    return not _made_for(architecture) or all((store / FIRST_STAGES / name).is_file() for name in (GRUB, *_PACKAGED))


def collect(store: Path, architecture: Architecture, apt_options: Sequence[str], scratch: Path) -> None:
    """Fetch and make them, and put them into the store's folder, each at once. Raises BuildError."""
    if not _made_for(architecture):
        return
    require({"grub-mkimage": "grub-common", "dpkg-deb": "dpkg"})
    unpacked = scratch / "first-stage"
    unpack(sorted(packages(architecture)), apt_options, unpacked)
    _put(_grub(unpacked / _MODULES[1], scratch), store / FIRST_STAGES / GRUB)
    for name, (_, path) in _PACKAGED.items():
        _put(unpacked / path, store / FIRST_STAGES / name)


def _grub(modules: Path, scratch: Path) -> Path:
    """GRUB's image with its configuration inside. What is embedded alone has no loops, so it starts what has."""
    image, start, disk = scratch / GRUB, scratch / "start.cfg", scratch / "memdisk.tar"
    start.write_text(_START, encoding="ascii")
    content = _ASK.encode("ascii")
    with tarfile.open(disk, "w", format=tarfile.USTAR_FORMAT) as archive:  # dates and owners are zero by default
        entry = tarfile.TarInfo("grub.cfg")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    files: list[str | Path] = ["-d", modules, "-c", start, "-m", disk, "-o", image]
    run(["grub-mkimage", "-O", "arm64-efi", "-p", "/grub", *files, *_WANTED])
    return image


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    draft = target.with_name(f".{target.name}.new")
    shutil.copyfile(source, draft)
    with draft.open("rb") as file:
        os.fsync(file.fileno())
    draft.replace(target)
