"""`roundhouse machine bulk`: one act on all machines of a selection, after showing which those are (staff)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command, pair
from service.cli.output import Column, Output
from service.cli.preview import agreed

_SELECTORS = ("state", "facility", "plan", "leaf", "name")

# By act: the states that it is possible in, and the state that it leads to.
ACTS: dict[str, tuple[tuple[str, ...], str]] = {
    "prepare": (("enrolled", "ready", "quarantined"), "preparing"),
    "burn-in": (("enrolled", "ready", "quarantined"), "preparing"),
}
CHOSEN: list[Column] = [
    ("NAME", "name"),
    ("PLAN", "plan"),
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("BEFORE", "state"),
    ("AFTER", "becomes"),
    ("WHY NOT", "why_not"),
    ("DONE", "done"),
]


def _why_not(machine: Object, act: str) -> str | None:
    states, _ = ACTS[act]
    if machine["device"] is not None:
        return f"belongs to {machine['device']['hostname']}"
    return None if machine["state"] in states else f"is {machine['state']}"


def _selected(client: Client, where: list[tuple[str, str]]) -> list[Object]:
    asked: dict[str, str] = {}
    for name, value in where:
        if name not in _SELECTORS:
            raise CallFailed(f"--where: {name!r} is not one of {', '.join(_SELECTORS)}")
        asked[name] = value
    names = asked.pop("name", None)
    wanted = None if names is None else set(names.split(","))
    found: list[Object] = client.get("/admin/v1/machines", **asked)["machines"]
    return [one for one in found if wanted is None or one["name"] in wanted]


def bulk(args: Namespace, client: Client, out: Output) -> int:
    """Prepare or burn in all machines of a selection, after showing what becomes of each; 1 when one refuses (staff).

    Machines that a customer has are never touched; they are listed with the reason.
    """
    machines = _selected(client, args.where)
    for one in machines:
        one["why_not"] = _why_not(one, args.act)
        one["becomes"] = one["state"] if one["why_not"] else ACTS[args.act][1]
        one["done"] = None
    meant = [one for one in machines if one["why_not"] is None]
    if args.dry_run or not meant:
        out.rows(machines, CHOSEN[:-1])
        return 0
    if not args.yes:
        out.rows(machines, CHOSEN[:-1])
        if not agreed(f"{args.act} on {len(meant)} machines?"):
            return 2
    for one in meant:
        try:
            client.post(f"/admin/v1/machines/{escaped(one['name'])}/{args.act}", {})
            one["done"] = True
        except CallFailed as err:
            one["done"], one["why_not"] = False, str(err)
    out.rows(machines, CHOSEN)
    return 1 if any(one["done"] is False for one in machines) else 0


def _arguments(parser: ArgumentParser) -> None:
    parser.add_argument("act", metavar="ACT", choices=tuple(ACTS), help=", ".join(ACTS))
    parser.add_argument(
        "--where",
        action="append",
        type=pair,
        required=True,
        metavar="FIELD=VALUE",
        help=f"which machines; may be repeated, and then all must hold; fields are {', '.join(_SELECTORS)} (a,b,c)",
    )
    parser.add_argument("--dry-run", action="store_true", help="only show which machines, and what becomes of each")
    parser.add_argument("--yes", action="store_true", help="do it without asking: what is on their disks is lost")


COMMANDS = (Command("machine", "bulk", bulk, _arguments),)
