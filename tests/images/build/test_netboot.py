"""The installers of distributions: from Debian's package, and from files."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from images.build.host import BuildError, candidates
from images.build.netboot import INSTALLERS, build, import_files, kernel_release
from images.store import load, verify
from service.artefacts import Artefacts


def test_debians_installer_comes_from_its_package(tmp_path: Path) -> None:
    netboot = INSTALLERS["debian-12-netboot", "amd64"]
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        candidates([netboot.package])
    except BuildError as err:
        pytest.skip(f"needs {netboot.package} in apt's lists: {err}")
    made = build(tmp_path, netboot, "amd64")
    assert made.slug == "debian_12-netboot"
    assert made.kernel_release.startswith("6.1.")
    for stored in made.files.values():
        verify(tmp_path, stored)
    listing = subprocess.run(["gzip", "-t", tmp_path / made.initrd.file], check=False)
    assert listing.returncode == 0
    found = Artefacts(tmp_path).netboot("debian_12")
    assert (found.kernel, found.initrd) == (made.kernel, made.initrd)
    assert build(tmp_path, netboot, "amd64").id == made.id
    assert not list(tmp_path.glob(".build-*"))


def test_files_are_taken_over_when_they_are_what_they_should_be(tmp_path: Path) -> None:
    kernel, initrd = tmp_path / "k", tmp_path / "i"
    kernel.write_bytes(b"a kernel")
    initrd.write_bytes(b"an initrd")
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (kernel, initrd)}
    store = tmp_path / "store"
    given = {"kernel": str(kernel), "initrd": str(initrd)}
    right = {"kernel": hashes["k"], "initrd": hashes["i"]}
    made = import_files(store, "centos_stream_9", "arm64", {**given, "live": str(initrd)}, right, "")
    assert made.slug == "centos_stream_9-netboot-arm64"
    assert made.live is not None and (store / made.live.file).read_bytes() == b"an initrd"
    assert (store / made.kernel.file).read_bytes() == b"a kernel"
    with pytest.raises(BuildError, match=hashes["i"]):
        import_files(store, "centos_7", "amd64", given, {"initrd": hashes["k"]}, "")
    with pytest.raises(BuildError, match="needs its sha256"):
        import_files(store, "centos_7", "amd64", {**given, "kernel": "http://127.0.0.1:9/k"}, {}, "")
    with pytest.raises(BuildError, match="No such file"):
        import_files(store, "centos_7", "amd64", {**given, "kernel": str(tmp_path / "missing")}, {}, "")
    assert set(load(store)) == {"centos_stream_9-netboot-arm64"}


def test_what_is_no_kernel_tells_no_release(tmp_path: Path) -> None:
    file = tmp_path / "file"
    for content in (b"", b"x" * 0x300, bytes(0x202) + b"HdrS" + bytes(8) + b"\xff\xff"):
        file.write_bytes(content)
        assert kernel_release(file) == ""
