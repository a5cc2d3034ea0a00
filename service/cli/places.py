"""`roundhouse rack` and `roundhouse port`: where the hardware stands, and what it hangs on (staff)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from itertools import groupby

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.leaf_plans import acting, plan_and_apply
from service.cli.output import Column, Output, table

_PROFILES = ("quarantine", "provisioning", "active", "rescue", "maintenance")
_FOLDED = 4  # free units in a row, before they are one line
_SHOWING = ("pending", "faulty", "free", "used")

RACKS: list[Column] = [
    ("NAME", "name"),
    ("FACILITY", "facility"),
    ("UNITS", "units"),
    ("FREE", lambda rack: rack["units"] - len({one["unit"] for one in rack["contents"]} - {None})),
    ("MACHINES", "machines"),
    ("READY", "ready"),
    ("LEAVES", "leaves"),
    ("CREATED", "created_at"),
]
PORTS: list[Column] = [
    ("LEAF", "leaf"),
    ("PORT", "name"),
    ("PROFILE", lambda port: port["profile"] + (" (pending)" if port["pending"] else "")),
    ("MACHINE", "machine"),
    ("STATE", "machine_state"),
    ("DEVICE", "device"),
    ("SEEN", lambda port: port["seen_name"] or port["seen_mac"]),
    ("BOOTED", "booted_mac"),
    ("FAULT", "fault"),
]
PORT: list[Column] = [
    ("LEAF", "leaf"),
    ("PORT", "name"),
    ("FACILITY", "facility"),
    ("PROFILE", "profile"),
    ("GENERATION", "generation"),
    ("APPLIED", "applied"),
    ("CHANGED", "changed_at"),
    ("FAULT", "fault"),
    ("MACHINE", "machine"),
    ("MACHINE MAC", "machine_mac"),
    ("MACHINE STATE", "machine_state"),
    ("DEVICE", "device"),
    ("DEVICE STATE", "device_state"),
    ("SEEN BY LLDP", "seen_name"),
    ("SEEN MAC", "seen_mac"),
    ("SEEN AT", "seen_at"),
    ("BOOTED MAC", "booted_mac"),
    ("BOOTED AT", "booted_at"),
    ("TAKEN OVER", "take_over"),
]


def elevation(rack: Object) -> str:
    """The rack seen from its front, its highest unit first; what stands nowhere in particular comes last."""
    by_unit: dict[int | None, list[Object]] = {}
    for one in rack["contents"]:
        by_unit.setdefault(one["unit"], []).append(one)
    rows = []
    for free, group in groupby(range(rack["units"], 0, -1), key=lambda unit: unit not in by_unit):
        units = list(group)
        if free and len(units) >= _FOLDED:
            rows.append([f"{units[-1]}-{units[0]}", "free", "", "", "", ""])
        else:
            rows += [[f"{unit:>2}", *_occupant(by_unit.get(unit, []))] for unit in units]
    rows += [["--", *_occupant([one])] for one in by_unit.get(None, [])]
    return f"{rack['name']} at {rack['facility']}, {rack['units']} units\n" + table(
        [["UNIT", "WHAT", "NAME", "STATE", "PLAN", "DEVICE"], *rows]
    )


def _occupant(things: list[Object]) -> list[str]:
    fields = ("kind", "name", "state", "plan", "device")
    return [", ".join(str(one[name]) for one in things if one[name] is not None) or "·" for name in fields]


def list_racks(args: Namespace, client: Client, out: Output) -> int:
    """List racks with how much stands in each (staff)."""
    out.rows(client.get("/admin/v1/racks", facility=args.facility)["racks"], RACKS)
    return 0


def show_rack(args: Namespace, client: Client, out: Output) -> int:
    """Draw a rack as it is seen from its front: units, leaves, machines with their states and devices (staff)."""
    rack = client.get(f"/admin/v1/racks/{escaped(args.rack)}", facility=args.facility)
    out.done(rack, elevation(rack))
    return 0


def add_rack(args: Namespace, client: Client, out: Output) -> int:
    """Add an empty rack to a facility (staff)."""
    body = {"facility": args.facility, "name": args.name, "units": args.units}
    out.one(client.post("/admin/v1/racks", body), RACKS)
    return 0


def put(args: Namespace, client: Client, out: Output) -> int:
    """Record that a machine or a leaf stands at a unit of a rack (staff)."""
    path = f"/admin/v1/racks/{escaped(args.rack)}/contents" + _query(args.facility)
    rack = client.post(path, {"leaf" if args.leaf else "machine": args.leaf or args.machine, "unit": args.unit})
    out.done(rack, elevation(rack))
    return 0


def remove_rack(args: Namespace, client: Client, out: Output) -> int:
    """Remove a rack that nothing stands in (staff)."""
    client.delete(f"/admin/v1/racks/{escaped(args.rack)}" + _query(args.facility))
    out.done({"rack": args.rack}, f"rack {args.rack} is removed")
    return 0


def _query(facility: str | None) -> str:
    return f"?facility={escaped(facility)}" if facility else ""


def list_ports(args: Namespace, client: Client, out: Output) -> int:
    """List ports of all leaves: what each lets through, who hangs there and who was seen there (staff)."""
    asked = {name: getattr(args, name) for name in ("leaf", "facility", "profile", "showing")}
    out.rows(client.get("/admin/v1/ports", **asked)["ports"], PORTS)
    return 0


def show_port(args: Namespace, client: Client, out: Output) -> int:
    """Show one port: what it should be, what the leaf has taken, and what was seen at its other end (staff)."""
    found = client.get("/admin/v1/ports", leaf=args.leaf, port=args.port)["ports"]
    if not found:
        raise CallFailed(f"{args.leaf} has no port {args.port}")
    out.one(found[0], PORT)
    return 0


def set_port(args: Namespace, client: Client, out: Output) -> int:
    """Set what a port lets through, after showing what that changes on the leaf, and for whom (staff)."""
    return plan_and_apply(args, client, out, "profile", {"ports": [args.port], "profile": args.profile})


def _in_facility(parser: ArgumentParser) -> None:
    parser.add_argument("--facility", metavar="CODE", help="as ewr1; needed where racks of several have the same name")


def _rack(parser: ArgumentParser) -> None:
    parser.add_argument("rack", metavar="RACK", help="name or id")
    _in_facility(parser)


def _adding(parser: ArgumentParser) -> None:
    parser.add_argument("facility", metavar="FACILITY", help="code, as ewr1")
    parser.add_argument("name", metavar="NAME", help="letters, digits, . _ and -, as row1-rack2")
    parser.add_argument("--units", type=int, default=42, metavar="NUMBER", help="its height in units (42)")


def _putting(parser: ArgumentParser) -> None:
    _rack(parser)
    parser.add_argument("unit", metavar="UNIT", type=int, help="the lowest one that it takes, counted from the floor")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--machine", metavar="MACHINE", help="name or id")
    what.add_argument("--leaf", metavar="LEAF", help="name or id")


def _removing(parser: ArgumentParser) -> None:
    _rack(parser)
    parser.add_argument("--yes", action="store_true", help="do it")


def _ports(parser: ArgumentParser) -> None:
    parser.add_argument("--leaf", metavar="LEAF", help="only of this leaf, by name or id")
    parser.add_argument("--facility", metavar="CODE", help="only at this facility, as ewr1")
    parser.add_argument("--profile", choices=_PROFILES, help="only with this profile")
    showing = "only what the leaf has not taken (pending), has refused (faulty), without or with a machine (free, used)"
    parser.add_argument("--showing", choices=_SHOWING, help=showing)


def _port(parser: ArgumentParser) -> None:
    parser.add_argument("leaf", metavar="LEAF", help="name or id")
    parser.add_argument("port", metavar="PORT", help="as the leaf names it, as xe-0/0/1")


def _setting(parser: ArgumentParser) -> None:
    parser.add_argument("port", metavar="PORT", help="as the leaf names it, as xe-0/0/1")
    parser.add_argument("profile", metavar="PROFILE", choices=_PROFILES, help=", ".join(_PROFILES))


COMMANDS = (
    Command("rack", "list", list_racks, _in_facility),
    Command("rack", "show", show_rack, _rack),
    Command("rack", "add", add_rack, _adding),
    Command("rack", "put", put, _putting),
    Command("rack", "remove", remove_rack, _removing, destroys=True),
    Command("port", "list", list_ports, _ports),
    Command("port", "show", show_port, _port),
    Command("port", "set", set_port, acting(_setting)),
)
