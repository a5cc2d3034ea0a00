"""`roundhouse device console`, `roundhouse machine console`, and who is at one."""

from __future__ import annotations

import subprocess
import tempfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import CallFailed, Client, Object, escaped
from service.cli.command import Command
from service.cli.devices import device_id
from service.cli.output import Column, Output

SESSIONS: list[Column] = [
    ("STARTED", "started_at"),
    ("ENDED", "ended_at"),
    ("MACHINE", "machine"),
    ("DEVICE", "device_id"),
    ("USER", "user"),
    ("FROM", "source"),
    ("KEYBOARD", "keyboard"),
    ("WROTE", "wrote"),
    ("KEY", "fingerprint"),
]


def _ssh(args: Namespace, where: Object, out: Output) -> int:
    """Run ssh with the host key that the API tells, and nothing else believed."""
    if out.as_json:
        out.json(where)
        return 0
    name = where["host"] if where["port"] == 22 else f"[{where['host']}]:{where['port']}"
    with tempfile.TemporaryDirectory(prefix="roundhouse-") as folder:
        known = Path(folder, "known_hosts")
        known.write_text(f"{name} {where['host_key']}\n", encoding="utf-8")
        words = ["ssh", "-tt", "-p", str(where["port"]), "-l", where["user"]]
        words += ["-o", f"UserKnownHostsFile={known}", "-o", "StrictHostKeyChecking=yes"]
        words += ["-i", args.identity] if args.identity else []
        try:
            return subprocess.run([*words, where["host"]], check=False).returncode
        except FileNotFoundError:
            raise CallFailed(f"there is no ssh here; elsewhere: {where['command']}") from None


def device_console(args: Namespace, client: Client, out: Output) -> int:
    """Sit down at a device's serial console, by SSH with a key that the device was ordered with.

    Ctrl-] . leaves, Ctrl-] ? tells more. While the device is being made you look on; afterwards one session has the
    keyboard, and Ctrl-] t takes it. With --json only say where the console is.
    """
    return _ssh(args, client.get(f"/devices/{device_id(args, client)}/console"), out)


def machine_console(args: Namespace, client: Client, out: Output) -> int:
    """Sit down at any machine's serial console, by SSH with a key of your own staff account (staff).

    It may belong to a customer, be in the pool, or be in quarantine; every session is written down as an event. With
    --json only say where the console is.
    """
    return _ssh(args, client.get(f"/admin/v1/machines/{escaped(args.machine)}/console"), out)


def sessions(_args: Namespace, client: Client, out: Output) -> int:
    """List who is at a serial console now, and who was there last (staff)."""
    out.rows(client.get("/admin/v1/console-sessions")["sessions"], SESSIONS)
    return 0


def forget(args: Namespace, client: Client, out: Output) -> int:
    """Take the SSH host key that a machine's BMC shows next, because the BMC was replaced or set up anew (staff).

    The first key that a BMC shows is kept, and its console is not opened while it shows another one.
    """
    client.delete(f"/admin/v1/machines/{escaped(args.machine)}/bmc-host-key")
    out.done({"machine": args.machine}, f"machine {args.machine}: the next SSH host key of its BMC is taken")
    return 0


def _identity(parser: ArgumentParser) -> None:
    parser.add_argument("--identity", metavar="FILE", help="private key to log in with; default: as ssh does by itself")


def _device(parser: ArgumentParser) -> None:
    parser.add_argument("device", metavar="DEVICE", help="id, short id or hostname")
    parser.add_argument("--project", help="id or name; default: ROUNDHOUSE_PROJECT, then the user's first project")
    _identity(parser)


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="id or name")


def _machine_console(parser: ArgumentParser) -> None:
    _machine(parser)
    _identity(parser)


COMMANDS = (
    Command("device", "console", device_console, _device),
    Command("machine", "console", machine_console, _machine_console),
    Command("machine", "console-sessions", sessions),
    Command("machine", "forget-bmc-key", forget, _machine),
)
