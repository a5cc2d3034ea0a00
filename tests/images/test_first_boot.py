"""Systems that Ignition configures: where the agent puts their configuration, and the host key that it makes."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from images.agent import gpt, host_key, ignition, layout
from images.agent.blockdev import Disk
from images.agent.errors import Malformed
from images.agent.shell import run
from images.build.layout import partitions_of
from images.protocol import InstallSpec
from tests.images.build.disks import MIB, make_coreos_disk, make_disk, make_flatcar_disk, require_disk_tools
from tests.images.test_configure import spec as any_spec
from tests.images.test_layout import storage

CONFIG = {"ignition": {"version": "3.3.0"}, "storage": {"files": [{"path": "/etc/hostname"}]}}


def spec() -> InstallSpec:
    """An order."""
    made = any_spec()
    made["ignition"] = json.dumps(CONFIG)
    made["network_style"] = "networkmanager"
    return made


def plan_of(raw: Path, *others: str) -> layout.Plan:
    """The image's disk as the agent sees it when it has been written."""
    size = raw.stat().st_size
    disks = [Disk(str(raw), size, "", "", False), *(Disk(path, size, "", "", True) for path in others)]
    return layout.plan(disks, storage(), partitions_of(raw), size, firmware="bios", new_uuid=lambda: "")


@contextmanager
def partition(raw: Path, number: int) -> Iterator[Path]:
    """A device for one of the partitions of a disk that is a file, by the name that it would have."""
    with raw.open("rb") as file:
        (part,) = [one for one in gpt.read(file.fileno()) if one.number == number]
    place = ["-o", str(part.start), "--sizelimit", str(part.bytes)]
    attached = subprocess.run(["losetup", "-f", "--show", *place, raw], capture_output=True, text=True, check=False)
    if attached.returncode:
        pytest.skip(f"no loop device: {attached.stderr.strip()}")
    loop, link = attached.stdout.strip(), Path(gpt.device_of(str(raw), number))
    link.symlink_to(loop)
    try:
        yield link
    finally:
        link.unlink()
        subprocess.run(["losetup", "-d", loop], check=True)


@contextmanager
def applied(raw: Path, number: int, root: Path, *others: str) -> Iterator[list[str]]:
    """What the agent tells after it has put the configuration on the disk; it is mounted anew at `root` to look at."""
    for program, package in (("dropbearkey", "dropbear-bin"), ("ssh-keygen", "openssh-client")):
        if shutil.which(program) is None:
            pytest.skip(f"needs the Debian package {package}")
    root.mkdir()
    plan = plan_of(raw, *others)
    found = [Disk(path, Path(path).stat().st_size, "", "", False) for path in (str(raw), *others)]
    with partition(raw, number):
        try:
            told = ignition.apply(plan, spec(), found, str(root))
            run(["umount", str(root)])
            run(["mount", "-r", gpt.device_of(str(raw), number), str(root)])
            yield told
        finally:
            subprocess.run(["umount", root], capture_output=True, check=False)


def contents(config: Path, path: str) -> str:
    """What the configuration puts into a file."""
    (entry,) = [file for file in json.loads(config.read_text())["storage"]["files"] if file["path"] == path]
    return base64.b64decode(entry["contents"]["source"].removeprefix("data:;base64,")).decode()


def told_and_installed(told: list[str], config: Path, folder: Path) -> None:
    """The key that the service is told is the one that the configuration installs; OpenSSH reads both halves."""
    (public,) = told
    private = folder / "private"
    private.write_text(contents(config, "/etc/ssh/ssh_host_ed25519_key"))
    private.chmod(0o600)
    assert run(["ssh-keygen", "-y", "-f", str(private)]).strip() == public
    assert contents(config, "/etc/ssh/ssh_host_ed25519_key.pub") == f"{public}\n"
    assert public.startswith("ssh-ed25519 ") and public.endswith(" root@web1.example.net")


def test_coreos_finds_its_configuration_on_the_file_system_labelled_boot(tmp_path: Path) -> None:
    require_disk_tools(mkfs_xfs="xfsprogs")
    raw, root = make_coreos_disk(tmp_path), tmp_path / "root"
    with applied(raw, 3, root) as told:
        config = root / "ignition/config.ign"
        assert (config.stat().st_mode & 0o777, config.parent.stat().st_mode & 0o777) == (0o600, 0o700)
        told_and_installed(told, config, tmp_path)
        assert json.loads(config.read_text())["storage"]["files"][0] == {"path": "/etc/hostname"}
        (profile,) = (root / "coreos-firstboot-network").iterdir()
        assert "198.51.100.5/31" in profile.read_text()
        assert profile.stat().st_mode & 0o777 == 0o600
    assert not Path("/run/host_key.dropbear").exists()


@pytest.mark.parametrize("filesystem", ["btrfs", "ext4"])
def test_flatcar_finds_its_configuration_on_the_oem_partition(tmp_path: Path, filesystem: str) -> None:
    require_disk_tools(mkfs_btrfs="btrfs-progs")
    raw, root = make_flatcar_disk(tmp_path, filesystem), tmp_path / "root"
    with applied(raw, 6, root) as told:
        told_and_installed(told, root / "config.ign", tmp_path)
        assert (root / "config.ign").stat().st_mode & 0o777 == 0o600
        assert {path.name for path in root.iterdir()} <= {"config.ign", "lost+found"}


def test_a_second_install_takes_the_place_of_the_first(tmp_path: Path) -> None:
    require_disk_tools(mkfs_xfs="xfsprogs")
    raw = make_coreos_disk(tmp_path)
    with applied(raw, 3, tmp_path / "first") as first:
        pass
    with applied(raw, 3, tmp_path / "second") as second:
        told_and_installed(second, tmp_path / "second/ignition/config.ign", tmp_path)
    assert first != second


def test_an_older_copy_on_another_disk_is_disabled_and_nothing_else_is(tmp_path: Path) -> None:
    """Fedora CoreOS does not start where two file systems are labelled "boot"."""
    require_disk_tools(mkfs_xfs="xfsprogs")
    raw = make_coreos_disk(tmp_path)
    copy, other, blank = tmp_path / "copy", tmp_path / "other", tmp_path / "blank"
    subprocess.run(["cp", "--sparse=always", raw, copy], check=True)
    (tmp_path / "debian").mkdir()
    make_disk(tmp_path / "debian").rename(other)
    blank.write_bytes(bytes(MIB))
    before = other.read_bytes()
    with applied(raw, 3, tmp_path / "root", str(copy), str(other), str(blank)):
        pass
    assert partitions_of(copy) == []
    assert other.read_bytes() == before
    assert [one.role for one in partitions_of(raw)] == ["bios", "esp", "boot", "root"]


def test_an_image_without_a_place_for_it_is_refused_with_what_it_has(tmp_path: Path) -> None:
    require_disk_tools()
    raw = make_disk(tmp_path)
    with pytest.raises(layout.NoLayout, match=r"labelled boot or OEM; found: 1 none, 2 none, 3 none$"):
        ignition.apply(plan_of(raw), spec(), [], str(tmp_path))


def test_only_one_whole_disk_will_do(tmp_path: Path) -> None:
    require_disk_tools()
    raw = make_disk(tmp_path)
    pieces, disks = partitions_of(raw), [Disk(f"/dev/vd{name}", 8 << 30, "", "", False) for name in "ab"]
    for wanted in (storage(raid="1"), storage(lvm=True), storage(passphrase="x")):
        plan = layout.plan(disks, wanted, pieces, raw.stat().st_size, firmware="bios", new_uuid=lambda: "0" * 32)
        with pytest.raises(layout.NoLayout, match="one whole disk with sectors of 512 bytes, without RAID"):
            ignition.check(plan)


def test_labels_are_read_as_blkid_reads_them(tmp_path: Path) -> None:
    require_disk_tools(mkfs_btrfs="btrfs-progs")
    for filesystem, command in (("ext4", ["mke2fs", "-q", "-F", "-t", "ext4"]), ("btrfs", ["mkfs.btrfs", "-q", "-f"])):
        for label in ("", "boot", "sixteen letters!", "Zürich"):
            path = tmp_path / f"{filesystem}-{label}"
            with path.open("wb") as file:
                file.truncate(128 * MIB)
            subprocess.run([*command, "-L", label, path], check=True)
            with path.open("rb") as file:
                assert ignition.label_of(file.fileno(), 0) == (filesystem, label)


@given(st.binary(max_size=128))
def test_what_is_no_dropbear_key_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        host_key.read_dropbear(data)


@given(seed=st.binary(min_size=32, max_size=32), comment=st.text("abc@.-", max_size=40))
def test_openssh_reads_every_private_key(seed: bytes, comment: str) -> None:
    """By `cryptography`, whose reader is its own; it refuses a public half that does not belong to the seed."""
    plain = serialization.Encoding.Raw, serialization.PublicFormat.Raw
    public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes(*plain)
    text = host_key.private_text(seed, public, comment, os.urandom(4))
    read = serialization.load_ssh_private_key(text.encode(), None)
    assert isinstance(read, Ed25519PrivateKey)
    assert read.private_bytes_raw() == seed
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    assert (
        host_key.public_line(public, comment).split()[:2] == read.public_key().public_bytes(*openssh).decode().split()
    )
