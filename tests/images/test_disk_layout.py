"""Partition tables and initramfs archives, against the real programs: sfdisk, mke2fs, dumpe2fs, cpio."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from images.agent import partitions
from images.build import cpio

MIB = 1 << 20


def run(*argv: str | Path, feed: bytes = b"") -> bytes:
    return subprocess.run(argv, input=feed, capture_output=True, check=True).stdout


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A small BIOS boot partition and a root behind it, as our images have them."""
    for program, package in (("sfdisk", "fdisk"), ("mke2fs", "e2fsprogs")):
        if shutil.which(program, path="/usr/sbin:/sbin:/usr/bin") is None:
            pytest.skip(f"needs Debian's {package}")
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(32 * MIB)
    run("/usr/sbin/sfdisk", "--quiet", path, feed=b"label: gpt\nstart=1MiB, size=1MiB\nstart=2MiB, size=29MiB\n")
    offset = f"offset={2 * MIB}"
    uuid = "01234567-89ab-cdef-0123-456789abcdef"
    run("/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-U", uuid, "-E", offset, path, "29M")
    return path


def test_the_root_is_found_by_its_file_system(disk: Path) -> None:
    root, uuid, last = partitions.locate(str(disk))
    assert (root.number, root.start, root.bytes) == (2, 2 * MIB, 29 * MIB)
    assert uuid == "01234567-89ab-cdef-0123-456789abcdef"
    assert last


def test_the_last_partition_grows_with_the_disk(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate(64 * MIB)
    partitions.grow(str(disk), 2)
    root, uuid, _ = partitions.locate(str(disk))
    assert root.start == 2 * MIB
    assert root.bytes > 60 * MIB
    assert uuid == "01234567-89ab-cdef-0123-456789abcdef"
    assert b"The backup GPT" not in run("/usr/sbin/sfdisk", "--verify", disk)


def test_a_disk_without_a_table_or_a_root_is_refused(tmp_path: Path, disk: Path) -> None:
    blank = tmp_path / "blank"
    blank.write_bytes(bytes(MIB))
    with pytest.raises(partitions.NoRoot, match="partition table"):
        partitions.locate(str(blank))
    with disk.open("r+b") as file:
        file.seek(2 * MIB + 1024)
        file.write(bytes(1024))
    with pytest.raises(partitions.NoRoot, match="ext4"):
        partitions.locate(str(disk))


def test_partitions_of_numbered_disks_have_a_p() -> None:
    assert partitions.device_of("/dev/vda", 3) == "/dev/vda3"
    assert partitions.device_of("/dev/nvme0n1", 3) == "/dev/nvme0n1p3"


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
