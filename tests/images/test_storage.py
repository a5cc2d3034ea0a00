"""Disk layouts on files in place of disks, and the files that tell a system of them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from images.agent import blockdev, gpt, storage, storage_files
from images.protocol import Storage
from tests.images.test_layout import MIB, PIECES, Disk, made
from tests.images.test_layout import storage as wish

GIB = 1 << 30
TWO = [Disk("/dev/vda", 8 * GIB), Disk("/dev/vdb", 8 * GIB)]
FSTAB = f"UUID={PIECES[2].uuid} / ext4 errors=remount-ro 0 1\nUUID=ABCD-0123 /boot/efi vfat noauto,nofail 0 2\n"


def program(name: str, package: str) -> str:
    path = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if path is None:
        pytest.skip(f"needs Debian's {package}")
    return path


def blank(path: Path, size: int) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


def found(path: Path) -> dict[str, str]:
    """What blkid, which reads everything that the kernel and its helpers recognise, sees on a disk."""
    done = subprocess.run([program("blkid", "util-linux"), "-p", "-o", "export", path], capture_output=True, text=True)
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)


@pytest.mark.parametrize("sector", [512, 4096])
def test_a_new_layout_leaves_no_trace_of_what_was_there(sector: int, tmp_path: Path) -> None:
    """An ext4, a RAID's superblock at the end and an old table are gone; the partitions are ours."""
    disk = blank(tmp_path / "disk", 2 * GIB)
    with disk.open("r+b") as file:
        for at in (0, 66 * MIB, 2 * GIB - MIB):
            file.seek(at)
            file.write(os.urandom(MIB))
    subprocess.run([program("mke2fs", "e2fsprogs"), "-q", "-F", "-E", f"offset={66 * MIB}", disk, "100M"], check=True)
    plan = made([Disk(str(disk), 2 * GIB, sector=sector)], wish(lvm=True))
    storage.partition(plan.disks[0])
    with disk.open("rb") as file:
        assert [one.number for one in gpt.read(file.fileno(), sector)] == [1, 2, 3, 4]
        boot = plan.disks[0].partitions[2]
        for at in (0, boot.start, boot.end - MIB, plan.disks[0].partitions[3].start):
            file.seek(at)
            assert file.read(440) == bytes(440)
    assert found(disk).get("PTTYPE") == ("gpt" if sector == 512 else "PMBR")


def test_an_older_copy_of_the_system_on_another_disk_is_disabled_and_nothing_else_is(tmp_path: Path) -> None:
    mke2fs = program("mke2fs", "e2fsprogs")
    paths = {}
    for name, uuid in (("twin", PIECES[2].uuid), ("other", "11111111-2222-4333-8444-555555555555")):
        path = blank(tmp_path / name, 256 * MIB)
        parts = [gpt.Partition(1, MIB, 200 * MIB, gpt.LINUX, "0a000000-0000-4000-8000-000000000001")]
        with path.open("r+b") as file:
            for offset, data in gpt.encode(256 * MIB, 512, gpt.LINUX, parts):
                file.seek(offset)
                file.write(data)
        subprocess.run([mke2fs, "-q", "-F", "-U", uuid, "-E", f"offset={MIB}", path, "100M"], check=True)
        paths[name] = path
    blank(tmp_path / "blank", 256 * MIB)
    paths["blank"] = tmp_path / "blank"
    before = paths["other"].read_bytes()
    disks = [blockdev.Disk(str(path), 256 * MIB, "", "", False) for path in paths.values()]
    disks.append(blockdev.Disk(str(tmp_path / "gone"), 256 * MIB, "", "", False))
    assert storage.disable_twins(disks, PIECES[2].uuid) == [str(paths["twin"])]
    assert found(paths["twin"]).get("PTTYPE") is None
    assert paths["other"].read_bytes() == before
    assert storage.disable_twins(disks, PIECES[2].uuid) == []


@pytest.mark.parametrize(
    ("order", "root", "boot"),
    [
        pytest.param(wish(raid="1"), f"UUID={PIECES[2].uuid}", False, id="raid-1"),
        pytest.param(wish(lvm=True), "/dev/mapper/vg00000000-root", True, id="lvm"),
        pytest.param(wish(passphrase="x"), "/dev/mapper/root_crypt", True, id="encrypted"),
        pytest.param(wish(raid="1", lvm=True, passphrase="x"), "/dev/mapper/vg00000000-root", True, id="all"),
    ],
)
def test_fstab_and_grub_name_the_root_alike(order: Storage, root: str, boot: bool) -> None:
    plan = made(TWO, order)
    lines = storage_files.with_mounts(plan, FSTAB).splitlines()
    assert lines[0] == f"{root} / ext4 errors=remount-ro 0 1"
    assert lines[-1] == FSTAB.splitlines()[-1]
    assert (f"UUID={plan.boot_uuid} /boot ext4 defaults 0 2" in lines) is boot
    config = storage_files.grub_config(plan, f"linux /boot/vmlinuz root=UUID={PIECES[2].uuid} ro quiet")
    assert config == f"linux /boot/vmlinuz root={root} ro quiet"


def test_findmnt_finds_nothing_wrong_with_the_fstab(tmp_path: Path) -> None:
    path = tmp_path / "fstab"
    path.write_text(storage_files.with_mounts(made(TWO, wish(raid="1", lvm=True)), FSTAB))
    findmnt = program("findmnt", "util-linux")
    listed = subprocess.run(
        [findmnt, "--fstab", "--tab-file", path, "-n", "-r", "-o", "TARGET,FSTYPE"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert listed.stdout.split("\n")[:3] == ["/ ext4", "/boot ext4", "/boot/efi vfat"]


def test_the_initramfs_gets_what_finds_the_root_and_a_key_only_in_memory(tmp_path: Path) -> None:
    cpio = program("cpio", "cpio")
    plan = made(TWO, wish(raid="1", passphrase="correct horse"))
    assert plan.crypt is not None
    for name, secret in (("disk", ""), ("memory", "correct horse")):
        target = tmp_path / name
        target.mkdir()
        packed = storage_files.initramfs(plan, secret)
        assert len(packed) % 4 == 0
        subprocess.run([cpio, "-id", "--quiet"], input=packed, cwd=target, check=True)
        conf = (target / "etc/mdadm/mdadm.conf").read_text()
        for array in plan.arrays:
            assert f"ARRAY {array.path} metadata={array.metadata} UUID={storage_files.array_uuid(array.uuid)}" in conf
        words = (target / "cryptroot/crypttab").read_text().split()
        key = f"/{storage_files.KEY}" if secret else "none"
        assert words == ["root_crypt", f"UUID={plan.crypt.uuid}", key, "luks,initramfs"]
        assert (target / storage_files.KEY).exists() is bool(secret)
    assert (tmp_path / "memory" / storage_files.KEY).read_text() == "correct horse"


def test_volumes_bring_their_services_and_arrays_their_configuration() -> None:
    plain = {file.path for file in storage_files.files(made(TWO, wish(raid="1")), FSTAB)}
    assert plain == {"/etc/fstab", "/etc/mdadm/mdadm.conf"}
    everything = {file.path: file for file in storage_files.files(made(TWO, wish(lvm=True, passphrase="x")), FSTAB)}
    assert everything["/etc/crypttab"].mode == 0o600
    assert "correct" not in everything["/etc/crypttab"].text
    assert any(file.link.endswith("lvm2-monitor.service") for file in everything.values())


def test_files_are_copied_with_their_modes_and_links(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "grub/fonts").mkdir(parents=True)
    target.mkdir()
    (source / "vmlinuz").write_bytes(os.urandom(3 << 20))
    (source / "vmlinuz").chmod(0o600)
    (source / "grub/grub.cfg").write_text("menu")
    (source / "link").symlink_to("vmlinuz")
    storage.copy_tree(str(source), str(target))
    assert subprocess.run(["diff", "-r", source, target], check=False).returncode == 0
    assert (target / "vmlinuz").stat().st_mode & 0o777 == 0o600
    assert (target / "link").is_symlink()
    assert (target / "vmlinuz").stat().st_mtime == (source / "vmlinuz").stat().st_mtime
