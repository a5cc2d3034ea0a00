"""What is on offer, for those who make it: `roundhouse facility` and `plan` (staff)."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.output import Column, Output
from service.cli.preview import agreeing, previewed

FACILITY: list[Column] = [
    ("ID", "id"),
    ("CODE", "code"),
    ("NAME", "name"),
    ("METRO", lambda one: f"{one['metro']} ({one['metro_name']}, {one['country']})"),
    ("RACKS", "racks"),
    ("LEAVES", "leaves"),
    ("MACHINES", "machines"),
    ("READY", "ready"),
    ("QUARANTINED", "quarantined"),
    ("DEVICES", "devices"),
]
PLAN: list[Column] = [
    ("ID", "id"),
    ("SLUG", "slug"),
    ("ALIASES", "aliases"),
    ("NAME", "name"),
    ("DESCRIPTION", "description"),
    ("PRICE/H", "price_hourly"),
    ("CPUS", lambda plan: [f"{one['count']} × {one['type']}" for one in plan["specs"]["cpus"]]),
    ("MEMORY", "specs.memory.total"),
    ("DRIVES", lambda plan: [f"{one['count']} × {one['size']} {one['type']}" for one in plan["specs"]["drives"]]),
    ("NICS", lambda plan: [f"{one['count']} × {one['type']}" for one in plan["specs"]["nics"]]),
    ("ARCH", "specs.arch"),
    ("MACHINES", "machines"),
    ("READY", "ready"),
    ("DEVICES", "devices"),
]
_TOUCHES = "{devices} devices of {projects} projects and {machines} machines are of this plan"


def show_facility(args: Namespace, client: Client, out: Output) -> int:
    """Show one facility with how much there is of what (staff)."""
    out.one(client.get(f"/admin/v1/facilities/{escaped(args.facility)}"), FACILITY)
    return 0


def add_facility(args: Namespace, client: Client, out: Output) -> int:
    """Add a facility; its metro is made with it when --metro-name and --country are given (staff)."""
    body = {name: getattr(args, name) for name in ("code", "name", "metro", "metro_name", "country")}
    out.one(client.post("/admin/v1/facilities", {name: value for name, value in body.items() if value}), FACILITY)
    return 0


def change_facility(args: Namespace, client: Client, out: Output) -> int:
    """Change a facility's name or metro, after showing before and after (staff)."""
    body = {name: getattr(args, name) for name in ("name", "metro") if getattr(args, name) is not None}
    touches = "{devices} devices and {machines} machines are at this facility"
    return previewed(args, client, out, f"/admin/v1/facilities/{escaped(args.facility)}", body, touches)


def show_plan(args: Namespace, client: Client, out: Output) -> int:
    """Show one plan with its parts, and how many machines and devices are of it (staff)."""
    out.one(client.get(f"/admin/v1/plans/{escaped(args.plan)}"), PLAN)
    return 0


def _specs(file: str) -> object:
    text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    try:
        return json.loads(text)
    except ValueError as err:
        raise CallFailed(f"{file} is no JSON: {err}") from None


def add_plan(args: Namespace, client: Client, out: Output) -> int:
    """Add a plan: a kind of machine with its parts and its price (staff).

    The parts are JSON: cpus (count, type), memory (total as 64GB), drives (count, size as 480GB or 1.6TB, type SSD, HDD
    or NVME, category boot, cache or storage), nics (count, type as 10Gbps), features (raid, txt, uefi) and arch (amd64
    or arm64).
    """
    body: Object = {"slug": args.slug, "price_hourly": args.price, "specs": _specs(args.specs)}
    body |= {"name": args.name, "description": args.description, "aliases": args.alias}
    out.one(client.post("/admin/v1/plans", {name: value for name, value in body.items() if value is not None}), PLAN)
    return 0


def change_plan(args: Namespace, client: Client, out: Output) -> int:
    """Change a plan's words, aliases, parts or price, after showing before and after and whom it touches (staff)."""
    body: Object = {"name": args.name, "description": args.description, "aliases": args.alias}
    body |= {"price_hourly": args.price, "specs": None if args.specs is None else _specs(args.specs)}
    body = {name: value for name, value in body.items() if value is not None}
    return previewed(args, client, out, f"/admin/v1/plans/{escaped(args.plan)}", body, _TOUCHES)


def price_plan(args: Namespace, client: Client, out: Output) -> int:
    """Set a plan's price per hour, after showing before and after and whom it touches (staff)."""
    body: Object = {"price_hourly": args.price}
    return previewed(args, client, out, f"/admin/v1/plans/{escaped(args.plan)}", body, _TOUCHES)


def _facility(parser: ArgumentParser) -> None:
    parser.add_argument("facility", metavar="FACILITY", help="its code, as ewr1, or its id")


def _adding_facility(parser: ArgumentParser) -> None:
    parser.add_argument("code", metavar="CODE", help="short and for ever, as fra2")
    parser.add_argument("--name", required=True, help="as customers read it")
    parser.add_argument("--metro", required=True, metavar="CODE", help="the metro that it is in, as fr")
    parser.add_argument("--metro-name", metavar="NAME", help="of a metro that is new")
    parser.add_argument("--country", metavar="CODE", help="of a metro that is new: two letters of ISO 3166, as DE")


def _changing_facility(parser: ArgumentParser) -> None:
    _facility(parser)
    parser.add_argument("--name", help="as customers read it")
    parser.add_argument("--metro", metavar="CODE", help="another metro, which is there")
    agreeing(parser)


def _plan(parser: ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="its slug, an alias or its id")


def _words(parser: ArgumentParser) -> None:
    parser.add_argument("--name", help="default of a new plan: its slug")
    parser.add_argument("--description", help="a sentence for customers")
    parser.add_argument("--alias", action="append", metavar="SLUG", help="an older name of it; may be repeated")


def _adding_plan(parser: ArgumentParser) -> None:
    parser.add_argument("slug", metavar="SLUG", help="as customers order it, as c3.small.x86")
    parser.add_argument("--price", required=True, type=float, metavar="PRICE", help="per hour, as 0.75")
    parser.add_argument("--specs", required=True, metavar="FILE", help="its parts as JSON; - is standard input")
    _words(parser)


def _changing_plan(parser: ArgumentParser) -> None:
    _plan(parser)
    parser.add_argument("--price", type=float, metavar="PRICE", help="per hour, as 0.75")
    parser.add_argument("--specs", metavar="FILE", help="all its parts as JSON; - is standard input")
    _words(parser)
    agreeing(parser)


def _pricing(parser: ArgumentParser) -> None:
    _plan(parser)
    parser.add_argument("price", metavar="PRICE", type=float, help="per hour, as 0.75")
    agreeing(parser)


COMMANDS = (
    Command("facility", "show", show_facility, _facility),
    Command("facility", "add", add_facility, _adding_facility),
    Command("facility", "change", change_facility, _changing_facility),
    Command("plan", "show", show_plan, _plan),
    Command("plan", "add", add_plan, _adding_plan),
    Command("plan", "change", change_plan, _changing_plan),
    Command("plan", "price", price_plan, _pricing),
)
