"""The image's initramfs in two parts: one that every machine boots with, and what RAID, LVM and encryption add to it.

A kernel unpacks archives that follow each other one over the other. So the installer's agent appends the second part
where a disk layout asks for it, and a machine with a plain disk neither reads nor unpacks a byte of it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from images.build import cpio
from images.build.host import run

# Below the system's root: the agent looks for it to know that the image can be laid out in other ways than its own.
STORAGE = "usr/lib/roundhouse/initramfs-storage"
_HOOKS = "usr/share/initramfs-tools"
# The packages whose hooks and scripts make the difference.
_PACKAGES = ("mdadm", "lvm2", "dmsetup", "cryptsetup-initramfs")
# For LVM, which is rare: the agent switches them on where there is a volume group.
_SERVICES = ("lvm2-monitor.service", "blk-availability.service", "dm-event.socket", "lvm2-lvmpolld.socket")


def split(tree: Path, release: str) -> None:
    """Replace the initramfs of the system in `tree` by one without storage, and put the difference beside it.

    Raises BuildError.
    """
    everything, plain = tree / "split/everything", tree / "split/plain"
    everything.parent.mkdir()
    # Its package writes down when it was installed.
    (tree / "etc/mdadm/mdadm.conf").write_text("HOMEHOST <system>\nMAILADDR root\n", encoding="utf-8")
    setting = tree / "etc/cryptsetup-initramfs/conf-hook"
    before = setting.read_bytes()
    setting.write_bytes(before + b"CRYPTSETUP=y\n")  # it asks the disks of this machine else
    _make(tree, release, everything)
    setting.write_bytes(before)
    aside = _set_aside(tree)
    _make(tree, release, plain)
    for kept, path in aside:
        kept.replace(path)
    shutil.copyfile(plain.with_suffix(".img"), tree / f"boot/initrd.img-{release}")
    target = tree / STORAGE
    target.parent.mkdir(parents=True, exist_ok=True)
    archive, storage = tree / "split/storage.cpio", _difference(everything, plain)
    (storage / "etc/mdadm/mdadm.conf.tmp").unlink(missing_ok=True)
    archive.write_bytes(cpio.encode(list(cpio.walk(storage))))
    run(["zstd", "-q", "-19", "-T0", "-f", archive, "-o", target])
    shutil.rmtree(tree / "split")
    run(["chroot", tree, "systemctl", "disable", "--quiet", *_SERVICES])


def _make(tree: Path, release: str, folder: Path) -> None:
    """An initramfs as FOLDER.img, and unpacked in the folder."""
    name = f"/{folder.relative_to(tree)}"
    run(["chroot", tree, "mkinitramfs", "-o", f"{name}.img", release])
    run(["chroot", tree, "unmkinitramfs", f"{name}.img", name])


def _set_aside(tree: Path) -> list[tuple[Path, Path]]:
    """Take the packages' hooks out of the way; where each is, and where it belongs."""
    moved: list[tuple[Path, Path]] = []
    for path in run(["chroot", tree, "dpkg", "-L", *_PACKAGES]).split():
        origin = tree / path[1:]
        if path.startswith(f"/{_HOOKS}/") and origin.is_file():
            kept = tree / "split" / f"hook-{len(moved)}"
            origin.replace(kept)
            moved.append((kept, origin))
    return moved


def _difference(everything: Path, plain: Path) -> Path:
    """A folder with what is only in `everything`, or not the same in both."""
    target = everything.with_name("storage")
    for folder, folders, files in os.walk(everything):
        here = Path(folder).relative_to(everything)
        for name in sorted([*files, *(one for one in folders if (Path(folder) / one).is_symlink())]):
            path, other = everything / here / name, plain / here / name
            if not _same(path, other):
                (target / here).mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target / here / name, follow_symlinks=False)
    return target


def _same(one: Path, other: Path) -> bool:
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return other.is_file() and one.read_bytes() == other.read_bytes()
