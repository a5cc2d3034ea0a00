"""`roundhouse grant`: who may do what on which prefix."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterable
from uuid import UUID

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import project_of
from service.cli.output import Column, Output
from service.cli.prefixes import prefix_of

GRANTS: list[Column] = [
    ("ID", "id"),
    ("RIGHT", "right"),
    ("TO", "grantee.kind"),
    ("NAME", "grantee.name"),
    ("GRANTED BY", "granted_by"),
    ("AT", "granted_at"),
]
HISTORY: list[Column] = [*GRANTS, ("REVOKED BY", "revoked_by"), ("AT", "revoked_at")]
REASONS: list[Column] = [("PREFIX", "prefix"), ("RIGHT", lambda found: found["right"] or "nothing")]


def list_grants(args: Namespace, client: Client, out: Output) -> int:
    """List the grants on a prefix; those on the prefixes above hold for it, too."""
    found = client.get(_path(args, client, "grants"), history="true" if args.history else None)
    out.rows(found["grants"], HISTORY if args.history else GRANTS)
    return 0


def add_grant(args: Namespace, client: Client, out: Output) -> int:
    """Grant a right on a prefix and all below it."""
    out.one(client.post(_path(args, client, "grants"), {"right": args.right, **_named(args, client)}), GRANTS)
    return 0


def remove_grant(args: Namespace, client: Client, out: Output) -> int:
    """Revoke a grant."""
    client.delete(f"{_path(args, client, 'grants')}/{escaped(args.grant)}")
    out.done({"id": args.grant}, f"grant {args.grant} is revoked")
    return 0


def explain_grants(args: Namespace, client: Client, out: Output) -> int:
    """Say what you may do on a prefix and why, or somebody else."""
    found = client.get(_path(args, client, "permissions"), **_named(args, client))
    out.one(found, REASONS)
    if not out.as_json:
        print()
        print("\n".join(found["reasons"]))
    return 0


def _path(args: Namespace, client: Client, what: str) -> str:
    return f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/{what}"


def _named(args: Namespace, client: Client) -> dict[str, str]:
    """Who is meant, by id; names are looked up."""
    if args.project:
        return {"project": project_of(args, client)}
    if args.organization:
        return {"organization": _id_of(args.organization, "name", client.every("/organizations", "organizations"))}
    if args.user:
        seen = client.every("/organizations", "organizations", include="members")
        return {"user": _id_of(args.user, "email", (user for one in seen for user in one["members"]))}
    return {}


def _id_of(named: str, field: str, items: Iterable[Object]) -> str:
    try:
        return str(UUID(named))
    except ValueError:
        found = [str(one["id"]) for one in items if one[field] == named]
    if len(found) != 1:
        raise CallFailed(f"{len(found)} have the {field} {named!r}")
    return found[0]


def _prefix(parser: ArgumentParser) -> None:
    parser.add_argument("prefix", metavar="PREFIX", help="id, or 203.0.113.0/24")
    parser.add_argument("--vrf", help="where the same prefix is in several")


def _listing(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("--history", action="store_true", help="also those that were revoked")


def _grantee(parser: ArgumentParser, *, required: bool) -> None:
    named = parser.add_mutually_exclusive_group(required=required)
    named.add_argument("--organization", metavar="NAME", help="id or name")
    named.add_argument("--project", metavar="NAME", help="id or name")
    named.add_argument("--user", metavar="EMAIL", help="id or e-mail address")


def _adding(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("right", choices=("view", "assign", "manage"))
    _grantee(parser, required=True)


def _removing(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("grant", metavar="GRANT", help="id of a grant")


def _explaining(parser: ArgumentParser) -> None:
    _prefix(parser)
    _grantee(parser, required=False)


COMMANDS = (
    Command("grant", "list", list_grants, _listing),
    Command("grant", "add", add_grant, _adding),
    Command("grant", "remove", remove_grant, _removing),
    Command("grant", "explain", explain_grants, _explaining),
)
