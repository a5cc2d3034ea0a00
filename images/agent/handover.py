"""Leaving the installer: into the disk just written (`switch_root`), by kexec, or by a reboot."""

from __future__ import annotations

import glob
import os

from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Final

    from images.protocol import Handover

# The agent's exit codes, for /init, which is process 1 and alone may call switch_root.
EXIT_CODES: Final[dict[Handover, int]] = {"switch_root": 10, "kexec": 11, "reboot": 12}


class NoWay(Exception):
    """None of the ways that the order allows works with this image and kernel."""


def prepare(root: str, root_uuid: str, allowed: Sequence[Handover], console: Sequence[str]) -> Handover:
    """Choose the first way that works and make it ready; `root` stays mounted only for switch_root. Raises NoWay."""
    reasons = []
    for way in allowed:
        try:
            if way == "switch_root":
                _check_switch_root(root)
            elif way == "kexec":
                _load_kexec(root, root_uuid, console)
                unmount(root)
            else:
                unmount(root)
            return way
        except (NoWay, CommandFailed, OSError) as err:
            reasons.append(f"{way}: {err}")
    raise NoWay("; ".join(reasons) or "the order allows no way to hand over")


def _check_switch_root(root: str) -> None:
    release = os.uname().release
    if not os.path.isdir(f"{root}/lib/modules/{release}"):
        raise NoWay(f"the image has no modules of the running kernel {release}")
    if not os.path.lexists(f"{root}/sbin/init"):
        raise NoWay("the image has no /sbin/init")


def _load_kexec(root: str, root_uuid: str, console: Sequence[str]) -> None:
    kernels = sorted(glob.glob(f"{root}/boot/vmlinuz-*"))
    if not kernels:
        raise NoWay("the image has no /boot/vmlinuz-*")
    kernel = kernels[-1]
    release = kernel.rpartition("vmlinuz-")[2]
    initrds = [f"{root}/boot/{name}" for name in (f"initrd.img-{release}", f"initramfs-{release}.img")]
    initrd = next((path for path in initrds if os.path.exists(path)), None)
    if initrd is None:
        raise NoWay(f"the image has no initrd for {release}")
    words = [f"root=UUID={root_uuid}", "ro", *console]
    run(["kexec", "--load", kernel, f"--initrd={initrd}", f"--command-line={' '.join(words)}"])


def unmount(root: str) -> None:
    """Unmount the new root if it is mounted, so that everything is on the disk."""
    if os.path.ismount(root):
        run(["umount", root])
