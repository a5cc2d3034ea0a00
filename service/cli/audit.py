"""`roundhouse audit`: who did what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

from service.cli.client import Client, Object
from service.cli.command import Command
from service.cli.output import Column, Output

_A_CALL = 1000  # rows; what the API gives at most


def _changed(row: Object) -> str:
    """The columns that changed: `name: old → new`."""
    before, after = row["before"] or {}, row["after"] or {}
    if row["status"] is not None:
        return f"answered {row['status']}"
    return ", ".join(f"{name}: {_change(before, after, name)}" for name in {**before, **after})


def _change(before: Object, after: Object, name: str) -> str:
    return " → ".join(_word(side[name]) for side in (before, after) if name in side)


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


AUDIT: list[Column] = [
    ("AT", "at"),
    ("WHO", lambda row: row["email"] or row["actor"]),
    ("FROM", "source"),
    ("REQUEST", lambda row: f"{row['method']} {row['path']}"),
    ("ACTION", "action"),
    ("KIND", "kind"),
    ("SUBJECT", lambda row: row["name"] or row["subject"]),
    ("CHANGED", _changed),
]


def list_audit(args: Namespace, client: Client, out: Output) -> int:
    """List who changed what through the API, newest last, with the values before and after.

    A row is a change of one object, a request of staff with what was answered (`dry_run` when it only showed what it
    would change), or a sign-in to the web console or out of it (answered 403: refused; 429: the first too many of a
    minute, behind which the others are not written down). Rows of one request have the same
    `request` in --json, which the answer to the request names as X-Request-Id. Nobody can change or remove rows.
    """
    asked = {name: getattr(args, name) for name in ("actor", "subject", "kind", "since", "until", "request")}
    found: list[Object] = []
    before = None
    while len(found) < args.limit:
        answer = client.get("/admin/v1/audit", limit=min(_A_CALL, args.limit - len(found)), before=before, **asked)
        found += answer["audit"]
        before = answer["next"]
        if before is None:
            break
    out.rows(found[::-1], AUDIT)
    return 0


def _list(parser: ArgumentParser) -> None:
    parser.add_argument("--actor", metavar="WHO", help="a user's e-mail or id, or project:ID for a project's token")
    parser.add_argument("--subject", metavar="NAME|ID", help="what was changed")
    parser.add_argument(
        "--kind",
        help="machine, leaf, plan, project, ssh_key …; `request` for requests of staff; `session` for sign-ins",
    )
    parser.add_argument("--since", metavar="TIME", help="as 2026-05-01T14:00:00Z; without a zone it is UTC")
    parser.add_argument("--until", metavar="TIME", help="before that time")
    parser.add_argument("--request", metavar="ID", help="all that one request changed")
    parser.add_argument("--limit", type=int, default=100, metavar="NUMBER", help="rows at most (100)")


COMMANDS = (Command("audit", "list", list_audit, _list),)
