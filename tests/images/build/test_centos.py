"""CentOS Stream's image out of a made repository: the real dnf, rpm and GRUB; the packages are ours and do little."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from images import chunks, store
from images.build import centos
from images.build.host import BuildError
from images.build.origins import Origins
from images.build.restoring import map_of, restore
from images.store import Artefact
from tests.images.build.disks import require_disk_tools, run
from tests.images.build.repository import Repository, require_repository_tools
from tests.images.build.stores import with_installer

RELEASE = "5.14.0-1.el9.x86_64"
SCRIPTS = {
    "systemctl": b'#!/bin/sh\necho "$@" >>/systemctl.calls\n',
    "dracut": b'#!/bin/sh\nfor last; do :; done\necho initramfs >"$last"\n',
}
GRUB = {"i386-pc": "grub-pc-bin", "x86_64-efi": "grub-efi-amd64-bin"}


def libraries(program: str) -> list[Path]:
    """What a program of this machine loads."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    require_disk_tools()
    require_repository_tools()
    grub = shutil.which("grub-mkimage")
    busybox = Path("/bin/busybox")
    if grub is None:
        pytest.skip("needs Debian's grub-common")
    if not busybox.exists() or is_dynamic(busybox):
        pytest.skip("needs Debian's busybox-static")
    for kind, package in GRUB.items():
        if not Path("/usr/lib/grub", kind).is_dir():
            pytest.skip(f"needs Debian's {package}")
    contents: dict[str, dict[str, bytes | Path]] = {name: {f"usr/share/doc/{name}": b"x\n"} for name in centos.PACKAGES}
    contents["bash"] |= {"bin/sh": busybox}
    contents["systemd"] |= {"usr/bin/systemctl": SCRIPTS["systemctl"]}
    contents["dracut"] |= {"usr/bin/dracut": SCRIPTS["dracut"]}
    contents["centos-stream-release"] |= {"usr/lib/os-release": b'ID="centos"\nVERSION_ID="9"\n'}
    contents["kernel-core"] |= {f"boot/vmlinuz-{RELEASE}": b"kernel", f"lib/modules/{RELEASE}/modules.dep": b""}
    contents["kernel-modules"] |= {f"lib/modules/{RELEASE}/bulk": bytes(96 << 20)}  # else too small for a journal
    contents["grub2-tools"] |= {"usr/bin/grub2-mkimage": Path(grub)}
    contents["grub2-tools"] |= {str(path)[1:]: path for path in libraries(grub)}
    for kind, package in (("i386-pc", "grub2-pc-modules"), ("x86_64-efi", "grub2-efi-x64-modules")):
        contents[package] |= {str(path)[1:]: path for path in Path("/usr/lib/grub", kind).iterdir() if path.is_file()}
    repository = Repository(tmp_path_factory.mktemp("repository"))
    repository.fill("1.0", contents)
    return repository


def is_dynamic(program: Path) -> bool:
    """True where a program loads libraries after all."""
    return subprocess.run(["ldd", program], capture_output=True, check=False).returncode == 0


@pytest.fixture
def installer(tmp_path: Path) -> Artefact:
    return store.release(with_installer(tmp_path / "store"), "installer")


def origins_of(mirror: Repository) -> Origins:
    return Origins(centos_mirror=f"file://{mirror.folder}", centos_key=str(mirror.key))


def test_dnf_installs_a_root_that_becomes_an_image(tmp_path: Path, mirror: Repository, installer: Artefact) -> None:
    root = tmp_path / "store"
    artefact = centos.build_for(installer, root, origins_of(mirror), current=True)
    assert artefact.image is not None and artefact.sbom is not None
    partitions = map_of(root, artefact.image).partitions
    assert [(one.role, one.filesystem) for one in partitions] == [("bios", ""), ("esp", "vfat"), ("root", "ext4")]
    names = {one["name"]: one for one in json.loads((root / artefact.sbom.file).read_bytes())["packages"]}
    assert set(centos.PACKAGES) < names.keys()
    locator = names["bash"]["externalRefs"][0]["referenceLocator"]
    assert locator == "pkg:rpm/centos/bash@1.0-1.el9?arch=x86_64"
    disk = tmp_path / "disk"
    restore(root, artefact.image, disk)

    def read(path: str) -> str:
        return run("debugfs", "-R", f"cat {path}", f"{disk}?offset={_root(partitions).start}").decode()

    uuid = _root(partitions).uuid
    assert f"linux /boot/vmlinuz-{RELEASE} root=UUID={uuid} ro console=tty0" in read("/boot/grub/grub.cfg")
    assert read(f"/boot/initramfs-{RELEASE}.img") == "initramfs\n"
    assert read("/systemctl.calls") == "enable --quiet NetworkManager.service sshd.service\n"
    assert f"root=UUID={uuid}" in read("/etc/kernel/cmdline")
    assert read("/etc/fstab").startswith(f"UUID={uuid} / ext4 defaults 0 1\n")
    again = centos.build_for(installer, root, origins_of(mirror), current=True)
    assert again == artefact  # nothing has changed: nothing is installed again
    mounted = Path("/proc/self/mounts").read_text()
    assert str(tmp_path) not in mounted


def _root(partitions: tuple[chunks.Partition, ...]) -> chunks.Partition:
    return next(one for one in partitions if one.role == "root")


def test_packages_signed_by_another_key_are_refused(tmp_path: Path, mirror: Repository, installer: Artefact) -> None:
    (tmp_path / "other").mkdir()
    other = Repository(tmp_path / "other")
    origins = Origins(centos_mirror=f"file://{mirror.folder}", centos_key=str(other.key))
    with pytest.raises(BuildError, match=r"GPG"):
        centos.build_for(installer, tmp_path / "store", origins, current=True)
    assert "centos_stream_9" not in store.load(tmp_path / "store")


def test_a_package_that_the_mirror_has_not_is_named(tmp_path: Path, mirror: Repository, installer: Artefact) -> None:
    origins = Origins(centos_mirror=f"file://{mirror.folder}", centos_key=str(mirror.key), packages=("nowhere",))
    with pytest.raises(BuildError, match="the mirror has no nowhere"):
        centos.build_for(installer, tmp_path / "store", origins, current=True)


def test_what_is_not_set_is_said(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="set build_centos_mirror to a folder that has BaseOS and AppStream"):
        centos.build(tmp_path, Origins(), current=True)
    with pytest.raises(BuildError, match="set build_centos_key to the file of the key"):
        centos.build(tmp_path, Origins(centos_mirror="http://mirror.example.org/9"), current=True)
