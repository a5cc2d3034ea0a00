"""Assembling a whole-disk image that boots by BIOS and by UEFI, out of a folder, with no loop device and no mount.

sectors 0..2047     GPT; boot code of GRUB's boot.img in the protective MBR
BIOS boot, 1 MiB    GRUB's core.img
ESP, 64 MiB         EFI/BOOT/BOOTX64.EFI: GRUB, or shim, which Secure Boot trusts, with the distribution's signed GRUB
root, the rest      ext4; last, so that it can grow
"""

from __future__ import annotations

import re
import shutil
import struct
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid5

from images.build.host import EPOCH, BuildError, run

MIB = 1 << 20
_SECTOR = 512
_CORE_SECTOR = 2048
_ESP_MIB = 64  # below about 34 MiB, FAT32 has too few clusters to be FAT32
ROOT_FROM_MIB = 2 + _ESP_MIB
_TAIL_MIB = 1  # the second copy of the partition table
_NAMESPACE = UUID("6d1f5d0e-3c1b-5d6e-9c1e-6a0f6d0b7a11")
_GUID_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_GUID_ESP = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_GUID_LINUX_ROOT = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709"  # x86-64, UAPI Discoverable Partitions

_FIRST_INODE = 11  # those before are of the file system itself
_INODE_COUNT = re.compile(r"^Inode count: +(\d+)$", re.MULTILINE)
_FREE_INODES = re.compile(r"^  Free inodes: ([\d, -]+)$", re.MULTILINE)

TOOLS = {
    "sfdisk": "fdisk",
    "mke2fs": "e2fsprogs",
    "dumpe2fs": "e2fsprogs",
    "debugfs": "e2fsprogs",
    "mkfs.vfat": "dosfstools",
    "mmd": "mtools",
    "mcopy": "mtools",
    "zstd": "zstd",
}
# In each core image: enough to reach /boot/grub of the third partition of the disk that it was loaded from.
_GRUB_PREFIX = "(,gpt3)/boot/grub"
# And whatever a grub.cfg by grub-mkconfig may load: the modules themselves do not lie in /boot/grub.
_GRUB_COMMON = (
    *("part_gpt", "ext2", "normal", "configfile", "linux", "echo"),
    *(
        "test",
        "true",
        "regexp",
        "sleep",
        "reboot",
        "halt",
        "serial",
        "terminal",
        "gfxterm",
        "all_video",
        "gzio",
        "xzio",
    ),
    *("search", "search_fs_uuid", "search_fs_file", "search_label", "loadenv", "minicmd", "ls", "cat", "help", "fat"),
    *("part_msdos", "mdraid1x", "lvm"),
)
_ESP_CONFIG_PATH = "usr/lib/roundhouse/esp-grub.cfg"
# The EFI system partition: where each file is in the installed system. GRUB as the distributions sign it reads its
# configuration from the distribution's own folder, so it goes on to the third partition of the disk it came from.
_ESP_FILES = {
    "EFI/BOOT/BOOTX64.EFI": "usr/lib/shim/shimx64.efi.signed",
    "EFI/BOOT/grubx64.efi": "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed",
    "EFI/debian/grub.cfg": _ESP_CONFIG_PATH,
    "EFI/ubuntu/grub.cfg": _ESP_CONFIG_PATH,
}
ESP_LIST = "usr/lib/roundhouse/esp"  # "PATH ON THE ESP<tab>PATH IN THE SYSTEM" a line, for whoever makes another ESP
_ESP_CONFIG = """\
regexp --set=1:disk '^([^,]+)' "$root"
set root=$disk,gpt3
set prefix=($disk,gpt3)/boot/grub
configfile $prefix/grub.cfg
"""


@dataclass(frozen=True, slots=True)
class Identity:
    """The image's identifiers: derived from its slug, so that a rebuilt image is the same to its boot loader."""

    disk: UUID
    bios_boot: UUID
    esp: UUID
    esp_partition: UUID
    root: UUID
    root_partition: UUID

    @property
    def esp_serial(self) -> str:
        """FAT's volume id, as eight hex digits."""
        return f"{self.esp.int & 0xFFFFFFFF:08X}"


def identity(slug: str) -> Identity:
    """The identifiers of one image."""
    names = ("disk", "bios_boot", "esp", "esp_partition", "root", "root_partition")
    return Identity(*(uuid5(_NAMESPACE, f"{slug}/{name}") for name in names))


def assemble(tree: Path, ids: Identity, scratch: Path, modules: tuple[str, ...] = ()) -> Path:
    """Make the disk image of the system in `tree`, which has GRUB's packages installed. Raises BuildError.

    `modules` are of GRUB, beside those that every image needs.
    """
    used_mib = int(run(["du", "-s", "--block-size=1M", tree]).split()[0])
    # A fifth for metadata, the journal and first-boot files; the partition grows to the disk's end on installation.
    root_mib = used_mib * 6 // 5 + 96
    disk_mib = ROOT_FROM_MIB + root_mib + _TAIL_MIB
    image = scratch / "disk"
    with image.open("wb") as file:
        file.truncate(disk_mib * MIB)
    run(["sfdisk", "--quiet", image], feed=_table(ids, root_mib))
    make_root(tree, ids, image, root_mib)
    _esp(tree, ids, image, scratch, modules)
    _bios(tree, image, modules)
    return image


def _table(ids: Identity, root_mib: int) -> str:
    return "\n".join(
        [
            "label: gpt",
            f"label-id: {ids.disk}",
            f"start=1MiB, size=1MiB, type={_GUID_BIOS_BOOT}, uuid={ids.bios_boot}, name=bios",
            f"start=2MiB, size={_ESP_MIB}MiB, type={_GUID_ESP}, uuid={ids.esp_partition}, name=esp",
            f"start={ROOT_FROM_MIB}MiB, size={root_mib}MiB, type={_GUID_LINUX_ROOT}, "
            f"uuid={ids.root_partition}, name=root",
            "",
        ]
    )


def make_root(tree: Path, ids: Identity, image: Path, root_mib: int) -> None:
    """Make the root file system of so many MiB at its place in `image`, out of what is in `tree`. Raises BuildError."""
    # GRUB 2.06 cannot read a file system with metadata_csum_seed or orphan_file.
    options = f"offset={ROOT_FROM_MIB * MIB},hash_seed={ids.root},root_owner=0:0,lazy_itable_init=1,nodiscard"
    features = "^metadata_csum_seed,^orphan_file"
    shape = ["-t", "ext4", "-b", "4096", "-I", "256", "-i", "16384", "-J", "size=64", "-m", "1", "-O", features]
    name = ["-U", str(ids.root), "-L", "root", "-E", options]
    run(["mke2fs", "-q", "-F", *shape, *name, "-d", tree, image, f"{root_mib}M"])
    _settle_times(f"{image}?offset={ROOT_FROM_MIB * MIB}")


def _settle_times(place: str) -> None:
    """mke2fs copies from the folder when each file was read and when its inode changed: set both to the fixed date."""
    groups = run(["dumpe2fs", place])
    inodes = int(_INODE_COUNT.findall(groups)[0])
    free: set[int] = set()
    for ranges in _FREE_INODES.findall(groups):
        for words in ranges.split(", "):
            first, _, last = words.partition("-")
            free.update(range(int(first), int(last or first) + 1))
    used = [number for number in range(_FIRST_INODE, inodes + 1) if number not in free]
    fields = [f"set_inode_field <{number}> {time} @{EPOCH}\n" for number in used for time in ("atime", "ctime")]
    run(["debugfs", "-w", "-f", "/dev/stdin", place], feed="".join(fields))


def _grub(tree: Path, target: str, modules: tuple[str, ...]) -> bytes:
    output = tree / "core"
    # Named as Fedora and its kin do, or as all others.
    program = "grub2-mkimage" if (tree / "usr/bin/grub2-mkimage").exists() else "grub-mkimage"
    run(["chroot", tree, program, "-O", target, "-p", _GRUB_PREFIX, "-o", "/core", *_GRUB_COMMON, *modules])
    core = output.read_bytes()
    output.unlink()
    return core


def describe_esp(tree: Path) -> None:
    """Write into the system what its EFI system partition is made of. Before `assemble`, which reads it there."""
    config = tree / _ESP_CONFIG_PATH
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(_ESP_CONFIG, encoding="utf-8")
    listing = "".join(f"{target}\t{source}\n" for target, source in _ESP_FILES.items())
    (tree / ESP_LIST).write_text(listing, encoding="utf-8")


def _esp(tree: Path, ids: Identity, image: Path, scratch: Path, modules: tuple[str, ...]) -> None:
    esp, listing = scratch / "esp", tree / ESP_LIST
    if listing.exists():
        rows = [line.split("\t") for line in listing.read_text(encoding="utf-8").splitlines()]
        files = {name: tree / origin for name, origin in rows}
    else:  # no signed boot loader that would read what we have to say
        files = {"EFI/BOOT/BOOTX64.EFI": scratch / "bootx64.efi"}
        files["EFI/BOOT/BOOTX64.EFI"].write_bytes(_grub(tree, "x86_64-efi", ("efi_gop", *modules)))
    with esp.open("wb") as file:
        file.truncate(_ESP_MIB * MIB)
    run(["mkfs.vfat", "--invariant", "-F", "32", "-s", "1", "-i", ids.esp_serial, "-n", "ESP", esp])
    run(["mmd", "-i", esp, "::/EFI", *sorted({f"::/{Path(name).parent}" for name in files})])
    for name, origin in files.items():
        run(["mcopy", "-m", "-i", esp, origin, f"::/{name}"])
    with esp.open("rb") as source, image.open("r+b") as target:
        target.seek(2 * MIB)
        shutil.copyfileobj(source, target, MIB)


def _bios(tree: Path, image: Path, modules: tuple[str, ...]) -> None:
    """Install GRUB's boot code as grub-bios-setup would, which wants a real disk."""
    boot = bytearray((tree / "usr/lib/grub/i386-pc/boot.img").read_bytes())
    core = bytearray(_grub(tree, "i386-pc", ("biosdisk", *modules)))
    if len(core) > MIB:
        raise BuildError(f"GRUB's core image of {len(core)} bytes does not fit its partition")
    # Offsets from GRUB's include/grub/i386/pc/boot.h: where core.img starts; and no test for the boot drive's number.
    struct.pack_into("<Q", boot, 0x5C, _CORE_SECTOR)
    boot[0x66:0x68] = b"\x90\x90"
    # core.img's first sector ends in a block list: the rest of it follows at the next sector.
    struct.pack_into("<Q", core, 500, _CORE_SECTOR + 1)
    with image.open("r+b") as disk:
        disk.write(boot[:440])  # the disk's signature and the protective partition stay
        disk.seek(_CORE_SECTOR * _SECTOR)
        disk.write(core)
