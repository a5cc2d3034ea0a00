"""What is on offer (`plan`, `os`, `facility`), and what operators look at (`machine`, `run`)."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from itertools import islice
from time import sleep

from service.cli.client import Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import EVENTS
from service.cli.machine_work import WORK, facts_of
from service.cli.output import Column, Output, cell, warn
from service.cli.progress import seconds

_FOLLOW_S = 1.0  # between two looks at what has happened

PLANS: list[Column] = [
    ("SLUG", "slug"),
    ("CPU", lambda plan: f"{plan['specs']['cpus'][0]['count']} × {plan['specs']['cpus'][0]['type']}"),
    ("MEMORY", "specs.memory.total"),
    ("DRIVES", lambda plan: [f"{one['count']} × {one['size']} {one['type']}" for one in plan["specs"]["drives"]]),
    ("PRICE/H", "pricing.hour"),
]
SYSTEMS: list[Column] = [("SLUG", "slug"), ("NAME", "name"), ("DISTRO", "distro"), ("VERSION", "version")]
FACILITIES: list[Column] = [("CODE", "code"), ("NAME", "name"), ("METRO", "metro.code"), ("COUNTRY", "metro.country")]
MACHINES: list[Column] = [
    ("NAME", "name"),
    ("STATE", "state"),
    ("PLAN", "plan"),
    ("FACILITY", "facility"),
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("PROFILE", lambda one: (one["profile"] or "") + ("" if one["port_applied"] else " (pending)")),
    ("DEVICE", "device.hostname"),
    ("AGENT SEEN", "agent_seen_at"),
    ("SINCE", "state_since"),
    ("LEAVING", "leaving"),
    ("REASON", lambda one: one["reason"] or one["held"] or (one["run"] or {}).get("reason")),
    ("FLAG", "flag"),
]
MACHINE: list[Column] = [
    ("ID", "id"),
    *MACHINES,
    ("MAC", "mac"),
    ("ARCH", "arch"),
    ("TO DO", "advice"),
    ("STEP", "run.step"),
    ("PORT FAULT", "port_fault"),
    ("RACK", lambda one: None if one["rack"] is None else f"{one['rack']} unit {one['rack_unit'] or '-'}"),
    ("SEEN AT PORT", lambda one: (one["port_seen"] or {}).get("seen_name") or (one["port_seen"] or {}).get("seen_mac")),
    ("BOOTED AT PORT", "port_seen.booted_mac"),
]
CERTIFIED: list[Column] = [
    ("ERASED", "created_at"),
    ("DISK", "path"),
    ("SERIAL", "serial"),
    ("SIZE", lambda disk: f"{disk['bytes'] / 1e9:.1f} GB"),
    ("METHOD", "method"),
    ("SECONDS", "seconds"),
    ("SAMPLES", lambda disk: f"{disk['samples_clean']}/{disk['samples_read']}"),
    ("SHOW", "verdict"),
    ("NOT SERVED", lambda disk: [one["method"] for one in disk.get("attempts", []) if one["outcome"] != "done"]),
    ("SIGNED", "valid"),
]
FACTS: list[Column] = [("PART", "part"), ("FACT", "fact")]
DISCOVERED: list[Column] = [
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("MAC", "mac"),
    ("SYSTEM", "system"),
    ("CPU", "cpu"),
    ("MEMORY", lambda one: f"{one['memory_bytes'] >> 30} GiB"),
    ("DISKS", lambda one: [f"{size / 1e9:.0f} GB" for size in one["disks_bytes"]]),
    ("FOUND", "first_seen_at"),
    ("SEEN", "seen_at"),
    ("STATE", "state"),
    ("REASON", "reason"),
]
MISPLACED: list[Column] = [
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("RECORDED", "machine"),
    ("SEEN", lambda one: one["seen_machine"] or one["seen_mac"]),
    ("FINDING", "finding"),
]
BOOT_NODES: list[Column] = [
    ("HOST", "host"),
    ("PID", "pid"),
    ("ADDRESS", "address"),
    ("STATE", "state"),
    ("PORTS", "ports"),
    ("INDEX READ", "loaded_at"),
    ("SEEN", "seen_at"),
    ("DHCP", lambda one: one["counters"].get("dhcp_received", 0)),
    ("TFTP", lambda one: one["counters"].get("tftp_requests", 0)),
    ("SCRIPTS", lambda one: one["counters"].get("http_scripts", 0)),
    ("IMAGES", lambda one: one["counters"].get("http_images", 0)),
]
RUNS: list[Column] = [
    ("ID", lambda run: run["id"][:8]),
    ("WORKFLOW", "workflow"),
    ("ABOUT", "about"),
    ("STATE", "state"),
    ("STEP", "step"),
    ("SINCE", "step_since"),
    ("DEADLINE", "deadline"),
    ("REASON", lambda run: run["failure"] or run["reason"]),
]
STAGES: list[Column] = [
    ("STAGE", lambda stage: stage["step"].replace("_", " ")),
    ("STATE", "state"),
    ("ACTUAL", lambda stage: "" if stage["state"] == "pending" else seconds(stage["actual_s"])),
    ("BUDGET", lambda stage: seconds(stage["budget_s"])),
    ("REASON", "reason"),
]


def list_plans(args: Namespace, client: Client, out: Output) -> int:
    """List plans."""
    out.rows(client.get("/plans")["plans"], PLANS)
    return 0


def list_systems(args: Namespace, client: Client, out: Output) -> int:
    """List operating systems."""
    out.rows(client.get("/operating-systems")["operating_systems"], SYSTEMS)
    return 0


def list_facilities(args: Namespace, client: Client, out: Output) -> int:
    """List facilities."""
    out.rows(client.get("/facilities")["facilities"], FACILITIES)
    return 0


def list_events(args: Namespace, client: Client, out: Output) -> int:
    """List the latest events, newest last; with --follow also those to come, until it is interrupted."""
    latest = list(islice(client.every("/events", "events", type=args.type), args.limit))[::-1]
    if not args.follow:
        out.rows(latest, EVENTS)
        return 0
    known: set[str] = set()
    while True:
        for event in latest:
            if event["id"] not in known:
                known.add(event["id"])
                print(json.dumps(event, ensure_ascii=False) if out.as_json else _event_line(event), flush=True)
        sleep(_FOLLOW_S)
        latest = _newer(client, args.type, known)


def _newer(client: Client, type_: str | None, known: set[str]) -> list[Object]:
    """Events since those that are known, oldest first."""
    newer = []
    for event in client.every("/events", "events", type=type_):
        if event["id"] in known:
            break
        newer.append(event)
    return newer[::-1]


def _event_line(event: Object) -> str:
    return "  ".join(cell(event, what) for _, what in EVENTS)


def list_machines(args: Namespace, client: Client, out: Output) -> int:
    """List machines."""
    filters = {name: getattr(args, name) for name in ("state", "facility", "plan", "leaf")}
    out.rows(client.get("/admin/v1/machines", **filters)["machines"], MACHINES)
    if not out.as_json and args.state in (None, "quarantined"):
        found = client.get("/admin/v1/discoveries")["discoveries"]
        if refused := [one for one in found if one["state"] == "quarantined"]:
            warn(f"{len(refused)} at free ports were not let in: `roundhouse machine discovered` tells why")
    return 0


def show_machine(args: Namespace, client: Client, out: Output) -> int:
    """Show one machine with all that is known of it: place, port, hardware, certificate, events, latest run."""
    path = f"/admin/v1/machines/{escaped(args.machine)}"
    found = client.get(path)
    at = client.get("/admin/v1/ports", leaf=found["leaf"], port=found["port"])["ports"] if found["port"] else []
    found["port_seen"] = at[0] if at else None
    found["certificates"] = client.get(f"{path}/certificates")["certificates"][:1]
    found["events"] = client.get(f"{path}/events")["events"]
    found["work"] = client.get(f"{path}/work")["work"][:3]
    out.one(found, MACHINE)
    if out.as_json:
        return 0
    told = ("created_at", "valid")
    erased = [disk | {name: one[name] for name in told} for one in found["certificates"] for disk in one["disks"]]
    sections: list[tuple[list[Object], list[Column]]] = [
        (list(facts_of(found["inventory"])) if found["inventory"] else [], FACTS),
        (erased, CERTIFIED),
        (found["work"], WORK),
        (found["runs"][-1]["stages"] if found["runs"] else [], STAGES),
        (found["events"], EVENTS),
    ]
    for rows, columns in sections:
        if rows:
            print()
            out.rows(rows, columns)
    return 0


def list_certificates(args: Namespace, client: Client, out: Output) -> int:
    """List what was erased on a machine, disk by disk: how, and what samples showed afterwards."""
    found = client.get(f"/admin/v1/machines/{escaped(args.machine)}/certificates")["certificates"]
    if out.as_json:
        out.json(found)
        return 0
    told = ("created_at", "valid")
    out.rows([disk | {name: one[name] for name in told} for one in found for disk in one["disks"]], CERTIFIED)
    return 0


def prepare_machine(args: Namespace, client: Client, out: Output) -> int:
    """Send a machine without a device through preparation (again): erased, certified, into the pool."""
    done = client.post(f"/admin/v1/machines/{escaped(args.machine)}/prepare", {})
    out.one(done, [("ID", "id"), ("STATE", "state")])
    return 0


def list_discovered(args: Namespace, client: Client, out: Output) -> int:
    """List machines that booted at a free port and wait there to be enrolled."""
    out.rows(client.get("/admin/v1/discoveries")["discoveries"], DISCOVERED)
    return 0


def list_misplaced(args: Namespace, client: Client, out: Output) -> int:
    """List ports at which another machine boots than the one that is recorded there."""
    out.rows(client.get("/admin/v1/wrong-cables")["wrong_cables"], MISPLACED)
    return 0


def list_boot_nodes(args: Namespace, client: Client, out: Output) -> int:
    """List the processes that answer DHCP, TFTP and HTTP boot, with what they have counted."""
    out.rows(client.get("/admin/v1/boot-nodes")["boot_nodes"], BOOT_NODES)
    return 0


def list_runs(args: Namespace, client: Client, out: Output) -> int:
    """List the work under way."""
    asked = {"all": "true" if args.all else None, "workflow": args.workflow, "state": args.state}
    out.rows(client.get("/admin/v1/runs", **asked)["runs"], RUNS)
    return 0


def _events(parser: ArgumentParser) -> None:
    parser.add_argument("--type", metavar="TYPE", help="only of this type, as provisioning.110")
    parser.add_argument("--limit", type=int, default=50, metavar="NUMBER", help="how many at most (50)")
    parser.add_argument("--follow", action="store_true", help="go on with what happens from now on")


def _machines(parser: ArgumentParser) -> None:
    for name in ("state", "facility", "plan", "leaf"):
        parser.add_argument(f"--{name}")


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="id or name")


def _runs(parser: ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="also those that have ended")
    parser.add_argument("--workflow")
    parser.add_argument("--state")


COMMANDS = (
    Command("plan", "list", list_plans),
    Command("os", "list", list_systems),
    Command("facility", "list", list_facilities),
    Command("event", "list", list_events, _events),
    Command("machine", "list", list_machines, _machines),
    Command("machine", "show", show_machine, _machine),
    Command("machine", "prepare", prepare_machine, _machine),
    Command("machine", "certificates", list_certificates, _machine),
    Command("machine", "discovered", list_discovered),
    Command("machine", "misplaced", list_misplaced),
    Command("boot-node", "list", list_boot_nodes),
    Command("run", "list", list_runs, _runs),
)
