"""What partitions a raw disk has, and what each is for."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from images.build.host import BuildError, run, which
from images.chunks import SECTOR, Partition

TOOLS = {"sfdisk": "fdisk", "blkid": "util-linux"}
# By the type's GUID (UEFI 2.10 §5.3.3 and the Discoverable Partitions Specification), or by the number of an MBR.
_ROLES = {
    "21686148-6449-6e6f-744e-656564454649": "bios",
    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b": "esp",
    "ef": "esp",
    "bc13c2ff-59e6-4262-a352-b275fd6f7172": "boot",
    "4f68bce3-e8cd-4db1-96e7-fbcaf984b709": "root",  # x86-64
    "b921b045-1df0-41c3-af44-4c6f280d3fae": "root",  # arm64
}
_ROOT_FILESYSTEMS = ("ext4", "xfs", "btrfs")


def partitions_of(raw: Path) -> list[Partition]:
    """The partitions of a disk image with a GPT or an MBR, sorted by their place; none without a table.

    The root partition is the one that says so by its type or is labelled `root`, else the largest file system that is
    no boot partition. Raises BuildError.
    """
    if _probe(raw).get("PTTYPE") not in ("gpt", "dos"):
        return []
    table: dict[str, Any] = json.loads(run(["sfdisk", "--json", raw]))["partitiontable"]
    if table.get("sectorsize", SECTOR) != SECTOR:
        raise BuildError(f"{raw} has sectors of {table['sectorsize']} bytes, not {SECTOR}")
    found, labels = [], {}
    for entry in sorted(table.get("partitions", []), key=lambda entry: int(entry["start"])):
        number = int(entry["node"].removeprefix(str(raw)).removeprefix("p"))
        type_ = str(entry["type"]).lower()
        if type_ in ("5", "f", "85"):  # an extended partition is only the frame of others
            continue
        role = _ROLES.get(type_, "")
        start, size = int(entry["start"]) * SECTOR, int(entry["size"]) * SECTOR
        seen = {} if role == "bios" else _probe(raw, start, size)
        guid = type_ if len(type_) == 36 else ""
        found.append(Partition(number, start, size, guid, role, seen.get("TYPE", ""), seen.get("UUID", "")))
        labels[number] = seen.get("LABEL", "").lower()
    _name_root(found, labels)
    return found


def _name_root(found: list[Partition], labels: Mapping[int, str]) -> None:
    free = [one for one in found if not one.role and one.filesystem in _ROOT_FILESYSTEMS]
    for one in free:
        if labels[one.number] == "boot":
            one.role = "boot"
    if any(one.role == "root" for one in found):
        return
    named = [one for one in free if labels[one.number] == "root"]
    others = [one for one in free if one.role != "boot"]
    if named or others:
        max(named or others, key=lambda one: one.bytes).role = "root"


def _probe(raw: Path, start: int = 0, size: int = 0) -> dict[str, str]:
    """What blkid finds at that place; empty where it knows nothing."""
    place = ["--offset", str(start), "--size", str(size)] if size else []
    command = [which("blkid") or "blkid", "--probe", "--output", "export", *place, str(raw)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 2):
        raise BuildError(f"blkid {raw}: {done.stderr.strip()}")
    return dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
