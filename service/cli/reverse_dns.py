"""`roundhouse dns`: reverse zones, and what addresses are called."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

ZONES: list[Column] = [
    ("ZONE", "zone"),
    ("NETWORK", "network"),
    ("NAMES", "names"),
    ("CONFIRMED", "confirmed_at"),
    ("FAULT", "fault"),
]
PTR: list[Column] = [
    ("ADDRESS", "address"),
    ("NAME", "name"),
    ("OWN", "own"),
    ("ZONE", "zone"),
    ("SET BY", "set_by"),
    ("SET AT", "set_at"),
    ("CONFIRMED", "confirmed"),
    ("AT", "confirmed_at"),
]


def list_zones(args: Namespace, client: Client, out: Output) -> int:
    """List the reverse zones, with how the last update of each went."""
    zones = client.get("/ipam/v1/dns/zones")["zones"]
    out.rows(zones, ZONES)
    if not out.as_json and (parts := [zone["delegation"] for zone in zones if zone["delegation"]]):
        print("\nthe zones above the smallest ones need, beside NS records:")
        print("\n".join(parts))
    return 0


def show_zone(args: Namespace, client: Client, out: Output) -> int:
    """Print a reverse zone as a zone file."""
    sys.stdout.write(client.read(f"/ipam/v1/dns/zones/{escaped(args.zone)}").decode())
    return 0


def name_address(args: Namespace, client: Client, out: Output) -> int:
    """Show what an address is called, or call it by a name."""
    path = f"/ipam/v1/ips/{escaped(args.address)}/ptr"
    if args.delete:
        client.delete(path)
    elif args.name:
        client.patch(path, {"name": args.name})
    out.one(client.get(path), PTR)
    return 0


def _zone(parser: ArgumentParser) -> None:
    parser.add_argument("zone", metavar="ZONE", help="name of a zone")


def _ptr(parser: ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")
    wish = parser.add_mutually_exclusive_group()
    wish.add_argument("name", metavar="NAME", nargs="?", help="the name that the address shall have")
    wish.add_argument("--delete", action="store_true", help="give the address its default name again")


COMMANDS = (
    Command("dns", "zones", list_zones),
    Command("dns", "zone", show_zone, _zone),
    Command("dns", "ptr", name_address, _ptr),
)
