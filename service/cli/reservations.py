"""`roundhouse reservation …`: machines that are kept for one project."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from uuid import uuid4

from service.cli.client import Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import project_of
from service.cli.output import Column, Output


def _last(reference: str) -> Column:
    def told(one: Object) -> str | None:
        return one[reference]["href"].rpartition("/")[2] if one[reference] else None

    return reference.upper(), told


_LIST: list[Column] = [
    ("ID", "id"),
    ("PLAN", "plan.slug"),
    ("FACILITY", "facility.code"),
    ("READY", "provisionable"),
    ("SPARE", "spare"),
    _last("device"),
    ("RATE", "custom_rate"),
    ("ENDS", "termination_time"),
    ("NOTE", "description"),
]
_ALL: list[Column] = [_LIST[0], ("MACHINE", "machine"), ("STATE", "machine_state"), _last("project"), *_LIST[1:]]


def list_(args: Namespace, client: Client, out: Output) -> int:
    """List the machines that are kept for a project; with --all those of all projects (staff).

    READY means that a device could be ordered on it now, by `hardware_reservation_id`.
    """
    if args.all:
        out.rows(client.every("/admin/v1/hardware-reservations", "hardware_reservations"), _ALL)
        return 0
    path = f"/projects/{project_of(args, client)}/hardware-reservations"
    out.rows(client.every(path, "hardware_reservations"), _LIST)
    return 0


def create(args: Namespace, client: Client, out: Output) -> int:
    """Keep a machine for a project: nobody else is placed on it, and it is charged whether it is used or not (staff).

    The machine must be in nobody's use. Example: roundhouse reservation create m17 --project web --rate 0.30
    """
    wish: Object = {
        "machine": args.machine,
        "project_id": project_of(args, client),
        "custom_rate": args.rate,
        "spare": args.spare,
        "description": args.note,
        "termination_time": args.until,
    }
    wish = {name: value for name, value in wish.items() if value is not None}
    out.one(client.post("/admin/v1/hardware-reservations", wish, key=str(uuid4())), _ALL)
    return 0


def move(args: Namespace, client: Client, out: Output) -> int:
    """Keep a reserved machine for another project from now on. Its device must be deleted before."""
    path = f"/hardware-reservations/{escaped(args.reservation)}/move"
    out.one(client.post(path, {"project_id": project_of(args, client)}, key=str(uuid4())), _LIST)
    return 0


def activate(args: Namespace, client: Client, out: Output) -> int:
    """Make a spare machine one that can be ordered."""
    path = f"/hardware-reservations/{escaped(args.reservation)}/activate"
    out.one(client.post(path, {} if args.note is None else {"description": args.note}, key=str(uuid4())), _LIST)
    return 0


def end(args: Namespace, client: Client, out: Output) -> int:
    """End a reservation: the machine is anybody's again. Refused while a device has it (staff)."""
    client.delete(f"/admin/v1/hardware-reservations/{escaped(args.reservation)}")
    out.done({"id": args.reservation}, f"reservation {args.reservation} has ended")
    return 0


def _in_project(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those of all projects, with their machines (staff)")
    _in_project(parser)


def _creating(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="name or id")
    parser.add_argument("--rate", metavar="PRICE", help="what it costs an hour; default: the plan's price at the time")
    parser.add_argument("--spare", action="store_true", help="it stands by, and is activated when it is needed")
    parser.add_argument("--until", metavar="TIME", help="when it ends by itself, 2027-01-01T00:00:00Z; default: never")
    parser.add_argument("--note", help="what customer and staff read about it")
    _in_project(parser)


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("reservation", metavar="RESERVATION", help="id")


def _moving(parser: ArgumentParser) -> None:
    _one(parser)
    _in_project(parser)


def _activating(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--note", help="why, for whoever reads it later")


def _ending(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--yes", action="store_true", help="yes, anybody may be placed on the machine")


COMMANDS = (
    Command("reservation", "list", list_, _listing),
    Command("reservation", "create", create, _creating),
    Command("reservation", "move", move, _moving),
    Command("reservation", "activate", activate, _activating),
    Command("reservation", "end", end, _ending, destroys=True),
)
