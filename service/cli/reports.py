"""`roundhouse report`: how full the address space is, when it will be, and how broken up it is."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from service.cli.client import Client, Object
from service.cli.command import Command
from service.cli.output import Column, Output, bar

_FILTERS = ("vrf", "role", "facility", "prefix", "owner")


def _owner(row: Object) -> str:
    owner = row["owner"]
    return str(owner["name"] or owner["kind"])


def _facility(row: Object) -> str:
    return str(row["facility"] or "all")


def _number(count: int) -> str:
    """IPv6 has numbers that nobody reads digit by digit."""
    return f"{count:,}" if count < 10**9 else f"{count:.3g}"


def _part(part: float) -> str:
    return f"{bar(part, 10)} {part:.1%}"


def _per_day(row: Object) -> str | None:
    if row["per_day"] is None:
        return None
    return f"{row['per_day']:+.3g} ({row['per_day_low']:+.3g} to {row['per_day_high']:+.3g})"


def _day(moment: str | None) -> str | None:
    return None if moment is None else moment[:10]


_HEADS: dict[str, list[Column]] = {
    "node": [
        ("PREFIX", "prefix"),
        ("VRF", "vrf"),
        ("ROLE", "role"),
        ("FACILITY", "facility"),
        ("OWNER", _owner),
    ],
    "role": [("ROLE", "role")],
    "facility": [("FACILITY", _facility)],
    "owner": [("OWNER", _owner), ("KIND", "owner.kind")],
    "project": [("PROJECT", "name"), ("ORGANIZATION", "organization")],
}
_UNIT: list[Column] = [("IPV", "family"), ("UNIT", "unit")]
UTILIZATION: list[Column] = [
    *_UNIT,
    ("TOTAL", lambda row: _number(row["total"])),
    ("HELD", lambda row: _number(row["held"])),
    ("ROUTED", lambda row: _number(row["routed"])),
    ("RESERVED", lambda row: _number(row["reserved"])),
    ("FREE", lambda row: _number(row["free"])),
    ("COOLING", lambda row: _number(row["cooling"])),
    ("TAGGED", lambda row: _number(row["tagged"])),
    ("USE", lambda row: f"{bar(row['utilization'], 10)} {row['utilization']:.1%}"),
]
HOLDINGS: list[Column] = [
    *_UNIT,
    ("HELD", lambda row: _number(row["held"])),
    ("ROUTED", lambda row: _number(row["routed"])),
]
FORECAST: list[Column] = [
    *_UNIT,
    ("USE", lambda row: f"{bar(row['held'] / row['total'], 10)} {row['held'] / row['total']:.1%}"),
    ("LEFT", lambda row: _number(row["left"])),
    ("PER DAY", _per_day),
    ("DAYS", "days"),
    ("STATE", "state"),
    ("FULL", lambda row: _day(row["exhausted_at"])),
    ("EARLIEST", lambda row: _day(row["earliest"])),
    ("LATEST", lambda row: _day(row["latest"]) or ("open" if row["exhausted_at"] else None)),
]
FRAGMENTATION: list[Column] = [
    ("IPV", "family"),
    ("FREE", lambda row: _number(row["free_addresses"])),
    ("LARGEST", "largest_free"),
    ("BLOCKS", "free_blocks"),
    ("FRAGMENTED", lambda row: None if row["fragmentation"] is None else _part(row["fragmentation"])),
    ("BY LENGTH", lambda row: " ".join(f"{length}:{count}" for length, count in row["blocks"].items())),
]


def show_utilization(args: Namespace, client: Client, out: Output) -> int:
    """Show how full the address space is."""
    columns = HOLDINGS if args.group == "project" else UTILIZATION
    return _show(args, client, out, "utilization", [*_HEADS[args.group], *columns])


def show_forecast(args: Namespace, client: Client, out: Output) -> int:
    """Show when the address space will be full."""
    heads = [*_HEADS["role"], *_HEADS["facility"]] if args.group == "role" else _HEADS[args.group]
    return _show(args, client, out, "forecast", [*heads, *FORECAST])


def show_fragmentation(args: Namespace, client: Client, out: Output) -> int:
    """Show how broken up the free address space is."""
    return _show(args, client, out, "fragmentation", [*_HEADS[args.group], *FRAGMENTATION])


def _show(args: Namespace, client: Client, out: Output, name: str, columns: list[Column]) -> int:
    asked = {field: getattr(args, field) for field in (*_FILTERS, "group")} | {"days": getattr(args, "days", None)}
    path = f"/ipam/v1/reports/{name}"
    if args.csv:
        sys.stdout.write(client.read(path, format="csv", **asked).decode())
        return 0
    found = client.get(path, **asked)
    if out.as_json:
        out.json(found)
        return 0
    out.rows(found[name], columns)
    if told := found.get("method") or found.get("definition"):
        sure = f" ({found['confidence']:.0%})" if "confidence" in found else ""
        print(f"\n{told}{sure}")
    return 0


def _asking(*groups: str, days: bool = False) -> Callable[[ArgumentParser], None]:
    def arguments(parser: ArgumentParser) -> None:
        parser.add_argument("--group", choices=groups, default=groups[0], help="one row for each (default: node)")
        parser.add_argument("--vrf")
        parser.add_argument("--role")
        parser.add_argument("--facility")
        parser.add_argument("--prefix", metavar="CIDR", help="this prefix and what lies in it; an id does as well")
        parser.add_argument("--owner", metavar="ID", help="an organization's or project's id, or provider")
        parser.add_argument("--csv", action="store_true", help="print CSV")
        if days:
            parser.add_argument("--days", type=int, help="how much of the ledger's past is used (default: 30)")

    return arguments


COMMANDS = (
    Command("report", "utilization", show_utilization, _asking("node", "role", "facility", "owner", "project")),
    Command("report", "forecast", show_forecast, _asking("node", "role", "facility", "owner", days=True)),
    Command("report", "fragmentation", show_fragmentation, _asking("node", "role", "facility", "owner")),
)
