"""The keys that seal passwords and other secrets in the database (`secret`; staff)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import Client
from service.cli.command import Command
from service.cli.output import Column, Output

_KEYS: list[Column] = [("KEY", "id"), ("USE", "use")]
_SEALED: list[Column] = [
    ("PLACE", "place"),
    ("VALUES", "values"),
    ("BY KEY", lambda one: ", ".join(f"{key}: {count}" for key, count in one["by_key"].items()) or "-"),
    ("UNREADABLE", "unreadable"),
]


def show(_args: Namespace, client: Client, out: Output) -> int:
    """Show the keys of the service's host, and how many sealed values need which; 1 when some cannot be opened."""
    found = client.get("/admin/v1/keys")
    if out.as_json:
        out.json(found)
    else:
        out.rows(found["keys"], _KEYS)
        out.rows(found["sealed"], _SEALED)
    return 1 if any(one["unreadable"] for one in found["sealed"]) else 0


def rotate(args: Namespace, client: Client, out: Output) -> int:
    """Make a new key seal all secrets. The service goes on meanwhile, and drops the old key when nothing needs it.

    Where several hosts serve, say --prepare first, copy the file `key` of the state folder to all of them, rotate,
    and copy it once more.
    """
    found = client.post("/admin/v1/keys", {"prepare": args.prepare})
    out.rows(found["keys"], _KEYS)
    return 0


def _rotate(parser: ArgumentParser) -> None:
    parser.add_argument("--prepare", action="store_true", help="only add the key, so that every host can be given it")


COMMANDS = (
    Command("secret", "show", show),
    Command("secret", "rotate", rotate, _rotate),
)
