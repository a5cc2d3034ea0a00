"""`roundhouse image …` from the command line, on a store in a folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from images.store import load, load_releases, release
from service.cli.main import main
from tests.images.build.disks import ROOT_UUID, make_disk, require_disk_tools
from tests.images.build.stores import with_installer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that has an installer, and beside it a disk with a list of packages."""
    require_disk_tools()
    add_package(tmp_path, "bash", "5.2")
    make_disk(tmp_path)
    return with_installer(tmp_path / "store")


def add_package(folder: Path, name: str, version: str) -> None:
    status = folder / "tree/var/lib/dpkg/status"
    status.parent.mkdir(parents=True, exist_ok=True)
    with status.open("a") as file:
        file.write(f"Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n")


def bring(store: Path, *more: str) -> int:
    """Import the disk that lies beside the store."""
    disk = store.parent / "disk.raw"
    digest = hashlib.sha256(disk.read_bytes()).hexdigest()
    return main(["image", "import", "some_1", str(disk), "--sha256", digest, "--images", str(store), *more])


def test_an_imported_image_is_listed_and_shown(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(store, "--force") == 0
    artefact = release(store, "some_1")
    capsys.readouterr()
    assert main(["image", "list", "--images", str(store)]) == 0
    line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("some_1"))
    assert artefact.id in line and "58.0 MiB" in line
    assert main(["image", "show", "some_1", "--images", str(store)]) == 0
    shown = capsys.readouterr().out
    assert f"root ext4 {ROOT_UUID}" in shown and artefact.recipe in shown
    assert main(["image", "list", "--json", "--images", str(store)]) == 0
    rows = {row["slug"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["some_1"]["disk_bytes"] == (store.parent / "disk.raw").stat().st_size
    assert rows["installer"]["image_bytes"] is None


def test_two_releases_are_compared_by_their_packages(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bring(store, "--force") == 0
    first = release(store, "some_1")
    add_package(store.parent, "curl", "8")
    make_disk(store.parent)
    assert bring(store, "--force") == 0
    assert release(store, "some_1").id != first.id
    capsys.readouterr()
    assert main(["image", "packages", "some_1", "--release", first.id, "--images", str(store)]) == 0
    assert [line.split() for line in capsys.readouterr().out.splitlines()[1:]] == [["bash", "5.2", "amd64"]]
    assert main(["image", "packages", "some_1", "--diff", first.id, "--json", "--images", str(store)]) == 0
    assert json.loads(capsys.readouterr().out) == [
        {"name": "curl", "architecture": "amd64", "before": "8", "after": ""},
    ]


def test_refusals_are_sentences(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image", "show", "some_1", "--images", str(store)]) == 1
    assert "there is none of some_1 at all" in capsys.readouterr().err
    assert main(["image", "test", "installer", "--images", str(store)]) == 1
    assert "installer has no disk image that could be started" in capsys.readouterr().err
    assert main(["image", "packages", "installer", "--images", str(store)]) == 1
    assert "has no list of packages" in capsys.readouterr().err
    bad = ["image", "import", "installer", "disk", "--sha256", "0" * 64, "--images", str(store)]
    assert main(bad) == 1
    assert "slug 'installer'" in capsys.readouterr().err


@pytest.mark.qemu
def test_an_image_that_does_not_come_up_says_so_and_is_not_given_out(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bring(store, "--force") == 0
    arguments = ["image", "test", "some_1", "--firmware", "bios", "--patience", "4", "--images", str(store)]
    assert main(arguments) == 1
    assert "did not come up: no login prompt within 4 s" in capsys.readouterr().err
    tested = release(store, "some_1").tested["bios"]
    assert (tested["booted"], tested["reason"]) == (False, "no login prompt within 4 s")
    assert main(["image", "list", "--images", str(store)]) == 0
    assert "bios failed" in capsys.readouterr().out
    add_package(store.parent, "curl", "8")
    make_disk(store.parent)
    given_out = load(store)["some_1"].id
    assert bring(store, "--patience", "4") == 1
    assert len(load_releases(store)["some_1"].releases) == 2
    assert load(store)["some_1"].id == given_out
