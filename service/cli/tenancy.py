"""`roundhouse user`, `organization`, `member`, `invitation`, `token`, `quota`: who may do what, and how much."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from uuid import UUID

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import project_of
from service.cli.output import Column, Output

_ROLES = ("owner", "admin", "collaborator", "viewer")
_STAFF = ("operator", "support", "facility")
_LIMITS = ("devices", "elastic-ipv4", "elastic-ipv6", "projects", "members")

USERS: list[Column] = [
    ("ID", "id"),
    ("EMAIL", "email"),
    ("NAME", "full_name"),
    ("STAFF", "staff_role"),
    ("DISABLED", "disabled_at"),
    ("CREATED", "created_at"),
]
ORGANIZATIONS: list[Column] = [
    ("ID", "id"),
    ("NAME", "name"),
    ("PROJECTS", lambda one: len(one["projects"])),
    ("MEMBERS", lambda one: len(one["members"])),
    ("CREATED", "created_at"),
]
MEMBERS: list[Column] = [
    ("ID", "id"),
    ("EMAIL", "user.email"),
    ("ROLES", "roles"),
    ("OF", lambda one: "project" if one["project"] else "organization"),
    ("SINCE", "created_at"),
]
INVITATIONS: list[Column] = [
    ("ID", "id"),
    ("INVITEE", "invitee"),
    ("ROLES", "roles"),
    ("INTO", lambda one: "organization" if one["organization"] else "project"),
    ("MESSAGE", "message"),
    ("CREATED", "created_at"),
]
TOKENS: list[Column] = [
    ("ID", "id"),
    ("DESCRIPTION", "description"),
    ("READ ONLY", "read_only"),
    ("OF", lambda one: "project" if one["project"] else "user"),
    ("CREATED", "created_at"),
]
QUOTA: list[Column] = [("WHAT", "what"), ("LIMIT", "limit"), ("USE", "use")]


def show_user(args: Namespace, client: Client, out: Output) -> int:
    """Show who the token speaks for, or, to staff, any account.

    With an account's id or e-mail address its staff role is shown, and whether it is disabled; --json has its
    memberships and tokens, too.
    """
    if args.user is None:
        out.one(client.get("/user"), [("ID", "id"), ("NAME", "full_name"), ("EMAIL", "email"), *_HOME])
    else:
        out.one(client.get(f"/admin/v1/users/{escaped(args.user)}"), [*USERS, *_HOME])
    return 0


_HOME: list[Column] = [("ORGANIZATION", "default_organization_id"), ("PROJECT", "default_project_id")]


def list_users(args: Namespace, client: Client, out: Output) -> int:
    """List all accounts (staff)."""
    out.rows(client.every("/admin/v1/users", "users", search=args.search, staff_role=args.staff), USERS)
    return 0


def create_user(args: Namespace, client: Client, out: Output) -> int:
    """Make an account (staff).

    It owns a new organization, or joins one that is there with --organization and --role. It has no token yet:
    `token create --user EMAIL` makes one.
    """
    wish: dict[str, object] = {"email": args.email, "staff_role": args.staff, "roles": args.role or ["owner"]}
    wish |= {"first_name": args.first_name or "", "last_name": args.last_name or ""}
    wish |= {"organization_name": args.organization_name}
    if args.organization:
        wish["organization_id"] = _organization(args.organization, client)
    out.one(client.post("/admin/v1/users", wish), USERS)
    return 0


def disable_user(args: Namespace, client: Client, out: Output) -> int:
    """Disable an account: its tokens stop at once (staff)."""
    return _set_user(args, client, out, disabled=True)


def enable_user(args: Namespace, client: Client, out: Output) -> int:
    """Enable an account again: its tokens are good again (staff)."""
    return _set_user(args, client, out, disabled=False)


def _set_user(args: Namespace, client: Client, out: Output, *, disabled: bool) -> int:
    out.one(client.patch(f"/admin/v1/users/{escaped(args.user)}", {"disabled": disabled}), USERS)
    return 0


def list_organizations(args: Namespace, client: Client, out: Output) -> int:
    """List the organizations that you are a member of; staff see all."""
    out.rows(client.every("/organizations", "organizations"), ORGANIZATIONS)
    return 0


def create_organization(args: Namespace, client: Client, out: Output) -> int:
    """Make an organization that you own."""
    out.one(client.post("/organizations", {"name": args.name, "description": args.description}), ORGANIZATIONS)
    return 0


def delete_organization(args: Namespace, client: Client, out: Output) -> int:
    """Remove an organization that has no projects."""
    id_ = _organization(args.organization, client)
    client.delete(f"/organizations/{id_}")
    out.done({"id": id_}, f"organization {id_} is deleted")
    return 0


def list_members(args: Namespace, client: Client, out: Output) -> int:
    """List who is a member of an organization, or of a project, and as what."""
    found = client.get(f"{_owner(args, client)}/memberships", include="user", search=args.search)
    out.rows(found["memberships"], MEMBERS)
    return 0


def set_member(args: Namespace, client: Client, out: Output) -> int:
    """Change what a member is; it takes effect at once.

    An owner may do everything, an admin all but end the organization and make owners; a collaborator orders and
    changes devices and addresses; a viewer looks.
    """
    path = f"/memberships/{escaped(args.membership)}"
    client.put(path, {"roles": args.role})
    out.one(client.get(path, include="user"), MEMBERS)
    return 0


def remove_member(args: Namespace, client: Client, out: Output) -> int:
    """Send a member away, or leave; it takes effect at once."""
    client.delete(f"/memberships/{escaped(args.membership)}")
    out.done({"id": args.membership}, f"membership {args.membership} has ended")
    return 0


def list_invitations(args: Namespace, client: Client, out: Output) -> int:
    """List the invitations that you got, or those into an organization or a project."""
    path = f"{_owner(args, client)}/invitations" if args.organization or args.project else "/invitations"
    out.rows(client.get(path)["invitations"], INVITATIONS)
    return 0


def create_invitation(args: Namespace, client: Client, out: Output) -> int:
    """Invite somebody into an organization or a project.

    Whoever has an account with the address sees it in `invitation list`; a mail is sent if the operator has a hook for
    that (docs/hooks.md).
    """
    wish = {"invitee": args.email, "roles": args.role or ["collaborator"], "message": args.message or ""}
    out.one(client.post(f"{_owner(args, client)}/invitations", wish), INVITATIONS)
    return 0


def accept_invitation(args: Namespace, client: Client, out: Output) -> int:
    """Accept an invitation that you got."""
    made = client.put(f"/invitations/{escaped(args.invitation)}", {})
    out.one(client.get(f"/memberships/{made['id']}", include="user"), MEMBERS)
    return 0


def delete_invitation(args: Namespace, client: Client, out: Output) -> int:
    """Decline an invitation, or take one back."""
    client.delete(f"/invitations/{escaped(args.invitation)}")
    out.done({"id": args.invitation}, f"invitation {args.invitation} is gone")
    return 0


def list_tokens(args: Namespace, client: Client, out: Output) -> int:
    """List your tokens, or a project's; the tokens themselves are not kept."""
    path = f"/projects/{project_of(args, client)}/api-keys" if args.project else "/user/api-keys"
    out.rows(client.get(path, search=args.search)["api_keys"], TOKENS)
    return 0


def create_token(args: Namespace, client: Client, out: Output) -> int:
    """Make a token for yourself, for a project alone, or, as staff, for somebody else.

    The token is printed now and never again: only a hash of it is kept.
    """
    path = "/user/api-keys"
    if args.project:
        path = f"/projects/{project_of(args, client)}/api-keys"
    elif args.user:
        path = f"/admin/v1/users/{escaped(args.user)}/api-keys"
    made = client.post(path, {"description": args.description or "", "read_only": args.read_only})
    out.one(made, [("TOKEN", "token"), *TOKENS])
    return 0


def delete_token(args: Namespace, client: Client, out: Output) -> int:
    """End a token; whoever uses it is refused from now on."""
    path = "/admin/v1/api-keys" if args.anybody else "/api-keys"
    client.delete(f"{path}/{escaped(args.token)}")
    out.done({"id": args.token}, f"token {args.token} is good for nothing any more")
    return 0


def show_quota(args: Namespace, client: Client, out: Output) -> int:
    """Show the limits of an organization, or of a project, and what it uses of them (staff).

    IPv4 is counted in addresses, IPv6 in networks of 64 bits.
    """
    _print_quota(client.get(f"/admin/v1{_owner(args, client)}/quota"), out)
    return 0


def set_quota(args: Namespace, client: Client, out: Output) -> int:
    """Set limits of an organization, or of a project (staff).

    What is not named stays as it is; `none` is without a limit. What is there already stays, also when it is more.
    """
    path = f"/admin/v1{_owner(args, client)}/quota"
    given = {name.replace("-", "_"): getattr(args, name.replace("-", "_")) for name in _LIMITS}
    quota = client.get(path)["quota"] | {name: _limit(text) for name, text in given.items() if text is not None}
    _print_quota(client.put(path, quota), out)
    return 0


def _limit(text: str) -> int | None:
    if text == "none":
        return None
    if not (text.isascii() and text.isdecimal()):
        raise CallFailed(f"{text!r} is neither a number nor none")
    return int(text)


def _print_quota(found: Object, out: Output) -> None:
    rows = [{"what": name, "limit": limit, "use": found["use"][name]} for name, limit in found["quota"].items()]
    out.rows(rows, QUOTA)


def _organization(named: str, client: Client) -> str:
    try:
        return str(UUID(named))
    except ValueError:
        found = [one["id"] for one in client.every("/organizations", "organizations") if one["name"] == named]
    if len(found) != 1:
        raise CallFailed(f"{len(found)} organizations have the name {named!r}")
    return str(found[0])


def _owner(args: Namespace, client: Client) -> str:
    if args.organization:
        return f"/organizations/{_organization(args.organization, client)}"
    return f"/projects/{project_of(args, client)}"


def _user(parser: ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", help="an account's id or e-mail address")


def _maybe_user(parser: ArgumentParser) -> None:
    parser.add_argument("user", metavar="USER", nargs="?", help="an account's id or e-mail address (staff)")


def _users(parser: ArgumentParser) -> None:
    parser.add_argument("--search", help="only those whose name or address has this in it")
    parser.add_argument("--staff", choices=_STAFF, help="only staff of this role")


def _creating_user(parser: ArgumentParser) -> None:
    parser.add_argument("email", metavar="EMAIL", help="by which the account is invited and found")
    parser.add_argument("--first-name", help="the given name")
    parser.add_argument("--last-name", help="the family name")
    parser.add_argument("--organization", metavar="NAME", help="id or name of an organization that is there")
    parser.add_argument("--organization-name", metavar="NAME", help="of the new organization; default: the address")
    parser.add_argument("--role", action="append", choices=_ROLES, help="in the organization; default: owner")
    parser.add_argument("--staff", choices=_STAFF, help="make it an account of staff")


def _creating_organization(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="what people call it")
    parser.add_argument("--description", help="a sentence for people")


def _deleting_organization(parser: ArgumentParser) -> None:
    parser.add_argument("organization", metavar="ORGANIZATION", help="id or name")
    parser.add_argument("--yes", action="store_true", help="do it")


def _owned(parser: ArgumentParser) -> None:
    one = parser.add_mutually_exclusive_group()
    one.add_argument("--organization", metavar="NAME", help="an organization's id or name")
    one.add_argument("--project", metavar="NAME", help="a project's id or name; default: ROUNDHOUSE_PROJECT, or yours")


def _members(parser: ArgumentParser) -> None:
    _owned(parser)
    parser.add_argument("--search", help="only those whose name or address has this in it")


def _setting_member(parser: ArgumentParser) -> None:
    _membership(parser)
    parser.add_argument("role", metavar="ROLE", nargs="+", choices=_ROLES, help=f"one of {', '.join(_ROLES)}")


def _membership(parser: ArgumentParser) -> None:
    parser.add_argument("membership", metavar="ID", help="as `member list` shows it")


def _removing_member(parser: ArgumentParser) -> None:
    _membership(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def _inviting(parser: ArgumentParser) -> None:
    parser.add_argument("email", metavar="EMAIL", help="the address of an account, now or later")
    _owned(parser)
    parser.add_argument("--role", action="append", choices=_ROLES, help="may be repeated; default: collaborator")
    parser.add_argument("--message", help="a sentence for whom you invite")


def _invitation(parser: ArgumentParser) -> None:
    parser.add_argument("invitation", metavar="ID", help="as `invitation list` shows it")


def _ending_invitation(parser: ArgumentParser) -> None:
    _invitation(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def _tokens(parser: ArgumentParser) -> None:
    parser.add_argument("--project", metavar="NAME", help="id or name of the project whose tokens are meant")
    parser.add_argument("--search", help="only those whose description has this in it")


def _creating_token(parser: ArgumentParser) -> None:
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--project", metavar="NAME", help="a token for this project alone, by id or name")
    whose.add_argument("--user", metavar="EMAIL", help="a token for somebody else, by id or e-mail address (staff)")
    parser.add_argument("--description", help="what it is for")
    parser.add_argument("--read-only", action="store_true", help="it may look and change nothing")


def _deleting_token(parser: ArgumentParser) -> None:
    parser.add_argument("token", metavar="ID", help="as `token list` shows it")
    parser.add_argument("--anybody", action="store_true", help="whosever it is (staff)")
    parser.add_argument("--yes", action="store_true", help="do it")


def _setting_quota(parser: ArgumentParser) -> None:
    _owned(parser)
    of = ("devices", "elastic IPv4 addresses", "elastic IPv6 networks of 64 bits", "projects", "members")
    for name, words in zip(_LIMITS, of, strict=True):
        parser.add_argument(f"--{name}", metavar="N", help=f"how many {words}, or none")


COMMANDS = (
    Command("user", "show", show_user, _maybe_user),
    Command("user", "list", list_users, _users),
    Command("user", "create", create_user, _creating_user),
    Command("user", "disable", disable_user, _user),
    Command("user", "enable", enable_user, _user),
    Command("organization", "list", list_organizations),
    Command("organization", "create", create_organization, _creating_organization),
    Command("organization", "delete", delete_organization, _deleting_organization, destroys=True),
    Command("member", "list", list_members, _members),
    Command("member", "set", set_member, _setting_member),
    Command("member", "remove", remove_member, _removing_member, destroys=True),
    Command("invitation", "list", list_invitations, _owned),
    Command("invitation", "create", create_invitation, _inviting),
    Command("invitation", "accept", accept_invitation, _invitation),
    Command("invitation", "delete", delete_invitation, _ending_invitation, destroys=True),
    Command("token", "list", list_tokens, _tokens),
    Command("token", "create", create_token, _creating_token),
    Command("token", "delete", delete_token, _deleting_token, destroys=True),
    Command("quota", "show", show_quota, _owned),
    Command("quota", "set", set_quota, _setting_quota),
)
