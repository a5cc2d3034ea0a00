"""The toolbox: programs and kernel modules that only some work needs, in an archive beside the in-RAM installer.

It belongs to one initramfs: what is there already is left out, and its programs use the initramfs's libraries. The
agent fetches it when it is first wanted (`images.agent.toolbox`).
"""

from __future__ import annotations

import shutil
from pathlib import Path

from images.build import cpio, modules
from images.build.architecture import Root
from images.build.host import BuildError, run

PACKAGES = (
    *("mdadm", "lvm2", "dmsetup", "cryptsetup-bin", "e2fsprogs", "xfsprogs", "dosfstools", "util-linux", "mount"),
    *("dropbear-bin",),
)

# By name in /bin, with the path in the packages.
TOOLS = {
    # software RAID, volumes, encryption
    "mdadm": "sbin/mdadm",
    "lvm": "sbin/lvm",
    "dmsetup": "sbin/dmsetup",
    "cryptsetup": "sbin/cryptsetup",
    # file systems and partition tables
    "mke2fs": "sbin/mke2fs",
    "e2fsck": "sbin/e2fsck",
    "tune2fs": "sbin/tune2fs",
    "mkfs.xfs": "sbin/mkfs.xfs",
    "xfs_growfs": "usr/sbin/xfs_growfs",
    "xfs_db": "usr/sbin/xfs_db",
    "xfs_io": "usr/sbin/xfs_io",
    "mkfs.fat": "sbin/mkfs.fat",
    "mkswap": "sbin/mkswap",
    "blkid": "sbin/blkid",
    "lsblk": "bin/lsblk",
    "wipefs": "sbin/wipefs",
    # a login for operators
    "dropbear": "usr/sbin/dropbear",
    "dropbearkey": "usr/bin/dropbearkey",
}

# Other names, each with the program that goes by it. The commands of busybox that a person at the console wants.
LINKS = {
    **dict.fromkeys(("mkfs.ext2", "mkfs.ext3", "mkfs.ext4"), "mke2fs"),
    "mkfs.vfat": "mkfs.fat",
    **dict.fromkeys(
        ("pvcreate", "pvremove", "pvs", "pvresize", "vgcreate", "vgremove", "vgchange", "vgs", "vgscan"), "lvm"
    ),
    **dict.fromkeys(("lvcreate", "lvremove", "lvchange", "lvextend", "lvs", "pvscan"), "lvm"),
    **dict.fromkeys(
        (
            *("[", "awk", "basename", "blkdiscard", "blockdev", "chmod", "chown", "clear", "cp", "cut", "date", "dd"),
            *("df", "dirname", "du", "echo", "egrep", "expr", "false", "fgrep", "free", "grep", "gunzip", "gzip"),
            *("head", "hexdump", "hostname", "id", "insmod", "killall", "less", "ln", "login", "losetup", "lsmod"),
            *("mkfifo", "mknod", "mktemp", "more", "mv", "nc", "netstat", "nslookup", "od", "partprobe", "pidof"),
            *("ping", "ping6", "printf", "pwd", "readlink", "realpath", "rmdir", "rmmod", "route", "sed"),
            *("seq", "setsid", "sha256sum", "stat", "strings", "stty", "su", "tail", "tee", "test", "tftp"),
            *("time", "timeout", "top", "touch", "traceroute", "true", "tty", "uname", "unxz", "uptime", "vi"),
            *("watch", "wc", "wget", "which", "xargs", "xxd", "xzcat", "yes", "zcat"),
        ),
        "busybox",
    ),
}

# Opened at run time: the C library wants it where a thread ends early, as cryptsetup's do.
_LIBRARIES = ("libgcc_s.so.1",)

# Files that the programs read.
_FILES = ("etc/mke2fs.conf",)

MODULES = (
    *("raid0", "raid1", "raid10", "raid456", "dm_mod", "dm_crypt", "dm_raid", "dm_mirror", "dm_snapshot"),
    *("aesni_intel", "aes_generic", "aes_ce_blk", "xts", "ecb", "cbc", "essiv", "sha256_generic", "sha512_generic"),
    *("algif_skcipher", "algif_hash"),
    # errors that the memory controller counts, and temperatures
    *("skx_edac", "i10nm_edac", "sb_edac", "ie31200_edac", "igen6_edac", "pnd2_edac", "amd64_edac", "ghes_edac"),
    *("coretemp", "k10temp", "drivetemp"),
    *("xfs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "btrfs", "iso9660", "loop", "bonding", "8021q"),
)


def pack(system: Root, base: Path, scratch: Path) -> Path:
    """Make the archive of what `system` has beyond the initramfs at `base`, which lies in its tree.

    Raises BuildError.
    """
    tree = system.tree
    root = tree / "toolbox"
    for name, path in TOOLS.items():
        place(tree / path, root / "bin" / name, 0o755)
    for name, library in system.libraries({f"/{path}" for path in TOOLS.values()}).items():
        place(library, root / "lib" / name)
    for name in _LIBRARIES:
        found = [*tree.glob(f"usr/lib/*-linux-gnu/{name}"), *tree.glob(f"lib/*-linux-gnu/{name}")]
        if not found:
            raise BuildError(f"the installer's packages have no {name}")
        place(found[0], root / "lib" / name)
    for path in _FILES:
        place(tree / path, root / path)
    for name, program in LINKS.items():
        (root / "bin" / name).symlink_to(program)
    modules.collect(system, root, (*modules.WANTED, *MODULES))
    for file in sorted(root.rglob("*")):
        known = base / file.relative_to(root)
        if file.is_file() and not file.is_symlink() and known.is_file() and known.read_bytes() == file.read_bytes():
            file.unlink()
    archive, packed = scratch / "toolbox.cpio", scratch / "toolbox"
    archive.write_bytes(cpio.encode(list(cpio.walk(root))))
    run(["zstd", "-q", "-19", "-T0", archive, "-o", packed])
    return packed


def place(source: Path, target: Path, mode: int = 0o644) -> None:
    """Copy one file, with the folders above it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)
