"""How an order says that its disks are to be used: in our words, or as far as it goes in those of the old dialect.

Ours:   {"raid": "none"|"1"|"10", "lvm": BOOL, "passphrase": TEXT, "disks": [{"path", "serial", "type", "min_bytes",
        "max_bytes"}, …]}
Theirs: {"disks": [{"device", "wipeTable", "partitions": [{"label", "number", "size"}]}], "raid": [{"devices", "level",
        "name"}], "filesystems": [{"mount": {"device", "format", "point", "create": {"options"}}}]}

The partitions of a disk are ours to choose, so of theirs only those can be had that we would make as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from service.api.numbers import no_truth
from service.api.problems import shown

_OURS = ("disks", "lvm", "passphrase", "raid")
_THEIRS = ("disks", "filesystems", "raid")
_THEIR_DISK = ("device", "partitions", "wipeTable", "wipe_table")
_BOOT_LABELS = ("BIOS", "EFI", "ESP")
_LEVELS = {"1": "1", "10": "10", "raid1": "1", "raid10": "10"}

Path = Annotated[str, StringConstraints(pattern=r"^/dev/[A-Za-z0-9][A-Za-z0-9/._:+-]*$", max_length=200)]
Bytes = Annotated[int, BeforeValidator(no_truth), Field(ge=0, lt=1 << 63)]


class _Words(BaseModel):
    model_config = ConfigDict(extra="forbid")


class DiskWish(_Words):
    """What one disk must be."""

    path: Path | None = None
    serial: Annotated[str, StringConstraints(pattern=r"^[!-~][ -~]{0,63}$")] | None = None
    type: Literal["nvme", "ssd", "hdd"] | None = None
    min_bytes: Bytes | None = None
    max_bytes: Bytes | None = None


class StorageWish(_Words):
    """How the disks are used."""

    raid: Literal["none", "1", "10"] = "none"
    lvm: bool = False
    # What is typed at a console, which is at the mercy of its keyboard.
    passphrase: Annotated[str, StringConstraints(pattern=r"^([ -~]{8,128})?$")] = ""
    disks: Annotated[list[DiskWish], Field(max_length=64)] = []

    def kept(self) -> dict[str, Any]:
        """As the device's row has it: without the passphrase."""
        return self.model_dump(exclude={"passphrase"}, exclude_none=True)


def _our_words(value: object) -> object:
    """The wish in our words. Raises ValueError for what of the dialect's we cannot do."""
    if not isinstance(value, Mapping):
        return value
    if _is_theirs(value):
        return _translated(value)
    raid = value.get("raid")
    return {**value, "raid": str(raid)} if isinstance(raid, int) and not isinstance(raid, bool) else value


Storage = Annotated[StorageWish, BeforeValidator(_our_words)]


def _is_theirs(value: Mapping[str, Any]) -> bool:
    disks = value.get("disks")
    named = isinstance(disks, list) and any(
        isinstance(disk, Mapping) and set(disk) & set(_THEIR_DISK) for disk in disks
    )
    return named or "filesystems" in value or isinstance(value.get("raid"), list)


def _translated(value: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := sorted(set(value) - set(_THEIRS)):
        raise ValueError(f"{unknown[0]} is not possible; allowed are {', '.join(_THEIRS)}")
    disks = _objects(value, "disks")
    root = _root(_objects(value, "filesystems"))
    paths, roots = [], []
    for disk in disks:
        paths.append(_text(disk, "disks.device", "device"))
        roots.append(_root_partition(disk, paths[-1]))
    raid = _objects(value, "raid")
    if not raid:
        if roots != [root]:
            raise ValueError(
                f"filesystems: / on {shown(root)} is not possible; allowed is the last partition of one disk"
            )
        return {"raid": "none", "disks": [{"path": path} for path in paths]}
    array = raid[0]
    level = _LEVELS.get(str(array.get("level")))
    members = array.get("devices")
    if len(raid) > 1 or level is None:
        raise ValueError(
            f"raid.level {shown(array.get('level'))} is not possible; allowed is one array of level 1 or 10"
        )
    if array.get("name") != root:
        raise ValueError(
            f"filesystems: / on {shown(root)} is not possible; allowed is the array {shown(array.get('name'))}"
        )
    if not isinstance(members, list) or sorted(map(str, members)) != sorted(roots):
        raise ValueError(f"raid.devices {shown(members)} is not possible; allowed is the last partition of every disk")
    return {"raid": level, "disks": [{"path": path} for path in paths]}


def _objects(value: Mapping[str, Any], name: str) -> Sequence[Mapping[str, Any]]:
    found = value.get(name) or []
    if not isinstance(found, list) or not all(isinstance(one, Mapping) for one in found):
        raise ValueError(f"{name} {shown(found)} must be a list of objects")
    return found


def _text(value: Mapping[str, Any], where: str, name: str) -> str:
    found = value.get(name)
    if not isinstance(found, str) or not found:
        raise ValueError(f"{where} {shown(found)} must be a text")
    return found


def _root(filesystems: Sequence[Mapping[str, Any]]) -> str:
    """The device that / is on. Every other file system is refused, but for the one that UEFI needs."""
    found = []
    for filesystem in filesystems:
        mount = filesystem.get("mount")
        if not isinstance(mount, Mapping):
            raise ValueError(f"filesystems.mount {shown(mount)} must be an object")
        point, kind = mount.get("point"), mount.get("format")
        if (point, kind) in (("/boot/efi", "vfat"), ("/boot/efi", "fat32")):
            continue
        if (point, kind) != ("/", "ext4"):
            raise ValueError(
                f"filesystems: {shown(kind)} at {shown(point)} is not possible; "
                "allowed are ext4 at / and vfat at /boot/efi"
            )
        found.append(_text(mount, "filesystems.mount.device", "device"))
    if len(found) != 1:
        raise ValueError(f"filesystems: / is there {len(found)} times; allowed is once")
    return found[0]


def _root_partition(disk: Mapping[str, Any], path: str) -> str:
    """The device of the disk's last partition, which has all the room that the boot loader's leave."""
    if disk.get("wipeTable", disk.get("wipe_table", True)) is False:
        raise ValueError(f"disks.wipeTable False is not possible; allowed is true: {path} is written anew")
    partitions = _objects(disk, "partitions")
    if not partitions:
        raise ValueError(f"disks.partitions of {path} must name the partition of /")
    for partition in partitions[:-1]:
        if str(partition.get("label")).upper() not in _BOOT_LABELS:
            raise ValueError(
                f"disks.partitions: {shown(partition.get('label'))} of {path} is not possible; "
                f"allowed before the last one are {', '.join(_BOOT_LABELS)}"
            )
    last = partitions[-1]
    if str(last.get("size", 0)) not in ("0", "100%"):
        raise ValueError(
            f"disks.partitions.size {shown(last.get('size'))} of {path} is not possible; allowed is 0: the rest"
        )
    number = last.get("number", len(partitions))
    return f"{path}{'p' if re.search('[0-9]$', path) else ''}{number}"
