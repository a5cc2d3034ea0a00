"""Reports over HTTP: how full the address space is, when it will be, and how broken up; as JSON or as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ipam.forecast import CONFIDENCE, METHOD, Forecast
from ipam.permissions import visible
from ipam.reports import (
    FRAGMENTATION,
    Fragments,
    Key,
    Node,
    Owner,
    Tally,
    below,
    daily_counts,
    forecast_of,
    fragments,
    grouped,
    holdings,
    nodes,
    rolled_up,
    tallies,
)
from ipam.space import inside
from service.addresses import report_schemas
from service.addresses.asked import block_of, vrf_named
from service.addresses.objects import moment
from service.addresses.policy import subject_of
from service.api import parameters
from service.api.call import Body, Call, Document, Route
from service.api.parameters import Parameter
from service.api.problems import Invalid, shown
from service.policy import Right
from service.store.rows import Connection

_GROUPS = ("node", "role", "facility", "owner")
_DAYS, _DAYS_AT_MOST = 30, 730
_COUNTS = ("total", "held", "routed", "reserved", "free", "cooling", "tagged", "unassigned")
# The columns of tables: those that say what a row is of, then those of each report.
_OWNED = ("owner_kind", "owner_id", "owner_name")
_OF: Mapping[str, tuple[str, ...]] = {
    "node": ("prefix", "id", "vrf", "role", "facility", "standing", *_OWNED),
    "role": ("role",),
    "facility": ("facility",),
    "owner": _OWNED,
    "project": ("project", "name", "organization"),
    "role and facility": ("role", "facility"),
}
_FULL = ("family", "unit", *_COUNTS, "utilization")
_HELD = ("family", "unit", "held", "routed")
_RATES = ("per_day", "per_day_low", "per_day_high")
_LEFT = ("family", "unit", "total", "held", "left", "state", "days", *_RATES, "exhausted_at", "earliest", "latest")
_BROKEN = ("family", "free_addresses", "largest_free", "free_blocks", "fragmentation", "blocks")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The tree that the caller may see, and the nodes of it that he asked for."""

    tree: list[Node]
    wanted: list[Node]
    now: datetime

    @property
    def leaves(self) -> list[Node]:
        """Those that hand out."""
        return [node for node in self.wanted if node.role != "container"]


async def utilization(call: Call) -> Body | Document:
    """GET /ipam/v1/reports/utilization: by node, role, facility, owner or project; vrf, role, facility, prefix and
    owner narrow it down"""
    group = _choice(call, "group", (*_GROUPS, "project"), "node")
    async with call.db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        asked = await _asked(call, conn, everywhere=group == "project")
        if group == "project":
            rows = await _projects(call, conn, asked)
        else:
            counts = await tallies(conn, below(asked.tree, {node.id for node in asked.wanted}), free_after=_cool(call))
            rows = _utilization(asked, counts, group)
    columns = (*_OF[group], *(_HELD if group == "project" else _FULL))
    return _answer(call, "utilization", rows, {"group": group}, columns)


def _utilization(asked: _Asked, counts: Mapping[int, Tally], group: str) -> list[Body]:
    if group != "node":
        sums = grouped([(node, counts[node.id]) for node in asked.leaves], _KEYS[group])
        return [
            _KEY_SHOWN[group](key) | _size(version, unit) | _tally(tally, version, unit)
            for (key, version, unit), (tally, _) in sorted(sums.items(), key=_by_key)
        ]
    rolled = rolled_up(below(asked.tree, {node.id for node in asked.wanted}), counts)
    rows = []
    for node in asked.wanted:
        tally, unit = rolled[node.id]
        rows.append(_node(node) | _size(node.cidr.version, unit) | _tally(tally, node.cidr.version, unit))
    return rows


async def _projects(call: Call, conn: Connection, asked: _Asked) -> list[Body]:
    staff, organization_ids, project_ids = call.caller.scope
    found = await holdings(
        conn, asked.wanted, organization_ids=None if staff else organization_ids, project_ids=project_ids
    )
    return [
        {"project": str(one.project_id), "name": one.project, "organization": one.organization}
        | _size(one.version, one.unit)
        | {
            "held": _in_units(one.held, one.version, one.unit),
            "routed": _in_units(one.routed, one.version, one.unit),
        }
        for one in found
    ]


async def forecasts(call: Call) -> Body | Document:
    """GET /ipam/v1/reports/forecast: when nothing will be left, from the last `days` days of the ledger; group=role is
    by role and facility"""
    group, days = _choice(call, "group", _GROUPS, "node"), _days(call)
    async with call.db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        asked = await _asked(call, conn)
        counts = await tallies(conn, asked.leaves, free_after=_cool(call))
        held = {id_: tally.held for id_, tally in counts.items()}
        series = await daily_counts(conn, asked.leaves, held, days=days, now=asked.now)
    by = "role and facility" if group == "role" else group
    sums = grouped([(node, counts[node.id]) for node in asked.leaves], _KEYS[by])
    rows = []
    for (key, version, unit), (tally, members) in sorted(sums.items(), key=_by_key):
        found = forecast_of(tally, [series[node.id] for node in members], asked.now)
        head = _node(members[0]) if group == "node" else _KEY_SHOWN[by](key)
        rows.append(head | _size(version, unit) | _forecast(tally, found, version, unit))
    told = {"group": group, "method": METHOD, "confidence": CONFIDENCE}
    return _answer(call, "forecast", rows, told, (*_OF[by], *_LEFT, "confidence", "method"))


def _forecast(tally: Tally, found: Forecast, version: int, unit: int) -> Body:
    return {
        "total": _in_units(tally.total, version, unit),
        "held": _in_units(tally.held, version, unit),
        "left": _in_units(tally.free - tally.tagged, version, unit),
        "state": found.state,
        "days": found.days,
        "per_day": _rate(found.per_day, version, unit),
        "per_day_low": _rate(found.per_day_low, version, unit),
        "per_day_high": _rate(found.per_day_high, version, unit),
        "exhausted_at": moment(found.exhausted_at),
        "earliest": moment(found.earliest),
        "latest": moment(found.latest),
        "confidence": CONFIDENCE,
        "method": METHOD,
    }


async def fragmentation(call: Call) -> Body | Document:
    """GET /ipam/v1/reports/fragmentation: the free blocks by mask length, and how broken up they are"""
    group = _choice(call, "group", _GROUPS, "node")
    async with call.db.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        asked = await _asked(call, conn)
        found = await fragments(conn, asked.leaves)
    sums: dict[tuple[Key, int], tuple[Fragments, Node]] = {}
    for node in asked.leaves:
        place = (_KEYS[group](node), node.cidr.version)
        so_far = sums.get(place, (Fragments(node.cidr.version), node))[0]
        sums[place] = (so_far + found[node.id], node)
    rows = []
    for (key, version), (parts, node) in sorted(sums.items(), key=_by_key):
        head = _node(node) if group == "node" else _KEY_SHOWN[group](key)
        rows.append(
            head
            | {
                "family": version,
                "free_addresses": parts.free,
                "largest_free": None if parts.largest is None else f"/{parts.largest}",
                "free_blocks": sum(parts.blocks.values()),
                "fragmentation": parts.index,
                "blocks": {f"/{length}": count for length, count in parts.blocks.items()},
            }
        )
    told = {"group": group, "definition": FRAGMENTATION}
    return _answer(call, "fragmentation", rows, told, (*_OF[group], *_BROKEN))


_KEYS: Mapping[str, Callable[[Node], Key]] = {
    "node": lambda node: (node.vrf_id, int(node.cidr.network_address), node.cidr.prefixlen, node.id),
    "role": lambda node: (node.role,),
    "facility": lambda node: (node.facility or "",),
    "owner": lambda node: (node.owner.kind, node.owner.name or "", str(node.owner.id or "")),
    "role and facility": lambda node: (node.role, node.facility or ""),
}
_KEY_SHOWN: Mapping[str, Callable[[Key], Body]] = {
    "role": lambda key: {"role": key[0]},
    "facility": lambda key: {"facility": key[0] or None},
    "owner": lambda key: {"owner": {"kind": key[0], "id": key[2] or None, "name": key[1] or None}},
    "role and facility": lambda key: {"role": key[0], "facility": key[1] or None},
}


def _by_key(item: tuple[Any, object]) -> Any:
    return item[0]


async def _asked(call: Call, conn: Connection, *, everywhere: bool = False) -> _Asked:
    """What the query's filters leave of what the caller may see. A customer sees his own holdings `everywhere`."""
    tree = await nodes(conn)
    seen = None if everywhere else await visible(conn, subject_of(call.caller))
    if seen is not None:
        tree = [node for node in tree if node.id in seen]
    wanted = tree
    if (vrf_id := await vrf_named(call, call.word("vrf"))) is not None:
        wanted = [node for node in wanted if node.vrf_id == vrf_id]
    if (role := call.word("role")) is not None:
        wanted = [node for node in wanted if node.role == role]
    if (facility := call.word("facility")) is not None:
        wanted = [node for node in wanted if node.facility == facility]
    if (prefix := call.word("prefix")) is not None:
        if prefix.isdecimal():
            under = {node.id for node in below(tree, {int(prefix)})}
        else:
            around = block_of("Prefix", prefix)
            under = {node.id for node in tree if inside(node.cidr, around)}
        wanted = [node for node in wanted if node.id in under]
    if (owner := call.word("owner")) is not None:
        wanted = [node for node in wanted if _is_of(node.owner, owner)]
    return _Asked(tree, wanted, call.api.clock.now())


def _is_of(owner: Owner, named: str) -> bool:
    if named == "provider":
        return owner.kind == "provider"
    try:
        return owner.id == UUID(named)
    except ValueError:
        raise Invalid(f"Owner is not valid: {shown(named)} is neither provider nor an id") from None


def _cool(call: Call) -> datetime:
    return call.api.clock.now() - timedelta(seconds=call.api.settings.cool_down_s)


def _choice(call: Call, name: str, allowed: Sequence[str], default: str) -> str:
    value = call.word(name) or default
    if value not in allowed:
        raise Invalid(f"{name.capitalize()} is not valid: {shown(value)} is not one of {', '.join(allowed)}")
    return value


def _days(call: Call) -> int:
    value = call.word("days") or str(_DAYS)
    if not (value.isascii() and value.isdecimal() and 1 <= int(value[:5]) <= _DAYS_AT_MOST):
        raise Invalid(f"Days is not valid: {shown(value)} is no whole number from 1 to {_DAYS_AT_MOST}")
    return int(value)


def _node(node: Node) -> Body:
    return {
        "prefix": str(node.cidr),
        "id": node.id,
        "vrf": node.vrf,
        "role": node.role,
        "facility": node.facility,
        "standing": node.standing,
        "owner": {
            "kind": node.owner.kind,
            "id": None if node.owner.id is None else str(node.owner.id),
            "name": node.owner.name,
        },
    }


def _size(version: int, unit: int) -> Body:
    single = unit == (32 if version == 4 else 128)
    return {"family": version, "unit": "address" if single else f"/{unit}"}


def _unit_size(version: int, unit: int) -> int:
    return 1 << ((32 if version == 4 else 128) - unit)


def _in_units(addresses: int, version: int, unit: int) -> int:
    return addresses // _unit_size(version, unit)


def _rate(addresses: float | None, version: int, unit: int) -> float | None:
    return None if addresses is None else addresses / _unit_size(version, unit)


def _tally(tally: Tally, version: int, unit: int) -> Body:
    counts = {name: _in_units(getattr(tally, name), version, unit) for name in _COUNTS}
    return counts | {"utilization": tally.utilization}


def _answer(call: Call, name: str, rows: list[Body], told: Body, columns: Sequence[str]) -> Body | Document:
    """The report as it was asked for; a table without rows has its columns, too."""
    if _choice(call, "format", ("json", "csv"), "json") == "json":
        return {**told, name: rows}
    output = io.StringIO()
    writer = csv.DictWriter(output, columns)
    writer.writeheader()
    writer.writerows(_flat(row) for row in rows)
    return Document(output.getvalue(), "text/csv")


def _flat(row: Body) -> dict[str, object]:
    """A row of a table: an owner's fields are columns, blocks by mask length are one text."""
    found: dict[str, object] = {}
    for name, value in row.items():
        if name == "owner":
            found |= {f"owner_{part}": one for part, one in value.items()}
        elif name == "blocks":
            found[name] = " ".join(f"{length}:{count}" for length, count in value.items())
        else:
            found[name] = value
    return found


_GROUP = "What the rows are of."
_UTILIZATION = (*parameters.NODES, parameters.choice("group", _GROUP, *_GROUPS, "project"))
_FORECAST = (
    *parameters.NODES,
    parameters.choice("group", _GROUP, *_GROUPS),
    Parameter("days", f"From so many days of the ledger, {_DAYS_AT_MOST} at most.", "integer"),
)
_FRAGMENTATION = (*parameters.NODES, parameters.choice("group", _GROUP, *_GROUPS))

ROUTES = (
    Route(
        "GET",
        "/ipam/v1/reports/utilization",
        utilization,
        right=Right.VIEW,
        query=_UTILIZATION,
        answer=report_schemas.Utilization,
        documents=("text/csv",),
    ),
    Route(
        "GET",
        "/ipam/v1/reports/forecast",
        forecasts,
        right=Right.VIEW,
        query=_FORECAST,
        answer=report_schemas.ForecastReport,
        documents=("text/csv",),
    ),
    Route(
        "GET",
        "/ipam/v1/reports/fragmentation",
        fragmentation,
        right=Right.VIEW,
        query=_FRAGMENTATION,
        answer=report_schemas.FragmentationReport,
        documents=("text/csv",),
    ),
)
