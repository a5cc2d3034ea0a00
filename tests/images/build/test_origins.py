"""Where packages come from: settings become sources that the real apt reads, and a missing one is a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from images.build import apt
from images.build.architecture import AMD64
from images.build.distributions import DISTRIBUTIONS
from images.build.host import BuildError, candidates
from images.build.origins import Origins, apt_sources
from service.settings import origins_of, read_settings
from tests.images.build.archive import Archive, require_archive_tools

PARTS = ("main", "universe")


@pytest.fixture
def ubuntu(tmp_path: Path) -> Archive:
    require_archive_tools()
    archive = Archive(tmp_path)
    archive.package("linux-image-generic", "6.8.0-31.31", {}, {"usr/share/doc/linux/note": "made by a test\n"})
    for suite in ("noble", "noble-updates", "noble-security"):
        archive.publish(suite, origin="Ubuntu", components=PARTS, filled=suite == "noble-updates")
    return archive


def test_ubuntus_packages_come_from_the_mirror_that_was_set(tmp_path: Path, ubuntu: Archive) -> None:
    settings = read_settings(
        {"ROUNDHOUSE_BUILD_UBUNTU_MIRROR": f"{ubuntu.mirror}/", "ROUNDHOUSE_BUILD_UBUNTU_KEYRING": str(ubuntu.keyring)}
    )
    sources = apt_sources(origins_of(settings), "ubuntu", "noble", PARTS)
    options = apt.options(AMD64, tmp_path / "apt", sources)
    assert candidates(["linux-image-generic"], options) == {"linux-image-generic": "6.8.0-31.31"}
    with pytest.raises(BuildError, match="apt knows no openssh-server"):  # this machine's own sources are not asked
        candidates(["linux-image-generic", "openssh-server"], options)
    assert str(ubuntu.keyring) not in sources.installed()


def test_an_archive_signed_by_another_key_is_refused(tmp_path: Path, ubuntu: Archive) -> None:
    (tmp_path / "other").mkdir()
    other = Archive(tmp_path / "other")
    origins = Origins(ubuntu_mirror=ubuntu.mirror, ubuntu_keyring=str(other.keyring))
    with pytest.raises(BuildError, match="NO_PUBKEY"):
        apt.options(AMD64, tmp_path / "apt", apt_sources(origins, "ubuntu", "noble", PARTS))


def test_what_is_missing_is_said_with_what_to_do() -> None:
    with pytest.raises(BuildError, match="set build_ubuntu_mirror to an archive of Ubuntu that has noble"):
        apt_sources(Origins(), "ubuntu", "noble", PARTS)
    nowhere = Origins(ubuntu_mirror="http://mirror.example.org/ubuntu", ubuntu_keyring="/nowhere/ubuntu.gpg")
    with pytest.raises(
        BuildError, match=r"no /nowhere/ubuntu\.gpg: install ubuntu-keyring, or set build_ubuntu_keyring"
    ):
        apt_sources(nowhere, "ubuntu", "noble", PARTS)


def test_debians_other_releases_come_from_the_mirror_that_this_machine_uses() -> None:
    require_archive_tools()
    here = apt_sources(Origins(), "debian", "bookworm", ("main",))
    beside = apt_sources(Origins(), "debian", "trixie", ("main",))
    assert here.own and not beside.own
    assert {line.split()[0] for line in beside.lines} == {line.split()[0] for line in here.lines}
    assert {line.split()[1].partition("-")[0] for line in beside.lines} == {"trixie"}


def test_debian_from_a_mirror_of_ones_own(tmp_path: Path) -> None:
    keyring = tmp_path / "own.gpg"
    keyring.touch()
    origins = Origins(
        debian_mirror="http://mirror.example.org/debian",
        debian_security_mirror="http://mirror.example.org/security/",
        debian_keyring=str(keyring),
        proxy="http://proxy.example.org:3128",
    )
    sources = apt_sources(origins, "debian", "bookworm", ("main",))
    assert sources.listing().splitlines() == [
        f"deb [signed-by={keyring}] http://mirror.example.org/debian bookworm main",
        f"deb [signed-by={keyring}] http://mirror.example.org/debian bookworm-updates main",
        f"deb [signed-by={keyring}] http://mirror.example.org/security bookworm-security main",
    ]
    assert "signed-by" not in sources.installed() and "proxy" not in sources.installed()
    assert "Acquire::http::Proxy=http://proxy.example.org:3128" in sources.options()


def test_every_distribution_has_a_slug_and_a_target_of_its_own() -> None:
    assert len({row.slug for row in DISTRIBUTIONS}) == len({row.target for row in DISTRIBUTIONS}) == len(DISTRIBUTIONS)
    assert [row.target for row in DISTRIBUTIONS if row.shares_kernel] == ["debian-12"]
