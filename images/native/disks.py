"""A shell script's part that finds an order's disks: installers match them in five different ways, or not at all."""

from __future__ import annotations

import hashlib
import json
import shlex
from importlib.resources import files

from images.native.checks import disk_count
from images.protocol import Storage

# A disk that nobody described is taken when a system fits on it.
_SMALLEST = 8_000_000_000


def finder(storage: Storage) -> str:
    """Lines of a POSIX shell script that set disk0, disk1, … to devices, or end it with 1 and a reason on stderr.

    Without hints they are chosen as the image engine does: solid state before rotating, then the smallest; for a RAID
    rather disks of one size.
    """
    lines = []
    if storage["disks"]:
        numbered = list(enumerate(storage["disks"]))
        # What names one disk goes before what fits many, or it might find its disk taken.
        numbered.sort(key=lambda pair: ("path" not in pair[1], "serial" not in pair[1], -len(pair[1])))
        for number, hint in numbered:
            least, most = str(hint.get("min_bytes", "")), str(hint.get("max_bytes", ""))
            words = [hint.get("path", ""), hint.get("serial", "").strip(), hint.get("type", ""), least, most]
            lines += [f"find_disk {' '.join(map(shlex.quote, words))} || exit 1", f"disk{number}=$found"]
    else:
        count = disk_count(storage)
        lines.append(f"alike {count} {_SMALLEST}")
        for number in range(count):
            lines += [f"find_disk '' '' '' \"${{size:-{_SMALLEST}}}\" \"$size\" || exit 1", f"disk{number}=$found"]
    return (files("images") / "native" / "disks.sh").read_text(encoding="utf-8") + "\n".join([*lines, ""])


def placeholder(storage: Storage, name: str) -> str:
    """What stands in a file for something that only the machine knows. No passphrase can contain it by design."""
    digest = hashlib.sha256(json.dumps(storage, sort_keys=True).encode()).hexdigest()
    return f"@{digest[:16]}.{name}@"


def placeholders(storage: Storage) -> list[str]:
    """What stands for the disks in a file, until the script that found them puts their names there."""
    return [placeholder(storage, f"DISK{number}") for number in range(disk_count(storage))]


def fill(storage: Storage, source: str, goal: str) -> str:
    """A line of that script that copies a file with the disks' names in place of the placeholders."""
    edits = " ".join(f'-e "s|{name}|$disk{number}|g"' for number, name in enumerate(placeholders(storage)))
    return f"sed {edits} {shlex.quote(source)} > {shlex.quote(goal)}\n"
