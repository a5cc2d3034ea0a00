"""`roundhouse leaf repair|accept|…`: nothing is done to a leaf before it was shown what it would do, and to whom."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.output import Column, Output, cell, table, warn

_STALE = 409
_PLANS = 3  # on a leaf that keeps changing, before it is left to the person
_POLL_S = 0.5

PORTS: list[Column] = [
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("PROFILE", lambda one: " → ".join(dict.fromkeys((one["profile"], one["becomes"])))),
    ("MACHINE", "machine"),
    ("DEVICE", "device.name"),
    ("STATE", "device_state"),
    ("PROJECT", "project.name"),
    ("CUSTOMER", "organization.name"),
]
PLANS: list[Column] = [
    ("ID", "id"),
    ("ACTION", "action"),
    ("STATE", "state"),
    ("PORTS", lambda plan: len(plan["ports"])),
    ("CUSTOMERS", lambda plan: [one["name"] for one in plan["customers"]]),
    ("PLANNED", "planned_at"),
    ("BY", "planned_by"),
    ("APPLIED", "applied_at"),
    ("WAITS FOR", "waits_for"),
]


def plan_text(plan: Object) -> str:
    """A plan for a person to read: what would change, what comes of it, and whom it touches."""
    parts = [plan["difference"] or "nothing would change on the leaf\n"]
    if plan["notes"]:
        parts.append("".join(f"! {note}\n" for note in plan["notes"]))
    if plan["ports"]:
        rows = [[cell(one, what) for _, what in PORTS] for one in plan["ports"]]
        parts.append(table([[title for title, _ in PORTS], *rows]) + "\n")
    counted = [
        _count(len(plan["ports"]), "port"),
        _count(len(plan["machines"]), "machine"),
        _count(len(plan["devices"]), "device"),
        _count(len(plan["customers"]), "customer") + _listed(plan),
    ]
    seen = f"as it was read at {plan['read_at']}" if plan["read_at"] else "which was never read"
    parts.append(f"touches {', '.join(counted)} on {plan['leaf']}, {seen}; plan {plan['id']}\n")
    return "\n".join(parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _listed(plan: Object) -> str:
    names = ", ".join(str(one["name"]) for one in plan["customers"])
    return f" ({names})" if names else ""


def _agreed(plan: Object) -> bool:
    """Ask the person at the terminal; without one, nobody agrees."""
    if not sys.stdin.isatty():
        warn(f"nothing is done; say --yes, or carry it out with `roundhouse leaf apply {plan['id']}`")
        return False
    print(f"{plan['action']} on {plan['leaf']}? Say yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == "yes":
        return True
    warn("nothing is done")
    return False


def plan_and_apply(args: Namespace, client: Client, out: Output, action: str, arguments: Object) -> int:
    """Show what the action would do; do it when that is agreed to."""
    for _ in range(_PLANS):
        asked = {"action": action, "arguments": arguments}
        plan = client.post(f"/admin/v1/leaves/{escaped(args.leaf)}/plans", asked)
        if not out.as_json:
            print(plan_text(plan), end="", flush=True)
        if args.plan:
            if out.as_json:
                out.json(plan)
            return 0
        if not args.yes and not _agreed(plan):
            return 2
        try:
            return _carried_out(args, client, out, plan["id"])
        except CallFailed as err:
            if err.status != _STALE:
                raise
            warn(str(err))
    raise CallFailed(f"{args.leaf} has changed {_PLANS} times while this was planned; try again when it is calmer")


def _carried_out(args: Namespace, client: Client, out: Output, plan_id: str) -> int:
    plan = client.post(f"/admin/v1/leaf-plans/{escaped(plan_id)}/apply", {})
    if args.wait:
        plan = _watched(client, plan, args.timeout)
    ends = {"done": "is done", "refused": f"is refused: {plan['waits_for']}"}
    said = ends.get(plan["state"], f"is under way: {plan['waits_for']}")
    out.done(plan, f"{plan['action']} on {plan['leaf']} {said}")
    return 1 if plan["state"] == "refused" or (args.wait and plan["state"] != "done") else 0


def _watched(client: Client, plan: Object, limit_s: float) -> Object:
    """The plan once the leaf has taken it or refused it; what it waits for is told meanwhile."""
    until, told = monotonic() + limit_s, None
    while plan["state"] == "applying" and monotonic() < until:
        if plan["waits_for"] != told:
            told = plan["waits_for"]
            warn(str(told))
        sleep(_POLL_S)
        plan = client.get(f"/admin/v1/leaf-plans/{plan['id']}")
    return plan


def repair(args: Namespace, client: Client, out: Output) -> int:
    """Make all of a leaf as it should be again."""
    return plan_and_apply(args, client, out, "repair", {})


def accept(args: Namespace, client: Client, out: Output) -> int:
    """Accept objects as they run, until ours in their place change."""
    return plan_and_apply(args, client, out, "accept", {"objects": args.object})


def revoke(args: Namespace, client: Client, out: Output) -> int:
    """Accept objects no longer: ours come back."""
    return plan_and_apply(args, client, out, "revoke", {"objects": args.object})


def profile(args: Namespace, client: Client, out: Output) -> int:
    """Set what ports let through; a device keeps its port and its addresses."""
    return plan_and_apply(args, client, out, "profile", {"ports": args.port, "profile": args.profile})


def adopt(args: Namespace, client: Client, out: Output) -> int:
    """Take over ports on whose interface somebody else's configuration stands."""
    return plan_and_apply(args, client, out, "adopt", {"ports": args.port})


def fabric(args: Namespace, client: Client, out: Output) -> int:
    """Show or set what joins a leaf to the rest: AS number, loopback, uplinks, management."""
    if args.remove:
        return plan_and_apply(args, client, out, "fabric", {"fabric": None})
    if args.file is None:
        out.json(client.get(f"/admin/v1/leaves/{escaped(args.leaf)}")["fabric"])
        return 0
    text = sys.stdin.read() if args.file == "-" else Path(args.file).read_text(encoding="utf-8")
    try:
        wanted = json.loads(text)
    except ValueError as err:
        raise CallFailed(f"{args.file} is no JSON: {err}") from None
    return plan_and_apply(args, client, out, "fabric", {"fabric": wanted})


def database(args: Namespace, client: Client, out: Output) -> int:
    """Choose the configuration database that a leaf is changed through."""
    return plan_and_apply(args, client, out, "database", {"database": args.database})


def recable(args: Namespace, client: Client, out: Output) -> int:
    """Record machines at the ports where LLDP sees them."""
    return plan_and_apply(args, client, out, "recable", {"machines": args.machine})


def list_plans(args: Namespace, client: Client, out: Output) -> int:
    """List what was planned for a leaf, the latest first."""
    out.rows(client.get(f"/admin/v1/leaves/{escaped(args.leaf)}/plans")["plans"], PLANS)
    return 0


def apply(args: Namespace, client: Client, out: Output) -> int:
    """Carry out what was planned, once, if it would still do the same."""
    return _carried_out(args, client, out, args.id)


def leaf_named(parser: ArgumentParser) -> None:
    """The leaf that is meant."""
    parser.add_argument("leaf", metavar="LEAF", help="id or name")


def _waiting(parser: ArgumentParser) -> None:
    parser.add_argument("--wait", action="store_true", help="until the leaf has taken or refused it")
    parser.add_argument("--timeout", type=float, default=600.0, metavar="SECONDS", help="of --wait; default: 600")


def acting(more: Callable[[ArgumentParser], object]) -> Callable[[ArgumentParser], None]:
    """The arguments of an action on a leaf: the leaf, those of the action, and how it is agreed to."""

    def arguments(parser: ArgumentParser) -> None:
        leaf_named(parser)
        more(parser)
        parser.add_argument("--plan", action="store_true", help="only show what would be done, and to whom")
        parser.add_argument("--yes", action="store_true", help="do it without asking")
        _waiting(parser)

    return arguments


def _some(name: str, text: str) -> Callable[[ArgumentParser], object]:
    return lambda parser: parser.add_argument(name, metavar=name.upper(), nargs="*", help=text)


def _nothing(_parser: ArgumentParser) -> None:
    pass


def _profile(parser: ArgumentParser) -> None:
    allowed = ("quarantine", "provisioning", "active", "rescue", "maintenance")
    parser.add_argument("profile", metavar="PROFILE", choices=allowed, help=", ".join(allowed))
    parser.add_argument("port", metavar="PORT", nargs="+")


def _fabric(parser: ArgumentParser) -> None:
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--file", metavar="FILE", help="JSON: asn, loopback, uplinks, management; - is standard input")
    what.add_argument("--remove", action="store_true", help="the fabric is not ours; what stands there is taken away")


def _database(parser: ArgumentParser) -> None:
    allowed = ("candidate", "private", "ephemeral")
    parser.add_argument("database", metavar="DATABASE", choices=allowed, help=", ".join(allowed))


def _apply(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="PLAN", help="id")
    _waiting(parser)


_OBJECTS = "as `leaf drift` names them; none: all"

COMMANDS = (
    Command("leaf", "repair", repair, acting(_nothing)),
    Command("leaf", "accept", accept, acting(_some("object", _OBJECTS))),
    Command("leaf", "revoke", revoke, acting(_some("object", _OBJECTS))),
    Command("leaf", "profile", profile, acting(_profile)),
    Command("leaf", "adopt", adopt, acting(_some("port", "none: all on which something stands"))),
    Command("leaf", "fabric", fabric, acting(_fabric)),
    Command("leaf", "database", database, acting(_database)),
    Command("leaf", "recable", recable, acting(_some("machine", "none: all that are seen elsewhere"))),
    Command("leaf", "plans", list_plans, leaf_named),
    Command("leaf", "apply", apply, _apply),
)
