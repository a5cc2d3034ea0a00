"""Every question that debian-installer may ask, by name with its types, from what is installed on this machine."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterable
from pathlib import Path

GUIDE = Path("/usr/share/doc/installation-guide-amd64/example-preseed.txt.gz")

_TYPES = "string|boolean|select|multiselect|note|text|password|error|title|terminal|entropy"
_TEMPLATE = re.compile(rf"^Template: (\S+)\nType: ({_TYPES})\b", re.MULTILINE)
_EXAMPLE = re.compile(rf"^#?\s*\S+\s+(\S+/\S+)\s+({_TYPES})\b", re.MULTILINE)


def questions(initrd: Path) -> dict[str, set[str]]:
    """Types by name: of components on the RAM disk, of installed packages, of Debian's example, and of the rest."""
    folders = (initrd / "var/lib/dpkg/info", Path("/var/lib/dpkg/info"))
    texts = [path.read_text(errors="replace") for folder in folders for path in sorted(folder.glob("*.templates"))]
    found: dict[str, set[str]] = {}
    pairs = [pair for text in texts for pair in _TEMPLATE.findall(text)]
    if GUIDE.exists():
        pairs += _EXAMPLE.findall(gzip.decompress(GUIDE.read_bytes()).decode(errors="replace"))
    listed = (Path(__file__).parent / "questions.txt").read_text().splitlines()
    pairs += [tuple(line.split()[:2]) for line in listed if not line.startswith("#")]
    for name, type_ in pairs:
        found.setdefault(name, set()).add(type_)
    return found


def wrong(known: dict[str, set[str]], answers: Iterable[tuple[str, str]]) -> list[str]:
    """What is said of names and types that no question has."""
    complaints = []
    for name, type_ in answers:
        if name not in known:
            complaints.append(f"no question {name}")
        elif type_ not in known[name]:
            complaints.append(f"{name} is {' or '.join(sorted(known[name]))}, not {type_}")
    return complaints
