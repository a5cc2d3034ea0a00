"""What software an image is made of: its packages as an SPDX 2.3 document, and the same read back and compared."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import UUID, uuid5

from images.build.host import EPOCH, BuildError, run, which
from images.chunks import Partition

_NAMESPACE = UUID("0d1b0f5c-4f8e-5c0b-8a53-6b8f6ef1c0de")
_DPKG = "var/lib/dpkg/status"
_RPM = ("usr/lib/sysimage/rpm/rpmdb.sqlite", "var/lib/rpm/rpmdb.sqlite")
_OS_RELEASE = ("usr/lib/os-release", "etc/os-release")
_NOTHING = "NOASSERTION"


class BadSbom(ValueError):
    """The text is no package list of ours."""


@dataclass(frozen=True, slots=True, order=True)
class Package:
    """One installed package, as its package manager calls it."""

    name: str
    version: str
    architecture: str
    kind: str  # "deb" or "rpm"


@dataclass(frozen=True, slots=True)
class Inventory:
    """An operating system and its packages, sorted."""

    system: Mapping[str, str]  # os-release(5): ID, VERSION_ID, PRETTY_NAME …
    packages: tuple[Package, ...]


def of_tree(tree: Path) -> Inventory:
    """What is installed in a root folder. Raises BuildError where it has no list of packages."""
    release = next((tree / name for name in _OS_RELEASE if (tree / name).is_file()), None)
    system = os_release(release.read_text(encoding="utf-8", errors="replace")) if release else {}
    if (status := tree / _DPKG).is_file():
        return Inventory(system, debs(status.read_text(encoding="utf-8", errors="replace")))
    for name in _RPM:
        if (tree / name).is_file():
            return Inventory(system, _rpms((tree / name).parent))
    raise BuildError("the system has neither dpkg's nor rpm's list of packages")


def of_disk(raw: Path, root: Partition, scratch: Path) -> Inventory | None:
    """What is installed on a disk image; None where its root file system can be read by mounting it only.

    The kernel mounts nothing that others made: it trusts file systems. Raises BuildError.
    """
    if root.filesystem != "ext4":
        return None
    debugfs = which("debugfs")
    if debugfs is None:
        raise BuildError("packages are missing; as root: apt-get install e2fsprogs")
    tree = scratch / "read"
    for name in (_DPKG, *_RPM, *_OS_RELEASE):
        target = tree / name
        target.parent.mkdir(parents=True, exist_ok=True)
        # A file that is not there is no error of debugfs's.
        run([debugfs, "-c", "-R", f"dump /{name} {target}", f"{raw}?offset={root.start}"])
        if target.exists() and not target.stat().st_size:
            target.unlink()
    try:
        return of_tree(tree)
    finally:
        shutil.rmtree(tree)


def os_release(text: str) -> dict[str, str]:
    """The variables of an os-release file."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith("#"):
            found[name] = value.strip("\"'")
    return found


def debs(status: str) -> tuple[Package, ...]:
    """The packages that dpkg's status file (deb822 paragraphs) says are installed."""
    found = []
    for paragraph in re.split(r"\n\s*\n", status):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith((" ", "\t"))
        )
        if fields.get("Status", "").endswith(" installed") and {"Package", "Version"} <= fields.keys():
            found.append(Package(fields["Package"], fields["Version"], fields.get("Architecture", ""), "deb"))
    return tuple(sorted(found))


def _rpms(database: Path) -> tuple[Package, ...]:
    if which("rpm") is None:
        raise BuildError("packages are missing; as root: apt-get install rpm")
    form = "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\n"
    rows = run(["rpm", "--dbpath", database.resolve(), "--query", "--all", "--queryformat", form]).splitlines()
    split = (row.split("\t") for row in rows)
    # A key that packages are signed with is kept as if it were a package.
    return tuple(
        sorted(
            Package(words[0], words[1], words[2], "rpm")
            for words in split
            if len(words) == 3 and words[0] != "gpg-pubkey"
        )
    )


def encode(slug: str, inventory: Inventory) -> bytes:
    """The SPDX 2.3 document in JSON; the same packages give the same bytes."""
    system = inventory.system
    subject = {
        "SPDXID": "SPDXRef-Image",
        "name": slug,
        "versionInfo": system.get("VERSION_ID", _NOTHING),
        "primaryPackagePurpose": "OPERATING-SYSTEM",
        "summary": system.get("PRETTY_NAME", slug),
        **_UNSAID,
    }
    parts = [_package(number, one, system) for number, one in enumerate(inventory.packages, 1)]
    relations = [("SPDXRef-DOCUMENT", "DESCRIBES", "SPDXRef-Image")]
    relations += [("SPDXRef-Image", "CONTAINS", part["SPDXID"]) for part in parts]
    content = json.dumps([subject, parts], sort_keys=True)
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": slug,
        "documentNamespace": f"urn:uuid:{uuid5(_NAMESPACE, content)}",
        "creationInfo": {
            "created": datetime.fromtimestamp(EPOCH, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: roundhouse"],
        },
        "packages": [subject, *parts],
        "relationships": [
            {"spdxElementId": one, "relationshipType": how, "relatedSpdxElement": other}
            for one, how, other in relations
        ],
    }
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


_UNSAID = {
    "downloadLocation": _NOTHING,
    "filesAnalyzed": False,
    "copyrightText": _NOTHING,
    "licenseConcluded": _NOTHING,
    "licenseDeclared": _NOTHING,
}


def _package(number: int, package: Package, system: Mapping[str, str]) -> dict[str, Any]:
    # The package URL's form is fixed by its type: https://github.com/package-url/purl-spec, "deb" and "rpm".
    vendor = system.get("ID", "linux")
    version = quote(package.version, safe=":~+.-") if package.kind == "deb" else quote(package.version, safe="~+.-:")
    locator = (
        f"pkg:{package.kind}/{quote(vendor)}/{quote(package.name, safe='+.-_')}@{version}?arch={package.architecture}"
    )
    name = re.sub(r"[^A-Za-z0-9.-]", "-", package.name)
    return {
        "SPDXID": f"SPDXRef-{number}-{name}",
        "name": package.name,
        "versionInfo": package.version,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator}
        ],
        **_UNSAID,
    }


def decode(data: bytes) -> tuple[Package, ...]:
    """The packages of a document that `encode` made. Raises BadSbom."""
    try:
        found = []
        for part in json.loads(data)["packages"]:
            for reference in part.get("externalRefs", []):
                kind, _, rest = reference["referenceLocator"].removeprefix("pkg:").partition("/")
                found.append(Package(part["name"], part["versionInfo"], rest.rpartition("?arch=")[2], kind))
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise BadSbom(f"no SPDX document: {err!r}") from None
    return tuple(sorted(found))


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one package from one release to another; "" where it is not there."""

    name: str
    architecture: str
    before: str
    after: str


def changes(before: Iterable[Package], after: Iterable[Package]) -> list[Change]:
    """What differs between two lists, by name. Versions of what is there several times (kernels) are told together."""
    old, new = _versions(before), _versions(after)
    return [
        Change(*key, old.get(key, ""), new.get(key, ""))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _versions(packages: Iterable[Package]) -> dict[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for one in sorted(packages):
        key = (one.name, one.architecture)
        found[key] = f"{found[key]}, {one.version}" if key in found else one.version
    return found
