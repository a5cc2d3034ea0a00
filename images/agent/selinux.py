"""Labels for files that were written into a system with SELinux while another kernel ran.

The system's own setfiles knows its policy, and writes labels where SELinux is off, as in the installer. The other way,
/.autorelabel, walks the whole disk at the first boot and boots a second time.
"""

from __future__ import annotations

import os

from images.agent.shell import run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


_CONTEXTS = "contexts/files/file_contexts"


def relabel(root: str, paths: Iterable[str]) -> None:
    """Label `paths` below `root` (named as seen from there), and the folders that hold nothing else, by the policy.

    Nothing is done in a system without SELinux. Raises CommandFailed, OSError.
    """
    policy = _policy(root)
    if not policy:
        return
    # setfiles goes down into folders, so none is named that was there before.
    wanted = set(paths)
    waiting = list(wanted)
    while waiting:
        folder = os.path.dirname(waiting.pop())
        if folder not in wanted and wanted.issuperset(os.path.join(folder, name) for name in os.listdir(root + folder)):
            wanted.add(folder)
            waiting.append(folder)
    run(["mount", "-t", "proc", "proc", f"{root}/proc"])  # labels are written by way of /proc/self/fd
    try:
        run(["chroot", root, "/usr/sbin/setfiles", "-F", f"/etc/selinux/{policy}/{_CONTEXTS}", *sorted(wanted)])
    finally:
        run(["umount", f"{root}/proc"])


def _policy(root: str) -> str:
    """SELINUXTYPE of the system; empty without SELinux (selinux_config(5))."""
    try:
        with open(f"{root}/etc/selinux/config", encoding="utf-8") as file:
            words = dict(line.strip().split("=", 1) for line in file if "=" in line and not line.startswith("#"))
    except FileNotFoundError:
        return ""
    return "" if words.get("SELINUX", "disabled") == "disabled" else words.get("SELINUXTYPE", "targeted")
