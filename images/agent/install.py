"""One install, stage by stage: write, grow, configure, and choose how to hand the machine over."""

from __future__ import annotations

import os
import time

from images.agent import accounts, blockdev, configure, fetch, handover, layout, selinux, storage, stream
from images.agent.errors import Malformed, WorkFailed
from images.agent.file import File
from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from images.agent.layout import Plan
    from images.chunks import Map
    from images.protocol import Handover, Image, InstallResult, InstallSpec

    Report = Callable[[str, int, int], None]  # stage, bytes done, bytes in all; raises when the work was dropped

ROOT = "/mnt"
_EXPECTED = (
    *(stream.ImageRefused, layout.NoLayout, handover.NoWay, CommandFailed),
    *(Malformed, OSError, ValueError),
)


def install(spec: InstallSpec, report: Report, console: Sequence[str]) -> InstallResult:
    """Carry out `spec` and make ready the hand-over that the result names; for switch_root the new root stays mounted.

    Raises WorkFailed for everything that a person must look at; `report`'s own exceptions pass through.
    """
    way: Handover
    begun = time.monotonic()
    stage, image = "writing", spec["image"]
    ignited = spec.get("ignition", "")  # work that an older service has given has no such word
    try:
        leave()  # an attempt that failed half-way
        report(stage, 0, image["disk_bytes"])
        map_ = fetch.fetch_map(image)
        found = blockdev.disks()
        firmware = "uefi" if os.path.isdir("/sys/firmware/efi") else "bios"
        plan = layout.plan(
            found, spec["storage"], map_.partitions, map_.disk_bytes, firmware=firmware, new_uuid=new_uuid
        )
        if ignited:
            from images.agent import ignition

            ignition.check(plan)
        storage.disable_twins([disk for disk in found if disk.path in plan.others], plan.piece.uuid)
        written = _transfer(plan, spec, map_, lambda done, total: report("writing", done, total))
        if ignited:
            stage = "configuring"
            report(stage, 0, 0)
            host_keys = ignition.apply(plan, spec, found, ROOT)
            stage, way = "handing-over", "reboot"
            leave()
        else:
            stage = "growing"
            report(stage, 0, 0)
            _grow(plan, map_)
            stage = "configuring"
            report(stage, 0, 0)
            if not plan.whole:
                from images.agent import adopt

                for file in adopt.system(plan, ROOT):
                    _place(ROOT, file)
            host_keys = apply(spec, ROOT)
            if not plan.whole:
                written += adopt.boot_loader(plan, ROOT, image, map_)
            stage = "handing-over"
            way = _hand_over(plan, spec, console)
        os.sync()
    except BaseException as err:
        # Whatever comes next on this machine, an erase as well, wants its disks for itself.
        _let_go()
        if isinstance(err, _EXPECTED):
            raise WorkFailed(stage, str(err) or type(err).__name__) from err
        raise
    seconds = round(time.monotonic() - begun, 2)
    disk = ",".join(plan.paths)
    return {"disk": disk, "bytes_written": written, "seconds": seconds, "host_keys": host_keys, "handover": way}


def leave() -> None:
    """Unmount the new system, and let go of all that it lies on. Raises CommandFailed."""
    storage.take_apart(f"{ROOT}/boot", ROOT)


def _let_go() -> None:
    try:
        leave()
    except (CommandFailed, OSError) as err:
        print(f"roundhouse: {err}", flush=True)


def new_uuid() -> str:
    """A random UUID (RFC 4122 §4.4)."""
    raw = bytearray(os.urandom(16))
    raw[6], raw[8] = raw[6] & 0x0F | 0x40, raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _transfer(plan: Plan, spec: InstallSpec, map_: Map, progress: Callable[[int, int], None]) -> int:
    """Bring the image's file systems to where they belong; the bytes that were written."""
    image: Image = spec["image"]
    if plan.whole:
        size = next(disk.bytes for disk in blockdev.disks() if disk.path == plan.whole)
        storage.wipe_ends(plan.whole, size)
        return stream.write_image(image, [stream.Target(0, map_.disk_bytes, plan.whole, 0)], progress)
    from images.agent import toolbox

    toolbox.need(*storage.TOOLS)
    storage.make(plan, spec["storage"]["passphrase"])
    return stream.write_image(image, [stream.Target(plan.piece.start, plan.piece.bytes, plan.root, 0)], progress)


def _grow(plan: Plan, map_: Map) -> None:
    """Mount the new root, as large as its place allows."""
    last = True
    if plan.whole:
        blockdev.reread_partitions(plan.whole)
        last = all(one.start <= plan.piece.start for one in map_.partitions)
        if last:
            storage.grow(plan.whole, plan.piece.number)
    filesystem = plan.piece.filesystem or "ext4"
    if filesystem != "ext4":
        from images.agent import toolbox

        toolbox.need()  # its kernel module
    run(["mount", "-t", filesystem, plan.root, ROOT])
    if last and filesystem == "xfs":
        toolbox.need("xfs_growfs")
        run(["xfs_growfs", ROOT])
    elif last and filesystem == "ext4":
        run(["resize2fs", plan.root])


def _hand_over(plan: Plan, spec: InstallSpec, console: Sequence[str]) -> Handover:
    words = [f"root={plan.root_source}", "ro", *console]
    secret = b""
    if plan.crypt:
        from images.agent import storage_files

        secret = storage_files.initramfs(plan, spec["storage"]["passphrase"])
    way = handover.prepare(ROOT, spec["handover"], words, leave, secret)
    if way == "switch_root" and plan.boot:
        run(["umount", f"{ROOT}/boot"])  # the system mounts it as it does at every start
    return way


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
