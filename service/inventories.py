"""What machines tell of themselves: what changed since the last time, and whether their cables end where they should.

Pure. What a machine tells may have any form: whatever is not as it should be is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

Object = Mapping[str, Any]
_MEMORY_SLACK = Fraction(2, 100)  # the kernel keeps more or less of it for itself


def merged(known: Object, told: Object) -> dict[str, Any]:
    """What is known when a part of it is told anew."""
    return {**known, **told}


def changes(before: Object, now: Object) -> list[str]:
    """Each difference between two inventories of one machine as a sentence. What one of them does not tell is none."""
    return [
        *_disks(before, now),
        *_dimms(before, now),
        *_nics(before, now),
        *_memory(before, now),
        *_versions(before, now),
    ]


def _listed(inventory: Object, name: str) -> list[Object]:
    part = inventory.get(name)
    return [one for one in part if isinstance(one, dict)] if isinstance(part, list) else []


def _part(inventory: Object, name: str) -> Object:
    part = inventory.get(name)
    return part if isinstance(part, dict) else {}


def _by(things: Iterable[Object], key: Callable[[Object], object]) -> dict[str, Object]:
    return {str(named): one for one in things if (named := key(one))}


def _both(before: Object, now: Object, name: str) -> bool:
    return name in before and name in now


def _disks(before: Object, now: Object) -> list[str]:
    if not _both(before, now, "disks"):
        return []

    def key(disk: Object) -> object:
        return disk.get("serial") or disk.get("path")

    old, new = _by(_listed(before, "disks"), key), _by(_listed(now, "disks"), key)
    found = [f"{_disk(old[name])} is gone" for name in old if name not in new]
    found += [f"{_disk(new[name])} is new" for name in new if name not in old]
    for name in old.keys() & new.keys():
        found += _health(old[name], new[name])
    return sorted(found)


def _disk(disk: Object) -> str:
    size = disk.get("bytes")
    about = [str(disk[name]) for name in ("model", "serial") if disk.get(name)]
    about += [f"{size // 10**9} GB"] if isinstance(size, int) else []
    return f"disk {disk.get('path')} ({', '.join(about)})"


_WORSE = {
    "media_errors": "media errors",
    "reallocated_sectors": "reallocated sectors",
    "pending_sectors": "pending sectors",
    "uncorrectable_errors": "uncorrectable errors",
}


def _health(before: Object, now: Object) -> list[str]:
    old, new = _part(before, "health"), _part(now, "health")
    found = []
    warned = [word for word in _words(new.get("warnings")) if word not in _words(old.get("warnings"))]
    if warned:
        found.append(f"{_disk(now)} warns of {', '.join(warned)}")
    for name, words in _WORSE.items():
        was, has = old.get(name), new.get(name)
        if isinstance(was, int) and isinstance(has, int) and has > was:
            found.append(f"{_disk(now)} has {has} {words}, {was} before")
    return found


def _words(value: object) -> list[str]:
    return [word for word in value if isinstance(word, str)] if isinstance(value, list) else []


def _dimms(before: Object, now: Object) -> list[str]:
    tables = _part(before, "smbios"), _part(now, "smbios")
    if not all("dimms" in table for table in tables):
        return []
    old, new = (_by(_listed(table, "dimms"), lambda dimm: dimm.get("socket")) for table in tables)
    found = [f"memory module {_dimm(old[name])} is gone" for name in sorted(old.keys() - new.keys())]
    found += [f"memory module {_dimm(new[name])} is new" for name in sorted(new.keys() - old.keys())]
    for name in sorted(old.keys() & new.keys()):
        if (old[name].get("serial"), old[name].get("bytes")) != (new[name].get("serial"), new[name].get("bytes")):
            found.append(f"memory module {_dimm(old[name])} was exchanged for {_dimm(new[name])}")
    return found


def _dimm(dimm: Object) -> str:
    size = dimm.get("bytes")
    about = [f"{size >> 30} GiB"] if isinstance(size, int) else []
    about += [str(dimm[name]) for name in ("part", "serial") if dimm.get(name)]
    return f"{dimm.get('socket')} ({', '.join(about)})"


def _nics(before: Object, now: Object) -> list[str]:
    if not _both(before, now, "nics"):
        return []
    old, new = (_by(_listed(one, "nics"), lambda nic: nic.get("mac")) for one in (before, now))
    found = [f"network card {old[mac].get('name')} ({mac}) is gone" for mac in sorted(old.keys() - new.keys())]
    found += [f"network card {new[mac].get('name')} ({mac}) is new" for mac in sorted(new.keys() - old.keys())]
    for mac in sorted(old.keys() & new.keys()):
        was, runs = old[mac].get("speed_mbps"), new[mac].get("speed_mbps")
        if isinstance(was, int) and isinstance(runs, int) and was > runs > 0:
            found.append(f"network card {new[mac].get('name')} ({mac}) runs at {runs} Mbit/s, {was} before")
    return found


def _memory(before: Object, now: Object) -> list[str]:
    was, has = before.get("memory_bytes"), now.get("memory_bytes")
    if not (isinstance(was, int) and isinstance(has, int) and min(was, has) > 0):
        return []
    return [f"memory is {_gib(has)} GiB, {_gib(was)} before"] if abs(has - was) > was * _MEMORY_SLACK else []


def _gib(size: int) -> str:
    tenths = size * 10 >> 30
    return f"{tenths // 10}.{tenths % 10}"


# What is compared as it stands: the part, its field, and what it is called.
_VERSIONS = (
    ("system", "product_serial", "the system's serial number"),
    ("system", "bios_version", "the board's firmware"),
    ("cpu", "model", "the processor"),
    ("cpu", "cores", "the number of cores"),
    ("cpu", "microcode", "the processor's microcode"),
    ("bmc", "firmware", "the BMC's firmware"),
    ("bmc", "address", "the BMC's address"),
)


def _versions(before: Object, now: Object) -> list[str]:
    found = []
    for part, field, words in _VERSIONS:
        was, has = _part(before, part).get(field), _part(now, part).get(field)
        if was and has and was != has:
            found.append(f"{words} is {has}, {was} before")
    if _part(before, "bmc").get("present") is True and _part(now, "bmc").get("present") is False:
        found.append("the BMC is gone")
    return found


def cable_finding(inventory: Object, *, machine: str, mac: str, leaf: str, port: str) -> str | None:
    """What is wrong with the cable of the machine's boot card, by what LLDP told it; None where nothing is.

    A switch may tell a port by its name or by a number, with the name in the description: the number alone says
    nothing.
    """
    told = next((one for one in _listed(inventory, "lldp") if one.get("mac") == mac), None)
    if told is None:
        return None
    system = str(told.get("system") or "")
    names = [str(told[name]).removesuffix(".0") for name in ("port", "port_description") if told.get(name)]
    at_leaf = not system or system == leaf or system.startswith(f"{leaf}.")
    numbered = all(name.isdigit() for name in names)
    if at_leaf and (port in names or numbered):
        return None
    seen = " ".join([system or str(told.get("chassis")), *names[:1]])
    return f"{machine} ({mac}): expected {leaf} {port}, LLDP shows {seen}"
