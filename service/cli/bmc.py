"""A machine's BMC beside its power (`machine`; staff)."""

from __future__ import annotations

import time
from argparse import ArgumentParser, Namespace

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

_LOG: list[Column] = [("LOG", "log"), ("AT", "at"), ("SEVERITY", "severity"), ("MESSAGE", "message")]
_SENSORS: list[Column] = [("SENSOR", "name"), ("VALUE", "value"), ("UNIT", "unit"), ("HEALTH", "health")]
_FIRMWARE: list[Column] = [("FIRMWARE", "Name"), ("VERSION", "Version")]


def _path(args: Namespace, verb: str) -> str:
    return f"/admin/v1/machines/{escaped(args.machine)}/{verb}"


def show(args: Namespace, client: Client, out: Output) -> int:
    """Ask a machine's BMC for its sensors, its event log and its firmware, and show them."""
    found = client.get(_path(args, "bmc"))
    if out.as_json:
        out.json(found)
        return 0
    for name, columns in (("sensors", _SENSORS), ("log", _LOG), ("firmware", _FIRMWARE)):
        if found.get(name):
            out.rows(found[name], columns)
    return 0


def locate(args: Namespace, client: Client, out: Output) -> int:
    """Have a machine's LED blink, so that whoever stands before the rack finds it; Ctrl-C ends it early.

    With --seconds 0 it blinks until the command is given again with --off.
    """
    client.post(_path(args, "locate"), {"on": not args.off})
    if not args.off and args.seconds:
        try:
            time.sleep(args.seconds)
        finally:
            client.post(_path(args, "locate"), {"on": False})
    blinks = not args.off and not args.seconds
    out.done({"on": blinks}, f"{args.machine} {'blinks' if blinks else 'blinks no more'}")
    return 0


def password(args: Namespace, client: Client, out: Output) -> int:
    """Give a machine's BMC a new random password.

    The service logs in with it before it forgets the old one, and tells it to nobody. All machines behind the same
    Redfish service share it. A command that was interrupted is simply given again.
    """
    found = client.post(_path(args, "bmc-password"), {})
    out.done(found, f"new password for the BMC of {', '.join(found['machines'])}")
    return 0


def trust(args: Namespace, client: Client, out: Output) -> int:
    """Take the TLS certificate that a machine's BMC shows now for the right one, after it was changed on purpose."""
    out.one(client.post(_path(args, "bmc-trust"), {}), [("WAS", "was"), ("FINGERPRINT", "fingerprint")])
    return 0


def reset(args: Namespace, client: Client, out: Output) -> int:
    """Restart a machine's BMC, as when it hangs. The machine itself runs on."""
    out.done(client.post(_path(args, "bmc-reset"), {}), f"the BMC of {args.machine} restarts")
    return 0


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="id or name")


def _locate(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--seconds", type=int, default=60, help="for so long (60); 0: until --off")
    parser.add_argument("--off", action="store_true", help="let it blink no more")


COMMANDS = (
    Command("machine", "bmc", show, _machine),
    Command("machine", "locate", locate, _locate),
    Command("machine", "bmc-password", password, _machine),
    Command("machine", "bmc-trust", trust, _machine),
    Command("machine", "bmc-reset", reset, _machine),
)
