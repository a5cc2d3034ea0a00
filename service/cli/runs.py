"""`roundhouse run`: work under way, hurried or called off by way of the state machine (staff)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output
from service.cli.racks import RUNS, STAGES

RUN: list[Column] = [
    ("ID", "id"),
    *RUNS[1:],
    ("SUBJECT", "subject"),
    ("ERRORS", "attempt"),
    ("LOOKS AGAIN", "wake_at"),
    ("BEGUN", "created_at"),
    ("ENDED", "finished_at"),
]


def _path(args: Namespace, more: str = "") -> str:
    return f"/admin/v1/runs/{escaped(args.run)}{more}"


def show_run(args: Namespace, client: Client, out: Output) -> int:
    """Show one run with its stages (staff)."""
    found = client.get(_path(args))
    out.one(found, RUN)
    if not out.as_json:
        print()
        out.rows(found["stages"], STAGES)
    return 0


def retry(args: Namespace, client: Client, out: Output) -> int:
    """Have a run that waits look again now, and forget the errors that its step has met (staff).

    With --force the step's budget and the run's time begin anew, so that what is about to give up goes on. A run that
    has ended is not begun again: `machine prepare` or a new order does that.
    """
    found = client.post(_path(args, "/retry"), {"force": args.force})
    out.done(found, f"{found['workflow']} of {found['about']} looks again at {found['step']}")
    return 0


def cancel(args: Namespace, client: Client, out: Output) -> int:
    """Call a run off: what it has done is undone, as if its present step had failed (staff).

    An order fails with the reason, and its machine is prepared again; a preparation leaves its machine in quarantine.
    In the middle of an erase or of firmware only --force does it.
    """
    found = client.post(_path(args, "/cancel"), {"reason": args.reason, "force": args.force})
    out.done(found, f"{found['workflow']} of {found['about']} is being undone: {args.reason}")
    return 0


def _run(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="id, or its beginning as `run list` shows it")


def _retrying(parser: ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--force", action="store_true", help="the step gets its whole budget again")


def _cancelling(parser: ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--reason", required=True, metavar="TEXT", help="what the device or machine shows from then on")
    parser.add_argument("--force", action="store_true", help="also in the middle of an erase or of firmware")
    parser.add_argument("--yes", action="store_true", help="do it")


COMMANDS = (
    Command("run", "show", show_run, _run),
    Command("run", "retry", retry, _retrying),
    Command("run", "cancel", cancel, _cancelling, destroys=True),
)
