"""Where the first-stage files come from, and that an operator's own win."""

from __future__ import annotations

from pathlib import Path

import pytest

from pxe.first_stage import BUILD, BUILT, LOCAL_DISK_PROGRAM, OWN, PACKAGED, collect_first_stages

HERE = sorted(name for name, packaged in PACKAGED.items() if packaged.path.is_file())
MISSING = {name: packaged.package for name, packaged in PACKAGED.items() if not packaged.path.is_file()}


def test_what_packages_have_is_collected_and_what_is_missing_is_named_with_its_package(tmp_path: Path) -> None:
    missing = collect_first_stages(tmp_path)
    missing.pop(LOCAL_DISK_PROGRAM, None)
    assert missing == MISSING | dict.fromkeys(BUILT, BUILD)
    for name in HERE:
        assert (tmp_path / name).read_bytes() == PACKAGED[name].path.read_bytes()
    assert b"/boot/grub" in (tmp_path / "grub" / "grub.cfg").read_bytes()
    assert not list(tmp_path.glob(".*"))


@pytest.mark.skipif(not HERE, reason="needs the package ipxe")
def test_a_package_that_was_upgraded_is_followed(tmp_path: Path) -> None:
    (tmp_path / HERE[0]).write_bytes(b"the package's last version")
    collect_first_stages(tmp_path)
    assert (tmp_path / HERE[0]).read_bytes() == PACKAGED[HERE[0]].path.read_bytes()


def test_what_the_image_builder_made_is_collected_and_a_new_build_is_followed(tmp_path: Path) -> None:
    built, folder = tmp_path / "built", tmp_path / "folder"
    built.mkdir()
    for content in (b"first", b"second"):
        (built / BUILT[0]).write_bytes(content)
        missing = collect_first_stages(folder, built)
        assert BUILT[0] not in missing and set(BUILT[1:]) <= set(missing)
        assert (folder / BUILT[0]).read_bytes() == content


@pytest.mark.parametrize("name", sorted([*PACKAGED, *BUILT]))
def test_an_operators_own_build_wins(tmp_path: Path, name: str) -> None:
    (tmp_path / OWN).mkdir()
    (tmp_path / OWN / name).write_bytes(b"own")
    assert name not in collect_first_stages(tmp_path)
    assert (tmp_path / name).read_bytes() == b"own"


@pytest.mark.skipif(not Path("/usr/lib/grub/x86_64-efi").is_dir(), reason="needs the package grub-efi-amd64-bin")
def test_the_program_that_starts_the_disk_is_made_the_same_each_time(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        assert LOCAL_DISK_PROGRAM not in collect_first_stages(folder)
    first, second = ((folder / LOCAL_DISK_PROGRAM).read_bytes() for folder in folders)
    assert first.startswith(b"MZ")
    assert first == second
