"""Hardware that leaves the pool: maintenance, evidence for its maker, retirement (`machine`; staff)."""

from __future__ import annotations

import base64
import io
import tarfile
from argparse import ArgumentParser, Namespace
from pathlib import Path

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

_STARTED: list[Column] = [("ID", "id"), ("STATE", "state"), ("LEAVING", "leaving")]
RMAS: list[Column] = [
    ("ID", "id"),
    ("MACHINE", "machine"),
    ("REASON", "reason"),
    ("OPENED", "opened_at"),
    ("CLOSED", "closed_at"),
    ("CHANGED SINCE", "changes"),
]
_HOW = """evidence.json is what is known of the machine, evidence.sig its Ed25519 signature (RFC 8032) by public.pem.

    openssl pkeyutl -verify -pubin -inkey public.pem -rawin -in evidence.json -sigfile evidence.sig
"""


def _path(args: Namespace, verb: str) -> str:
    return f"/admin/v1/machines/{escaped(args.machine)}/{verb}"


def maintain(args: Namespace, client: Client, out: Output) -> int:
    """Take a machine out of the pool; one that is in use leaves by itself when its device is gone."""
    out.one(client.post(_path(args, "maintain"), {"reason": args.reason}), _STARTED)
    return 0


def give_back(args: Namespace, client: Client, out: Output) -> int:
    """Erase a machine and send it to the pool when the work on it is done; or have one in use stay after all."""
    body = {} if args.mac is None else {"mac": args.mac}
    out.one(client.post(_path(args, "give-back"), body), _STARTED)
    return 0


def retire(args: Namespace, client: Client, out: Output) -> int:
    """Let a machine go for good: erased with a certificate, off, its port free, its BMC's password forgotten."""
    body = {"reason": args.reason, "disks_gone": args.disks_gone}
    out.one(client.post(_path(args, "retire"), body), _STARTED)
    return 0


def open_rma(args: Namespace, client: Client, out: Output) -> int:
    """Take a machine out of the pool for its maker, and write down and sign all that is known of it."""
    made = client.post(_path(args, "rma"), {"reason": args.reason})
    if args.output:
        _write(client, made["id"], args.output)
    text = f"RMA {made['id']} of {made['machine']}: {made['bytes']} bytes of evidence"
    out.done(made, text + (f", in {args.output}" if args.output else ""))
    return 0


def list_rmas(args: Namespace, client: Client, out: Output) -> int:
    """List a machine's RMAs, with what changed of its hardware since each."""
    out.rows(client.get(_path(args, "rmas"))["rmas"], RMAS)
    return 0


def fetch_rma(args: Namespace, client: Client, out: Output) -> int:
    """Write the evidence of an RMA into a tar archive, with its signature and how it is verified."""
    found = _write(client, args.rma, args.output)
    out.done({"id": args.rma, "file": args.output, "valid": found}, f"{args.output}; the signature is good: {found}")
    return 0 if found else 1


def _write(client: Client, rma: str, file: str) -> bool:
    found = client.get(f"/admin/v1/rmas/{escaped(rma)}")
    parts = {
        "evidence.json": found["evidence"].encode(),
        "evidence.sig": base64.b64decode(found["signature"]),
        "public.pem": found["public_key"].encode(),
        "README.txt": _HOW.encode(),
    }
    with tarfile.open(Path(file), "w") as archive:
        for name, content in parts.items():
            about = tarfile.TarInfo(f"{found['machine']}-{rma[:8]}/{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return bool(found["valid"])


def _machine(parser: ArgumentParser) -> None:
    parser.add_argument("machine", metavar="MACHINE", help="id or name")


def _why(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--reason", required=True, help="a sentence, which its lists and events show")


def _giving_back(parser: ArgumentParser) -> None:
    _machine(parser)
    parser.add_argument("--mac", help="the card that it boots from now, if that was exchanged")


def _retiring(parser: ArgumentParser) -> None:
    _why(parser)
    parser.add_argument("--disks-gone", action="store_true", help="its disks are no longer in it: nothing is erased")
    parser.add_argument("--yes", action="store_true", help="let it go")


def _rma(parser: ArgumentParser) -> None:
    _why(parser)
    parser.add_argument("--output", metavar="FILE", help="write the evidence into this tar archive")


def _fetching(parser: ArgumentParser) -> None:
    parser.add_argument("rma", metavar="RMA", help="its id")
    parser.add_argument("--output", metavar="FILE", required=True, help="a tar archive")


COMMANDS = (
    Command("machine", "maintain", maintain, _why),
    Command("machine", "give-back", give_back, _giving_back),
    Command("machine", "rma", open_rma, _rma),
    Command("machine", "rmas", list_rmas, _machine),
    Command("machine", "rma-evidence", fetch_rma, _fetching),
    Command("machine", "retire", retire, _retiring, destroys=True),
)
