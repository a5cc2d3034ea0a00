"""Ubuntu's image, built and started: its archive is made here, of Debian's packages under Ubuntu's names."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from images import store
from images.build import debian, sbom
from images.build.distributions import DISTRIBUTIONS
from images.build.origins import Origins
from images.store import Artefact
from service.lab import trial
from service.lab.qemu import PLATFORMS
from tests.images.build.archive import Archive, require_archive_tools, run
from tests.images.build.disks import require_disk_tools
from tests.images.build.stores import with_installer

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1200)]

NOBLE = next(row for row in DISTRIBUTIONS if row.codename == "noble")
KERNEL = "linux-image-cloud-amd64"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Everything that the image needs, as Debian 12 has it; the kernel by the name that Ubuntu gives it."""
    require_archive_tools()
    require_disk_tools()
    made = Archive(tmp_path_factory.mktemp("noble"))
    made.package(NOBLE.kernel, "6.8.0-1", {"Depends": KERNEL}, {f"usr/share/doc/{NOBLE.kernel}/note": "by a test\n"})
    wanted = ["?essential", "apt", "usr-is-merged", KERNEL, *debian.PACKAGES, *NOBLE.packages]
    options = ["-o", "Dir::State::status=/dev/null", "-o", "APT::Install-Recommends=false", "-o", "Dir::Cache=/nowhere"]
    rows = run("apt-get", *options, "install", "--print-uris", "-qq", *wanted).decode()
    files = re.findall(r"^'[^']+' (\S+)_(\S+)_(?:amd64|all)\.deb ", rows, re.MULTILINE)
    assert len(files) > 100
    run("apt-get", "download", "-qq", *(f"{name}={unquote(version)}" for name, version in files), cwd=made.pool)
    for suite in ("noble", "noble-updates", "noble-security"):
        made.publish(suite, origin="Ubuntu", components=NOBLE.components, filled=suite == "noble")
    return made


def build(archive: Archive, root: Path) -> Artefact:
    """The image, in a store of its own whose installer is none."""
    base = store.release(with_installer(root), "installer")
    origins = Origins(ubuntu_mirror=archive.mirror, ubuntu_keyring=str(archive.keyring))
    return debian.build_for(base, root, NOBLE, origins, current=False)


@pytest.fixture(scope="module")
def built(archive: Archive, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Artefact]:
    root = tmp_path_factory.mktemp("first") / "store"
    return root, build(archive, root)


def test_the_image_comes_up(built: tuple[Path, Artefact]) -> None:
    root, artefact = built
    assert artefact.image is not None
    if missing := PLATFORMS["bios"].missing_packages():
        pytest.skip(f"needs Debian's {' '.join(missing)}")
    assert trial.firmwares_of(root, artefact.image) == ["bios", "uefi"]
    ended = trial.boot(root, artefact.image, "bios", 400, lambda _: None)
    assert ended.booted, f"{ended.reason}\n{ended.console}"


def test_the_same_packages_give_the_same_bytes(
    built: tuple[Path, Artefact], archive: Archive, tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, first = built
    second = build(archive, tmp_path_factory.mktemp("second") / "store")
    assert (second.image, second.sbom) == (first.image, first.sbom)
    assert replace(second, published="") == replace(first, published="")


def test_its_packages_are_listed(built: tuple[Path, Artefact]) -> None:
    root, artefact = built
    assert artefact.sbom is not None
    names = {one.name for one in sbom.decode((root / artefact.sbom.file).read_bytes())}
    assert {NOBLE.kernel, KERNEL, *NOBLE.packages} < names
