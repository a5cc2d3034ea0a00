"""The arm64 installer: built on another architecture without changing this machine, and of that architecture alone."""

from __future__ import annotations

import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from images.build import apt, first_stage, installer, targets
from images.build.architecture import AMD64, ARM64, is_native, with_kernel
from images.build.host import BuildError, candidates, which
from images.build.origins import Origins
from images.store import FIRST_STAGES, Artefact, load

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
LISTS = Path("/var/lib/apt/lists")
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "zstd": "zstd",
    "grub-mkimage": "grub-common",
    ARM64.emulator: "qemu-user-static",
}
_ELF_AARCH64 = 183  # EM_AARCH64 of the ELF header's e_machine
_PE_ARM64 = 0xAA64  # IMAGE_FILE_MACHINE_ARM64


@pytest.fixture(scope="module")
def built() -> Artefact:
    """The installer of the image store."""
    found = load(IMAGES).get(ARM64.slug)
    if found is None:
        pytest.skip(f"needs the arm64 installer in {IMAGES} (roundhouse image build installer --arch arm64)")
    return found


def contents(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """The names and contents in a cpio archive of the "newc" format."""
    at = 0
    while True:
        fields = [int(archive[at + 6 + 8 * number : at + 14 + 8 * number], 16) for number in range(13)]
        assert archive[at : at + 6] == b"070701"
        size, name_size = fields[6], fields[11]
        name = archive[at + 110 : at + 109 + name_size].decode()
        start = at + 110 + name_size
        start += -start % 4
        if name == "TRAILER!!!":
            return
        yield name, archive[start : start + size]
        at = start + size
        at += -at % 4


def pe_machine(program: bytes) -> int:
    """The machine type that a PE image names."""
    assert program.startswith(b"MZ")
    (header,) = struct.unpack_from("<I", program, 0x3C)
    assert program[header : header + 4] == b"PE\0\0"
    machine: int = struct.unpack_from("<H", program, header + 4)[0]
    return machine


def test_every_program_in_it_is_of_arm64(built: Artefact) -> None:
    if which("zstd") is None:
        pytest.skip("needs the Debian package zstd")
    packed = (IMAGES / built.initrd.file).read_bytes()
    archive = subprocess.run(["zstd", "-dc"], input=packed, capture_output=True, check=True).stdout
    files = dict(contents(archive))
    programs = {name: content for name, content in files.items() if content.startswith(b"\x7fELF")}
    assert {"bin/busybox", "bin/python3", "bin/sfdisk", "bin/kexec", "lib/ld-linux-aarch64.so.1"} <= set(programs)
    assert {struct.unpack_from("<H", content, 18)[0] for content in programs.values()} == {_ELF_AARCH64}
    assert "usr/lib/python3.11/images/agent/__main__.pyc" in files
    modules = f"lib/modules/{built.kernel_release}/kernel"
    wanted = {"drivers/net/virtio_net.ko", "drivers/block/virtio_blk.ko"}
    assert {f"{modules}/{name}" for name in wanted} <= set(files)
    assert not any(ARM64.emulator in name for name in files)


def test_its_kernel_and_its_first_stages_are_programs_for_arm64_firmware(built: Artefact) -> None:
    assert first_stage.complete(IMAGES, ARM64)
    programs = {"kernel": IMAGES / built.kernel.file}
    programs |= {path.name: path for path in (IMAGES / FIRST_STAGES).iterdir()}
    assert {name: pe_machine(path.read_bytes()) for name, path in programs.items()} == dict.fromkeys(
        ("kernel", "grub-arm64.efi", "grubaa64.efi", "shimaa64.efi"), _PE_ARM64
    )


def skip_unless_it_can_be_built() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the installer's files belong to root")
    if missing := sorted(package for program, package in TOOLS.items() if which(program) is None):
        pytest.skip(f"needs the Debian packages {', '.join(missing)}")


@pytest.mark.qemu
def test_building_it_again_gives_the_same_bytes(built: Artefact, tmp_path: Path) -> None:
    """QEMU runs Python and the program loader of arm64, so this takes the processors for some half a minute."""
    skip_unless_it_can_be_built()
    again = installer.build(tmp_path, with_kernel(ARM64, "cloud" if "cloud" in built.kernel_release else "server"))
    if again.recipe != built.recipe:
        pytest.skip(f"{IMAGES} was built from other packages or sources (make images)")
    assert again == built
    for path in (IMAGES / FIRST_STAGES).iterdir():
        assert (tmp_path / FIRST_STAGES / path.name).read_bytes() == path.read_bytes()


@pytest.mark.qemu
def test_its_packages_are_found_without_changing_this_machines_apt(tmp_path: Path) -> None:
    skip_unless_it_can_be_built()
    if is_native(ARM64):
        pytest.skip("this machine is of arm64 itself")
    before = sorted((path.name, path.stat().st_mtime_ns) for path in LISTS.iterdir() if path.is_file())
    options = apt.options(ARM64, tmp_path / "apt")
    assert candidates([ARM64.kernel_package], options).keys() == {ARM64.kernel_package}
    with pytest.raises(BuildError, match=f"apt knows no {ARM64.kernel_package}"):
        candidates([ARM64.kernel_package])
    foreign = subprocess.run(["dpkg", "--print-foreign-architectures"], capture_output=True, text=True, check=True)
    assert "arm64" not in foreign.stdout.split()
    assert sorted((path.name, path.stat().st_mtime_ns) for path in LISTS.iterdir() if path.is_file()) == before


def test_what_is_not_built_for_an_architecture_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="there is no debian-12 for 'arm64', only for amd64"):
        targets.build("debian-12", ARM64.debian, tmp_path, Origins())


def test_amd64_needs_no_first_stage_from_the_image_store(tmp_path: Path) -> None:
    assert first_stage.packages(AMD64) == set()
    assert first_stage.complete(tmp_path, AMD64)
    assert not first_stage.complete(tmp_path, ARM64)
