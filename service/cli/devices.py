"""`roundhouse device …`"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from time import sleep
from uuid import UUID, uuid4

from service.cli.client import CallFailed, Client, Object, Unreachable, environment
from service.cli.command import Command
from service.cli.output import Column, Output, span
from service.cli.progress import Progress, seconds

_REDRAW_S = 0.4
_PATIENCE_S = 120  # the order goes on while the API is away


def _address(device: Object) -> str | None:
    return next((one["address"] for one in device["ip_addresses"] if one["public"]), None)


def storage_words(layout: Object) -> str:
    """How the disks are used, on one line."""
    raid = "one disk" if layout["raid"] == "none" else f"RAID {layout['raid']}"
    hints = [",".join(f"{name}={value}" for name, value in disk.items()) for disk in layout["disks"]]
    more = [word for word, there in (("LVM", layout["lvm"]), ("encrypted", layout["encrypted"])) if there]
    return ", ".join([raid, *more, *hints])


LIST: list[Column] = [
    ("ID", "short_id"),
    ("HOSTNAME", "hostname"),
    ("STATE", "state"),
    ("PLAN", "plan.slug"),
    ("OS", "operating_system.slug"),
    ("FACILITY", "facility.code"),
    ("ADDRESS", _address),
    ("CREATED", "created_at"),
]
SHOW: list[Column] = [
    ("ID", "id"),
    ("HOSTNAME", "hostname"),
    ("STATE", "state"),
    ("FAILURE", "failure"),
    ("PLAN", "plan.slug"),
    ("OS", "operating_system.slug"),
    ("ENGINE", "engine"),
    ("STORAGE", lambda device: storage_words(device["disk_layout"])),
    ("USER", "user"),
    ("FACILITY", "facility.code"),
    ("ADDRESSES", lambda device: [f"{one['address']}/{one['cidr']}" for one in device["ip_addresses"]]),
    ("HOST KEYS", "host_keys"),
    ("ROOT PASSWORD", "root_password"),
    ("TAGS", "tags"),
    ("LOCKED", "locked"),
    ("CREATED", "created_at"),
    ("DEADLINE", "deadline"),
    ("PROJECT", lambda device: device["project"]["href"].rpartition("/")[2]),
]


def project_of(args: Namespace, client: Client) -> str:
    """The project that is meant: by option, by ROUNDHOUSE_PROJECT, or the user's default. A name does as well."""
    named = args.project or environment("PROJECT")
    if named is None:
        default = client.get("/user")["default_project_id"]
        if default is None:
            raise CallFailed("there is no project: make one with `roundhouse project create NAME`")
        return str(default)
    try:
        return str(UUID(named))
    except ValueError:
        found = [one["id"] for one in client.every("/projects", "projects", name=named)]
    if len(found) != 1:
        raise CallFailed(f"{len(found)} projects are named {named!r}")
    return str(found[0])


def device_id(args: Namespace, client: Client) -> str:
    """The device that is meant: by id, or by short id or hostname within the project."""
    try:
        return str(UUID(args.device))
    except ValueError:
        path = f"/projects/{project_of(args, client)}/devices"
    found = [
        one["id"]
        for one in client.every(path, "devices", search=args.device)
        if args.device in (one["hostname"], one["short_id"])
    ]
    if len(found) != 1:
        raise CallFailed(f"{len(found)} devices of the project are named {args.device!r}")
    return str(found[0])


def create(args: Namespace, client: Client, out: Output) -> int:
    """Order a device; with --wait until it is active, showing its stages."""
    wish: Object = {
        "hostname": args.hostname,
        "plan": args.plan,
        "operating_system": args.os,
        "facility": args.facility,
        "metro": args.metro,
        "tags": args.tag,
        "description": args.description,
        "ipxe_script_url": args.ipxe_script_url,
        "deadline": args.deadline,
        **_installation(args),
    }
    if args.userdata:
        wish["userdata"] = Path(args.userdata).read_text(encoding="utf-8")
    wish = {name: value for name, value in wish.items() if value}
    key = args.idempotency_key or str(uuid4())
    device = client.post(f"/projects/{project_of(args, client)}/devices", wish, key=key)
    if args.wait:
        device = follow(client, device["id"])
    out.one(device, SHOW)
    return 1 if device["state"] == "failed" else 0


def _installation(args: Namespace) -> Object:
    """By which engine and onto which disks. Raises CallFailed for storage that is no JSON object."""
    wish: Object = {"engine": args.engine}
    if args.storage:
        given: str = args.storage
        text = given if given.lstrip().startswith("{") else Path(given).read_text(encoding="utf-8")
        try:
            wish["storage"] = json.loads(text)
        except ValueError as err:
            raise CallFailed(f"--storage: no JSON: {err}") from None
    return {name: value for name, value in wish.items() if value}


def follow(client: Client, id_: str) -> Object:
    """The device once it is active or has failed; its stages are shown meanwhile, on standard error."""
    progress = Progress(sys.stderr)
    patience = _PATIENCE_S
    while True:
        try:
            device = client.get(f"/devices/{id_}/wait", state="active,failed", timeout=_REDRAW_S)
            progress.show(client.get(f"/devices/{id_}/waterfall"))
        except Unreachable:
            if patience <= 0:
                raise
            patience -= 1
            sleep(1)
            continue
        patience = _PATIENCE_S
        if device["state"] in ("active", "failed"):
            return device


def list_(args: Namespace, client: Client, out: Output) -> int:
    """List devices."""
    path = "/admin/v1/devices" if args.all else f"/projects/{project_of(args, client)}/devices"
    filters = {name: getattr(args, name) for name in ("state", "facility", "plan", "tag", "search")}
    out.rows(client.every(path, "devices", **filters), LIST)
    return 0


def show(args: Namespace, client: Client, out: Output) -> int:
    """Show one device."""
    out.one(client.get(f"/devices/{device_id(args, client)}"), SHOW)
    return 0


def delete(args: Namespace, client: Client, out: Output) -> int:
    """Release a device: its disks are erased."""
    id_ = device_id(args, client)
    client.delete(f"/devices/{id_}")
    out.done({"id": id_}, f"device {id_} is deleted; its machine is being erased")
    return 0


def act(args: Namespace, client: Client, out: Output) -> int:
    """Reboot, power on, power off or reinstall."""
    id_, action = device_id(args, client), args.verb.replace("-", "_")
    wish: Object = {"type": action}
    if getattr(args, "os", None):
        wish["operating_system"] = args.os
    if action == "reinstall":
        wish |= _installation(args)
    client.post(f"/devices/{id_}/actions", wish, key=str(uuid4()))
    out.done({"id": id_, "action": action}, f"device {id_}: {args.verb} is under way")
    return 0


def events(args: Namespace, client: Client, out: Output) -> int:
    """What happened to a device, oldest first."""
    found = list(client.every(f"/devices/{device_id(args, client)}/events", "events"))
    out.rows(found[::-1], EVENTS)
    return 0


EVENTS: list[Column] = [("TIME", "created_at"), ("TYPE", "type"), ("STATE", "state"), ("BODY", "interpolated")]


def _on_time_line(whole: float) -> Callable[[Object], object]:
    return lambda stage: span(stage["offset_s"] or 0.0, stage["actual_s"], whole)


def waterfall(args: Namespace, client: Client, out: Output) -> int:
    """Every stage with its budget and the time that it took."""
    found = client.get(f"/devices/{device_id(args, client)}/waterfall")
    if out.as_json:
        out.json(found)
        return 0
    for run in found["runs"]:
        whole = max(
            (stage["offset_s"] + stage["actual_s"] for stage in run["stages"] if stage["started_at"]), default=0
        )
        columns: list[Column] = [
            ("STAGE", lambda stage: stage["step"].replace("_", " ")),
            ("", _on_time_line(whole)),
            ("ACTUAL", lambda stage: "" if stage["state"] == "pending" else seconds(stage["actual_s"])),
            ("BUDGET", lambda stage: seconds(stage["budget_s"])),
            ("STATE", "state"),
            ("REASON", "reason"),
        ]
        print(f"{run['workflow']} {run['state']}, {seconds(whole)} since {run['created_at']}")
        out.rows(run["stages"], columns)
    return 0


def _in_project(parser: ArgumentParser) -> None:
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")


def _one(parser: ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="id, short id or hostname")
    _in_project(parser)


def _destroying(parser: ArgumentParser) -> None:
    _one(parser)
    parser.add_argument("--yes", action="store_true", help="yes, its disks shall be erased")


def _reinstalling(parser: ArgumentParser) -> None:
    _destroying(parser)
    parser.add_argument("--os", help="another operating system than the present one")
    _installing(parser)


def _installing(parser: ArgumentParser) -> None:
    parser.add_argument("--engine", help="image, or native: the distribution's own installer; default: the system's")
    parser.add_argument(
        "--storage",
        metavar="JSON|FILE",
        help='as {"raid": "1", "lvm": true, "passphrase": "…", "disks": [{"type": "nvme"}]}',
    )


def _creating(parser: ArgumentParser) -> None:
    parser.add_argument("--plan", required=True)
    parser.add_argument("--os", required=True)
    parser.add_argument("--facility", action="append", help="repeat in order of preference; `any` for any")
    parser.add_argument("--metro")
    parser.add_argument("--hostname")
    parser.add_argument("--description")
    parser.add_argument("--tag", action="append")
    parser.add_argument("--userdata", metavar="FILE")
    parser.add_argument("--ipxe-script-url", metavar="URL")
    parser.add_argument(
        "--deadline",
        metavar="SECONDS|TIME",
        help="when it must be active at the latest, in seconds from now or as 2026-05-01T14:00:00Z: refused at once "
        "where that cannot be, and waited for where no machine is free yet",
    )
    _installing(parser)
    parser.add_argument(
        "--idempotency-key", metavar="KEY", help="the same key orders the same device; default: a new one"
    )
    parser.add_argument("--wait", action="store_true", help="until the device is active or has failed")
    _in_project(parser)


def _listing(parser: ArgumentParser) -> None:
    _in_project(parser)
    parser.add_argument("--all", action="store_true", help="of all customers (staff)")
    for name in ("state", "facility", "plan", "tag", "search"):
        parser.add_argument(f"--{name}")


COMMANDS = (
    Command("device", "create", create, _creating),
    Command("device", "list", list_, _listing),
    Command("device", "show", show, _one),
    Command("device", "delete", delete, _destroying, destroys=True),
    Command("device", "reboot", act, _one),
    Command("device", "rescue", act, _one),
    Command("device", "power-on", act, _one),
    Command("device", "power-off", act, _one),
    Command("device", "reinstall", act, _reinstalling, destroys=True),
    Command("device", "events", events, _one),
    Command("device", "waterfall", waterfall, _one),
)
