"""What facilities tell of machines: `roundhouse facility events` and `replay`, and the secrets that they sign with."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

EVENTS: list[Column] = [
    ("ID", "id"),
    ("AT", "at"),
    ("SOURCE", "source"),
    ("KIND", "kind"),
    ("MACHINE", "machine"),
    ("STATE", "state"),
    ("OUTCOME", "outcome"),
]
SECRET: list[Column] = [("FACILITY", "facility"), ("SET", "set_at"), ("BY", "set_by"), ("OLD ONE UNTIL", "old_until")]
_PATH = "/admin/v1/facility-events"


def _secret_of(args: Namespace) -> str:
    return f"/admin/v1/facilities/{escaped(args.facility)}/secret"


def events(args: Namespace, client: Client, out: Output) -> int:
    """List what facilities told of machines, the latest first, with what each event led to (staff)."""
    out.rows(client.get(_PATH, machine=args.machine, state=args.state)["facility_events"], EVENTS)
    return 0


def replay(args: Namespace, client: Client, out: Output) -> int:
    """Carry an event out again that was refused, flagged, or of a machine that was not known then (staff)."""
    out.one(client.post(f"{_PATH}/{escaped(args.event)}/replay", {}), EVENTS)
    return 0


def show_secret(args: Namespace, client: Client, out: Output) -> int:
    """Show whether a facility's systems may sign events, and since when; not the secret itself (staff)."""
    out.one(client.get(_secret_of(args)), SECRET)
    return 0


def set_secret(args: Namespace, client: Client, out: Output) -> int:
    """Give a facility a secret to sign its events with, or another one. It is shown once (staff).

    The secret until now stays good for a day, or for --overlap seconds.
    """
    body = {} if args.overlap is None else {"overlap_s": args.overlap}
    out.one(client.post(_secret_of(args), body), [*SECRET, ("SECRET", "secret")])
    return 0


def remove_secret(args: Namespace, client: Client, out: Output) -> int:
    """Take a facility's secret away: nothing that its systems sign is taken any more (staff)."""
    client.delete(_secret_of(args))
    out.done({"facility": args.facility}, f"facility {args.facility} signs nothing any more")
    return 0


def _events(parser: ArgumentParser) -> None:
    parser.add_argument("--machine", metavar="MACHINE", help="of this machine, by name or id")
    parser.add_argument("--state", help="applied, late, unknown, refused or flagged")


def _replay(parser: ArgumentParser) -> None:
    parser.add_argument("event", metavar="EVENT", help="its id, as `facility events` shows it")


def _facility(parser: ArgumentParser) -> None:
    parser.add_argument("facility", metavar="FACILITY", help="its code, as ewr1, or its id")


def _setting(parser: ArgumentParser) -> None:
    _facility(parser)
    parser.add_argument("--overlap", type=int, metavar="SECONDS", help="that the old secret stays good (86400)")


def _removing(parser: ArgumentParser) -> None:
    _facility(parser)
    parser.add_argument("--yes", action="store_true", help="agree to it")


COMMANDS = (
    Command("facility", "events", events, _events),
    Command("facility", "replay", replay, _replay),
    Command("facility", "secret", show_secret, _facility),
    Command("facility", "set-secret", set_secret, _setting),
    Command("facility", "remove-secret", remove_secret, _removing, destroys=True),
)
