"""A package archive of Debian's form, made and signed here: dpkg-deb, apt-ftparchive and gpg are the distribution's."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

_NEEDS = {"apt-ftparchive": "apt-utils", "dpkg-deb": "dpkg", "gpg": "gpg", "apt-get": "apt", "mmdebstrap": "mmdebstrap"}


def require_archive_tools() -> None:
    """Skips the test where one of the programs is missing, and where nobody may read as root."""
    for program, package in _NEEDS.items():
        if shutil.which(program) is None:
            pytest.skip(f"needs Debian's {package}")
    if os.geteuid() != 0:
        pytest.skip("needs root")


class Archive:
    """An archive in a folder, with a key of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "archive"
        self.keyring = folder / "archive-keyring.gpg"
        self._home = folder / "gnupg"
        self._scratch = folder / "packages"
        self.pool = self.folder / "pool"
        for path in (self.pool, self._scratch):
            path.mkdir(parents=True)
        self._home.mkdir(mode=0o700)
        who = "Archive of a test <archive@example.org>"
        self._gpg("--passphrase", "", "--quick-generate-key", who, "ed25519", "sign", "never")
        self._gpg("--output", str(self.keyring), "--export")

    @property
    def mirror(self) -> str:
        """What apt calls it."""
        return f"copy:{self.folder}"  # mmdebstrap refuses file:, which its chroot does not see

    def package(self, name: str, version: str, fields: Mapping[str, str], files: Mapping[str, str]) -> None:
        """Put one package into the pool."""
        tree = self._scratch / name
        control = {"Package": name, "Version": version, "Architecture": "amd64", "Maintainer": "A Test <a@example.org>"}
        control |= {"Description": f"{name} of a test", **fields}
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        text = "".join(f"{key}: {value}\n" for key, value in control.items())
        (tree / "DEBIAN/control").write_text(text, encoding="utf-8")
        for path, content in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(content, encoding="utf-8")
        output = self.pool / f"{name}_{version}_amd64.deb"
        run("dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(output))

    def publish(self, suite: str, *, origin: str, components: tuple[str, ...], filled: bool = True) -> None:
        """Write and sign a suite's index: the whole pool in the first component, unless it is to be empty."""
        release = self.folder / "dists" / suite
        packages = run("apt-ftparchive", "packages", "pool", cwd=self.folder) if filled else b""
        for component in components:
            folder = release / component / "binary-amd64"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "Packages").write_bytes(packages if component == components[0] else b"")
        codename = suite.partition("-")[0]
        options = {"Origin": origin, "Codename": codename, "Suite": suite, "Architectures": "amd64"}
        options["Components"] = " ".join(components)
        words = [word for key, value in options.items() for word in ("-o", f"APT::FTPArchive::Release::{key}={value}")]
        text = run("apt-ftparchive", *words, "release", str(release))
        (release / "Release").write_bytes(text)
        (release / "InRelease").unlink(missing_ok=True)
        self._gpg("--clearsign", "--output", str(release / "InRelease"), str(release / "Release"))

    def _gpg(self, *words: str) -> None:
        run("gpg", "--homedir", str(self._home), "--batch", "--quiet", *words)
        run("gpgconf", "--homedir", str(self._home), "--kill", "gpg-agent")  # it would stay


def run(*argv: str, cwd: Path | None = None) -> bytes:
    """A program's output; it is expected to succeed."""
    done = subprocess.run(argv, cwd=cwd, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
