"""The packages of an image: read by dpkg's and rpm's own databases, written as SPDX, read back, compared."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from images import chunks
from images.build import sbom
from images.build.host import BuildError
from images.build.sbom import Change, Inventory, Package
from tests.images.build.disks import MIB, require_disk_tools, run

STATUS = """\
Package: bash
Status: install ok installed
Architecture: amd64
Version: 5.2.15-2+b7
Description: shell
 with a line that says Version: 9
 .

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1

Package: libstdc++6
Status: hold ok installed
Architecture: amd64
Version: 2:12.2.0-14
"""
WORDS = st.text("abcdefghijklmnopqrstuvwxyz0123456789+.-~:", min_size=1, max_size=20)
PACKAGES = st.builds(
    Package, WORDS, WORDS, st.sampled_from(("amd64", "all", "x86_64")), st.sampled_from(("deb", "rpm"))
)


def tree_of(folder: Path) -> Path:
    """A root with what dpkg and os-release(5) have in it."""
    tree = folder / "tree"
    (tree / "var/lib/dpkg").mkdir(parents=True)
    (tree / "usr/lib").mkdir(parents=True)
    (tree / "var/lib/dpkg/status").write_text(STATUS)
    (tree / "usr/lib/os-release").write_text('# ours\nID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian 12"\n')
    return tree


INSTALLED = (Package("bash", "5.2.15-2+b7", "amd64", "deb"), Package("libstdc++6", "2:12.2.0-14", "amd64", "deb"))


def test_installed_packages_are_those_that_dpkg_says_are(tmp_path: Path) -> None:
    found = sbom.of_tree(tree_of(tmp_path))
    assert found.packages == INSTALLED
    assert found.system["PRETTY_NAME"] == "Debian 12"


def test_this_machines_packages_are_those_that_dpkg_query_lists() -> None:
    if shutil.which("dpkg-query") is None:
        pytest.skip("needs Debian's dpkg")
    rows = subprocess.run(
        ["dpkg-query", "-W", "-f", "${Package}\t${Version}\t${Architecture}\t${db:Status-Status}\n"],
        capture_output=True,
        text=True,
        check=True,
    )
    split = [row.split("\t") for row in rows.stdout.splitlines()]
    assert set(sbom.of_tree(Path("/")).packages) == {
        Package(name, version, architecture, "deb")
        for name, version, architecture, state in split
        if state == "installed"
    }


def test_the_packages_of_a_disk_are_read_without_mounting_it(tmp_path: Path) -> None:
    require_disk_tools(debugfs="e2fsprogs")
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(24 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext4", "-d", tree_of(tmp_path), "-E", f"offset={8 * MIB}", raw, "16M")
    found = sbom.of_disk(raw, chunks.Partition(1, 8 * MIB, 16 * MIB, "", "root", "ext4"), tmp_path)
    assert found is not None and found.packages == INSTALLED
    assert sbom.of_disk(raw, chunks.Partition(1, 8 * MIB, 16 * MIB, "", "root", "xfs"), tmp_path) is None


def test_a_system_without_a_package_manager_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="neither dpkg's nor rpm's list"):
        sbom.of_tree(tmp_path)


def test_the_document_says_who_contains_what(tmp_path: Path) -> None:
    inventory = sbom.of_tree(tree_of(tmp_path))
    document = json.loads(sbom.encode("debian_12", inventory))
    assert document["spdxVersion"] == "SPDX-2.3"
    ids = [package["SPDXID"] for package in document["packages"]]
    assert len(set(ids)) == len(ids) == 3
    contained = {
        one["relatedSpdxElement"] for one in document["relationships"] if one["relationshipType"] == "CONTAINS"
    }
    assert contained == set(ids) - {"SPDXRef-Image"}
    locators = [one["externalRefs"][0]["referenceLocator"] for one in document["packages"][1:]]
    assert locators == [
        "pkg:deb/debian/bash@5.2.15-2+b7?arch=amd64",
        "pkg:deb/debian/libstdc++6@2:12.2.0-14?arch=amd64",
    ]
    assert sbom.encode("debian_12", inventory) == sbom.encode("debian_12", inventory)


@given(st.sets(PACKAGES, max_size=20))
def test_what_is_written_is_read(packages: set[Package]) -> None:
    listed = tuple(sorted(packages))
    assert sbom.decode(sbom.encode("some_1", Inventory({"ID": "debian"}, listed))) == listed


@given(st.binary(max_size=60) | st.sampled_from((b"[]", b"{}", b'{"packages": [1]}', b'{"packages": [{}]}')))
def test_junk_is_a_bad_sbom_or_an_empty_list(data: bytes) -> None:
    try:
        assert sbom.decode(data) == ()
    except sbom.BadSbom:
        return


def test_differences_are_told_by_name() -> None:
    before = [Package("a", "1", "amd64", "deb"), Package("b", "1", "amd64", "deb"), Package("k", "1", "all", "deb")]
    after = [Package("a", "2", "amd64", "deb"), Package("c", "1", "amd64", "deb"), before[2]]
    assert sbom.changes(before, after) == [
        Change("a", "amd64", "1", "2"),
        Change("b", "amd64", "1", ""),
        Change("c", "amd64", "", "1"),
    ]
    assert sbom.changes(before, before) == []
