"""Where packages come from: what the operator set, or else what this machine's own package manager knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from images.build.architecture import Kernel
from images.build.host import BuildError, debian_suites

Family = Literal["debian", "ubuntu", "centos"]

_DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_UBUNTU_KEYRING = "/usr/share/keyrings/ubuntu-archive-keyring.gpg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """What can be set. A mirror is the folder that has dists/ and pool/, or a release's repositories, as a URL."""

    debian_mirror: str = ""  # empty: the mirror of this machine's own apt configuration
    debian_security_mirror: str = ""  # empty: without security updates where debian_mirror is set
    debian_keyring: str = _DEBIAN_KEYRING
    ubuntu_mirror: str = ""  # has updates and security, too
    ubuntu_keyring: str = _UBUNTU_KEYRING
    centos_mirror: str = ""  # has BaseOS and AppStream of one release
    centos_key: str = ""  # the file of the key that its packages are signed with
    proxy: str = ""  # for all of them, as URL; empty: what the package manager uses by itself
    kernel: Kernel = "server"  # of the in-RAM installer, and of the images that share it
    packages: tuple[str, ...] = ()  # in every image beside its own


@dataclass(frozen=True, slots=True)
class Sources:
    """Package sources of one release as sources.list lines without options, and the keyring that vouches for them."""

    lines: tuple[str, ...]
    keyring: str  # empty: apt's own
    proxy: str
    own: bool  # this machine's apt knows just these: its package lists can be read as they are

    def listing(self) -> str:
        """The sources.list that a build reads."""
        option = f"[signed-by={self.keyring}] " if self.keyring else ""
        return "".join(f"deb {option}{line}\n" for line in self.lines)

    def installed(self) -> str:
        """The sources.list of the image, which has its distribution's keyring as apt's own."""
        return "".join(f"deb {line}\n" for line in self.lines)

    def options(self) -> list[str]:
        """Settings of apt, as NAME=VALUE."""
        return [f"Acquire::{scheme}::Proxy={self.proxy}" for scheme in ("http", "https") if self.proxy]


def apt_sources(origins: Origins, family: Family, codename: str, components: Sequence[str]) -> Sources:
    """The package sources of a release of Debian or Ubuntu. Raises BuildError, which says what to set or install."""
    if family == "ubuntu":
        return _ubuntu(origins, codename, components)
    names = " ".join(components)
    if origins.debian_mirror:
        mirror = origins.debian_mirror.rstrip("/")
        lines = [f"{mirror} {suite} {names}" for suite in (codename, f"{codename}-updates")]
        if security := origins.debian_security_mirror.rstrip("/"):
            lines.append(f"{security} {codename}-security {names}")
        _check_keyring(origins.debian_keyring, "debian", "debian-archive-keyring")
        return Sources(tuple(lines), origins.debian_keyring, origins.proxy, own=False)
    known = debian_suites()
    if own := [suite for suite in known if suite.codename.partition("-")[0] == codename]:
        lines = sorted({f"{suite.uri} {suite.name} {suite.component}" for suite in own})
        return Sources(tuple(lines), "", origins.proxy, own=not origins.proxy)
    # A mirror of Debian has its other releases beside the one that this machine runs.
    beside = {
        f"{suite.uri} {suite.codename.replace(suite.codename.partition('-')[0], codename, 1)} {suite.component}"
        for suite in known
        if suite.component in components
    }
    if not beside:
        raise BuildError(f"apt knows no Debian packages: set build_debian_mirror to an archive that has {codename}")
    _check_keyring(origins.debian_keyring, "debian", "debian-archive-keyring")
    return Sources(tuple(sorted(beside)), origins.debian_keyring, origins.proxy, own=False)


def _ubuntu(origins: Origins, codename: str, components: Sequence[str]) -> Sources:
    if not origins.ubuntu_mirror:
        raise BuildError(f"set build_ubuntu_mirror to an archive of Ubuntu that has {codename}: no mirror is known")
    _check_keyring(origins.ubuntu_keyring, "ubuntu", "ubuntu-keyring")
    mirror, names = origins.ubuntu_mirror.rstrip("/"), " ".join(components)
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    lines = tuple(f"{mirror} {suite} {names}" for suite in suites)
    return Sources(lines, origins.ubuntu_keyring, origins.proxy, own=False)


def _check_keyring(path: str, family: Family, package: str) -> None:
    if not Path(path).is_file():
        raise BuildError(
            f"there is no {path}: install {package}, or set build_{family}_keyring to the archive's keyring"
        )
