"""One install, stage by stage: write, grow, configure, and choose how to hand the machine over."""

from __future__ import annotations

import os
import time

from images.agent import accounts, blockdev, configure, handover, partitions, selinux, stream
from images.agent.errors import WorkFailed
from images.agent.file import File
from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from images.protocol import DiskHint, InstallResult, InstallSpec

    Report = Callable[[str, int, int], None]  # stage, bytes done, bytes in all; raises when the work was dropped

ROOT = "/mnt"


def install(spec: InstallSpec, report: Report, console: Sequence[str]) -> InstallResult:
    """Carry out `spec` and leave the new root mounted, ready for the hand-over that the result names.

    Raises WorkFailed for everything that a person must look at; `report`'s own exceptions pass through.
    """
    begun = time.monotonic()
    stage = "writing"
    try:
        handover.unmount(ROOT)  # left by an attempt that failed half-way
        disk = choose_disk(blockdev.disks(), spec["storage"]["disks"], spec["image"]["disk_bytes"])
        report(stage, 0, spec["image"]["disk_bytes"])
        whole = stream.Target(0, spec["image"]["disk_bytes"], disk, 0)
        written = stream.write_image(spec["image"], [whole], lambda done, total: report("writing", done, total))
        stage = "growing"
        report(stage, 0, 0)
        blockdev.reread_partitions(disk)
        partition, uuid, last = partitions.locate(disk)
        if last:
            partitions.grow(disk, partition.number)
        device = partitions.device_of(disk, partition.number)
        run(["mount", "-t", "ext4", device, ROOT])
        if last:
            run(["resize2fs", device])
        stage = "configuring"
        report(stage, 0, 0)
        host_keys = apply(spec, ROOT)
        stage = "handing-over"
        way = handover.prepare(ROOT, uuid, spec["handover"], console)
        os.sync()
    except (stream.ImageRefused, partitions.NoRoot, handover.NoWay, CommandFailed, OSError, ValueError) as err:
        handover.unmount(ROOT)
        raise WorkFailed(stage, str(err) or type(err).__name__) from err
    seconds = round(time.monotonic() - begun, 2)
    return {"disk": disk, "bytes_written": written, "seconds": seconds, "host_keys": host_keys, "handover": way}


def choose_disk(found: list[blockdev.Disk], hints: Sequence[DiskHint], needed: int) -> str:
    """The first disk that is large enough and fits the hint. Raises ValueError naming what was found."""
    wanted = hints[0].get("path") if hints else None
    seen = ", ".join(f"{disk.path} ({disk.bytes} bytes)" for disk in found) or "none"
    for disk in found:
        if disk.bytes >= needed and wanted in (None, disk.path):
            return disk.path
    raise ValueError(f"no disk {wanted or ''} with {needed} bytes; found: {seen}")


def apply(spec: InstallSpec, root: str) -> list[str]:
    """Write the order's configuration below `root`; the public halves of its new SSH host keys.

    Raises CommandFailed, OSError, ValueError.
    """
    made = configure.files(spec, spec["user"], spec["network_style"])
    if spec["user"] not in accounts.users(root):
        run(["chroot", root, "/usr/sbin/useradd", "-m", "-s", "/bin/bash", spec["user"]])
    for file in made:
        _place(root, file)
    shadow = f"{root}/etc/shadow"
    text = accounts.with_root_password(blockdev.read_text(shadow), spec["password_hash"])
    _write(shadow, text, 0o640)
    # By the image's own ssh-keygen. Only ed25519: RSA costs seconds, and any older key would be every machine's.
    for name in os.listdir(f"{root}/etc/ssh"):
        if name.startswith("ssh_host_"):
            os.unlink(f"{root}/etc/ssh/{name}")
    key = "/etc/ssh/ssh_host_ed25519_key"
    comment = f"root@{spec['hostname']}"
    run(["chroot", root, "/usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", key])
    selinux.relabel(root, [file.path for file in made] + ["/etc/shadow", key, f"{key}.pub"])
    return [blockdev.read_text(f"{root}{key}.pub")]


def _place(root: str, file: File) -> None:
    path = root + file.path
    folder = os.path.dirname(path)
    os.makedirs(folder, mode=0o700 if "/.ssh/" in path else 0o755, exist_ok=True)
    if os.path.lexists(path):
        os.unlink(path)  # never through a symbolic link: an absolute one would leave the new root
    if file.link:
        os.symlink(file.link, path)
    else:
        _write(path, file.text, file.mode)
    if file.owner:
        user, group = accounts.users(root)[file.owner]
        os.chown(folder, user, group)
        os.chown(path, user, group, follow_symlinks=False)


def _write(path: str, text: str, mode: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, mode)
