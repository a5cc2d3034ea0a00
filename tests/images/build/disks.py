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
