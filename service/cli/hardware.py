"""Racks by a table, machines that come in by themselves, hardware that leaves (`machine`, `plan`, `facility`)."""

from __future__ import annotations

import csv
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import CallFailed, Client
from service.cli.command import Command
from service.cli.output import Column, Object, Output, warn

CHANGES: list[Column] = [
    ("LINE", "line"),
    ("ACT", "act"),
    ("KIND", "kind"),
    ("NAME", "name"),
    ("FIELDS", lambda one: "; ".join(_field(name, values) for name, values in one["fields"].items()) or None),
]
BILL: list[Column] = [
    ("PLAN", "plan"),
    ("ARCHITECTURE", "bom.arch"),
    ("PROCESSOR", "bom.cpu.model"),
    ("PROCESSORS", "bom.cpu.sockets"),
    ("CORES", "bom.cpu.cores"),
    ("MEMORY", lambda one: f"{one['bom']['memory_bytes'] / 2**30:.1f} GiB" if "memory_bytes" in one["bom"] else None),
    ("DISKS", lambda one: [_disks(disk) for disk in one["bom"].get("disks", [])]),
    ("CARDS", lambda one: _nics(one["bom"].get("nics"))),
    ("OF ITS SPECS", "of_specs"),
    ("RACK UNITS", "rack_units"),
    ("NODES", "nodes"),
]
ACCESS: list[Column] = [
    ("FACILITY", "facility"),
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("URL", "url"),
    ("SEARCH", "search"),
    ("USERNAME", "username"),
    ("CHANGED", "changed_at"),
]


def _field(name: str, values: Object) -> str:
    if values["before"] is None:
        return f"{name} {values['after']}"
    return f"{name} changes" if values["before"] == "(secret)" else f"{name} {values['before']} → {values['after']}"


def _disks(disk: Object) -> str:
    return f"{disk['count']} × {disk['bytes'] / 1e9:.0f} GB {disk['type']}"


def _nics(nics: Object | None) -> str | None:
    return None if nics is None else f"{nics.get('count', 1)} × {nics.get('mbps', 0)} Mbit/s"


def import_racks(args: Namespace, client: Client, out: Output) -> int:
    """Bring in racks, leaves, machines and free ports by a table; without --yes only what would change is shown."""
    table = _text(args.file)
    passwords = {} if args.passwords is None else _passwords(_text(args.passwords))
    body = {"csv": table, "passwords": passwords, "dry_run": args.dry_run or not args.yes}
    done = client.post("/admin/v1/inventory/csv", body)
    if out.as_json:
        out.json(done)
    else:
        moving = [one for one in done["changes"] if one["act"] != "leave"]
        if moving:
            out.rows(moving[: args.limit], CHANGES)
        if len(moving) > args.limit:
            print(f"… and {len(moving) - args.limit} more; --limit shows them")
        counts = done["counts"]
        print(f"{counts['make']} to make, {counts['change']} to change, {counts['leave']} stay as they are")
    if not done["dry_run"]:
        warn("done: new machines are on their way to the pool; `roundhouse machine list` shows them")
        return 0
    if args.dry_run:
        return 0
    if any(done["counts"][act] for act in ("make", "change")):
        warn("nothing was changed; say --yes to carry it out")
        return 2
    return 0


def _text(name: str) -> str:
    return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


def _passwords(text: str) -> dict[str, str]:
    """Lines of machine,password. Raises CallFailed."""
    found = {}
    for number, cells in enumerate(csv.reader(text.splitlines()), 1):
        if not cells:
            continue
        if len(cells) != 2:
            raise CallFailed(f"passwords, line {number}: {len(cells)} cells; allowed is machine,password")
        found[cells[0].strip()] = cells[1]
    return found


def export_racks(args: Namespace, client: Client, out: Output) -> int:
    """Print the table of what is on record, without secrets, as `machine import` takes it."""
    text = client.read("/admin/v1/inventory/csv", facility=args.facility).decode()
    if out.as_json:
        out.json(list(csv.DictReader(text.splitlines())))
    else:
        sys.stdout.write(text)
    return 0


def check_discovered(args: Namespace, client: Client, out: Output) -> int:
    """Look again at machines that wait in quarantine at free ports."""
    body = {name: value for name in ("facility", "leaf", "port") if (value := getattr(args, name)) is not None}
    done = client.post("/admin/v1/discoveries/check", body)
    out.done(
        done, f"looked at again: {done['looked_at_again']}; `roundhouse machine discovered` tells what comes of it"
    )
    return 0


def show_hardware(args: Namespace, client: Client, out: Output) -> int:
    """Show or say what a plan's machines are made of, by which unknown machines are known, and their room in a rack."""
    body: dict[str, object] = {}
    for name in ("like", "rack_units", "nodes"):
        if (value := getattr(args, name)) is not None:
            body[name] = value
    if args.specs:
        body["specs"] = True
    path = f"/admin/v1/plans/{args.plan}/hardware"
    out.one(client.patch(path, body) if body else client.get(path), BILL)
    return 0


def list_access(args: Namespace, client: Client, out: Output) -> int:
    """List where the BMCs of newly found machines are looked for."""
    out.rows(client.get("/admin/v1/bmc-access")["bmc_access"], ACCESS)
    return 0


def set_access(args: Namespace, client: Client, out: Output) -> int:
    """Say where BMCs are and who we are there at first: of a whole facility, or of whatever hangs at one port."""
    body: dict[str, object] = {"facility": args.facility, "url": args.url, "username": args.username}
    body["password"] = _text(args.password_file).strip("\r\n")
    for name in ("leaf", "port", "search"):
        if (value := getattr(args, name)) is not None:
            body[name] = value
    done = client.put("/admin/v1/bmc-access", body)
    out.done(done, f"kept; machines looked at again: {done['looked_at_again']}")
    return 0


def forget_access(args: Namespace, client: Client, out: Output) -> int:
    """Forget where the BMCs of a facility are, or that of one port."""
    asked = "&".join(f"{name}={value}" for name in ("facility", "leaf", "port") if (value := getattr(args, name)))
    client.delete(f"/admin/v1/bmc-access?{asked}")
    return 0


def _import(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="the table, comma-separated values with a header; - is the input")
    parser.add_argument("--dry-run", action="store_true", help="only show what would be made and changed")
    parser.add_argument("--yes", action="store_true", help="carry it out")
    parser.add_argument("--passwords", metavar="FILE", help="lines of machine,BMC password; - is the input")
    parser.add_argument("--limit", type=int, default=100, help="so many lines are shown (100)")


def _export(parser: ArgumentParser) -> None:
    parser.add_argument("--facility", action="append", help="only this one; may be said again")


def _check(parser: ArgumentParser) -> None:
    for name in ("facility", "leaf", "port"):
        parser.add_argument(f"--{name}", help="only those of it")


def _hardware(parser: ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN")
    parser.add_argument("--like", metavar="MACHINE", help="as this machine, or as what waits at 'LEAF PORT'")
    parser.add_argument("--specs", action="store_true", help="as the plan's specs say, again")
    parser.add_argument("--rack-units", type=int, help="how many units of a rack a machine or its chassis takes")
    parser.add_argument("--nodes", type=int, help="how many machines share one chassis")


def _where(parser: ArgumentParser) -> None:
    parser.add_argument("facility", metavar="FACILITY")
    parser.add_argument("--leaf", help="with --port: of what hangs at this port alone")
    parser.add_argument("--port")


def _forgetting(parser: ArgumentParser) -> None:
    _where(parser)
    parser.add_argument("--yes", action="store_true", help="forget it")


def _access(parser: ArgumentParser) -> None:
    _where(parser)
    parser.add_argument("--url", required=True, help="may have {address}: what the machine tells, or one of --search")
    parser.add_argument("--search", metavar="CIDR", help="addresses at which BMCs are looked for, 1024 at most")
    parser.add_argument("--username", required=True)
    parser.add_argument("--password-file", required=True, metavar="FILE", help="- is the input")


COMMANDS = (
    Command("machine", "import", import_racks, _import),
    Command("machine", "export", export_racks, _export),
    Command("machine", "check", check_discovered, _check),
    Command("plan", "hardware", show_hardware, _hardware),
    Command("facility", "bmc-access", list_access),
    Command("facility", "set-bmc-access", set_access, _access),
    Command("facility", "forget-bmc-access", forget_access, _forgetting, destroys=True),
)
