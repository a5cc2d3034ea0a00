"""`roundhouse hook` (staff): who is told of transitions and who is asked; `roundhouse webhook`: customers' own."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.devices import project_of
from service.cli.output import Column, Object, Output

HOOKS: list[Column] = [
    ("NAME", "name"),
    ("KIND", "kind"),
    ("MODE", "mode"),
    ("TARGET", "target"),
    ("FOLLOWS", "follows"),
    ("ENABLED", "enabled"),
    ("LIMIT", lambda hook: f"{hook['limit_s']:g} s"),
    ("RETRIES", "retries"),
    ("ON FAILURE", lambda hook: hook["on_failure"] if hook["mode"] == "ask" else ""),
    ("CURSOR", "cursor"),
    ("BEHIND", "behind"),
    ("FAULT", "fault"),
]
MADE: list[Column] = [*HOOKS, ("SECRET", "secret")]
WEBHOOKS: list[Column] = [
    ("ID", "id"),
    ("URL", "url"),
    ("EVENTS", "events"),
    ("ENABLED", "enabled"),
    ("CURSOR", "cursor"),
    ("BEHIND", "behind"),
    ("FAULT", "fault"),
    ("DESCRIPTION", "description"),
]
DELIVERIES: list[Column] = [
    ("ID", "id"),
    ("TYPE", "type"),
    ("CURSOR", "cursor"),
    ("STATE", "state"),
    ("TRIES", "attempts"),
    ("STATUS", "status"),
    ("TOOK", lambda one: None if one["took_s"] is None else f"{one['took_s']:.2f} s"),
    ("AT", "attempted_at"),
    ("ANSWER", "answer"),
]
QUESTIONS: list[Column] = [
    ("ID", "id"),
    ("HOOK", "hook"),
    ("TRANSITION", "transition"),
    ("MACHINE", "machine"),
    ("STATE", "state"),
    ("BY", "decided_by"),
    ("TRIES", "attempts"),
    ("ASKED", "asked_at"),
    ("REASON", "reason"),
]
_PATH = "/admin/v1/hooks"
_QUESTIONS = "/admin/v1/hook-questions"


def _of(args: Namespace) -> str:
    return f"{_PATH}/{escaped(args.hook)}"


def list_hooks(_args: Namespace, client: Client, out: Output) -> int:
    """List the operator's hooks, with how far each was told (CURSOR) and what is wrong with it (FAULT)."""
    out.rows(client.get(_PATH)["hooks"], HOOKS)
    return 0


def add_hook(args: Namespace, client: Client, out: Output) -> int:
    """Have a URL or a program told of transitions, or asked before them.

    The secret that requests are signed with is shown once.
    """
    kind, target = ("webhook", args.url) if args.url else ("executable", args.program)
    body = {"name": args.name, "kind": kind, "target": target, "follows": args.on, **_given(args)}
    if args.ask:
        body["mode"] = "ask"
    out.one(client.post(_PATH, body), MADE)
    return 0


def change_hook(args: Namespace, client: Client, out: Output) -> int:
    """Change a hook: its target, what it follows, its limits, or switch it off and on again.

    What it missed while it was off it is told when it is on again, in order.
    """
    body = _given(args)
    if args.on:
        body["follows"] = args.on
    if args.url or args.program:
        body["target"] = args.url or args.program
    if args.enable or args.disable:
        body["enabled"] = bool(args.enable)
    out.one(client.patch(_of(args), body), HOOKS)
    return 0


def _given(args: Namespace) -> dict[str, Any]:
    names = {"limit_s": args.limit, "retries": args.retries, "on_failure": args.on_failure}
    return {name: value for name, value in names.items() if value is not None}


def remove_hook(args: Namespace, client: Client, out: Output) -> int:
    """Take a hook away, with what is known of its deliveries and questions. Whoever waits for its answer goes on."""
    client.delete(_of(args))
    out.done({"hook": args.hook}, f"hook {args.hook} is gone")
    return 0


def test_hook(args: Namespace, client: Client, out: Output) -> int:
    """Send a hook a test (type hook.test) now, and show what it answered. Exit status 1 when that is no success."""
    answer = client.post(f"{_of(args)}/test", {})
    out.one(answer, DELIVERIES)
    return 0 if answer["state"] == "delivered" else 1


def rotate(args: Namespace, client: Client, out: Output) -> int:
    """Give a hook a new secret, which is shown once; the old one is good for a day, or for --overlap seconds."""
    body = {} if args.overlap is None else {"overlap_s": args.overlap}
    out.one(client.post(f"{_of(args)}/secret", body), MADE)
    return 0


def deliveries(args: Namespace, client: Client, out: Output) -> int:
    """List what a hook was told, the latest first, with what it answered."""
    out.rows(client.every(f"{_of(args)}/deliveries", "deliveries", state=args.state), DELIVERIES)
    return 0


def dead(args: Namespace, client: Client, out: Output) -> int:
    """List dead letters: what could not be told in all tries. `hook replay HOOK --delivery ID` tells one again."""
    names = [args.hook] if args.hook else [hook["name"] for hook in client.get(_PATH)["hooks"]]
    rows: list[Object] = []
    for name in names:
        found = client.every(f"{_PATH}/{escaped(name)}/deliveries", "deliveries", state="dead")
        rows += [one | {"hook": name} for one in found]
    out.rows(rows, [("HOOK", "hook"), *DELIVERIES])
    return 0


def replay(args: Namespace, client: Client, out: Output) -> int:
    """Tell a hook again: one delivery, or everything behind a cursor. Deliveries keep their ids."""
    if args.delivery:
        answer = client.post(f"{_of(args)}/deliveries/{escaped(args.delivery)}/replay", {})
        out.one(answer, DELIVERIES)
        return 0 if answer["state"] == "delivered" else 1
    out.one(client.post(f"{_of(args)}/replay", {"from": args.from_}), HOOKS)
    return 0


def questions(args: Namespace, client: Client, out: Output) -> int:
    """List what hooks were asked, the latest first: who vetoed what, and why."""
    asked = {"hook": args.hook, "machine": args.machine, "state": args.state}
    out.rows(client.get(_QUESTIONS, **asked)["questions"], QUESTIONS)
    return 0


def answer(args: Namespace, client: Client, out: Output) -> int:
    """Answer an open question in a hook's place. The first answer counts."""
    body = {"verdict": args.verdict, "reason": args.reason}
    out.one(client.post(f"{_QUESTIONS}/{escaped(args.question)}", body), QUESTIONS)
    return 0


def ask_again(args: Namespace, client: Client, out: Output) -> int:
    """Ask again after a veto: about a machine that is held back at once; one in quarantine is prepared again first."""
    out.one(client.post(f"{_QUESTIONS}/{escaped(args.question)}/replay", {}), QUESTIONS)
    return 0


def _owner(args: Namespace, client: Client) -> str:
    if args.organization:
        return f"/organizations/{escaped(args.organization)}/webhooks"
    return f"/projects/{project_of(args, client)}/webhooks"


def list_webhooks(args: Namespace, client: Client, out: Output) -> int:
    """List the webhooks of a project or organization."""
    out.rows(client.get(_owner(args, client))["webhooks"], WEBHOOKS)
    return 0


def add_webhook(args: Namespace, client: Client, out: Output) -> int:
    """Have events of a project or organization sent to a URL. The secret that they are signed with is shown once."""
    body: dict[str, object] = {"url": args.url, "description": args.description}
    if args.event:
        body["events"] = args.event
    out.one(client.post(_owner(args, client), body), [*WEBHOOKS, ("SECRET", "secret")])
    return 0


def remove_webhook(args: Namespace, client: Client, out: Output) -> int:
    """Take a webhook away, with what is known of its deliveries."""
    client.delete(f"{_owner(args, client)}/{escaped(args.webhook)}")
    out.done({"id": args.webhook}, f"webhook {args.webhook} is gone")
    return 0


def test_webhook(args: Namespace, client: Client, out: Output) -> int:
    """Send a webhook a test now, and show what was answered. Exit status 1 when that is no success."""
    answer = client.post(f"{_owner(args, client)}/{escaped(args.webhook)}/test", {})
    out.one(answer, DELIVERIES)
    return 0 if answer["state"] == "delivered" else 1


def webhook_deliveries(args: Namespace, client: Client, out: Output) -> int:
    """List what a webhook was sent, the latest first, with what was answered."""
    path = f"{_owner(args, client)}/{escaped(args.webhook)}/deliveries"
    out.rows(client.every(path, "deliveries", state=args.state), DELIVERIES)
    return 0


def replay_webhook(args: Namespace, client: Client, out: Output) -> int:
    """Send everything behind a cursor again; 0 begins with the first event that there was."""
    path = f"{_owner(args, client)}/{escaped(args.webhook)}/replay"
    out.one(client.post(path, {"from": args.from_}), WEBHOOKS)
    return 0


def _hook(parser: ArgumentParser) -> None:
    parser.add_argument("hook", metavar="HOOK", help="its name or id")


def _limits(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--limit", type=float, metavar="SECONDS", help="for one delivery, or for a question with all its tries (10)"
    )
    parser.add_argument("--retries", type=int, help="tries after the first that failed (5)")
    parser.add_argument(
        "--on-failure",
        choices=("refuse", "proceed"),
        help="what becomes of a transition when a hook that is asked does not answer (refuse)",
    )


def _add(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="letters, digits, dots, underscores and hyphens")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--url", help="where to send a signed POST")
    target.add_argument("--program", metavar="PATH", help="what to run: an absolute path in the setting hooks_dir")
    parser.add_argument(
        "--on",
        action="append",
        required=True,
        metavar="TYPE",
        help="events to follow, with * for anything: machine.prepared, 'device.*'; may be repeated",
    )
    parser.add_argument("--ask", action="store_true", help="ask before the transition; the hook may veto it")
    _limits(parser)


def _change(parser: ArgumentParser) -> None:
    _hook(parser)
    target = parser.add_mutually_exclusive_group()
    target.add_argument("--url", help="another URL")
    target.add_argument("--program", metavar="PATH", help="another program")
    parser.add_argument("--on", action="append", metavar="TYPE", help="events to follow instead; may be repeated")
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--enable", action="store_true", help="switch it on")
    switch.add_argument("--disable", action="store_true", help="switch it off; who waits for its answer goes on")
    _limits(parser)


def _remove(parser: ArgumentParser) -> None:
    _hook(parser)
    parser.add_argument("--yes", action="store_true", help="agree to it")


def _overlap(parser: ArgumentParser) -> None:
    _hook(parser)
    parser.add_argument("--overlap", type=int, metavar="SECONDS", help="for which the old secret stays good (86400)")


def _state(parser: ArgumentParser) -> None:
    parser.add_argument("--state", choices=("pending", "delivered", "dead"), help="only in this state")


def _deliveries(parser: ArgumentParser) -> None:
    _hook(parser)
    _state(parser)


def _dead(parser: ArgumentParser) -> None:
    parser.add_argument("hook", nargs="?", metavar="HOOK", help="only of this one")


def _replay(parser: ArgumentParser) -> None:
    _hook(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--delivery", metavar="ID", help="this one, now")
    what.add_argument("--from", dest="from_", type=int, metavar="CURSOR", help="all behind this cursor, in order")


def _questions(parser: ArgumentParser) -> None:
    parser.add_argument("--hook", help="asked of this one")
    parser.add_argument("--machine", help="about this machine, by name or id")
    parser.add_argument("--state", choices=("open", "allowed", "vetoed"), help="only in this state")


def _question(parser: ArgumentParser) -> None:
    parser.add_argument("question", metavar="QUESTION", help="its id: `hook questions`")


def _answer(parser: ArgumentParser) -> None:
    _question(parser)
    parser.add_argument("verdict", choices=("allow", "veto"), help="whether the machine may take the step")
    parser.add_argument("--reason", help="why, for whoever looks at the machine")


def _whose(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="its id or name; default: ROUNDHOUSE_PROJECT, or yours")
    parser.add_argument("--organization", metavar="ID", help="its webhooks instead: of all its projects")


def _add_webhook(parser: ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a public https or http address")
    parser.add_argument("--event", action="append", metavar="TYPE", help="with * for anything; may be repeated (all)")
    parser.add_argument("--description", default="", help="for people")
    _whose(parser)


def _webhook(parser: ArgumentParser) -> None:
    parser.add_argument("webhook", metavar="WEBHOOK", help="its id")
    _whose(parser)


def _remove_webhook(parser: ArgumentParser) -> None:
    _webhook(parser)
    parser.add_argument("--yes", action="store_true", help="agree to it")


def _webhook_deliveries(parser: ArgumentParser) -> None:
    _webhook(parser)
    _state(parser)


def _replay_webhook(parser: ArgumentParser) -> None:
    _webhook(parser)
    parser.add_argument("--from", dest="from_", type=int, required=True, metavar="CURSOR", help="behind this one")


COMMANDS = (
    Command("hook", "list", list_hooks),
    Command("hook", "add", add_hook, _add),
    Command("hook", "change", change_hook, _change),
    Command("hook", "remove", remove_hook, _remove, destroys=True),
    Command("hook", "test", test_hook, _hook),
    Command("hook", "rotate", rotate, _overlap),
    Command("hook", "deliveries", deliveries, _deliveries),
    Command("hook", "dead", dead, _dead),
    Command("hook", "replay", replay, _replay),
    Command("hook", "questions", questions, _questions),
    Command("hook", "answer", answer, _answer),
    Command("hook", "ask-again", ask_again, _question),
    Command("webhook", "list", list_webhooks, _whose),
    Command("webhook", "add", add_webhook, _add_webhook),
    Command("webhook", "remove", remove_webhook, _remove_webhook, destroys=True),
    Command("webhook", "test", test_webhook, _webhook),
    Command("webhook", "deliveries", webhook_deliveries, _webhook_deliveries),
    Command("webhook", "replay", replay_webhook, _replay_webhook),
)
