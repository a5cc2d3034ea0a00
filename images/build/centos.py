"""The CentOS Stream image: a root made by dnf, with GRUB for BIOS and UEFI, NetworkManager and an SSH server."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from images import store
from images.build import disk, finishing, installer
from images.build.architecture import AMD64, with_kernel
from images.build.finishing import COMMAND_LINE, finish, grub_config, mounts, only_kernel, write
from images.build.host import BuildError, Steps, digest_of, require, run
from images.build.origins import Origins

_SLUG, _NAME, _RELEASE = "centos_stream_9", "CentOS Stream 9", "9"
_REPOSITORIES = ("BaseOS", "AppStream")
PACKAGES = (
    *("centos-stream-release", "basesystem", "bash", "coreutils", "systemd", "systemd-udev", "dbus-broker"),
    *("kernel-core", "kernel-modules", "dracut", "grubby", "e2fsprogs", "xfsprogs", "util-linux", "kmod", "dnf"),
    *("grub2-tools", "grub2-pc-modules", "grub2-efi-x64-modules"),
    *("selinux-policy-targeted", "policycoreutils"),
    *("openssh-server", "openssh-clients", "NetworkManager", "iproute", "iputils", "chrony", "cloud-init"),
    *("ca-certificates", "curl", "sudo", "less", "nano", "procps-ng", "hostname", "rootfiles", "passwd"),
)
_FILE_CONTEXTS = "etc/selinux/targeted/contexts/files/file_contexts"
# The entries that kernel packages write, newest first; the one that follows in the file is for a system without them.
_BLS = """\
set blsdir=/boot/loader/entries
blscfg
"""
_HERE = Path(__file__).parent
_SOURCES = ("centos.py", "origins.py", *finishing.SOURCES)
_TOOLS = {"dnf": "dnf", "rpm": "rpm", "unshare": "util-linux", **finishing.TOOLS}
# The packages' scripts look at these; in a namespace of their own, no mount stays behind whatever happens.
_IN_ROOT = """
set -e
mount --make-rprivate /
mkdir -p "$0/proc" "$0/sys" "$0/dev"
for folder in proc sys dev; do mount --rbind "/$folder" "$0/$folder"; done
exec "$@"
"""


def build(out: Path, origins: Origins, current: bool) -> store.Artefact:
    """Build installer and image into the store at `out`, or return it when nothing has changed. Raises BuildError."""
    _check(origins)
    return build_for(installer.build(out, with_kernel(AMD64, origins.kernel)), out, origins, current)


def build_for(base: store.Artefact, out: Path, origins: Origins, current: bool) -> store.Artefact:
    """As `build`, with the in-RAM installer that is there. Raises BuildError."""
    _check(origins)
    packages = sorted({*PACKAGES, *origins.packages})
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out) as work:
        scratch = Path(work)
        dnf = _dnf(scratch, origins)
        wanted = digest_of((_HERE / name for name in _SOURCES), _versions(dnf, packages), origins.centos_mirror)
        known = store.current(out, _SLUG, wanted)
        if known is None or known.image is None:
            image, listing = _image(out, scratch, dnf, packages)
            artefact = replace(base, slug=_SLUG, recipe=wanted, image=image, sbom=listing, tested={})
        else:
            artefact = known.with_installer_of(base)
        if artefact != known:
            artefact = store.publish(out, artefact, current)
    return artefact


def _check(origins: Origins) -> None:
    if not origins.centos_mirror:
        raise BuildError("set build_centos_mirror to a folder that has BaseOS and AppStream: no mirror is known")
    if not Path(origins.centos_key).is_file():
        raise BuildError("set build_centos_key to the file of the key that CentOS's packages are signed with")
    require(_TOOLS)


def _dnf(scratch: Path, origins: Origins) -> list[str]:
    """dnf with a configuration of our own: this machine's repositories and caches are left alone."""
    mirror, key = origins.centos_mirror.rstrip("/"), Path(origins.centos_key).resolve()
    lines = ["[main]", "gpgcheck=1", "install_weak_deps=0", "tsflags=nodocs", "reposdir=/nowhere", "varsdir=/nowhere"]
    lines += [f"cachedir={scratch}/cache", f"persistdir={scratch}/state", f"logdir={scratch}", "plugins=0"]
    lines += [f"module_platform_id=platform:el{_RELEASE}", "keepcache=0"]
    if origins.proxy:
        lines.append(f"proxy={origins.proxy}")
    for name in _REPOSITORIES:
        lines += [f"[{name.lower()}]", f"name={name}", f"baseurl={mirror}/{name}/x86_64/os", f"gpgkey=file://{key}"]
    configuration = scratch / "dnf.conf"
    configuration.write_text("\n".join([*lines, ""]), encoding="utf-8")
    # Debian's rpm keeps its database in the home folder, where no CentOS would look for it.
    write(scratch, "home/.rpmmacros", "%_dbpath /var/lib/rpm\n")
    return [
        "env",
        f"HOME={scratch}/home",
        "dnf",
        "--quiet",
        f"--config={configuration}",
        f"--releasever={_RELEASE}",
        "--forcearch=x86_64",
    ]


def _versions(dnf: Sequence[str], packages: Sequence[str]) -> str:
    found = run([*dnf, "repoquery", "--latest-limit=1", "--queryformat=%{name} %{evr} %{arch}", *packages])
    names = {line.split()[0] for line in found.splitlines() if line}
    if unknown := sorted(set(packages) - names):
        raise BuildError(f"the mirror has no {', '.join(unknown)}")
    return "\n".join(sorted(found.splitlines()))


def _image(
    out: Path, scratch: Path, dnf: Sequence[str], packages: Sequence[str]
) -> tuple[store.StoredImage, store.StoredFile]:
    steps = Steps(_SLUG)
    steps("installing packages (a few minutes)")
    ids, tree = disk.identity(_SLUG), scratch / "root"
    # Read while the kernel is installed: for its boot entry, and for an initramfs of any machine.
    write(tree, "etc/kernel/cmdline", f"root=UUID={ids.root} ro {COMMAND_LINE}\n")
    write(tree, "etc/dracut.conf.d/roundhouse.conf", 'hostonly="no"\n')
    write(tree, "etc/machine-id", "")
    _inside(tree, [*dnf, "--assumeyes", f"--installroot={tree}", "install", *packages])
    release = only_kernel(tree)
    steps("configuring the system")
    kernel, initrd = f"vmlinuz-{release}", f"initramfs-{release}.img"
    if not (tree / "boot" / kernel).exists():
        raise BuildError(f"the kernel's package has put no {kernel} into /boot")
    if not (tree / "boot" / initrd).exists():
        _inside(tree, ["chroot", str(tree), "dracut", "--no-hostonly", "--kver", release, f"/boot/{initrd}"])
    has_bls = all((tree / f"usr/lib/grub/{kind}/blscfg.mod").is_file() for kind in ("i386-pc", "x86_64-efi"))
    write(tree, "etc/fstab", mounts(ids, "defaults"))
    write(tree, "boot/grub/grub.cfg", grub_config(_NAME, ids, kernel, initrd, _BLS if has_bls else ""))
    run(["chroot", tree, "systemctl", "enable", "--quiet", "NetworkManager.service", "sshd.service"])
    if (tree / _FILE_CONTEXTS).is_file():
        run(["chroot", tree, "setfiles", "-F", "-e", "/proc", "-e", "/sys", "-e", "/dev", f"/{_FILE_CONTEXTS}", "/"])
    return finish(out, scratch, tree, ids, _SLUG, steps, ("blscfg",) if has_bls else ())


def _inside(tree: Path, argv: Sequence[str]) -> None:
    run(["unshare", "--mount", "sh", "-c", _IN_ROOT, tree, *argv])
