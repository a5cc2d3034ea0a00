"""`roundhouse bgp …`: a project's BGP configuration and its devices' sessions."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from uuid import uuid4

from service.cli.client import Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import device_id, project_of
from service.cli.output import Column, Output

CONFIG: list[Column] = [
    ("STATUS", "status"),
    ("TYPE", "deployment_type"),
    ("ASN", "asn"),
    ("MD5", lambda one: one["md5"] is not None),
    ("USE CASE", "use_case"),
    ("REQUESTED", "requested_at"),
    ("SESSIONS", lambda one: len(one["sessions"])),
]
SESSIONS: list[Column] = [
    ("ID", "id"),
    ("DEVICE", lambda one: one["device"].get("hostname") or one["device"]["href"].rpartition("/")[2]),
    ("FAMILY", "address_family"),
    ("DEFAULT ROUTE", "default_route"),
    ("STATUS", "status"),
    ("CREATED", "created_at"),
]


def config(args: Namespace, client: Client, out: Output) -> int:
    """Show a project's configuration; with --type set it, with --approve approve a global one (staff)."""
    project = project_of(args, client)
    if args.type:
        wish: Object = {"deployment_type": args.type, "asn": args.asn, "use_case": args.use_case}
        if args.md5_file:
            wish["md5"] = Path(args.md5_file).read_text(encoding="utf-8").strip()
        client.post(f"/projects/{project}/bgp-configs", wish)
    if args.approve:
        client.post(f"/admin/v1/projects/{project}/bgp-config/approve", {})
    out.one(client.get(f"/projects/{project}/bgp-config"), CONFIG)
    return 0


def sessions(args: Namespace, client: Client, out: Output) -> int:
    """List the sessions of a project, or of one device."""
    where = f"/devices/{device_id(args, client)}" if args.device else f"/projects/{project_of(args, client)}"
    out.rows(client.get(f"{where}/bgp/sessions", include="device")["bgp_sessions"], SESSIONS)
    return 0


def add(args: Namespace, client: Client, out: Output) -> int:
    """Give a device a session with its leaf."""
    wish = {"address_family": args.family, "default_route": args.default_route}
    made = client.post(f"/devices/{device_id(args, client)}/bgp/sessions", wish, key=str(uuid4()))
    out.one(made, SESSIONS)
    return 0


def remove(args: Namespace, client: Client, out: Output) -> int:
    """End a session."""
    client.delete(f"/bgp/sessions/{escaped(args.session)}")
    out.done({"id": args.session}, f"session {args.session} has ended")
    return 0


def _in_project(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")


def _configuring(parser: ArgumentParser) -> None:
    parser.add_argument("--type", choices=("local", "global"))
    parser.add_argument("--asn", type=int, help="default for local: 65000")
    parser.add_argument("--md5-file", metavar="FILE", help="the sessions' password, 10 to 20 letters and digits")
    parser.add_argument("--use-case", metavar="TEXT")
    parser.add_argument("--approve", action="store_true", help="approve the project's global configuration (staff)")
    _in_project(parser)


def _sessions(parser: ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", nargs="?", help="id, short id or hostname")
    _in_project(parser)


def _adding(parser: ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="id, short id or hostname")
    parser.add_argument("--family", choices=("ipv4", "ipv6"), default="ipv4")
    parser.add_argument("--default-route", action="store_true", help="the leaf announces a default route")
    _in_project(parser)


def _removing(parser: ArgumentParser) -> None:
    parser.add_argument("session", metavar="SESSION", help="id")


COMMANDS = (
    Command("bgp", "config", config, _configuring),
    Command("bgp", "sessions", sessions, _sessions),
    Command("bgp", "add", add, _adding),
    Command("bgp", "remove", remove, _removing),
)
