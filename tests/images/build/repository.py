"""A package repository as CentOS has them, made and signed here by rpmbuild, rpmsign and createrepo_c."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.images.build.archive import run

_NEEDS = {"dnf": "dnf", "rpmbuild": "rpm", "rpmsign": "rpm", "createrepo_c": "createrepo-c", "gpg": "gpg"}
_WHO = "Repository of a test"
_GPG = shutil.which("gpg")


def require_repository_tools() -> None:
    """Skips the test where one of the programs is missing."""
    for program, package in _NEEDS.items():
        if shutil.which(program) is None:
            pytest.skip(f"needs Debian's {package}")


class Repository:
    """BaseOS with all packages, and AppStream with none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "mirror"
        self.key = folder / "key.asc"
        self._work = folder / "work"
        self._home = folder / "gnupg"
        self._work.mkdir(parents=True)
        self._home.mkdir(mode=0o700)
        self._gpg("--passphrase", "", "--quick-generate-key", _WHO, "rsa2048", "sign", "never")
        self._gpg("--armor", "--output", str(self.key), "--export")

    def fill(self, version: str, packages: Mapping[str, Mapping[str, bytes | Path]]) -> None:
        """Make all packages of one version anew: each with its files, which are scripts, texts or copies."""
        tree, spec = self._work / "tree", self._work / "all.spec"
        lines = ["Name: all", f"Version: {version}", "Release: 1.el9", "Summary: made by a test", "License: none"]
        lines += ["AutoReqProv: no", "%description", "Made by a test."]
        for name, files in packages.items():
            lines += [
                f"%package -n {name}",
                "Summary: made by a test",
                "AutoReqProv: no",
                f"%description -n {name}",
                "x",
            ]
            lines += [f"%files -n {name}", *(f'"/{path}"' for path in files)]
            for path, content in files.items():
                target = tree / path
                target.parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    shutil.copyfile(content, target)
                else:
                    target.write_bytes(content)
                target.chmod(0o755)
        spec.write_text("\n".join([*lines, ""]))
        output = self.folder / "BaseOS/x86_64/os"
        for folder in (output, self.folder / "AppStream/x86_64/os"):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        defines = {"_rpmdir": output, "buildroot": tree, "_binary_payload": "w1.gzdio", "_build_id_links": "none"}
        defines |= {"__os_install_post": "%{nil}", "_target_cpu": "x86_64", "_dbpath": self._work / "db"}
        words = [word for name, value in defines.items() for word in ("--define", f"{name} {value}")]
        run("rpmbuild", "-bb", "--quiet", "--noclean", "--target", "x86_64-linux", *words, str(spec))
        sign = ["--define", f"_gpg_name {_WHO}", "--define", f"_gpg_path {self._home}", "--define", f"__gpg {_GPG}"]
        run("rpmsign", *sign, "--addsign", *map(str, sorted(output.rglob("*.rpm"))))
        run("gpgconf", "--homedir", str(self._home), "--kill", "gpg-agent")
        for name in ("BaseOS", "AppStream"):
            run("createrepo_c", "--quiet", str(self.folder / name / "x86_64/os"))

    def _gpg(self, *words: str) -> None:
        run("gpg", "--homedir", str(self._home), "--batch", "--quiet", *words)
        run("gpgconf", "--homedir", str(self._home), "--kill", "gpg-agent")  # it would stay
