"""The releases that images are built of: one row each."""

from __future__ import annotations

from dataclasses import dataclass

from images.build.origins import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """One release of Debian or of Ubuntu."""

    target: str  # what `roundhouse image build` calls it
    slug: str  # the image's in the store
    name: str  # in the boot menu
    family: Family
    codename: str
    components: tuple[str, ...]
    kernel: str  # the package; empty: the one that the in-RAM installer has
    packages: tuple[str, ...]  # beside those that all have
    shares_kernel: bool = False  # the very build of the installer's kernel: a machine goes on by switch_root


_DEBIAN = ("systemd-timesyncd",)
_UBUNTU = ("systemd-timesyncd", "netplan.io")

DISTRIBUTIONS = (
    Distribution(
        target="debian-11",
        slug="debian_11",
        name="Debian GNU/Linux 11",
        family="debian",
        codename="bullseye",
        components=("main",),
        kernel="",
        packages=_DEBIAN,
    ),
    Distribution(
        target="debian-12",
        slug="debian_12",
        name="Debian GNU/Linux 12",
        family="debian",
        codename="bookworm",
        components=("main",),
        kernel="",
        packages=_DEBIAN,
        shares_kernel=True,
    ),
    Distribution(
        target="debian-13",
        slug="debian_13",
        name="Debian GNU/Linux 13",
        family="debian",
        codename="trixie",
        components=("main",),
        kernel="",
        packages=_DEBIAN,
    ),
    Distribution(
        target="ubuntu-22.04",
        slug="ubuntu_22_04",
        name="Ubuntu 22.04 LTS",
        family="ubuntu",
        codename="jammy",
        components=("main", "universe"),
        kernel="linux-image-generic",
        packages=_UBUNTU,
    ),
    Distribution(
        target="ubuntu-24.04",
        slug="ubuntu_24_04",
        name="Ubuntu 24.04 LTS",
        family="ubuntu",
        codename="noble",
        components=("main", "universe"),
        kernel="linux-image-generic",
        packages=(*_UBUNTU, "systemd-resolved"),
    ),
)
