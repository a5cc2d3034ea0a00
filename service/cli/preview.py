"""A change that is shown before it is made: the service carries it out, tells before and after, and takes it back."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from service.cli.client import Client, Object
from service.cli.output import Output, table, warn


def _word(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def change_text(found: Object, touches: str) -> str:
    """A change for a person to read: field by field, and whom it touches."""
    rows = [[name, _word(found["before"][name]), "→", _word(found["after"][name])] for name in found["after"]]
    if not rows:
        return "nothing would change\n"
    return table([["FIELD", "BEFORE", "", "AFTER"], *rows]) + f"\n{touches}\n"


def agreed(question: str) -> bool:
    """Ask the person at the terminal; without one, nobody agrees."""
    if not sys.stdin.isatty():
        warn("nothing is done; say --yes")
        return False
    print(f"{question} Say yes: ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip() == "yes":
        return True
    warn("nothing is done")
    return False


def previewed(args: Namespace, client: Client, out: Output, path: str, body: Object, touches: str) -> int:
    """PATCH by way of a rehearsal. `touches` is a format of the answer's fields. 2 when nobody agrees."""
    shown = client.patch(path, body | {"dry_run": True})
    if not out.as_json:
        print(change_text(shown, touches.format(**shown)), end="", flush=True)
    if args.dry_run or not shown["after"]:
        if out.as_json:
            out.json(shown)
        return 0
    if not args.yes and not agreed("Change it?"):
        return 2
    done = client.patch(path, body)
    out.done(done, "changed")
    return 0


def agreeing(parser: ArgumentParser) -> None:
    """--dry-run and --yes."""
    parser.add_argument("--dry-run", action="store_true", help="only show before and after, and whom it touches")
    parser.add_argument("--yes", action="store_true", help="do it without asking")
