"""Disk images as others publish them: told by their first bytes, unpacked and converted to a plain disk.

All of it may be hostile. Sizes are bounded before and while it is unpacked. A disk format that can refer to other files
is read by us first, and refused if it does: qemu-img would open them, be they what they may.
"""

from __future__ import annotations

import re
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from images.build.host import BuildError

Told = Callable[[int, int], None]

FORMATS = tuple(
    f"{disk}{packing}" for disk in ("raw", "qcow2", "vmdk") for packing in ("", ".xz", ".gz", ".bz2", ".zst")
)
TOOLS = {
    "qemu-img": "qemu-utils",
    "xz": "xz-utils",
    "gzip": "gzip",
    "bzip2": "bzip2",
    "zstd": "zstd",
    "prlimit": "util-linux",
}
_BLOCK = 1 << 20
_MEMORY = 1 << 30  # of qemu-img, in bytes; it needs a quarter of it
_UNPACKERS: dict[str, tuple[bytes, tuple[str, ...]]] = {
    ".xz": (b"\xfd7zXZ\0", ("xz", "-dc", "-T0", "--memlimit-decompress=1GiB")),
    ".gz": (b"\x1f\x8b", ("gzip", "-dc")),
    ".bz2": (b"BZh", ("bzip2", "-dc")),
    ".zst": (b"\x28\xb5\x2f\xfd", ("zstd", "-dc", "--memory=1024MiB")),
}
_QCOW2, _VMDK = b"QFI\xfb", b"KDMV"
_QCOW2_EXTERNAL_DATA, _QCOW2_CORRUPT = 1 << 2, 1 << 1
_QCOW2_KNOWN = 0b11011 | _QCOW2_EXTERNAL_DATA  # dirty, corrupt, compression type, extended L2 entries
_QCOW2_DATA_FILE_NAME = 0x44415441
_VMDK_TYPES = ("monolithicSparse", "streamOptimized")


@dataclass(frozen=True, slots=True)
class Form:
    """How a disk was packed: "qcow2" and ".xz"."""

    disk: str
    packing: str


def as_disk(source: Path, form: str, scratch: Path, limit: int, told: Told) -> Path:
    """The plain disk of an image, in `scratch`; of `form`, one of FORMATS, or told by its first bytes if that is "".

    A disk of more than `limit` bytes is refused, whatever the file says of itself. Raises BuildError.
    """
    wanted = _form(form)
    packing = _packing(source)
    if wanted and wanted.packing != packing:
        raise BuildError(f"the file is {_packed_by(packing)}, which does not fit the format {form}")
    if packing:
        unpacked = scratch / "unpacked"
        _run([*_UNPACKERS[packing][1], str(source)], unpacked, limit, told)
        source = unpacked
    disk = _disk(source)
    if wanted and wanted.disk != disk:
        raise BuildError(f"the file is a {disk} disk, which does not fit the format {form}")
    if disk == "raw":
        return source
    with source.open("rb") as file:
        head = file.read(_BLOCK)
    size = qcow2_bytes(head) if disk == "qcow2" else vmdk_bytes(head)
    if size > limit:
        raise BuildError(f"the disk has {size:,} bytes, more than the limit of {limit:,}")
    plain = scratch / "plain"
    _convert(source, disk, plain, size, told)
    return plain


def _form(text: str) -> Form | None:
    if not text:
        return None
    if text not in FORMATS:
        raise BuildError(f"format {text!r}; allowed are {', '.join(FORMATS)}")
    disk, dot, packing = text.partition(".")
    return Form(disk, dot + packing)


def _packed_by(packing: str) -> str:
    return f"packed as {packing[1:]}" if packing else "not packed"


def _packing(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(8)
    return next((name for name, (magic, _) in _UNPACKERS.items() if head.startswith(magic)), "")


def _disk(source: Path) -> str:
    with source.open("rb") as file:
        head = file.read(512)
    if head.startswith(_QCOW2):
        return "qcow2"
    if head.startswith(_VMDK):
        return "vmdk"
    if head.lstrip().startswith(b"# Disk DescriptorFile"):
        raise BuildError("the file only describes a VMDK disk that is in other files: import a disk of one file")
    return "raw"


def qcow2_bytes(head: bytes) -> int:
    """The size of a qcow2 disk, from the file's first MiB (QEMU's docs/interop/qcow2).

    Raises BuildError where it does not stand by itself, or is no such disk.
    """
    if len(head) < 72:
        raise BuildError("the qcow2 file ends in its header")
    version, backing, _, _, size, encryption = struct.unpack_from(">IQIIQI", head, 4)
    if version not in (2, 3):
        raise BuildError(f"version {version} of qcow2 is not known")
    if backing:
        raise BuildError("the qcow2 disk has a backing file: import one that stands by itself")
    if encryption:
        raise BuildError("the qcow2 disk is encrypted")
    length = 72
    if version == 3:
        if len(head) < 104:
            raise BuildError("the qcow2 file ends in its header")
        (features,) = struct.unpack_from(">Q", head, 72)
        (length,) = struct.unpack_from(">I", head, 100)
        if features & _QCOW2_EXTERNAL_DATA:
            raise BuildError("the qcow2 disk keeps its data in another file: import one that stands by itself")
        if features & _QCOW2_CORRUPT or features & ~_QCOW2_KNOWN:
            raise BuildError(f"the qcow2 disk is corrupt or has features that are not known ({features:#x})")
    _check_qcow2_extensions(head, length)
    return int(size)


def _check_qcow2_extensions(head: bytes, at: int) -> None:
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            return
        if kind == _QCOW2_DATA_FILE_NAME:
            raise BuildError("the qcow2 disk names another file for its data: import one that stands by itself")
        at += 8 + (length + 7) // 8 * 8
    raise BuildError("the qcow2 file's header has no end")


def vmdk_bytes(head: bytes) -> int:
    """The size of a VMDK disk, from the file's first MiB ("Virtual Disk Format 5.0").

    Raises BuildError where it does not stand by itself, or is no such disk.
    """
    if len(head) < 512:
        raise BuildError("the VMDK file ends in its header")
    version, _, capacity, _, descriptor, length = struct.unpack_from("<IIQQQQ", head, 4)
    if version not in (1, 2, 3) or not capacity:
        raise BuildError(f"version {version} of VMDK with {capacity} sectors is not known")
    text = head[descriptor * 512 : (descriptor + length) * 512].rstrip(b"\0").decode("utf-8", "replace")
    kind = re.search(r'^\s*createType\s*=\s*"(\w+)"', text, re.MULTILINE | re.IGNORECASE)
    parent = re.search(r"^\s*parentCID\s*=\s*(\w+)", text, re.MULTILINE | re.IGNORECASE)
    if not descriptor or kind is None or kind[1] not in _VMDK_TYPES:
        raise BuildError(f"the VMDK disk is not of one file ({', '.join(_VMDK_TYPES)})")
    if (parent and parent[1].lower() != "ffffffff") or "parentfilenamehint" in text.lower():
        raise BuildError("the VMDK disk has a parent disk: import one that stands by itself")
    return int(capacity) * 512


def _convert(source: Path, disk: str, plain: Path, size: int, told: Told) -> None:
    limits = ["prlimit", f"--as={_MEMORY}", f"--fsize={size}", "--core=0"]
    convert = ["qemu-img", "convert", "-f", disk, "-O", "raw", "-S", "64k", str(source), str(plain)]
    process = subprocess.Popen([*limits, *convert], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process:
        while process.poll() is None:
            time.sleep(0.2)
            if plain.exists():
                told(plain.stat().st_blocks * 512, 0)
        assert process.stderr is not None
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise BuildError(f"qemu-img cannot read the {disk} disk: {said[-500:] or process.returncode}")


def _run(argv: Sequence[str], target: Path, limit: int, told: Told) -> None:
    """Write what a program prints to `target`, leaving out zeros, and not more of it than `limit`."""
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    zeros = bytes(_BLOCK)
    with process, target.open("wb") as out:
        assert process.stdout is not None and process.stderr is not None
        done = 0
        while block := process.stdout.read(_BLOCK):
            done += len(block)
            if done > limit:
                process.kill()
                raise BuildError(f"unpacked, the disk has more than the limit of {limit:,} bytes")
            if block == zeros[: len(block)]:
                out.seek(len(block), 1)
            else:
                out.write(block)
            told(done, 0)
        out.truncate(done)
        said = process.stderr.read().decode(errors="replace").strip()
    if process.returncode:
        raise BuildError(f"{argv[0]} cannot unpack the file: {said[-500:] or process.returncode}")
