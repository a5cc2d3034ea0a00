"""What the agent of a machine is told to do, and what is known of the machine by it (`machine`, `plan`; staff)."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from service.cli.client import CallFailed, Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

_STARTED: list[Column] = [("ID", "id"), ("STATE", "state")]
WORK: list[Column] = [
    ("KIND", "kind"),
    ("STATE", "state"),
    ("STAGE", "stage"),
    ("PERCENT", lambda one: f"{one['percent']:.0f} %"),
    ("RATE", lambda one: f"{one['bytes_per_s'] / 1e6:.1f} MB/s" if one["bytes_per_s"] else ""),
    ("BEGUN", "taken_at"),
    ("ENDED", "finished_at"),
    ("TOLD", lambda one: one["reason"] or _told(one)),
]
LIMITS: list[Column] = [("NAME", "name"), ("VALUE", "value"), ("USUAL", "usual"), ("OF", "of")]


def _told(work: dict[str, Any]) -> str:
    """The result of a piece of work in some words."""
    result = work["result"]
    match work["kind"]:
        case "rescue":
            return ", ".join(result.get("host_keys", []))
        case "firmware":
            return ", ".join(f"{name}: {value}" for name, value in result.get("told", {}).items())
        case "burn_in":
            return "; ".join(_measured(result))
    return ""


def _measured(result: dict[str, Any]) -> list[str]:
    found = []
    if cpu := result.get("cpu"):
        warm = f", {cpu['temperature_c']:.0f} °C" if cpu["temperature_c"] else ""
        found.append(f"cpu {cpu['threads']} × {cpu['slowest_rounds_per_s']:g} rounds/s, {cpu['wrong']} wrong{warm}")
    if memory := result.get("memory"):
        rate = memory["bytes_per_s"] / 1e6
        found.append(f"memory {memory['bytes'] / 2**30:.1f} GiB at {rate:.0f} MB/s, {memory['errors']} errors")
    for disk in result.get("disks", []):
        rates = f"{disk['write_bytes_per_s'] / 1e6:.0f} and {disk['read_bytes_per_s'] / 1e6:.0f} MB/s"
        found.append(f"{disk['path']} {rates}, {disk['errors']} errors")
    if net := result.get("network"):
        rates = f"{net['download_bytes_per_s'] / 1e6:.0f} and {net['upload_bytes_per_s'] / 1e6:.0f} MB/s"
        found.append(f"network {rates}, {net['retransmitted']} sent again, {net['errors']} errors")
    return found


def list_work(args: Namespace, client: Client, out: Output) -> int:
    """List what the machine's agent did last, and what it measured."""
    out.rows(client.get(f"/admin/v1/machines/{escaped(args.machine)}/work")["work"], WORK)
    return 0


def burn_in(args: Namespace, client: Client, out: Output) -> int:
    """Burn a machine in and erase it: into the pool, or with what was measured into quarantine."""
    body: dict[str, object] = {"minutes": args.minutes}
    if args.part:
        body["parts"] = args.part
    out.one(client.post(f"/admin/v1/machines/{escaped(args.machine)}/burn-in", body), _STARTED)
    return 0


def ssh_on(args: Namespace, client: Client, out: Output) -> int:
    """Let operators log in to a machine without a device, in the in-RAM installer."""
    lines = [line for file in args.key for line in Path(file).read_text(encoding="utf-8").splitlines() if line.strip()]
    out.one(client.post(f"/admin/v1/machines/{escaped(args.machine)}/ssh-on", {"keys": lines}), _STARTED)
    return 0


def ssh_off(args: Namespace, client: Client, out: Output) -> int:
    """Let nobody log in any more, and send the machine through preparation."""
    out.one(client.post(f"/admin/v1/machines/{escaped(args.machine)}/ssh-off", {}), _STARTED)
    return 0


def firmware(args: Namespace, client: Client, out: Output) -> int:
    """Run a firmware bundle on a machine without a device, restart it, and erase it."""
    body = {"bundle": args.bundle, "program": args.program, "arguments": args.argument, "minutes": args.minutes}
    out.one(client.post(f"/admin/v1/machines/{escaped(args.machine)}/firmware", body), _STARTED)
    return 0


def limits(args: Namespace, client: Client, out: Output) -> int:
    """Show or set the limits of a plan's burn-in; NAME= takes the usual one again."""
    path = f"/admin/v1/plans/{escaped(args.plan)}/burn-in"
    wanted: dict[str, float | None] = {}
    for word in args.limit:
        name, equals, value = word.partition("=")
        try:
            wanted[name] = float(value) if value else None
        except ValueError:
            equals = ""
        if not equals:
            raise CallFailed(f"{word!r} is no NAME=NUMBER")
    found = client.patch(path, {"limits": wanted}) if wanted else client.get(path)
    out.rows(found["limits"], LIMITS)
    return 0


def facts_of(inventory: dict[str, Any]) -> list[dict[str, str]]:
    """A machine's inventory as rows of part and fact. What it does not tell is left out."""
    rows: list[tuple[str, str]] = []
    system, table = inventory.get("system", {}), inventory.get("smbios", {})
    words = (system.get(name) for name in ("sys_vendor", "product_name", "product_serial"))
    rows.append(("system", " ".join(word for word in words if word)))
    board = table.get("firmware", {})
    mode = f"{inventory.get('firmware', '')}, Secure Boot {_onoff(inventory.get('secure_boot'))}"
    version = " ".join(word for word in (board.get(name) for name in ("vendor", "version", "date")) if word)
    rows.append(("firmware", ", ".join(word for word in (version or system.get("bios_version"), mode) if word)))
    cpu = inventory.get("cpu", {})
    counts = f"{cpu.get('packages')} × {cpu.get('cores')} cores, {cpu.get('threads')} threads"
    microcode = f", microcode {cpu['microcode']}" if cpu.get("microcode") else ""
    rows.append(("processor", f"{cpu.get('model', '')} ({counts}{microcode})"))
    sockets = f", {len(table['dimms'])} of {table['dimm_sockets']} sockets" if table.get("dimm_sockets") else ""
    rows.append(("memory", f"{inventory.get('memory_bytes', 0) / 2**30:.1f} GiB{sockets}"))
    for dimm in table.get("dimms", []):
        ecc = "ECC" if dimm.get("ecc") else "no ECC"
        about = f"{dimm['bytes'] >> 30} GiB {dimm['type']} {dimm['configured_mts'] or dimm['mts']} MT/s {ecc}"
        rows.append((f"  {dimm['socket']}", f"{about}, {dimm['vendor']} {dimm['part']} {dimm['serial']}"))
    rows += [(f"disk {disk['path']}", _disk(disk)) for disk in inventory.get("disks", [])]
    neighbours = {one.get("nic"): one for one in inventory.get("lldp", [])}
    rows += [(f"card {nic['name']}", _nic(nic, neighbours.get(nic["name"]))) for nic in inventory.get("nics", [])]
    bmc = inventory.get("bmc", {})
    if bmc.get("present"):
        rows.append(("BMC", f"{bmc.get('address')} {bmc.get('mac')} firmware {bmc.get('firmware')}"))
    if tpm := inventory.get("tpm"):
        rows.append(("TPM", tpm))
    return [{"part": part, "fact": " ".join(fact.split())} for part, fact in rows]


def _onoff(value: object) -> str:
    return {True: "on", False: "off"}.get(value, "unknown") if isinstance(value, bool) else "unknown"


def _disk(disk: dict[str, Any]) -> str:
    health = disk.get("health") or {}
    kind = "HDD" if disk.get("rotational") else "SSD"
    text = (
        f"{disk['bytes'] / 1e9:.0f} GB {kind} {disk['model']} {disk['serial']} firmware {disk.get('firmware') or '–'}"
    )
    words = [f"{health[name]} {said}" for name, said in _HEALTH if health.get(name)]
    return ", ".join([text, *words, *(f"warns of {one}" for one in health.get("warnings", []))])


_HEALTH = (
    ("used_percent", "% used"),
    ("temperature_c", "°C"),
    ("power_on_hours", "h on"),
    ("media_errors", "media errors"),
    ("reallocated_sectors", "reallocated"),
    ("pending_sectors", "pending"),
)


def _nic(nic: dict[str, Any], neighbour: dict[str, Any] | None) -> str:
    speed = f"{nic['speed_mbps'] / 1000:g} Gbit/s" if nic["speed_mbps"] else "link" if nic["carrier"] else "no link"
    text = f"{nic['mac']} {nic['driver']} {speed} firmware {nic.get('firmware') or '–'}"
    return f"{text}, at {neighbour['system']} {neighbour['port']}" if neighbour else text


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="id or name")


def _burn_in(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--minutes", type=int, default=60, help="for all parts together (60)")
    parser.add_argument("--part", action="append", choices=("cpu", "memory", "disk", "network"), help="default: all")


def _ssh_on(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--key", action="append", required=True, metavar="FILE", help="public keys, one a line")


def _firmware(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--bundle", required=True, metavar="NAME", help="a file of firmware_dir, a tar archive")
    parser.add_argument("--program", required=True, metavar="PATH", help="in the archive")
    parser.add_argument("--argument", action="append", default=[], help="of the program; may be repeated")
    parser.add_argument("--minutes", type=int, default=30, help="at most (30)")
    parser.add_argument("--yes", action="store_true", help="agree to it")


def _limits(parser: ArgumentParser) -> None:
    parser.add_argument("plan", metavar="PLAN", help="its slug")
    parser.add_argument("limit", nargs="*", metavar="NAME=NUMBER")


def _burn_in_agreed(parser: ArgumentParser) -> None:
    _burn_in(parser)
    parser.add_argument("--yes", action="store_true", help="agree to it: what is on its disks is lost")


COMMANDS = (
    Command("machine", "work", list_work, _machine),
    Command("machine", "burn-in", burn_in, _burn_in_agreed, destroys=True),
    Command("machine", "ssh-on", ssh_on, _ssh_on),
    Command("machine", "ssh-off", ssh_off, _machine),
    Command("machine", "firmware", firmware, _firmware, destroys=True),
    Command("plan", "limits", limits, _limits),
)
