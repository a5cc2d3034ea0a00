"""Leaving the installer: into the disk just written (`switch_root`), by kexec, or by a reboot."""

from __future__ import annotations

import glob
import os

from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final

    from images.protocol import Handover

# The agent's exit codes, for /init, which is process 1 and alone may call switch_root.
EXIT_CODES: Final[dict[Handover, int]] = {"switch_root": 10, "kexec": 11, "reboot": 12}
_INITRD: Final = "/run/initrd"


class NoWay(Exception):
    """None of the ways that the order allows works with this image and kernel."""


def prepare(
    root: str,
    allowed: Sequence[Handover],
    words: Sequence[str],
    leave: Callable[[], None],
    secret: bytes = b"",
) -> Handover:
    """Choose the first way that works and make it ready. Raises NoWay.

    `root` stays mounted for switch_root only; else `leave` unmounts it and lets go of what it lies on. A kernel that is
    started by kexec gets the `words` on its command line, and `secret` behind its initramfs.
    """
    reasons = []
    for way in allowed:
        try:
            if way == "switch_root":
                _check_switch_root(root)
            else:
                if way == "kexec":
                    _load_kexec(root, words, secret)
                leave()
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


def boot_files(root: str) -> tuple[str, str]:
    """The paths of the newest kernel in /boot and of its initramfs. Raises NoWay."""
    kernels = sorted(glob.glob(f"{root}/boot/vmlinuz-*"))
    if not kernels:
        raise NoWay("the image has no /boot/vmlinuz-*")
    kernel = kernels[-1]
    release = kernel.rpartition("vmlinuz-")[2]
    initrds = [f"{root}/boot/{name}" for name in (f"initrd.img-{release}", f"initramfs-{release}.img")]
    initrd = next((path for path in initrds if os.path.exists(path)), None)
    if initrd is None:
        raise NoWay(f"the image has no initrd for {release}")
    return kernel, initrd


def _load_kexec(root: str, words: Sequence[str], secret: bytes) -> None:
    kernel, initrd = boot_files(root)
    if secret:
        with open(initrd, "rb") as file:
            data = file.read()
        with open(_INITRD, "wb", opener=_private) as file:  # in memory, as all that is outside of `root`
            file.write(data + bytes(-len(data) % 4) + secret)
        initrd = _INITRD
    try:
        command = ["kexec", "--load", kernel, f"--initrd={initrd}", f"--command-line={' '.join(words)}"]
        try:
            run(command)
        except CommandFailed:
            # Under Secure Boot a kernel loads only what is signed, by the other system call, which checks it.
            run([*command, "--kexec-file-syscall"])
    finally:
        if secret:
            os.unlink(_INITRD)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
