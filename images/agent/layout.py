"""Which disks an order gets and what is made of them: from the disks that are there and the wish to a plan. Pure.

As it is       the image is copied to one disk, its root grows to the end
laid out       BIOS boot, ESP and a third partition on every disk, at the same places, so that each of them boots alone:
               mirror of partitions alone: the third is the root's RAID 1
               all else: the third holds /boot (RAID 1 where there are several disks), the fourth what is left; on that
               RAID 1 or 10, encryption, a volume group, in this order and as far as wanted

The third partition, and with it GRUB's files, can be read without knowing RAID, LVM or LUKS: a RAID 1's members with
metadata 1.0 begin with the file system itself. So the image's boot loader finds it wherever it was put.
"""

from __future__ import annotations

from images.agent import gpt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Final, Literal, Protocol

    from images.protocol import DiskHint, Storage

    class Piece(Protocol):
        """A partition of the image, in bytes; `role` is "bios", "esp", "boot", "root" or empty."""

        number: int
        start: int
        bytes: int
        role: str
        filesystem: str
        uuid: str

    class Found(Protocol):
        """A disk that the machine has."""

        path: str
        bytes: int
        serial: str
        rotational: bool
        sector: int


MIB: Final = 1 << 20
BOOT_BYTES: Final = 512 * MIB  # three kernels with their initramfs, and one being installed
GPT_MIB: Final = MIB  # at the end of each disk: the second copy of the table
# What lies in front of the data: by `mdadm --data-offset`, `cryptsetup --offset`, and LVM's first extent.
RAID_OFFSET: Final = 16 * MIB
LUKS_OFFSET: Final = 16 * MIB
LVM_OFFSET: Final = MIB
EXTENT: Final = 4 * MIB
_MIRROR_TAIL: Final = MIB  # metadata 1.0 and its bitmap, behind the data
_FEWEST: Final = {"none": 1, "1": 2, "10": 4}


class NoLayout(ValueError):
    """The wish and the machine do not go together; the text names what was wanted and what was found."""


class DiskLayout:
    """One disk with the partitions that it gets."""

    __slots__ = ("bytes", "guid", "partitions", "path", "sector")

    def __init__(self, path: str, size: int, sector: int, guid: str, partitions: Sequence[gpt.Partition]) -> None:
        self.path, self.bytes, self.sector, self.guid = path, size, sector, guid
        self.partitions = tuple(partitions)

    def device(self, number: int) -> str:
        """The path of its partition of that number."""
        return gpt.device_of(self.path, number)


class Array:
    """One software RAID."""

    __slots__ = ("level", "members", "metadata", "path", "uuid")

    def __init__(
        self, path: str, level: Literal["1", "10"], metadata: Literal["1.0", "1.2"], members: Sequence[str], uuid: str
    ) -> None:
        self.path, self.level, self.metadata, self.uuid = path, level, metadata, uuid
        self.members = tuple(members)


class Crypt:
    """An encrypted device: what it is on, and the name that it is opened by."""

    __slots__ = ("device", "name", "uuid")

    def __init__(self, device: str, name: str, uuid: str) -> None:
        self.device, self.name, self.uuid = device, name, uuid

    @property
    def path(self) -> str:
        """Where it is when it is open."""
        return f"/dev/mapper/{self.name}"


class Group:
    """A volume group of one physical volume, with the root's volume over all of it."""

    __slots__ = ("device", "name")

    def __init__(self, device: str, name: str) -> None:
        self.device, self.name = device, name

    @property
    def root(self) -> str:
        """The root's volume."""
        return f"/dev/mapper/{self.name}-root"


class Plan:
    """What is made of which disks. `whole` is the disk that gets the image as it is; else `disks` are laid out."""

    __slots__ = ("arrays", "boot", "boot_uuid", "crypt", "disks", "group", "others", "piece", "root", "whole")

    def __init__(
        self,
        *,
        piece: Piece,
        root: str,
        whole: str = "",
        disks: Sequence[DiskLayout] = (),
        arrays: Sequence[Array] = (),
        crypt: Crypt | None = None,
        group: Group | None = None,
        boot: str = "",
        boot_uuid: str = "",
        others: Sequence[str] = (),
    ) -> None:
        self.piece = piece  # the image's root
        self.root = root  # the device that it goes to
        self.whole = whole
        self.disks, self.arrays = tuple(disks), tuple(arrays)
        self.crypt, self.group = crypt, group
        self.boot, self.boot_uuid = boot, boot_uuid  # /boot's device, and the file system to be made there; or empty
        self.others = tuple(others)  # disks that are left alone

    @property
    def paths(self) -> list[str]:
        """The disks that are used."""
        return [self.whole] if self.whole else [disk.path for disk in self.disks]

    @property
    def root_source(self) -> str:
        """How kernel and fstab name the root: by its file system's UUID, below a mapper by the mapper's own name."""
        return self.root if self.group or self.crypt else f"UUID={self.piece.uuid}"


def plan(
    found: Sequence[Found],
    storage: Storage,
    pieces: Sequence[Piece],
    image_bytes: int,
    *,
    firmware: str,
    new_uuid: Callable[[], str],
) -> Plan:
    """What to make of the disks. `firmware` is "bios" or "uefi"; `new_uuid` gives a fresh UUID in lower case.

    Without hints the disks are those that hold it: solid state before rotating, then the smallest, then in the
    kernel's order; for a RAID rather disks of one size. Raises NoLayout.
    """
    raid, lvm, passphrase = storage["raid"], storage["lvm"], storage["passphrase"]
    plain = raid == "none" and not lvm and not passphrase
    count = _count(raid, storage["disks"])
    needed = image_bytes if plain else _needed(pieces, storage, count)
    chosen = choose(found, storage["disks"], count, needed)
    for disk in chosen:
        if disk.sector != 512 and firmware == "bios":
            raise NoLayout(f"{disk.path} has sectors of {disk.sector} bytes, from which no BIOS boots")
    used = {disk.path for disk in chosen}
    others = [disk.path for disk in found if disk.path not in used]
    root = next((piece for piece in pieces if piece.role == "root"), None)
    if root is None:
        raise NoLayout("the image names no partition as its root")
    if plain and chosen[0].sector == 512:
        path = chosen[0].path
        return Plan(piece=root, root=gpt.device_of(path, root.number), whole=path, others=others)
    return _lay_out(chosen, storage, pieces, root, others, new_uuid)


def _count(raid: str, hints: Sequence[DiskHint]) -> int:
    fewest = _FEWEST[raid]
    if not hints:
        return fewest
    if raid == "none" and len(hints) > 1:
        raise NoLayout(f"without RAID the system is on one disk; {len(hints)} are asked for")
    if len(hints) < fewest:
        raise NoLayout(f"RAID {raid} needs {fewest} disks or more; {len(hints)} are asked for")
    return len(hints)


def _needed(pieces: Sequence[Piece], storage: Storage, count: int) -> int:
    """How large each disk must be, in bytes."""
    root = sum(piece.bytes for piece in pieces if piece.role == "root")
    share = -(-2 * root // count) if storage["raid"] == "10" else root
    over = RAID_OFFSET + LUKS_OFFSET + LVM_OFFSET + 2 * EXTENT + _MIRROR_TAIL
    return third_start(pieces) + BOOT_BYTES + over + share + 2 * GPT_MIB


def third_start(pieces: Sequence[Piece]) -> int:
    """Where the partition behind the ESP begins."""
    return max((piece.start + piece.bytes for piece in pieces if piece.role in ("bios", "esp")), default=MIB)


def kind_of(disk: Found) -> str:
    """ "nvme", "ssd" or "hdd"."""
    if disk.rotational:
        return "hdd"
    return "nvme" if "/nvme" in disk.path else "ssd"


def choose(found: Sequence[Found], hints: Sequence[DiskHint], count: int, needed: int) -> list[Found]:
    """`count` disks of `needed` bytes or more: by the hints, in their order, or the first. Raises NoLayout."""
    fit = [disk for disk in found if disk.bytes >= needed]
    fit.sort(key=lambda disk: (disk.rotational, disk.bytes))  # stable: in the kernel's order beyond that
    if hints:
        return _matched(fit, hints, found, needed)
    if len(fit) < count:
        wanted = f"{count} disks" if count > 1 else "a disk"
        raise NoLayout(f"{wanted} of {needed} bytes or more wanted; found: {told(found)}")
    for disk in fit:
        alike = [one for one in fit if (one.rotational, one.bytes) == (disk.rotational, disk.bytes)]
        if len(alike) >= count:
            return alike[:count]
    return fit[:count]


def _matched(fit: list[Found], hints: Sequence[DiskHint], found: Sequence[Found], needed: int) -> list[Found]:
    """A disk for each hint, no disk twice: a hint that can do with another disk gives way."""
    holder: dict[str, int] = {}

    def seat(number: int, tried: set[str]) -> bool:
        for disk in fit:
            if disk.path not in tried and fits(disk, hints[number]):
                tried.add(disk.path)
                if disk.path not in holder or seat(holder[disk.path], tried):
                    holder[disk.path] = number
                    return True
        return False

    for number, hint in enumerate(hints):
        if not seat(number, set()):
            raise NoLayout(f"no disk of {needed} bytes or more is left for {_asked(hint)}; found: {told(found)}")
    by_number = {number: path for path, number in holder.items()}
    return [next(disk for disk in fit if disk.path == by_number[number]) for number in range(len(hints))]


def fits(disk: Found, hint: DiskHint) -> bool:
    """True where the disk is all that the hint says."""
    return (
        hint.get("path", disk.path) == disk.path
        and hint.get("serial", disk.serial) == disk.serial
        and hint.get("type", kind_of(disk)) == kind_of(disk)
        and hint.get("min_bytes", 0) <= disk.bytes <= hint.get("max_bytes", disk.bytes)
    )


def _asked(hint: DiskHint) -> str:
    return ", ".join(f"{name} {value}" for name, value in hint.items()) or "any"


def told(found: Sequence[Found]) -> str:
    """The disks in words."""
    each = [f"{disk.path} ({kind_of(disk)}, {disk.bytes} bytes, serial {disk.serial or 'unknown'})" for disk in found]
    return ", ".join(each) or "none"


def _lay_out(
    chosen: Sequence[Found],
    storage: Storage,
    pieces: Sequence[Piece],
    root: Piece,
    others: Sequence[str],
    new_uuid: Callable[[], str],
) -> Plan:
    esp = _fixed(pieces)
    several = len(chosen) > 1
    split = storage["raid"] == "10" or storage["lvm"] or bool(storage["passphrase"])
    start = -(-third_start(pieces) // MIB) * MIB
    rest = start + BOOT_BYTES if split else start
    room = min(disk.bytes for disk in chosen) // MIB * MIB - GPT_MIB - rest
    kinds = [gpt.RAID if several else gpt.LINUX]
    if split:
        kinds.append(gpt.RAID if several else gpt.LUKS if storage["passphrase"] else gpt.LVM)
    elif not several:
        kinds = [gpt.LINUX_ROOT]
    layouts = []
    for disk in chosen:
        parts = [gpt.Partition(1, MIB, MIB, gpt.BIOS_BOOT, new_uuid(), "bios")]
        parts.append(gpt.Partition(2, esp.start, esp.bytes, gpt.ESP, new_uuid(), "esp"))
        if split:
            parts.append(gpt.Partition(3, start, BOOT_BYTES, kinds[0], new_uuid(), "boot"))
        parts.append(gpt.Partition(len(parts) + 1, rest, room, kinds[-1], new_uuid(), "root"))
        layouts.append(DiskLayout(disk.path, disk.bytes, disk.sector, new_uuid(), parts))
    arrays: list[Array] = []

    def joined(number: int, level: Literal["1", "10"], metadata: Literal["1.0", "1.2"]) -> str:
        members = [layout.device(number) for layout in layouts]
        if not several:
            return members[0]
        arrays.append(Array(f"/dev/md{len(arrays)}", level, metadata, members, new_uuid()))
        return arrays[-1].path

    boot = joined(3, "1", "1.0") if split else ""
    level: Literal["1", "10"] = "10" if storage["raid"] == "10" else "1"
    device = joined(4, level, "1.2") if split else joined(3, "1", "1.0")
    crypt = group = None
    if storage["passphrase"]:
        crypt = Crypt(device, "root_crypt", new_uuid())
        device = crypt.path
    if storage["lvm"]:
        # Two groups of one name on one machine are a trouble that an old disk must not bring.
        group = Group(device, f"vg{new_uuid()[:8]}")
        device = group.root
    return Plan(
        piece=root,
        root=device,
        disks=layouts,
        arrays=arrays,
        crypt=crypt,
        group=group,
        boot=boot,
        boot_uuid=new_uuid() if boot else "",
        others=others,
    )


def _fixed(pieces: Sequence[Piece]) -> Piece:
    """The image's ESP. Raises NoLayout for an image whose boot loader would not find its way in another layout."""
    roles = {piece.role: piece for piece in pieces}
    numbers = {role: roles[role].number for role in ("bios", "esp", "root") if role in roles}
    if numbers != {"bios": 1, "esp": 2, "root": 3} or "boot" in roles or roles["bios"].start != MIB:
        there = ", ".join(f"{piece.number} {piece.role or 'other'}" for piece in pieces)
        raise NoLayout(f"this image goes to one whole disk only: its partitions are {there}")
    if roles["root"].filesystem != "ext4":
        raise NoLayout(f"this image goes to one whole disk only: its root is {roles['root'].filesystem or 'unknown'}")
    return roles["esp"]
