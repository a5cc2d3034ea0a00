"""`roundhouse order`: the orders of all customers, as operators see them (staff)."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from service.cli.client import Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import follow
from service.cli.output import Column, Output
from service.cli.progress import seconds
from service.cli.racks import STAGES

ORDERS: list[Column] = [
    ("ID", lambda one: one["id"][:8]),
    ("HOSTNAME", "hostname"),
    ("CUSTOMER", "organization.name"),
    ("PROJECT", "project.name"),
    ("PLAN", "plan"),
    ("FACILITY", "facility"),
    ("STATE", "state"),
    ("MACHINE", "machine"),
    ("STEP", "run.step"),
    ("TOOK", lambda one: seconds(one["took_s"])),
    ("DEADLINE", "deadline"),
    ("WAITS FOR", lambda one: one["failure"] or (one["run"] or {}).get("waits_for")),
]
ORDER: list[Column] = [
    ("ID", "id"),
    *ORDERS[1:],
    ("OS", "operating_system"),
    ("ORDERED", "created_at"),
    ("ACTIVE", "active_at"),
    ("DELETED", "deleted_at"),
]
BESIDE: list[Column] = [
    ("STAGE", lambda one: one["step"].replace("_", " ") + ("" if one["attempt"] == 1 else f" ({one['attempt']})")),
    ("STATE", "state"),
    ("TOOK", lambda one: seconds(one["actual_s"])),
    ("MEDIAN", lambda one: seconds(one["median_s"])),
    ("P95", lambda one: seconds(one["p95_s"])),
    ("OF", "measured"),
    ("BUDGET", lambda one: seconds(one["budget_s"])),
    ("", lambda one: "slow" if one["slow"] else ""),
]


def _path(args: Namespace, more: str = "") -> str:
    return f"/admin/v1/orders/{escaped(args.order)}{more}"


def list_orders(args: Namespace, client: Client, out: Output) -> int:
    """List orders under way of all customers: where each is, and what it waits for (staff)."""
    asked: Object = {name: getattr(args, name) for name in ("state", "facility", "plan", "customer")}
    out.rows(client.get("/admin/v1/orders", all="true" if args.all else None, **asked)["orders"], ORDERS)
    return 0


def show_order(args: Namespace, client: Client, out: Output) -> int:
    """Show one order with the stages of everything that was done for it (staff)."""
    found = client.get(_path(args))
    out.one(found, ORDER)
    for run in () if out.as_json else found["runs"]:
        print(f"\n{run['workflow']} {run['state']}, begun {run['created_at']}")
        out.rows(run["stages"], STAGES)
    return 0


def why(args: Namespace, client: Client, out: Output) -> int:
    """Tell why an order is slow, or was: each stage beside what it usually takes, and its budget (staff).

    MEDIAN and P95 are those of the latest two hundred orders of the plan that came to their end; OF is how many of them
    measured the stage.
    """
    found = client.get(_path(args, "/why"))
    if out.as_json:
        out.json(found)
        return 0
    print(f"{found['hostname']} ({found['id'][:8]}) is {found['state']}, {seconds(found['took_s'])} since its order")
    for sentence in found["why"]:
        print(f"- {sentence}")
    if found["stages"]:
        print()
        out.rows(found["stages"], BESIDE)
    return 0


def wait(args: Namespace, client: Client, out: Output) -> int:
    """Wait until an order is active or has failed, showing its stages; 1 when it has failed (staff)."""
    device = follow(client, client.get(_path(args))["id"])
    out.one(client.get(f"/admin/v1/orders/{device['id']}"), ORDER)
    sys.stdout.flush()
    return 1 if device["state"] == "failed" else 0


def cancel(args: Namespace, client: Client, out: Output) -> int:
    """End an order for its customer: the device is deleted, and its machine erased and prepared again (staff)."""
    found = client.get(_path(args))
    client.delete(f"/devices/{found['id']}")
    out.done(found, f"{found['hostname']} of {found['organization']['name']} is deleted; was {found['state']}")
    return 0


def _listing(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that have ended: the latest thousand")
    parser.add_argument("--state", help="only in this state, as provisioning")
    parser.add_argument("--facility", metavar="CODE", help="only at this facility, as ewr1")
    parser.add_argument("--plan", metavar="SLUG", help="only of this plan, as c3.small.x86")
    parser.add_argument("--customer", metavar="NAME|ID", help="only of this organization or project")


def _order(parser: ArgumentParser) -> None:
    parser.add_argument("order", metavar="ORDER", help="the device's id, its beginning, or its hostname")


def _cancelling(parser: ArgumentParser) -> None:
    _order(parser)
    parser.add_argument("--yes", action="store_true", help="yes, the disks shall be erased")


COMMANDS = (
    Command("order", "list", list_orders, _listing),
    Command("order", "show", show_order, _order),
    Command("order", "why", why, _order),
    Command("order", "wait", wait, _order),
    Command("order", "cancel", cancel, _cancelling, destroys=True),
)
