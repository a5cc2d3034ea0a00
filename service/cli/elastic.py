"""`roundhouse ip …`: elastic addresses, reserved for a project and led to its devices."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from ipaddress import ip_network
from uuid import UUID, uuid4

from service.cli.client import CallFailed, Client, Object
from service.cli.command import Command
from service.cli.devices import device_id, project_of
from service.cli.output import Column, Output

_TYPES = ("public_ipv4", "public_ipv6", "private_ipv4", "global_ipv4")


def _block(one: Object) -> str:
    return f"{one['network']}/{one['cidr']}"


def _devices(one: Object) -> list[str]:
    """The names of the devices that parts of a reservation lead to, as far as they were included."""
    found = [part["assigned_to"] for part in one["assignments"] if "assigned_to" in part]
    return list(dict.fromkeys(device.get("hostname") or device["href"].rpartition("/")[2] for device in found))


LIST: list[Column] = [
    ("ID", "id"),
    ("BLOCK", _block),
    ("TYPE", "type"),
    ("FACILITY", lambda one: one["facility"]["code"] if one["facility"] else "any"),
    ("DEVICES", _devices),
    ("TAGS", "tags"),
    ("DETAILS", "details"),
]
_BOTH: list[Column] = [
    ("ID", "id"),
    ("BLOCK", _block),
    ("FACILITY", lambda one: one["facility"]["code"] if one["facility"] else "any"),
    ("TAGS", "tags"),
    ("DETAILS", "details"),
    ("CREATED", "created_at"),
]
RESERVATION: list[Column] = [*_BOTH, ("TYPE", "type"), ("DEVICES", _devices)]
ASSIGNMENT: list[Column] = [
    *_BOTH,
    ("DEVICE", lambda one: one["assigned_to"].get("hostname") or one["assigned_to"]["href"].rpartition("/")[2]),
    ("OUT OF", lambda one: f"{one['parent_block']['network']}/{one['parent_block']['cidr']}"),
]


def _reservations(args: Namespace, client: Client) -> Iterator[Object]:
    path = f"/projects/{project_of(args, client)}/ips"
    return client.every(path, "ip_addresses", management="false", include="assignments.assigned_to")


def _id_of(args: Namespace, client: Client, named: str, *, assignment: bool) -> str:
    """The reservation or assignment that is meant: by id, or by its block within the project."""
    try:
        return str(UUID(named))
    except ValueError:
        pass
    try:
        block = str(ip_network(named))
    except ValueError as err:
        raise CallFailed(f"{named!r} is neither an id nor a block: {err}") from None
    among = _reservations(args, client)
    if assignment:
        among = (part for one in among for part in one["assignments"])
    found = [str(one["id"]) for one in among if _block(one) == block]
    what = "assignments" if assignment else "reservations"
    if len(found) != 1:
        raise CallFailed(f"{len(found)} {what} of the project are {block}" + ("; name one by its id" if found else ""))
    return found[0]


def reserve(args: Namespace, client: Client, out: Output) -> int:
    """Reserve a block for a project."""
    wish: Object = {name: getattr(args, name) for name in ("type", "quantity", "cidr", "facility", "metro", "details")}
    wish["tags"] = args.tag
    if args.quantity is None and args.cidr is None:
        wish["quantity"] = 1
    wish = {name: value for name, value in wish.items() if value is not None}
    key = args.idempotency_key or str(uuid4())
    made = client.post(f"/projects/{project_of(args, client)}/ips", wish, key=key)
    out.one(made, RESERVATION)
    return 0


def list_(args: Namespace, client: Client, out: Output) -> int:
    """List a project's elastic reservations, with the devices that they lead to."""
    filters = {name: getattr(args, name) for name in ("type", "facility", "metro", "tag")}
    path = f"/projects/{project_of(args, client)}/ips"
    include = "assignments.assigned_to"
    out.rows(client.every(path, "ip_addresses", management="false", include=include, **filters), LIST)
    return 0


def show(args: Namespace, client: Client, out: Output) -> int:
    """Show one reservation, or one assignment by its id."""
    id_ = _id_of(args, client, args.address, assignment=False)
    found = client.get(f"/ips/{id_}", include="assigned_to,assignments.assigned_to")
    out.one(found, ASSIGNMENT if "assigned_to" in found else RESERVATION)
    return 0


def assign(args: Namespace, client: Client, out: Output) -> int:
    """Lead an address or a block of the project's reservations to a device."""
    path = f"/devices/{device_id(args, client)}/ips"
    made = client.post(path, {"address": args.address}, key=str(uuid4()))
    out.done(made, f"{_block(made)} leads to device {args.device}")
    return 0


def unassign(args: Namespace, client: Client, out: Output) -> int:
    """Lead a block to its device no longer; it stays reserved."""
    id_ = _id_of(args, client, args.address, assignment=True)
    client.delete(f"/ips/{id_}")
    out.done({"id": id_}, f"{args.address} leads to no device")
    return 0


def move(args: Namespace, client: Client, out: Output) -> int:
    """Lead an assigned block to another device from one moment to the next."""
    id_ = _id_of(args, client, args.address, assignment=True)
    made = client.post(f"/ips/{id_}/move", {"device": device_id(args, client)}, key=str(uuid4()))
    out.done(made, f"{_block(made)} leads to device {args.device}")
    return 0


def split(args: Namespace, client: Client, out: Output) -> int:
    """Cut a reservation into blocks of one size."""
    id_ = _id_of(args, client, args.address, assignment=False)
    made = client.post(f"/ips/{id_}/split", {"cidr": args.cidr}, key=str(uuid4()))
    out.rows(made["ip_addresses"], LIST)
    return 0


def merge(args: Namespace, client: Client, out: Output) -> int:
    """Make one reservation of several that together are one block."""
    ids = [_id_of(args, client, named, assignment=False) for named in args.addresses]
    out.one(client.post("/ips/merge", {"ids": ids}, key=str(uuid4())), RESERVATION)
    return 0


def release(args: Namespace, client: Client, out: Output) -> int:
    """Give a reservation back: others may get its addresses."""
    id_ = _id_of(args, client, args.address, assignment=False)
    client.delete(f"/ips/{id_}")
    out.done({"id": id_}, f"{args.address} is released")
    return 0


def _in_project(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")


def _reserving(parser: ArgumentParser) -> None:
    parser.add_argument("--type", choices=_TYPES, default=_TYPES[0])
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quantity", type=int, help="addresses, a power of two; default: 1")
    size.add_argument("--cidr", type=int, help="prefix length instead: 24 to 32, or 48 to 128 of IPv6")
    parser.add_argument("--facility")
    parser.add_argument("--metro")
    parser.add_argument("--details")
    parser.add_argument("--tag", action="append")
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="the same key reserves the same block; default: a new one"
    )
    _in_project(parser)


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--type", choices=_TYPES)
    for name in ("facility", "metro", "tag"):
        parser.add_argument(f"--{name}")
    _in_project(parser)


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="id, or block: 203.0.113.8/30")
    _in_project(parser)


def _to_device(parser: ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="an address, or a block: 203.0.113.8/30")
    parser.add_argument("device", metavar="DEVICE", help="id, short id or hostname")
    _in_project(parser)


def _splitting(parser: ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS", help="id, or block: 203.0.113.8/30")
    parser.add_argument("cidr", metavar="CIDR", type=int, help="prefix length of the parts")
    _in_project(parser)


def _merging(parser: ArgumentParser) -> None:
    parser.add_argument("addresses", metavar="ADDRESS", nargs="+", help="ids or blocks")
    _in_project(parser)


def _destroying(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--yes", action="store_true", help="yes, others may get its addresses")


COMMANDS = (
    Command("ip", "reserve", reserve, _reserving),
    Command("ip", "list", list_, _listing),
    Command("ip", "show", show, _one),
    Command("ip", "assign", assign, _to_device),
    Command("ip", "unassign", unassign, _one),
    Command("ip", "move", move, _to_device),
    Command("ip", "split", split, _splitting),
    Command("ip", "merge", merge, _merging),
    Command("ip", "release", release, _destroying, destroys=True),
)
