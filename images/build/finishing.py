"""From a root folder to a published image: what every system gets, whichever distribution it is of."""

from __future__ import annotations

import os
from pathlib import Path

from images import store
from images.build import disk, layout, pack, sbom
from images.build.host import EPOCH, BuildError, Steps

SOURCES = ("disk.py", "finishing.py", "layout.py", "pack.py", "sbom.py")
TOOLS = {"du": "coreutils", **disk.TOOLS, **layout.TOOLS}
COMMAND_LINE = "console=tty0 console=ttyS0,115200"


def finish(
    out: Path,
    scratch: Path,
    tree: Path,
    ids: disk.Identity,
    slug: str,
    steps: Steps,
    grub_modules: tuple[str, ...] = (),
) -> tuple[store.StoredImage, store.StoredFile]:
    """Put the system in `tree` into the store at `out`: its disk, and the list of its packages. Raises BuildError."""
    for path in [*(tree / "etc/ssh").glob("ssh_host_*"), tree / "var/lib/dbus/machine-id", tree / "etc/hostname"]:
        path.unlink(missing_ok=True)
    write(tree, "etc/machine-id", "")
    inventory = sbom.of_tree(tree)
    steps("assembling the disk image")
    _clamp_dates(tree)
    raw = disk.assemble(tree, ids, scratch, grub_modules)
    steps("compressing")
    data, map_, listing = scratch / "data", scratch / "map", scratch / "sbom"
    packed = pack.pack(raw, layout.partitions_of(raw), data, map_, told=steps.so_far)
    image = store.put_image(out, data, map_, packed.disk_bytes)
    listing.write_bytes(sbom.encode(slug, inventory))
    steps(f"done: image {image.bytes:,} bytes for {image.disk_bytes:,} on the disk")
    return image, store.put_file(out, listing)


def only_kernel(tree: Path) -> str:
    """The release of the one kernel in `tree`. Raises BuildError where there are others or none."""
    releases = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(releases) != 1:
        raise BuildError(f"the image has {len(releases)} kernels instead of one: {', '.join(releases)}")
    return releases[0]


def mounts(ids: disk.Identity, root_options: str) -> str:
    """The fstab(5)."""
    serial = ids.esp_serial
    # The ESP is needed when GRUB is updated, not while starting.
    esp = f"UUID={serial[:4]}-{serial[4:]} /boot/efi vfat umask=0077,noauto,nofail 0 2"
    return f"UUID={ids.root} / ext4 {root_options} 0 1\n{esp}\n"


def grub_config(name: str, ids: disk.Identity, kernel: str, initrd: str, before: str = "") -> str:
    """A configuration with one entry; `before` goes in front of it."""
    return f"""\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=1
{before}menuentry "{name}" {{
    linux /boot/{kernel} root=UUID={ids.root} ro {COMMAND_LINE}
    initrd /boot/{initrd}
}}
"""


def write(tree: Path, name: str, text: str) -> None:
    """Replace one file of the tree, readable by all."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def _clamp_dates(tree: Path) -> None:
    """No file is younger than the packages' own: building twice gives the same file system."""
    for path in [tree, *tree.rglob("*")]:
        if path.lstat().st_mtime > EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
