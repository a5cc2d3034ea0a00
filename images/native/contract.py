"""What goes into a native installation's files, and what comes out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class CannotExpress(ValueError):
    """The distribution's installer cannot do what the order asks; the text names the field and what is allowed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Where the distribution's installer finds things. URLs have no trailing slash; they are plain HTTP."""

    base_url: str  # the rendered files lie below it: f"{base_url}/preseed.cfg"
    # A POST there, before the installer's reboot, says that the disk may be booted. Its body is the system's public
    # host keys in OpenSSH's form, one a line, or nothing: with keys, the system is proved by them before it is active.
    installed_url: str
    # A POST there says that the installer has given up; its body is the reason as text, 2,000 characters at most.
    failed_url: str
    # Of the distribution. Debian and Ubuntu: the folder that has dists/ and pool/; CentOS Stream: the one that has
    # BaseOS/ and AppStream/, CentOS 7: the one that has os/ and updates/; Flatcar: the one whose folders are named by
    # version or "current". Fedora CoreOS takes the whole system from its RAM disk.
    mirror: str
    security_mirror: str  # empty: none
    proxy: str  # for the packages, http://host:port; empty: none
    # What the installer's kernel fetches beside its RAM disks. Ubuntu: the live server's ISO; Fedora CoreOS: the live
    # system's rootfs; CentOS: the tree that has images/install.img, where it is not the mirror's. Others: empty.
    live_url: str = ""


@dataclass(frozen=True, slots=True)
class Rendered:
    """The files of one installation by name, and the arguments of the installer's kernel beside console=."""

    files: Mapping[str, str]
    arguments: str
