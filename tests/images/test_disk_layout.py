"""Partition tables and initramfs archives, against the real programs: sfdisk, cpio."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from images.agent import gpt, storage
from images.build import cpio

MIB = 1 << 20


def run(*argv: str | Path, feed: bytes = b"") -> bytes:
    return subprocess.run(argv, input=feed, capture_output=True, check=True).stdout


def test_the_last_partition_grows_with_the_disk(tmp_path: Path) -> None:
    if shutil.which("sfdisk", path="/usr/sbin:/sbin:/usr/bin") is None:
        pytest.skip("needs Debian's fdisk")
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(32 * MIB)
    run("/usr/sbin/sfdisk", "--quiet", disk, feed=b"label: gpt\nstart=1MiB, size=1MiB\nstart=2MiB, size=29MiB\n")
    with disk.open("r+b") as file:
        file.truncate(64 * MIB)
    storage.grow(str(disk), 2)
    with disk.open("rb") as file:
        first, root = gpt.read(file.fileno())
    assert (first.start, first.bytes) == (MIB, MIB)
    assert root.start == 2 * MIB
    assert root.bytes > 60 * MIB
    assert b"The backup GPT" not in run("/usr/sbin/sfdisk", "--verify", disk)


def test_cpio_unpacks_our_archive(tmp_path: Path) -> None:
    if shutil.which("cpio") is None:
        pytest.skip("needs Debian's cpio")
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "bin").mkdir(parents=True)
    (source / "bin/tool").write_bytes(b"odd\n")
    (source / "bin/tool").chmod(0o755)
    (source / "bin/link").symlink_to("tool")
    target.mkdir()
    archive = cpio.encode(list(cpio.walk(source)))
    assert archive == cpio.encode(list(cpio.walk(source)))
    subprocess.run(["cpio", "-idm", "--quiet"], input=archive, cwd=target, check=True)
    assert (target / "bin/tool").read_bytes() == b"odd\n"
    assert stat.S_IMODE((target / "bin/tool").stat().st_mode) == 0o755
    assert (target / "bin/link").readlink() == Path("tool")
