"""What an import of racks would change: each line held against what is on record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from service.racks_csv import Fault, Kind, Row

Act = Literal["make", "change", "leave"]

# What a line may change of what is there; where the cable ends is not among it.
_CHANGEABLE: Mapping[Kind, tuple[str, ...]] = {
    "machine": ("rack", "unit", "plan", "mac", "secure_boot", "bmc_url", "bmc_username"),
    "leaf": ("rack", "unit", "host", "netconf_port", "username", "host_key"),
    "port": ("rack", "unit", "bmc_url", "bmc_username"),
}
_IN_USE = ("plan", "mac", "secure_boot")  # of a machine that serves a device these stay
_RACK_UNITS = 42  # of a rack that an import makes


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one line. `fields`: what was, and what will be; of secrets only that they change."""

    line: int
    kind: Kind
    name: str
    act: Act
    fields: Mapping[str, tuple[object, object]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Plan:
    """A kind of machine: how many units it takes, and how many of it share them."""

    slug: str
    units: int
    nodes: int


@dataclass(frozen=True, slots=True)
class Recorded:
    """What is on record: machines by name, leaves by name, free ports by leaf and port. `secrets` holds what lies open
    of their passwords, by the same key and the secret's column."""

    machines: Mapping[str, Mapping[str, Any]]
    leaves: Mapping[str, Mapping[str, Any]]
    ports: Mapping[tuple[str, str], Mapping[str, Any]]
    plans: Mapping[str, Plan]  # by slug and alias
    racks: Mapping[tuple[str, str], int]  # units, by facility and name
    facilities: frozenset[str]
    secrets: Mapping[tuple[object, str], str]


def changes_of(rows: Sequence[Row], known: Recorded) -> tuple[list[Change], list[Fault]]:
    """What becomes of each row, and what cannot be done."""
    faults: list[Fault] = []
    changes = []
    cables = {(one["leaf"], one["port"]): name for name, one in known.machines.items()}
    cards = {one["mac"]: name for name, one in known.machines.items()}
    new_leaves = {row.leaf: row.facility for row in rows if row.kind == "leaf"}
    for row in rows:
        faults += _named(row, known, new_leaves)
        match row.kind:
            case "machine":
                there: Mapping[str, Any] | None = known.machines.get(str(row.machine))
                faults += _machine(row, there, cables, cards)
            case "leaf":
                there = known.leaves.get(row.leaf)
                faults += _leaf(row, there)
            case "port":
                there = known.ports.get((row.leaf, str(row.port)))
                holder = cables.get((row.leaf, str(row.port)))
                if holder is not None:
                    faults.append(Fault(row.line, "port", f"{row.name} is no free port: {holder} hangs there"))
                elif row.bmc_url is not None and row.bmc_password is None and not (there and there["bmc_url"]):
                    faults.append(Fault(row.line, "bmc_password", "it can't be empty for a BMC that is new"))
        changes.append(_change(row, there, known))
    return changes, faults + _overlaps(rows, known)


def _named(row: Row, known: Recorded, new_leaves: Mapping[str, str]) -> list[Fault]:
    faults = []
    if row.facility not in known.facilities:
        allowed = ", ".join(sorted(known.facilities))
        faults.append(Fault(row.line, "facility", f"{row.facility!r} is not known; allowed is {allowed}"))
    if row.plan is not None and row.plan not in known.plans:
        allowed = ", ".join(sorted(plan.slug for name, plan in known.plans.items() if name == plan.slug))
        faults.append(Fault(row.line, "plan", f"{row.plan!r} is not known; allowed is {allowed}"))
    if row.kind != "leaf":
        at = known.leaves.get(row.leaf, {}).get("facility") or new_leaves.get(row.leaf)
        if at is None:
            faults.append(Fault(row.line, "leaf", f"{row.leaf!r} is not known, and no line of the table makes it"))
        elif at != row.facility:
            faults.append(Fault(row.line, "leaf", f"{row.leaf} stands in {at}, not in {row.facility}"))
    units = known.racks.get((row.facility, row.rack or ""), _RACK_UNITS)
    if row.unit is not None and row.unit > units:
        faults.append(Fault(row.line, "unit", f"{row.unit} is not valid; rack {row.rack} has {units} units"))
    return faults


def _machine(
    row: Row, there: Mapping[str, Any] | None, cables: Mapping[tuple[str, str], str], cards: Mapping[str, str]
) -> list[Fault]:
    faults = []
    at = (row.leaf, str(row.port))
    if (holder := cards.get(str(row.mac))) not in (None, row.machine):
        faults.append(Fault(row.line, "mac", f"{row.mac} is the card of {holder}"))
    if there is None:
        if (holder := cables.get(at)) is not None:
            faults.append(Fault(row.line, "port", f"{holder} hangs at {' '.join(at)}; retire it first"))
        if row.bmc_password is None:
            faults.append(Fault(row.line, "bmc_password", f"it can't be empty: {row.machine} is new"))
        return faults
    if there["facility"] != row.facility:
        faults.append(Fault(row.line, "facility", f"{row.machine} stands in {there['facility']}"))
    elif (there["leaf"], there["port"]) != at:
        where = f"{there['leaf']} {there['port']}"
        said = f"{row.machine} hangs at {where}; a cable is moved by `roundhouse leaf recable`"
        faults.append(Fault(row.line, "port", said))
    for name in _IN_USE if there["in_use"] else ():
        if (value := getattr(row, name)) is not None and value != there[name]:
            said = f"{row.machine} is in use and stays {there[name]}; change it when its device is gone"
            faults.append(Fault(row.line, name, said))
    if row.arch is not None and row.arch != there["arch"]:
        faults.append(
            Fault(row.line, "arch", f"{row.machine} is {there['arch']}; what is another machine has another name")
        )
    return faults


def _leaf(row: Row, there: Mapping[str, Any] | None) -> list[Fault]:
    if row.password is not None and row.private_key is not None:
        return [Fault(row.line, "password", "either a password or a private key may be given, not both")]
    if there is None and row.password is None and row.private_key is None:
        return [Fault(row.line, "password", f"it or private_key can't be empty: {row.leaf} is new")]
    if there is not None and there["facility"] != row.facility:
        return [Fault(row.line, "facility", f"{row.leaf} stands in {there['facility']}")]
    return []


def _change(row: Row, there: Mapping[str, Any] | None, known: Recorded) -> Change:
    names = _CHANGEABLE[row.kind]
    given = {name: _as_kept(name, getattr(row, name), known) for name in names if getattr(row, name) is not None}
    if row.rack is not None and row.unit is None:
        given["unit"] = None  # a rack alone is a place, too
    key = row.machine if row.kind == "machine" else row.leaf if row.kind == "leaf" else (row.leaf, row.port)
    hidden = {
        name: ("(secret)", "(secret)")
        for name in ("bmc_password", "password", "private_key")
        if getattr(row, name) is not None and known.secrets.get((key, name)) != getattr(row, name)
    }
    if there is None:
        made = {name: (None, value) for name, value in given.items() if value is not None}
        return Change(row.line, row.kind, row.name, "make", made)
    found = {name: (there[name], value) for name, value in given.items() if there[name] != value} | hidden
    return Change(row.line, row.kind, row.name, "change" if found else "leave", found)


def _as_kept(name: str, value: Any, known: Recorded) -> Any:
    plan = known.plans.get(value) if name == "plan" else None
    return plan.slug if plan is not None else value


@dataclass(frozen=True, slots=True)
class _Stands:
    name: str
    line: int  # 0: on record, and in no line
    facility: str
    rack: str
    unit: int
    units: int
    chassis: str | None  # the plan, where several machines share one chassis
    nodes: int


def _overlaps(rows: Sequence[Row], known: Recorded) -> list[Fault]:
    """Two things in one unit, unless they are nodes of one chassis: of one plan, and with the same lowest unit."""
    said = {row.name for row in rows}
    standing = [_stands(row.name, row.line, row, row.plan, known) for row in rows if row.kind != "port"]
    standing += [
        _stands(name, 0, _Place(one), one.get("plan"), known)
        for name, one in [*known.machines.items(), *known.leaves.items()]
        if name not in said
    ]
    taken: dict[tuple[str, str, int], list[_Stands]] = {}
    faults: dict[tuple[int, str], Fault] = {}
    for one in sorted((found for found in standing if found is not None), key=lambda found: found.line):
        for unit in range(one.unit, one.unit + one.units):
            there = taken.setdefault((one.facility, one.rack, unit), [])
            together = one.chassis is not None and all((o.chassis, o.unit) == (one.chassis, one.unit) for o in there)
            if there and (not together or len(there) >= one.nodes) and (one.line, "unit") not in faults:
                others = ", ".join(sorted(other.name for other in there))
                more = f": a chassis of {one.chassis} has {one.nodes} nodes" if together else ""
                words = f"unit {unit} of rack {one.rack} is taken by {others}{more}"
                hint = (
                    "" if one.chassis else "; nodes of one chassis need a plan with `roundhouse plan hardware --nodes`"
                )
                faults[one.line, "unit"] = Fault(one.line, "unit", words + hint)
            there.append(one)
    return [fault for (line, _), fault in faults.items() if line]


class _Place:
    """A row's place of what is on record."""

    def __init__(self, one: Mapping[str, Any]) -> None:
        self.facility, self.rack, self.unit = one["facility"], one["rack"], one["unit"]


def _stands(name: str, line: int, place: Row | _Place, plan: str | None, known: Recorded) -> _Stands | None:
    if place.rack is None or place.unit is None:
        return None
    kind = known.plans.get(plan or "", Plan("", 1, 1))
    chassis = kind.slug if kind.nodes > 1 else None
    return _Stands(name, line, place.facility, place.rack, place.unit, kind.units, chassis, kind.nodes)


def counted(changes: Iterable[Change]) -> dict[str, int]:
    """How many lines come to what."""
    found = {"make": 0, "change": 0, "leave": 0}
    for change in changes:
        found[change.act] += 1
    return found
