"""`roundhouse prefix import` and `export`: the address space as a file."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import Client, Object
from service.cli.command import Command
from service.cli.output import Column, Output, warn


def _what(change: Object) -> str:
    """What is told of a change, in a word or two."""
    if "before" in change:
        return ", ".join(f"{name}: {was} → {change['after'][name]}" for name, was in change["before"].items())
    return str(change.get("reason") or change["row"].get("role") or "")


CHANGES: list[Column] = [
    ("ACTION", "action"),
    ("KIND", "kind"),
    ("NAME", "name"),
    ("WHERE", "where"),
    ("WHAT", _what),
]
LEFT_OUT: list[Column] = [
    ("LEFT OUT", lambda one: f"{one['section']}.{one['field']}"),
    ("COUNT", "count"),
    ("WHY", "why"),
    ("SUCH AS", lambda one: [f"{example['where']}: {example['value']}" for example in one["examples"][:1]]),
]


def import_file(args: Namespace, client: Client, out: Output) -> int:
    """Show what a file of prefixes and addresses would change; with --apply, change it."""
    content = sys.stdin.buffer.read() if args.file == "-" else Path(args.file).read_bytes()
    asked = {"format": args.format, "apply": "true" if args.apply else "false"}
    made = client.send("/ipam/v1/import", content, **asked)
    counts = made["counts"]
    if out.as_json:
        out.json(made)
    else:
        if made["changes"]:
            out.rows(made["changes"], CHANGES)
            print()
        if made["left_out"]:
            out.rows(made["left_out"], LEFT_OUT)
            print()
        said = f"{counts['add']} to add, {counts['change']} to change, {counts['same']} the same"
        print(f"applied: {said}" if made["applied"] else f"{said}, {counts['conflict']} in conflict")
        if not made["applied"] and not counts["conflict"] and counts["add"] + counts["change"]:
            warn("nothing is changed yet: say --apply")
    return 1 if counts["conflict"] else 0


def export_file(args: Namespace, client: Client, out: Output) -> int:
    """Print all prefixes, held blocks and AS numbers in a form that `import` takes again."""
    sys.stdout.buffer.write(client.read("/ipam/v1/export", format=args.format))
    return 0


def _format(parser: ArgumentParser) -> None:
    parser.add_argument("--format", choices=("csv", "netbox"), default="csv", help="default: csv")


def _import(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="- is standard input")
    _format(parser)
    parser.add_argument("--apply", action="store_true", help="change it: all of the file, or nothing")


COMMANDS = (
    Command("prefix", "import", import_file, _import),
    Command("prefix", "export", export_file, _format),
)
