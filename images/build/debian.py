"""Images of Debian and Ubuntu: a root made by mmdebstrap, with GRUB for BIOS and UEFI, networkd and an SSH server."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from images import store
from images.build import apt, disk, finishing, initramfs, installer
from images.build.architecture import AMD64, with_kernel
from images.build.distributions import Distribution
from images.build.finishing import COMMAND_LINE, finish, grub_config, mounts, only_kernel, write
from images.build.host import BuildError, Steps, recipe, require, run
from images.build.origins import Origins, Sources, apt_sources

PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "initramfs-tools", "zstd", "kmod", "e2fsprogs", "fdisk"),
    *("grub2-common", "grub-pc-bin", "grub-efi-amd64-bin", "grub-efi-amd64-signed", "shim-signed", "efibootmgr"),
    *("mdadm", "lvm2", "cryptsetup-initramfs", "dosfstools"),
    *("openssh-server", "iproute2", "iputils-ping", "netbase", "ca-certificates", "curl", "sudo", "less", "nano"),
    *("procps", "cloud-init"),
)
# Read by nobody on a server, and half of the bytes that would go over the wire.
_EXCLUDED = (
    *("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"),
    "/usr/share/doc/*",
    # Of each boot loader the one that is used: not those for optical disks and for the network, nor unsigned ones.
    *("/usr/lib/grub/x86_64-efi/monolithic/*", "/usr/lib/grub/x86_64-efi-signed/g*cd*", "/usr/lib/shim/*x64.efi"),
    "/usr/lib/grub/x86_64-efi-signed/grubnet*",
)
# A quarter of the servers' kernel: drivers of what no server in a rack has. Virtual sound cards (sound/drivers) stay.
_MODULES = (
    *("drivers/net/wireless", "net/wireless", "net/mac80211", "drivers/bluetooth", "net/bluetooth", "drivers/nfc"),
    *("sound/pci", "sound/soc", "sound/usb", "sound/firewire", "drivers/iio", "drivers/comedi", "drivers/staging"),
    *(f"drivers/media/{kind}" for kind in ("usb", "pci", "dvb-frontends", "tuners", "i2c")),
)
_KEPT = ("/usr/share/locale/locale.alias", "/usr/share/doc/*/copyright")
# /usr is merged from the start where the release wants that: else the package usrmerge would do it, which brings Perl.
_HOOKS = "/usr/share/mmdebstrap/hooks/maybe-merged-usr"
_HERE = Path(__file__).parent
_SOURCES = ("cpio.py", "debian.py", "initramfs.py", "distributions.py", "origins.py", *finishing.SOURCES)
_TOOLS = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", **finishing.TOOLS}


def build(out: Path, distribution: Distribution, origins: Origins, current: bool) -> store.Artefact:
    """Build installer and image into the store at `out`, or return it when nothing has changed. Raises BuildError."""
    # Before anything is built, for it may say that a mirror is not set.
    apt_sources(origins, distribution.family, distribution.codename, distribution.components)
    base = installer.build(out, with_kernel(AMD64, origins.kernel))
    return build_for(base, out, distribution, origins, current)


def build_for(
    base: store.Artefact, out: Path, distribution: Distribution, origins: Origins, current: bool
) -> store.Artefact:
    """As `build`, with the in-RAM installer that is there. Raises BuildError.

    Where the two have the same kernel, the machine can go on by switch_root. An installer that changed while the image
    did not is exchanged alone.
    """
    require(_TOOLS)
    row, architecture = distribution, with_kernel(AMD64, origins.kernel)
    if not row.kernel:
        row = replace(row, kernel=architecture.kernel_package)
    sources = apt_sources(origins, row.family, row.codename, row.components)
    packages = sorted({row.kernel, *PACKAGES, *row.packages, *origins.packages})
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
        scratch = Path(work)
        options = apt.options(AMD64, scratch / "apt", sources)
        wanted = recipe((_HERE / name for name in _SOURCES), packages, options, f"{row}{sources}")
        known = store.current(out, row.slug, wanted)
        if known is None or known.image is None or (row.shares_kernel and known.kernel_release != base.kernel_release):
            image, parts = _image(out, scratch, row, packages, sources, base.kernel_release)
            artefact = replace(base, slug=row.slug, recipe=wanted, image=image, sbom=parts, tested={})
        else:
            artefact = known.with_installer_of(base)
        if artefact != known:
            artefact = store.publish(out, artefact, current)
    return artefact


def _image(
    out: Path, scratch: Path, row: Distribution, packages: Sequence[str], sources: Sources, installers: str
) -> tuple[store.StoredImage, store.StoredFile]:
    steps = Steps(row.slug)
    steps("installing packages (a minute or two)")
    tree = _bootstrap(scratch, row, packages, sources)
    release = only_kernel(tree)
    if row.shares_kernel and release != installers:
        raise BuildError(f"{row.kernel} is no longer {installers}, which the installer has: run the build again")
    steps("configuring the system")
    ids = disk.identity(row.slug)
    _configure(tree, row, ids, release)
    initramfs.split(tree, release)
    disk.describe_esp(tree)
    write(tree, "etc/apt/sources.list", sources.installed())
    return finish(out, scratch, tree, ids, row.slug, steps)


def _bootstrap(scratch: Path, row: Distribution, packages: Sequence[str], sources: Sources) -> Path:
    tree, listing = scratch / "root", scratch / "sources.list"
    listing.write_text(sources.listing(), encoding="utf-8")
    excluded = [*_EXCLUDED, *(f"{top}/lib/modules/*/kernel/{name}/*" for name in _MODULES for top in ("", "/usr"))]
    words = [f"--dpkgopt=path-exclude={path}" for path in excluded]
    words += [f"--dpkgopt=path-include={path}" for path in _KEPT]
    # The sandbox's user could read neither the folder that is built in nor a keyring in one's own folder.
    for setting in ["APT::Sandbox::User=root", *sources.options()]:
        name, _, value = setting.partition("=")
        words.append(f'--aptopt={name} "{value}"')
    include = ",".join(packages)
    run(
        [
            *("mmdebstrap", "--mode=root", "--variant=minbase", f"--hook-dir={_HOOKS}", f"--include={include}", *words),
            *(row.codename, tree, listing),
        ]
    )
    # What mmdebstrap leaves names this machine's keyring and proxy.
    for left in [*(tree / "etc/apt/sources.list.d").iterdir(), tree / "etc/apt/apt.conf.d/99mmdebstrap"]:
        left.unlink(missing_ok=True)
    return tree


def _configure(tree: Path, row: Distribution, ids: disk.Identity, release: str) -> None:
    """What every machine made from this image has in common; the installer's agent writes what differs."""
    write(tree, "etc/fstab", mounts(ids, "errors=remount-ro"))
    write(tree, "etc/default/grub.d/roundhouse.cfg", _GRUB_DEFAULTS)
    # grub-mkconfig needs the running system's disks; the first kernel update replaces this file by its output.
    write(tree, "boot/grub/grub.cfg", grub_config(row.name, ids, f"vmlinuz-{release}", f"initrd.img-{release}"))
    run(["chroot", tree, "systemctl", "enable", "--quiet", "systemd-networkd.service", "ssh.service"])
    # It looks for LVM snapshots, of which there are none, for four seconds of a slow machine's start.
    run(["chroot", tree, "systemctl", "disable", "--quiet", "e2scrub_reap.service"])


_GRUB_DEFAULTS = f"""\
GRUB_TIMEOUT=1
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="{COMMAND_LINE}"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
"""
