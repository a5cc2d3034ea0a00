"""`roundhouse prefix` and `roundhouse vrf`: the tree of address space."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from ipaddress import ip_network

from service.cli.client import CallFailed, Client, Object
from service.cli.command import Command, pair
from service.cli.output import Column, Output, bar
from service.cli.preview import change_text


def _indented(one: Object) -> str:
    return "  " * int(one.get("depth", 0)) + str(one["prefix"])


def _use(one: Object) -> str | None:
    if one["role"] == "container":
        return None
    return f"{bar(one['utilization'], 10)} {one['utilization']:.1%}"


PREFIXES: list[Column] = [
    ("ID", "id"),
    ("PREFIX", _indented),
    ("VRF", "vrf"),
    ("ROLE", "role"),
    ("FACILITY", "facility"),
    ("HANDS OUT", lambda one: None if one["role"] == "container" else f"/{one['block_length']}"),
    ("TENURES", lambda one: None if one["role"] == "container" else one["tenures"]),
    ("USE", _use),
    ("STANDING", "standing"),
    ("DESCRIPTION", "description"),
]
PREFIX: list[Column] = [*PREFIXES, ("STATUS", "status"), ("ORGANIZATION", "organization"), ("PROJECT", "project")]
TENURES: list[Column] = [
    ("ID", "id"),
    ("BLOCK", "block"),
    ("KIND", "kind"),
    ("SLOT", "slot"),
    ("PROJECT", "project.name"),
    ("DEVICE", "device.hostname"),
    ("MACHINE", "machine"),
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("FROM", "from"),
    ("BY", "opened_by"),
]
RESERVED: list[Column] = [("ID", "id"), ("FIRST", "first"), ("LAST", "last"), ("REASON", "reason"), ("BY", "by")]
VRFS: list[Column] = [("ID", "id"), ("NAME", "name")]


def prefix_of(args: Namespace, client: Client) -> Object:
    """The prefix that a command line names, by id or by its addresses. Raises CallFailed when there is none."""
    if args.prefix.isdecimal():
        return client.get(f"/ipam/v1/prefixes/{args.prefix}")
    try:
        wanted = str(ip_network(args.prefix))
    except ValueError as err:
        raise CallFailed(f"{args.prefix!r} is neither a prefix's id nor a prefix: {err}") from None
    found = client.get("/ipam/v1/prefixes", inside=wanted, vrf=args.vrf)["prefixes"]
    same = [one for one in found if one["prefix"] == wanted]
    if not same:
        raise CallFailed(f"there is no prefix {wanted}")
    if len(same) > 1:
        raise CallFailed(f"{wanted} is there in {' and '.join(one['vrf'] for one in same)}; say --vrf")
    return dict(same[0])


def list_vrfs(args: Namespace, client: Client, out: Output) -> int:
    """List the VRFs."""
    out.rows(client.get("/ipam/v1/vrfs")["vrfs"], VRFS)
    return 0


def list_prefixes(args: Namespace, client: Client, out: Output) -> int:
    """List prefixes as a tree, with how many tenures live in each."""
    asked = {name: getattr(args, name) for name in ("vrf", "role", "facility", "standing", "inside")}
    found = client.get("/ipam/v1/prefixes", **asked)["prefixes"]
    depths: dict[int, int] = {}
    for one in found:
        one["depth"] = depths[one["id"]] = depths.get(one["parent"], -1) + 1
    out.rows(found, PREFIXES)
    return 0


def show_prefix(args: Namespace, client: Client, out: Output) -> int:
    """Show one prefix."""
    out.one(prefix_of(args, client), PREFIX)
    return 0


def add_prefix(args: Namespace, client: Client, out: Output) -> int:
    """Add a prefix; its parent is the container around it, and a container takes over what lies in it."""
    names = ("prefix", "role", "vrf", "facility", "block_length", "description", "organization", "project")
    body = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    out.one(client.post("/ipam/v1/prefixes", body), PREFIX)
    return 0


def set_prefix(args: Namespace, client: Client, out: Output) -> int:
    """Change a prefix: freeze it (nothing changes), drain it (nothing new), retire it when nothing lives in it."""
    names = ("status", "description", "facility")
    body: Object = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    if args.dry_run:
        path = f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}"
        shown = client.patch(path, body | {"dry_run": True})
        out.done(shown, change_text(shown, f"{shown['taken']} blocks of it are taken").rstrip())
        return 0
    out.one(client.patch(f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}", body), PREFIX)
    return 0


def list_tenures(args: Namespace, client: Client, out: Output) -> int:
    """List what lives in a prefix and below it now."""
    path = f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/tenures"
    out.rows(client.every(path, "tenures"), TENURES)
    return 0


def take(args: Namespace, client: Client, out: Output) -> int:
    """Take a block out of a prefix by hand: the next free one, or the one that is named."""
    names = ("owner", "slot", "length", "block", "project")
    body: Object = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    body["note"] = dict(args.note or [])
    out.one(client.post(f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/tenures", body), TENURES)
    return 0


def give_back(args: Namespace, client: Client, out: Output) -> int:
    """Give a block back that was taken by hand; it cools down before it is handed out again."""
    client.delete(f"/ipam/v1/tenures/{args.tenure}")
    out.done({"id": args.tenure}, f"tenure {args.tenure} has ended")
    return 0


def reserve(args: Namespace, client: Client, out: Output) -> int:
    """Reserve a range that is never handed out."""
    body = {"first": args.first, "last": args.last, "reason": args.reason}
    made = client.post(f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/reserved", body)
    out.done(made, f"{made['id']}: {', '.join(made['blocks'])}")
    return 0


def list_reserved(args: Namespace, client: Client, out: Output) -> int:
    """List the reserved ranges of a prefix."""
    out.rows(client.get(f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/reserved")["reserved"], RESERVED)
    return 0


def unreserve(args: Namespace, client: Client, out: Output) -> int:
    """End a reserved range."""
    client.delete(f"/ipam/v1/prefixes/{prefix_of(args, client)['id']}/reserved/{args.range}")
    out.done({"id": args.range}, f"range {args.range} is reserved no longer")
    return 0


def _prefix(parser: ArgumentParser) -> None:
    parser.add_argument("prefix", metavar="PREFIX", help="id, or 203.0.113.0/24")
    parser.add_argument("--vrf", help="where the same prefix is in several")


def _list(parser: ArgumentParser) -> None:
    for name in ("vrf", "role", "facility", "standing"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--inside", metavar="PREFIX", help="only what lies in it")


def _add(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("--role", required=True)
    parser.add_argument("--facility", help="default: all")
    parser.add_argument("--block-length", type=int, help="mask length of the smallest block that it hands out")
    parser.add_argument("--description")
    owner = parser.add_mutually_exclusive_group()
    owner.add_argument("--organization", metavar="ID", help="whose space it is; default: the provider's")
    owner.add_argument("--project", metavar="ID")


def _set(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("--status", choices=("active", "draining", "frozen", "retired"))
    parser.add_argument("--description")
    parser.add_argument("--facility")
    parser.add_argument("--dry-run", action="store_true", help="only show before and after, and how much is taken")


def _take(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("--owner", metavar="ID", help="default: the project")
    parser.add_argument("--slot", help="the same owner and slot get the same block again")
    parser.add_argument("--length", type=int, help="mask length; default: what the prefix hands out")
    parser.add_argument("--block", metavar="BLOCK", help="this very block")
    parser.add_argument("--project", metavar="ID")
    parser.add_argument(
        "--note", action="append", type=pair, metavar="NAME=VALUE", help="kept in the ledger; may be repeated"
    )


def _tenure(parser: ArgumentParser) -> None:
    parser.add_argument("tenure", metavar="TENURE")
    parser.add_argument("--yes", action="store_true", help="do it")


def _reserve(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("first", metavar="FIRST")
    parser.add_argument("last", metavar="LAST")
    parser.add_argument("--reason", required=True)


def _unreserve(parser: ArgumentParser) -> None:
    _prefix(parser)
    parser.add_argument("range", metavar="RANGE")


COMMANDS = (
    Command("vrf", "list", list_vrfs),
    Command("prefix", "list", list_prefixes, _list),
    Command("prefix", "show", show_prefix, _prefix),
    Command("prefix", "add", add_prefix, _add),
    Command("prefix", "set", set_prefix, _set),
    Command("prefix", "tenures", list_tenures, _prefix),
    Command("prefix", "take", take, _take),
    Command("prefix", "give-back", give_back, _tenure, destroys=True),
    Command("prefix", "reserve", reserve, _reserve),
    Command("prefix", "reserved", list_reserved, _prefix),
    Command("prefix", "unreserve", unreserve, _unreserve),
)
