"""Carrying out a plan of disk layout: partitions, software RAID, encryption, volumes, /boot and the ESPs.

Nothing of it can be booted before `finish`: until then no disk has boot code and no ESP has a file system.
"""

from __future__ import annotations

import os

from images.agent import blockdev, gpt
from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Final

    from images.agent.blockdev import Disk
    from images.agent.layout import Array, Crypt, DiskLayout, Group, Plan

TOOLS: Final = ("mdadm", "lvm", "dmsetup", "cryptsetup", "mke2fs", "mkfs.vfat")
_MODULES: Final = ("raid1", "raid10", "dm_mod", "dm_crypt", "vfat", "nls_cp437", "nls_ascii", "nls_utf8")
_ENDS: Final = 4 << 20  # at each end of a disk and of a partition: all that tables and signatures of any kind take
_EXT_MAGIC_AT: Final = 1024 + 0x38  # ext4's superblock: s_magic, s_uuid
_EXT_UUID_AT: Final = 1024 + 0x68
# GRUB 2.06 cannot read a file system with these.
_BOOT_FEATURES: Final = "^metadata_csum_seed,^orphan_file"
_SYS: Final = "/sys/block"
# No udev runs here that could make device nodes, or that anybody had to wait for.
_LVM_CONFIG: Final = (
    "activation { udev_sync=0 udev_rules=0 monitoring=0 } backup { backup=0 archive=0 } "
    "devices { use_devicesfile=0 obtain_device_list_from_udev=0 } global { use_lvmpolld=0 }"
)
ESP_MOUNT: Final = "/run/esp"
BOOT_MOUNT: Final = "/run/boot"


def take_apart(*mounts: str) -> None:
    """Unmount these, innermost first, and let go of every array, volume and encrypted device there is.

    Raises CommandFailed where something is still in use.
    """
    for mount in mounts:
        if os.path.ismount(mount):
            run(["umount", mount])
    _remove("dm-", lambda name: ["dmsetup", "remove", blockdev.read_text(f"{_SYS}/{name}/dm/name")])
    _remove("md", lambda name: ["mdadm", "--quiet", "--stop", f"/dev/{name}"])


def _remove(prefix: str, command: Callable[[str], list[str]]) -> None:
    """What lies on another goes first, so as often as it takes."""
    while names := [name for name in sorted(os.listdir(_SYS)) if name.startswith(prefix) and _in_use(name)]:
        failures = []
        for name in names:
            try:
                run(command(name))
            except CommandFailed as err:
                failures.append(err)
        if len(failures) == len(names):
            raise failures[0]


def _in_use(name: str) -> bool:
    return not name.startswith("md") or blockdev.read_text(f"{_SYS}/{name}/md/array_state") not in ("", "clear")


def make(plan: Plan, passphrase: str) -> None:
    """Make everything up to the root's device and /boot's, which is then an empty file system.

    Raises CommandFailed, OSError.
    """
    os.environ["DM_DISABLE_UDEV"] = "1"
    # What a kernel has built in, or has not, fails below or not at all.
    run(["modprobe", "-a", "-q", *_MODULES], allowed=range(256))
    for disk in plan.disks:
        partition(disk)
    for array in plan.arrays:
        _assemble(array)
    if plan.crypt:
        _encrypt(plan.crypt, passphrase)
    if plan.group:
        _volume(plan.group)
    if plan.boot:
        shape = ["-t", "ext4", "-m", "1", "-L", "boot", "-U", plan.boot_uuid, "-O", _BOOT_FEATURES]
        run(["mke2fs", "-q", "-F", *shape, plan.boot])


def partition(disk: DiskLayout) -> None:
    """Wipe what the disk was before, and write its new table; its boot code stays empty."""
    fd = os.open(disk.path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _wipe(fd, 0, disk.bytes)
        for one in disk.partitions:
            _wipe(fd, one.start, one.bytes)
        for offset, data in gpt.encode(disk.bytes, disk.sector, disk.guid, disk.partitions):
            blockdev.write_all(fd, memoryview(data), offset)
        os.fsync(fd)
    finally:
        os.close(fd)
    blockdev.reread_partitions(disk.path)


def _wipe(fd: int, start: int, size: int) -> None:
    ends = min(_ENDS, size)
    for at in (start, start + size - ends):
        blockdev.write_all(fd, memoryview(bytes(ends)), at)


def wipe_ends(path: str, size: int) -> None:
    """Wipe the table and the signatures at both ends of a disk that gets the image as it is."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _wipe(fd, 0, size)
        os.fsync(fd)
    finally:
        os.close(fd)


def disable_twins(disks: Iterable[Disk], root_uuid: str) -> list[str]:
    """Wipe the tables of disks that hold an older copy of the root that is being installed; their paths.

    The kernel looks for the root by its file system's UUID, which all copies of an image share.
    """
    found = []
    for disk in disks:
        try:
            if _holds(disk, root_uuid):
                wipe_ends(disk.path, disk.bytes)
                found.append(disk.path)
        except OSError as err:  # what cannot be read misleads nobody, and is not wanted here
            print(f"roundhouse: {disk.path}: {err.strerror}", flush=True)
    return found


def _holds(disk: Disk, root_uuid: str) -> bool:
    fd = os.open(disk.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return any(_ext_uuid(fd, one.start) == root_uuid for one in gpt.read(fd, disk.sector))
    except gpt.NoTable:
        return False
    finally:
        os.close(fd)


def grow(disk: str, number: int) -> None:
    """Move the end of a disk's last partition, and the second copy of its table, to the disk's end.

    Raises CommandFailed from sfdisk.
    """
    run(["sfdisk", "--quiet", "--no-tell-kernel", "--wipe=never", "-N", str(number), disk], feed=",+\n")
    blockdev.reread_partitions(disk)


def _ext_uuid(fd: int, start: int) -> str:
    block = os.pread(fd, 2048, start)
    if block[_EXT_MAGIC_AT : _EXT_MAGIC_AT + 2] != b"\x53\xef":
        return ""
    raw = block[_EXT_UUID_AT : _EXT_UUID_AT + 16].hex()
    return f"{raw[:8]}-{raw[8:12]}-{raw[12:16]}-{raw[16:20]}-{raw[20:]}"


def _assemble(array: Array) -> None:
    words = ["--level", array.level, "--raid-devices", str(len(array.members)), "--metadata", array.metadata]
    if array.metadata == "1.2":
        words += ["--data-offset", "16M"]
    # The members need not be made alike: what is read was written before, and each write goes to all of a mirror.
    words += ["--assume-clean", "--bitmap", "internal", "--homehost", "any", "--name", array.path.rpartition("/")[2]]
    run(["mdadm", "--create", array.path, "--run", "--quiet", *words, "--uuid", array.uuid, *array.members])


def _encrypt(crypt: Crypt, passphrase: str) -> None:
    # 512-byte units: 16 MiB for the header, LUKS2's own default.
    words = ["--type", "luks2", "--batch-mode", "--uuid", crypt.uuid, "--offset", "32768", "--key-file", "-"]
    run(["cryptsetup", "luksFormat", *words, crypt.device], feed=passphrase)
    run(["cryptsetup", "open", "--type", "luks2", "--key-file", "-", crypt.device, crypt.name], feed=passphrase)


def _volume(group: Group) -> None:
    for words in (
        ["pvcreate", "-ff", "--yes", "--zero", "y", "--dataalignment", "1m", group.device],
        ["vgcreate", "--yes", "--physicalextentsize", "4m", group.name, group.device],
        ["lvcreate", "--yes", "--wipesignatures", "n", "--zero", "n", "-l", "100%FREE", "-n", "root", group.name],
    ):
        run(["lvm", words[0], "--config", _LVM_CONFIG, *words[1:]])


def move_boot(plan: Plan, root: str) -> None:
    """Put what the image has in /boot on the file system of its own, and mount that there. Raises OSError too."""
    os.makedirs(BOOT_MOUNT, exist_ok=True)
    run(["mount", "-t", "ext4", plan.boot, BOOT_MOUNT])
    try:
        copy_tree(f"{root}/boot", BOOT_MOUNT)
        # The boot loader looks for /boot/grub, wherever it is.
        os.symlink(".", f"{BOOT_MOUNT}/boot")
    finally:
        run(["umount", BOOT_MOUNT])
    _empty(f"{root}/boot")
    run(["mount", "-t", "ext4", plan.boot, f"{root}/boot"])


def copy_tree(source: str, target: str) -> None:
    """Copy files, folders and links below one folder into another, with their modes and owners."""
    for entry in os.scandir(source):
        path = f"{target}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), path)
        elif entry.is_dir():
            os.makedirs(path, exist_ok=True)
            copy_tree(entry.path, path)
        else:
            copy_file(entry.path, path)
        os.chown(path, status.st_uid, status.st_gid, follow_symlinks=False)
        if not entry.is_symlink():
            os.chmod(path, status.st_mode & 0o7777)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def copy_file(source: str, target: str) -> None:
    """Copy the content of one file."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while data := reader.read(1 << 20):
            writer.write(data)


def _empty(folder: str) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            _empty(entry.path)
            os.rmdir(entry.path)
        else:
            os.unlink(entry.path)


def make_esp(device: str, serial: str, root: str, files: Sequence[tuple[str, str]]) -> None:
    """A new ESP for sectors that the image's own does not fit, filled from the system below `root`.

    `files`: where each goes, and its path below `root`; `serial` as blkid writes it (`ABCD-0123`).
    Raises CommandFailed, OSError.
    """
    run(["mkfs.vfat", "-S", "4096", "-i", serial.replace("-", ""), "-n", "ESP", device])
    os.makedirs(ESP_MOUNT, exist_ok=True)
    run(["mount", "-t", "vfat", device, ESP_MOUNT])
    try:
        for target, source in files:
            os.makedirs(os.path.dirname(f"{ESP_MOUNT}/{target}"), exist_ok=True)
            copy_file(f"{root}/{source}", f"{ESP_MOUNT}/{target}")
    finally:
        run(["umount", ESP_MOUNT])


def write_boot_code(disks: Iterable[DiskLayout], code: bytes) -> None:
    """Make BIOS disks bootable, as the last thing of all: the boot code in front of the partition table."""
    for disk in disks:
        fd = os.open(disk.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            blockdev.write_all(fd, memoryview(code[:440]), 0)
            os.fsync(fd)
        finally:
            os.close(fd)
