"""Images of Debian and Ubuntu: a root made by mmdebstrap, with GRUB for BIOS and UEFI, networkd and an SSH server."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from images import store
from images.build import apt, disk, installer, layout, pack, sbom
from images.build.architecture import AMD64, with_kernel
from images.build.distributions import Distribution
from images.build.host import EPOCH, BuildError, Steps, recipe, require, run
from images.build.origins import Origins, Sources, apt_sources

_PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "initramfs-tools", "zstd", "kmod", "e2fsprogs", "fdisk"),
    *("grub2-common", "grub-pc-bin", "grub-efi-amd64-bin"),
    *("openssh-server", "iproute2", "iputils-ping", "netbase", "ca-certificates", "curl", "sudo", "less", "nano"),
    *("procps", "cloud-init"),
)
# Read by nobody on a server, and half of the bytes that would go over the wire.
_EXCLUDED = ("/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*")
_KEPT = ("/usr/share/locale/locale.alias",)
_COMMAND_LINE = "console=tty0 console=ttyS0,115200"
_HERE = Path(__file__).parent
_SOURCES = ("debian.py", "disk.py", "distributions.py", "layout.py", "origins.py", "pack.py", "sbom.py")
_TOOLS = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", "du": "coreutils", **disk.TOOLS, **layout.TOOLS}


def build(out: Path, distribution: Distribution, origins: Origins, current: bool) -> store.Artefact:
    """Build the image into the store at `out`, or return it when nothing has changed. Raises BuildError.

    It is installed by the in-RAM installer; where the two have the same kernel, the machine can go on by switch_root.
    An installer that changed while the image did not is exchanged alone.
    """
    require(_TOOLS)
    row, architecture = distribution, with_kernel(AMD64, origins.kernel)
    if not row.kernel:
        row = replace(row, kernel=architecture.kernel_package)
    sources = apt_sources(origins, row.family, row.codename, row.components)
    base = installer.build(out, architecture)
    packages = sorted({row.kernel, *_PACKAGES, *row.packages, *origins.packages})
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
        scratch = Path(work)
        options = apt.options(AMD64, scratch / "apt", sources)
        wanted = recipe((_HERE / name for name in _SOURCES), packages, options, f"{row}{sources}")
        known = store.current(out, row.slug, wanted)
        if known is None or known.image is None or (row.shares_kernel and known.kernel_release != base.kernel_release):
            image, parts = _image(out, scratch, row, packages, sources, base.kernel_release)
            artefact = replace(base, slug=row.slug, recipe=wanted, image=image, sbom=parts, tested={})
        else:
            artefact = replace(
                known, kernel_release=base.kernel_release, kernel=base.kernel, initrd=base.initrd, toolbox=base.toolbox
            )
        if artefact != known:
            artefact = store.publish(out, artefact, current)
    return artefact


def _image(
    out: Path, scratch: Path, row: Distribution, packages: Sequence[str], sources: Sources, installers: str
) -> tuple[store.StoredImage, store.StoredFile]:
    steps = Steps(row.slug)
    steps("installing packages (a minute or two)")
    tree = _bootstrap(scratch, row, packages, sources)
    release = _kernel(tree)
    if row.shares_kernel and release != installers:
        raise BuildError(f"{row.kernel} is no longer {installers}, which the installer has: run the build again")
    steps("configuring the system")
    ids = disk.identity(row.slug)
    _configure(tree, row, ids, release)
    _write(tree, "etc/apt/sources.list", sources.installed())
    inventory = sbom.of_tree(tree)
    steps("assembling the disk image")
    _clamp_dates(tree)
    raw = disk.assemble(tree, ids, scratch)
    steps("compressing")
    data, map_ = scratch / "data", scratch / "map"
    packed = pack.pack(raw, layout.partitions_of(raw), data, map_)
    image = store.put_image(out, data, map_, packed.disk_bytes)
    listing = scratch / "sbom"
    listing.write_bytes(sbom.encode(row.slug, inventory))
    steps(f"done: image {image.bytes:,} bytes for {image.disk_bytes:,} on the disk")
    return image, store.put_file(out, listing)


def _bootstrap(scratch: Path, row: Distribution, packages: Sequence[str], sources: Sources) -> Path:
    tree, listing = scratch / "root", scratch / "sources.list"
    listing.write_text(sources.listing(), encoding="utf-8")
    words = [f"--dpkgopt=path-exclude={path}" for path in _EXCLUDED]
    words += [f"--dpkgopt=path-include={path}" for path in _KEPT]
    for setting in sources.options():
        name, _, value = setting.partition("=")
        words.append(f'--aptopt={name} "{value}"')
    include = ",".join(packages)
    run(
        [
            *("mmdebstrap", "--mode=root", "--variant=minbase", f"--include={include}", *words),
            *(row.codename, tree, listing),
        ]
    )
    # What mmdebstrap leaves names this machine's keyring and proxy.
    for left in [*(tree / "etc/apt/sources.list.d").iterdir(), tree / "etc/apt/apt.conf.d/99mmdebstrap"]:
        left.unlink(missing_ok=True)
    return tree


def _kernel(tree: Path) -> str:
    releases = sorted(path.name for path in (tree / "lib/modules").iterdir())
    if len(releases) != 1:
        raise BuildError(f"the image has {len(releases)} kernels instead of one: {', '.join(releases)}")
    return releases[0]


def _configure(tree: Path, row: Distribution, ids: disk.Identity, release: str) -> None:
    """What every machine made from this image has in common; the installer's agent writes what differs."""
    _write(tree, "etc/fstab", f"UUID={ids.root} / ext4 errors=remount-ro 0 1\n{_esp_mount(ids)}\n")
    _write(tree, "etc/default/grub.d/roundhouse.cfg", _grub_defaults())
    _write(tree, "boot/grub/grub.cfg", _grub_config(row.name, ids, release))
    _write(tree, "etc/machine-id", "")
    for path in [*(tree / "etc/ssh").glob("ssh_host_*"), tree / "var/lib/dbus/machine-id", tree / "etc/hostname"]:
        path.unlink(missing_ok=True)
    run(["chroot", tree, "systemctl", "enable", "--quiet", "systemd-networkd.service", "ssh.service"])
    # It looks for LVM snapshots, of which there are none, for four seconds of a slow machine's start.
    run(["chroot", tree, "systemctl", "disable", "--quiet", "e2scrub_reap.service"])


def _esp_mount(ids: disk.Identity) -> str:
    serial = ids.esp_serial
    # Needed when GRUB is updated, not while starting.
    return f"UUID={serial[:4]}-{serial[4:]} /boot/efi vfat umask=0077,noauto,nofail 0 2"


def _grub_defaults() -> str:
    return f"""\
GRUB_TIMEOUT=1
GRUB_CMDLINE_LINUX_DEFAULT=""
GRUB_CMDLINE_LINUX="{_COMMAND_LINE}"
GRUB_TERMINAL="console serial"
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
"""


def _grub_config(name: str, ids: disk.Identity, release: str) -> str:
    # grub-mkconfig needs the running system's disks; the first kernel update replaces this file by its output.
    return f"""\
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
set timeout=1
menuentry "{name}" {{
    linux /boot/vmlinuz-{release} root=UUID={ids.root} ro {_COMMAND_LINE}
    initrd /boot/initrd.img-{release}
}}
"""


def _write(tree: Path, name: str, text: str) -> None:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o644)


def _clamp_dates(tree: Path) -> None:
    """No file is younger than the packages' own: building twice gives the same file system."""
    for path in [tree, *tree.rglob("*")]:
        if path.lstat().st_mtime > EPOCH:
            os.utime(path, (EPOCH, EPOCH), follow_symlinks=False)
