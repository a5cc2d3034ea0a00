"""`roundhouse usage …`: what was used, by the second, and what it cost."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from service.cli.client import Client, Object
from service.cli.command import Command
from service.cli.devices import device_id, project_of
from service.cli.output import Column, Output

_LINE: list[Column] = [
    ("TYPE", "type"),
    ("NAME", "name"),
    ("PLAN", "plan"),
    ("FACILITY", "facility"),
    ("FROM", "from"),
    ("UNTIL", "until"),
    ("HOURS", "quantity"),
    ("PRICE", "price"),
    ("TOTAL", "total"),
]


def _print(found: Object, out: Output, columns: list[Column]) -> int:
    if out.as_json:
        out.json(found)
        return 0
    out.rows(found["usages"], columns)
    out.done(found, f"total {found['total']}")
    return 0


def _span(args: Namespace) -> dict[str, Any]:
    return {"created[after]": args.after, "created[before]": args.before}


def show(args: Namespace, client: Client, out: Output) -> int:
    """Show what a project has used, or one of its devices: hours, their price at the time, and what they cost.

    A device counts by the second from its activation until it is deleted or fails, powered off or not. Elastic
    addresses count while they are reserved, reserved hardware while it is kept for the project; a device on it costs
    nothing besides. Example: roundhouse usage show --after 2026-03-01 --before 2026-04-01
    """
    if args.device:
        return _print(client.get(f"/devices/{device_id(args, client)}/usages", **_span(args)), out, _LINE)
    return _print(client.get(f"/projects/{project_of(args, client)}/usages", **_span(args)), out, _LINE)


def export(args: Namespace, client: Client, out: Output) -> int:
    """Export what all organizations, or one, have used in a month: a table, CSV for a spreadsheet, or JSON (staff).

    Example: roundhouse usage export --month 2026-03 --csv > march.csv
    """
    query = {"organization": args.organization, "month": args.month}
    if args.csv:
        print(client.read("/admin/v1/usages", format="csv", **query).decode(), end="")
        return 0
    columns: list[Column] = [("ORGANIZATION", "organization"), ("PROJECT", "project"), *_LINE]
    return _print(client.get("/admin/v1/usages", **query), out, columns)


def _showing(parser: ArgumentParser) -> None:
    parser.add_argument("--device", metavar="DEVICE", help="one device: id, or short id or hostname in the project")
    parser.add_argument("--after", metavar="TIME", help="what was used since then: 2026-03-01 or 2026-03-01T12:00:00Z")
    parser.add_argument("--before", metavar="TIME", help="what was used before then; default: now")
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")


def _exporting(parser: ArgumentParser) -> None:
    parser.add_argument("--month", metavar="YYYY-MM", help="default: this month, up to now")
    parser.add_argument("--organization", metavar="NAME", help="id or name; default: all")
    parser.add_argument("--csv", action="store_true", help="print CSV")


COMMANDS = (
    Command("usage", "show", show, _showing),
    Command("usage", "export", export, _exporting),
)
