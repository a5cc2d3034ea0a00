"""Bills of materials: what a machine of a plan is made of, and whether a machine is. Pure.

A bill is a JSON object of these parts, each of which may be missing and then says nothing:
`{"arch": "amd64", "cpu": {"model", "sockets", "cores"}, "memory_bytes": 34359738368,
"disks": [{"count": 2, "bytes": 480000000000, "type": "ssd"}], "nics": {"count": 1, "mbps": 10000}}`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]

_ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}
_SIZE = re.compile(r"^\s*([\d.]+)\s*([KMGTP]?)B?\s*$", re.IGNORECASE)
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SPEED = re.compile(r"^\s*([\d.]+)\s*([MG])bps\s*$", re.IGNORECASE)
# A kernel keeps some memory for itself, firmware more of it on large machines; the next smaller size is far away.
_MEMORY_LEAST, _MEMORY_MOST = 0.87, 1.05
_DISK_SLACK = 0.07  # makers round, and sell what they call one size in several


@dataclass(frozen=True, slots=True)
class Fit:
    """A plan that a machine was held against; `differences` is empty where it fits, `told` is how much was compared."""

    plan: str
    differences: tuple[str, ...]
    told: int


def bytes_of(size: str, *, binary: bool) -> int | None:
    """How many bytes "480GB" or "1.6TB" are; `binary`: as memory is counted. None for what is no size."""
    if (found := _SIZE.match(size)) is None:
        return None
    return int(float(found[1]) * (1024 if binary else 1000) ** _POWERS[found[2].upper()])


def bom_of(specs: Object) -> dict[str, Any]:
    """The bill that a plan's specs (as the dialect tells them to customers) amount to."""
    bom: dict[str, Any] = {"arch": specs.get("arch", "amd64")}
    if cpus := specs.get("cpus"):
        bom["cpu"] = {"model": cpus[0]["type"], "sockets": int(cpus[0]["count"])}
    if total := bytes_of(str((specs.get("memory") or {}).get("total", "")), binary=True):
        bom["memory_bytes"] = total
    disks = [
        {"count": int(drive["count"]), "bytes": size, "type": str(drive["type"]).lower()}
        for drive in specs.get("drives", [])
        if (size := bytes_of(str(drive["size"]), binary=False))
    ]
    if disks:
        bom["disks"] = disks
    if nics := specs.get("nics"):
        speed = _SPEED.match(str(nics[0]["type"]))
        mbps = int(float(speed[1]) * (1000 if speed[2].upper() == "G" else 1)) if speed else 0
        bom["nics"] = {"count": sum(int(nic["count"]) for nic in nics), "mbps": mbps}
    return bom


def bom_from(inventory: Object) -> dict[str, Any]:
    """The bill that one machine's inventory amounts to, for a plan of such machines."""
    cpu = _part(inventory, "cpu")
    bom: dict[str, Any] = {"arch": arch_of(inventory)}
    if cpu:
        told = {"model": cpu.get("model"), "sockets": cpu.get("packages"), "cores": cpu.get("cores")}
        bom["cpu"] = {name: value for name, value in told.items() if value}
    if memory := memory_of(inventory):
        bom["memory_bytes"] = memory
    kinds: dict[tuple[str, int], int] = {}
    for disk in _listed(inventory, "disks"):
        kinds[_type(disk), _int(disk.get("bytes"))] = kinds.get((_type(disk), _int(disk.get("bytes"))), 0) + 1
    bom["disks"] = [{"count": count, "bytes": size, "type": kind} for (kind, size), count in sorted(kinds.items())]
    linked = [_int(nic.get("speed_mbps")) for nic in _listed(inventory, "nics")]
    bom["nics"] = {"count": len(linked), "mbps": max(linked, default=0)}
    return bom


def arch_of(inventory: Object) -> str:
    """The machine's architecture as machines are recorded."""
    return _ARCHES.get(str(inventory.get("architecture")), str(inventory.get("architecture") or "amd64"))


def memory_of(inventory: Object) -> int:
    """Bytes of memory: what its modules hold where they are told, else what the kernel was left."""
    dimms = sum(_int(dimm.get("bytes")) for dimm in _listed(_part(inventory, "smbios"), "dimms"))
    return max(dimms, _int(inventory.get("memory_bytes")))


def held_against(plan: str, bom: Object, inventory: Object) -> Fit:
    """What differs between the bill and the machine, each as a sentence without a subject."""
    differences: list[str] = []
    told = 0
    for part, compare in _PARTS.items():
        if part in bom:
            found, compared = compare(bom[part], inventory)
            differences += found
            told += compared
    return Fit(plan, tuple(differences), told)


def best(fits: Sequence[Fit]) -> tuple[str | None, str]:
    """The plan that a machine is of, or None and why not. Of several that fit, the one that tells most counts."""
    if not fits:
        return None, "no plan is defined for machines of its architecture"
    fitting = [fit for fit in fits if not fit.differences]
    if not fitting:
        near = sorted(fits, key=lambda fit: (len(fit.differences), -fit.told, fit.plan))[0]
        others = f" (and {len(fits) - 1} plans that fit less)" if len(fits) > 1 else ""
        return None, f"it fits no plan; nearest is {near.plan}: {'; '.join(near.differences)}{others}"
    most = max(fit.told for fit in fitting)
    exact = sorted(fit.plan for fit in fitting if fit.told == most)
    if len(exact) > 1:
        return (
            None,
            f"it fits {' and '.join(exact)} equally: give one of them a bill of materials that tells them apart",
        )
    return exact[0], ""


Compared = tuple[list[str], int]


def _arch(wanted: str, inventory: Object) -> Compared:
    has = arch_of(inventory)
    return ([] if has == wanted else [f"its architecture is {has}, not {wanted}"]), 1


def _cpu(wanted: Object, inventory: Object) -> Compared:
    cpu, found = _part(inventory, "cpu"), []
    told = len(wanted)
    if model := wanted.get("model"):
        has = str(cpu.get("model") or "")
        if not _words(str(model)) <= _words(has) and str(model) != has:
            found.append(f"its processor is {has or 'not told'}, not {model}")
    for name, field, words in (("sockets", "packages", "processors"), ("cores", "cores", "cores")):
        if name in wanted and cpu.get(field) != wanted[name]:
            found.append(f"it has {cpu.get(field)} {words}, not {wanted[name]}")
    return found, told


def _words(model: str) -> set[str]:
    """The words of a processor's name that tell it from others: those with a digit, and no clock rate."""
    name = model.partition("@")[0].lower()
    return {word for word in re.split(r"[\s(),]+", name) if any(letter.isdigit() for letter in word)} or {name.strip()}


def _memory(wanted: int, inventory: Object) -> Compared:
    has = memory_of(inventory)
    fits = wanted * _MEMORY_LEAST <= has <= wanted * _MEMORY_MOST
    return ([] if fits else [f"it has {has / 2**30:.1f} GiB of memory, not {wanted / 2**30:.1f}"]), 1


def _disks(wanted: Sequence[Object], inventory: Object) -> Compared:
    left = [(str(disk.get("path")), _int(disk.get("bytes")), _type(disk)) for disk in _listed(inventory, "disks")]
    found = []
    for kind in wanted:
        size, type_ = _int(kind["bytes"]), str(kind["type"])
        fitting = [one for one in left if one[2] == type_ and abs(one[1] - size) <= size * _DISK_SLACK]
        count = int(kind["count"])
        if len(fitting) < count:
            found.append(f"it has {len(fitting)} of {count} {type_} disks of {_gb(size)}")
        left = [one for one in left if one not in fitting[:count]]
    found += [f"{path} ({type_}, {_gb(size)}) is one disk too many" for path, size, type_ in left]
    return found, 3 * len(wanted)


def _nics(wanted: Object, inventory: Object) -> Compared:
    nics = _listed(inventory, "nics")
    count, mbps = int(wanted.get("count", 1)), int(wanted.get("mbps", 0))
    if len(nics) < count:
        return [f"it has {len(nics)} network cards, not {count}"], 2
    # A card without a link, and a virtual one, tells no speed.
    fastest = max((_int(nic.get("speed_mbps")) for nic in nics), default=0)
    if 0 < fastest < mbps:
        return [f"its fastest link runs at {fastest} Mbit/s, not {mbps}"], 2
    return [], 2


_PARTS: dict[str, Any] = {"arch": _arch, "cpu": _cpu, "memory_bytes": _memory, "disks": _disks, "nics": _nics}


def _type(disk: Object) -> str:
    if str(disk.get("path", "")).startswith("/dev/nvme"):
        return "nvme"
    return "hdd" if disk.get("rotational") else "ssd"


def _gb(size: int) -> str:
    return f"{size / 1e9:.0f} GB"


def _part(inventory: Object, name: str) -> Object:
    part = inventory.get(name)
    return part if isinstance(part, dict) else {}


def _listed(inventory: Object, name: str) -> list[Object]:
    part = inventory.get(name)
    return [one for one in part if isinstance(one, dict)] if isinstance(part, list) else []


def _int(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
