"""Small disks as images have them, made by the real tools: a GPT, boot partitions, and a root file system."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

MIB = 1 << 20
_NEEDS = {
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mcopy": "mtools",
    "qemu-img": "qemu-utils",
    "xz": "xz-utils",
    "bzip2": "bzip2",
    "zstd": "zstd",
}
ROOT_UUID = "01234567-89ab-cdef-0123-456789abcdef"
_ESP, _BIOS, _LINUX = (
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
    "21686148-6449-6E6F-744E-656564454649",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4",
)


def require_disk_tools(**more: str) -> None:
    """Skips the test where one of the programs is missing, or root is."""
    for program, package in {**_NEEDS, **{name.replace("_", "."): package for name, package in more.items()}}.items():
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin:/bin") is None:
            pytest.skip(f"needs Debian's {package}")
    if os.geteuid() != 0:
        pytest.skip("needs root")


def run(*argv: str | Path, feed: bytes = b"") -> bytes:
    """A program's output; it is expected to succeed."""
    path = f"/usr/sbin:/sbin:{os.environ['PATH']}"
    done = subprocess.run(argv, input=feed, capture_output=True, check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def make_disk(
    folder: Path, *, filesystem: str = "ext4", esp: bool = True, bios: bool = True, label: str = "gpt"
) -> Path:
    """A disk of 64 MiB, or of as much as the file system needs; its root with ext4 has what is in `folder`/tree."""
    root_mib = {"ext4": 48, "xfs": 320, "btrfs": 128}.get(filesystem, 16)
    raw, tree = folder / "disk.raw", folder / "tree"
    tree.mkdir(exist_ok=True)
    (tree / "hello").write_bytes(os.urandom(100_000))
    with raw.open("wb") as file:
        file.truncate((10 + root_mib) * MIB)
    rows = [f"label: {label}"]
    types = (_BIOS, _ESP, _LINUX) if label == "gpt" else ("da", "ef", "83")
    rows += [f"start=1MiB, size=1MiB, type={types[0]}"] if bios else []
    rows += [f"start=2MiB, size=6MiB, type={types[1]}"] if esp else []
    rows += [f"start=8MiB, size={root_mib}MiB, type={types[2]}"]
    run("sfdisk", "--quiet", raw, feed="\n".join([*rows, ""]).encode())
    if esp:
        part = folder / "esp.part"
        with part.open("wb") as file:
            file.truncate(6 * MIB)
        run("mkfs.vfat", "--invariant", "-n", "ESP", part)
        run("mcopy", "-i", part, tree / "hello", "::/BOOT.EFI")
        _put(part, raw, 2 * MIB)
    part = folder / "root.part"
    with part.open("wb") as file:
        file.truncate(root_mib * MIB)
    if filesystem == "ext4":
        run("mke2fs", "-q", "-F", "-t", "ext4", "-U", ROOT_UUID, "-d", tree, part)
    elif filesystem == "xfs":
        run("mkfs.xfs", "-q", "-f", "-m", f"uuid={ROOT_UUID}", part)
    elif filesystem == "btrfs":
        run("mkfs.btrfs", "-q", "-f", "-U", ROOT_UUID, part)
    _put(part, raw, 8 * MIB)
    return raw


def _put(part: Path, raw: Path, at: int) -> None:
    run("dd", f"if={part}", f"of={raw}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse", "status=none")


def make_coreos_disk(folder: Path) -> Path:
    """A disk with the partitions, names and labels of Fedora CoreOS's metal image."""
    return _composed(
        folder,
        (1, "BIOS-BOOT", _BIOS, 1, "", ""),
        (2, "EFI-SYSTEM", _ESP, 6, "vfat", "EFI-SYSTEM"),
        (3, "boot", _LINUX, 24, "ext4", "boot"),
        (4, "root", _LINUX, 320, "xfs", "root"),
    )


def make_flatcar_disk(folder: Path, oem: str = "btrfs") -> Path:
    """A disk with the partitions, names and labels of Flatcar's image; `oem` is its OEM partition's file system."""
    usr, root = "5DFBF5F4-2848-4BAC-AA5E-0D9A20B745A6", "3884DD41-8582-4404-B9A8-E9B84F2DF50E"
    return _composed(
        folder,
        (1, "EFI-SYSTEM", _ESP, 6, "vfat", "EFI-SYSTEM"),
        (2, "BIOS-BOOT", _BIOS, 2, "", ""),
        (3, "USR-A", usr, 64, "ext4", "USR-A"),
        (4, "USR-B", usr, 64, "", ""),
        (6, "OEM", _LINUX, 128, oem, "OEM"),
        (7, "OEM-CONFIG", _LINUX, 16, "", ""),
        (9, "ROOT", root, 48, "ext4", "ROOT"),
    )


def _composed(folder: Path, *parts: tuple[int, str, str, int, str, str]) -> Path:
    """A disk of partitions: number, name, type, MiB, file system and its label."""
    raw, rows, at = folder / "disk.raw", ["label: gpt"], 1
    commands = {
        "vfat": ("mkfs.vfat", "-n"),
        "ext4": ("mke2fs", "-q", "-F", "-t", "ext4", "-L"),
        "xfs": ("mkfs.xfs", "-q", "-f", "-L"),
        "btrfs": ("mkfs.btrfs", "-q", "-f", "-L"),
    }
    with raw.open("wb") as file:
        file.truncate((2 + sum(part[3] for part in parts)) * MIB)
    for number, name, kind, size, _, _ in parts:
        rows.append(f"{number}: start={at}MiB, size={size}MiB, type={kind}, name={name}")
        at += size
    run("sfdisk", "--quiet", raw, feed="\n".join([*rows, ""]).encode())
    at = 1
    for _, name, _, size, filesystem, label in parts:
        if filesystem:
            part = folder / f"{name}.part"
            with part.open("wb") as file:
                file.truncate(size * MIB)
            run(*commands[filesystem], label, part)
            _put(part, raw, at * MIB)
        at += size
    return raw
