"""`roundhouse leaf …`: the switches, what runs on them, and who is plugged into them."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import Client, Object, escaped
from service.cli.command import Command
from service.cli.leaf_plans import COMMANDS as ACTING
from service.cli.leaf_plans import leaf_named
from service.cli.output import Column, Output

LEAVES: list[Column] = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("FACILITY", "facility"),
    ("ADDRESS", lambda leaf: f"{leaf['host']}:{leaf['port']}"),
    ("PORTS", lambda leaf: len(leaf["ports"])),
    ("PENDING", "pending"),
    ("FAULTY", "faulty"),
    ("DRIFTED", "drifted"),
    ("LOCKED SINCE", "locked_since"),
    ("FAULT", "fault"),
]
LEAF: list[Column] = [
    *LEAVES,
    ("DATABASE", "database"),
    ("COMMIT TAKES", lambda leaf: None if leaf["commit_s"] is None else f"{leaf['commit_s']:.2f} s"),
    ("READ AT", "read_at"),
    ("DRIVEN", "held"),
]
PORTS: list[Column] = [
    ("PORT", "name"),
    ("PROFILE", "profile"),
    ("GENERATION", "generation"),
    ("APPLIED", "applied"),
    ("MACHINE", "machine"),
    ("DEVICE", "device.hostname"),
    ("SEEN", lambda port: port["seen_name"] or port["seen_mac"]),
    ("FAULT", "fault"),
]
OBJECTS: list[Column] = [("OBJECT", "object"), ("PORTS", "ports")]
EXEMPTIONS: list[Column] = [
    ("ACCEPTED OBJECT", "object"),
    ("BY", "accepted_by"),
    ("AT", "accepted_at"),
    ("LAPSED", "lapsed"),
]
NEIGHBORS: list[Column] = [
    ("PORT", "port"),
    ("MACHINE", "machine"),
    ("MAC", "mac"),
    ("SEEN MAC", "seen_mac"),
    ("SEEN NAME", "seen_name"),
    ("SINCE", "seen_at"),
    ("VERDICT", "verdict"),
]


def _path(args: Namespace, part: str = "") -> str:
    return f"/admin/v1/leaves/{escaped(args.leaf)}{part}"


def list_leaves(args: Namespace, client: Client, out: Output) -> int:
    """List leaves."""
    out.rows(client.get("/admin/v1/leaves")["leaves"], LEAVES)
    return 0


def show_leaf(args: Namespace, client: Client, out: Output) -> int:
    """Show one leaf with its ports."""
    leaf: Object = client.get(_path(args))
    out.one(leaf, LEAF)
    if not out.as_json:
        print()
        out.rows(leaf["ports"], PORTS)
    return 0


def show_drift(args: Namespace, client: Client, out: Output) -> int:
    """Show what runs otherwise than it should, and what of that is accepted."""
    found = client.get(_path(args, "/drift"), read="true" if args.read else None)
    exemptions = client.get(_path(args, "/exemptions"))["exemptions"]
    if out.as_json:
        out.json({**found, "exemptions": exemptions})
    else:
        _tell_drift(found, exemptions, out)
    return 0


def _tell_drift(found: Object, exemptions: list[Object], out: Output) -> None:
    if found["difference"]:
        print(found["difference"])
    if found["objects"]:
        out.rows(found["objects"], OBJECTS)
        print()
    if exemptions:
        out.rows(exemptions, EXEMPTIONS)
        print()
    read = f"as it was read at {found['read_at']}" if found["read_at"] else "which was never read"
    if found["fresh"] is False:
        read += f"; it could not be read now, it is {found['state']}: {found['fault']}"
    objects = "1 object has" if found["drifted"] == 1 else f"{found['drifted']} objects have"
    print(f"{objects} drifted on {found['leaf']}, {read}")
    if found["under_way"]:
        print(f"changes of {', '.join(found['under_way'])} are under way, and are not counted")


def list_neighbors(args: Namespace, client: Client, out: Output) -> int:
    """Show who is recorded, and who is seen, at the other end of each cable."""
    out.rows(client.get(_path(args, "/neighbors"))["neighbors"], NEIGHBORS)
    return 0


def show_bootstrap(args: Namespace, client: Client, out: Output) -> int:
    """Print the file that a new leaf is started with (ZTP); it is as secret as our login."""
    root = Path(args.root_hash_file).read_text(encoding="utf-8").strip()
    body = {
        "interface": args.interface,
        "address": args.address,
        "gateway": args.gateway,
        "name_servers": args.name_server,
        "ntp_servers": args.ntp_server,
        "root_password_hash": root,
    }
    print(client.text(_path(args, "/bootstrap"), body), end="")
    return 0


def show_config(args: Namespace, client: Client, out: Output) -> int:
    """Print what is ours on a leaf as `set` statements, as it should be or as it runs."""
    found = client.get(_path(args, "/config"), running="true" if args.running else None)
    if out.as_json:
        out.json(found)
    elif args.xml:
        print(found["xml"], end="")
    else:
        print("".join(f"{line}\n" for line in found["set"]), end="")
    return 0


def _drift(parser: ArgumentParser) -> None:
    leaf_named(parser)
    parser.add_argument("--read", action="store_true", help="read the leaf now")


def _bootstrap(parser: ArgumentParser) -> None:
    leaf_named(parser)
    parser.add_argument("--interface", default="em0", help="of management: em0 (the default), fxp0, me0 or vme")
    parser.add_argument("--address", required=True, metavar="ADDRESS/LENGTH", help="of the management interface")
    parser.add_argument("--gateway", required=True, metavar="ADDRESS")
    parser.add_argument("--name-server", action="append", default=[], metavar="ADDRESS")
    parser.add_argument("--ntp-server", action="append", default=[], metavar="ADDRESS")
    hashed = "root's password as `openssl passwd -6` prints it"
    parser.add_argument("--root-hash-file", required=True, metavar="FILE", help=hashed)


def _config(parser: ArgumentParser) -> None:
    leaf_named(parser)
    parser.add_argument("--running", action="store_true", help="as it was read last, not as it should be")
    parser.add_argument("--xml", action="store_true", help="as XML")


COMMANDS = (
    Command("leaf", "list", list_leaves),
    Command("leaf", "show", show_leaf, leaf_named),
    Command("leaf", "drift", show_drift, _drift),
    Command("leaf", "neighbors", list_neighbors, leaf_named),
    Command("leaf", "config", show_config, _config),
    Command("leaf", "bootstrap", show_bootstrap, _bootstrap),
    *ACTING,
)
