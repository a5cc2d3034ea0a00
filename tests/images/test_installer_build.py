"""The in-RAM installer is made of the same bytes whenever the same goes in, and has what its work imports."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from images.agent import toolbox
from images.build import cpio, installer
from images.build.architecture import AMD64, with_kernel
from images.build.host import which
from images.build.modules import WANTED
from images.store import Artefact, load

IMAGES = Path(os.environ.get("ROUNDHOUSE_TEST_IMAGES", Path(__file__).parents[2] / "var" / "images"))
AGENT = Path(installer.__file__).parents[1] / "agent"


@pytest.fixture(scope="module")
def built() -> Artefact:
    """The installer of the image store."""
    found = load(IMAGES).get("installer")
    if found is None or found.toolbox is None:
        pytest.skip(f"needs the installer in {IMAGES} (roundhouse image build installer)")
    return found


def tree(root: Path, names: list[str]) -> Path:
    """Files whose content follows from their names, made in this order."""
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        path.chmod(0o755 if name.startswith("bin") else 0o644)
    (root / "sbin").symlink_to("bin")
    return root


def test_an_archive_follows_from_names_modes_and_contents_alone(tmp_path: Path) -> None:
    names = ["bin/b", "bin/a", "lib/x/y", "init"]
    one = cpio.encode(list(cpio.walk(tree(tmp_path / "one", names))))
    other = tree(tmp_path / "other", names[::-1])
    os.utime(other / "init", (1, 1))
    if os.geteuid() == 0:
        os.chown(other / "init", 12, 34)
    assert cpio.encode(list(cpio.walk(other))) == one
    (other / "init").chmod(0o755)
    assert cpio.encode(list(cpio.walk(other))) != one


def test_the_systems_cpio_reads_it(tmp_path: Path) -> None:
    if which("cpio") is None:
        pytest.skip("needs the Debian package cpio")
    made = cpio.encode([*cpio.walk(tree(tmp_path / "tree", ["bin/a"])), cpio.Entry("empty", stat.S_IFREG | 0o600, b"")])
    listing = subprocess.run(["cpio", "-tv"], input=made, capture_output=True, check=True).stdout.decode()
    assert [line.split()[-1] for line in listing.splitlines()] == ["bin", "bin/a", "bin", "empty"]
    assert all(line.split()[2:4] == ["root", "root"] for line in listing.splitlines())


def test_the_built_one_has_all_of_the_agent_and_no_driver_without_what_it_needs(
    built: Artefact, tmp_path: Path
) -> None:
    toolbox.unpack(bytearray((IMAGES / built.initrd.file).read_bytes()), str(tmp_path))
    modules = tmp_path / "usr/lib/python3.11/images/agent"
    missing = {path.stem for path in AGENT.glob("*.py")} - {path.stem for path in modules.glob("*.pyc")}
    if missing:
        pytest.skip(f"{IMAGES} was built from other sources (make images)")
    library = tmp_path / "usr/lib/python3.11"
    wanted = installer.imported([*AGENT.glob("*.py"), AGENT.parent / "chunks.py"]) - set(sys.builtin_module_names)
    assert [
        name
        for name in sorted(wanted)
        if not any(library.glob(f"{name.replace('.', '/')}{end}") for end in (".pyc", "/__init__.pyc"))
        and not any(library.glob(f"lib-dynload/{name}.*.so"))
        and sys.modules[name].__spec__.origin != "frozen"  # type: ignore[union-attr]
    ] == []
    folder = tmp_path / "lib/modules" / built.kernel_release
    listed = dict(line.split(":") for line in (folder / "modules.dep").read_text().splitlines())
    assert all((folder / name).is_file() for names in (listed, *map(str.split, listed.values())) for name in names)
    there = {Path(name).name.split(".")[0].replace("-", "_") for name in listed}
    assert {"virtio_net", "virtio_blk"} <= there
    if "cloud" not in built.kernel_release:
        servers = {
            "nvme",
            "ahci",
            "ext4",
            "megaraid_sas",
            "mpt3sas",
            "mlx5_core",
            "ice",
            "bnxt_en",
            "ixgbe",
            "ipmi_si",
            "usbhid",
        }
        assert servers <= set(WANTED)
        assert servers <= there


def test_what_the_agent_imports_only_when_it_is_needed_goes_along(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text(
        "import os, json.decoder\nTYPE_CHECKING = False\nif TYPE_CHECKING:\n    from typing import Any\n"
        "def fail() -> None:\n    try:\n        from images.agent import wire\n"
        "    except OSError:\n        import traceback\n"
    )
    assert installer.imported([source]) == {"os", "json.decoder", "images.agent", "traceback"}


@pytest.mark.qemu
def test_building_it_again_gives_the_same_bytes(built: Artefact, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root: the installer's files belong to root")
    if missing := sorted(package for program, package in installer.TOOLS.items() if which(program) is None):
        pytest.skip(f"needs the Debian packages {', '.join(missing)}")
    again = installer.build(tmp_path, with_kernel(AMD64, "cloud" if "cloud" in built.kernel_release else "server"))
    if again.recipe != built.recipe:
        pytest.skip(f"{IMAGES} was built from other packages or sources (make images)")
    assert again.files == built.files
