"""`roundhouse ip who` and its kin: the ledger, corrections, abuse tags, AS numbers."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import Client, Object, escaped
from service.cli.command import Command, pair
from service.cli.output import Column, Output

WHO: list[Column] = [
    ("BLOCK", "block"),
    ("KIND", "kind"),
    ("PROJECT", "project.name"),
    ("DEVICE", "device.hostname"),
    ("MACHINE", "machine"),
    ("LEAF", "leaf"),
    ("PORT", "port"),
    ("MAC", "mac"),
    ("FROM", "from"),
    ("UNTIL", "until"),
    ("SLOT", "slot"),
    ("OPENED BY", "opened_by"),
    ("CLOSED BY", "closed_by"),
    ("VRF", "vrf"),
]
HISTORY: list[Column] = [*WHO[:-1], ("CORRECTED", "corrected_at"), ("BY", "corrected_by"), ("WHY", "correction")]
TAGS: list[Column] = [
    ("ID", "id"),
    ("BLOCK", "block"),
    ("TAG", "tag"),
    ("REASON", "reason"),
    ("SET BY", "set_by"),
    ("SET AT", "set_at"),
    ("CLEARED AT", "cleared_at"),
]
POOLS: list[Column] = [
    ("NAME", "name"),
    ("FIRST", "first"),
    ("LAST", "last"),
    ("FACILITY", "facility"),
    ("TAKEN", "taken"),
    ("FREE", "free"),
]
ASNS: list[Column] = [
    ("ASN", "asn"),
    ("POOL", "pool"),
    ("OWNER", "owner"),
    ("SLOT", "slot"),
    ("FROM", "from"),
    ("UNTIL", "until"),
    ("BY", "opened_by"),
]


def who(args: Namespace, client: Client, out: Output) -> int:
    """Say who has an address, or who had it at a time: project, device, machine, port, MAC, and who wrote it down."""
    path = f"/ipam/v1/ips/{escaped(args.address)}"
    found = client.get(path, at=args.at, as_of=args.as_of, vrf=args.vrf)
    if out.as_json:
        out.json(found)
        return 0
    if not found["tenures"]:
        out.done(found, f"nobody had {found['address']} at {found['at']}")
    elif len(found["tenures"]) == 1:
        out.one(found["tenures"][0], WHO)
    else:
        out.rows(found["tenures"], WHO)
    for tag in found["abuse_tags"]:
        print(f"tagged {tag['tag']} since {tag['set_at']}: {tag['reason'] or 'no reason given'}")
    return 0


def history(args: Namespace, client: Client, out: Output) -> int:
    """List all that the ledger ever said of an address, corrections included."""
    found = client.get(f"/ipam/v1/ips/{escaped(args.address)}/history", vrf=args.vrf)
    out.rows(found["history"], HISTORY)
    return 0


def correct(args: Namespace, client: Client, out: Output) -> int:
    """Put a tenure right; what the ledger said before stays in its history."""
    names = ("why", "project", "since", "until")
    body: Object = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    body["note"] = dict(args.note or [])
    out.one(client.post(f"/ipam/v1/tenures/{escaped(args.tenure)}/correct", body), WHO[:-1])
    return 0


def list_tags(args: Namespace, client: Client, out: Output) -> int:
    """List abuse tags."""
    asked = {"vrf": args.vrf, "block": args.block, "history": "true" if args.history else None}
    out.rows(client.get("/ipam/v1/abuse-tags", **asked)["abuse_tags"], TAGS)
    return 0


def set_tag(args: Namespace, client: Client, out: Output) -> int:
    """Tag a block for abuse: it is handed out to nobody until the tag is cleared."""
    body = {"block": args.block, "tag": args.tag, "reason": args.reason, "vrf": args.vrf}
    out.one(client.post("/ipam/v1/abuse-tags", body), TAGS)
    return 0


def clear_tag(args: Namespace, client: Client, out: Output) -> int:
    """Clear an abuse tag."""
    client.delete(f"/ipam/v1/abuse-tags/{escaped(args.id)}")
    out.done({"id": args.id}, f"tag {args.id} is cleared")
    return 0


def list_pools(args: Namespace, client: Client, out: Output) -> int:
    """List the pools of AS numbers."""
    out.rows(client.get("/ipam/v1/asn-pools")["asn_pools"], POOLS)
    return 0


def add_pool(args: Namespace, client: Client, out: Output) -> int:
    """Add a pool of AS numbers."""
    body = {"name": args.name, "first": args.first, "last": args.last, "facility": args.facility}
    out.one(client.post("/ipam/v1/asn-pools", body), POOLS)
    return 0


def list_asns(args: Namespace, client: Client, out: Output) -> int:
    """List who has which AS numbers, now or at a time."""
    out.rows(client.get("/ipam/v1/asns", pool=args.pool, asn=args.asn, at=args.at)["asns"], ASNS)
    return 0


def take_asn(args: Namespace, client: Client, out: Output) -> int:
    """Take an AS number out of a pool."""
    body = {"owner": args.owner, "slot": args.slot}
    out.one(client.post(f"/ipam/v1/asn-pools/{escaped(args.pool)}/asns", body), ASNS)
    return 0


def give_asn_back(args: Namespace, client: Client, out: Output) -> int:
    """Give an AS number back."""
    client.delete(f"/ipam/v1/asns/{escaped(args.asn)}")
    out.done({"asn": args.asn}, f"AS{args.asn} is free again")
    return 0


def _address(parser: ArgumentParser) -> None:
    parser.add_argument("address", metavar="ADDRESS")
    parser.add_argument("--vrf")


def _who(parser: ArgumentParser) -> None:
    _address(parser)
    parser.add_argument("--at", metavar="TIME", help="2026-03-01T12:00Z; default: now")
    parser.add_argument("--as-of", metavar="TIME", help="as the ledger knew it then, before later corrections")


def _correct(parser: ArgumentParser) -> None:
    parser.add_argument("tenure", metavar="TENURE")
    parser.add_argument("--why", required=True)
    parser.add_argument("--project", metavar="ID")
    parser.add_argument("--since", metavar="TIME")
    parser.add_argument("--until", metavar="TIME", help="of a tenure that has ended")
    parser.add_argument(
        "--note", action="append", type=pair, metavar="NAME=VALUE", help="machine=m7, mac=…; may be repeated"
    )


def _tags(parser: ArgumentParser) -> None:
    parser.add_argument("--vrf")
    parser.add_argument("--block", metavar="BLOCK")
    parser.add_argument("--history", action="store_true", help="also those that were cleared")


def _tag(parser: ArgumentParser) -> None:
    parser.add_argument("block", metavar="BLOCK")
    parser.add_argument("tag", metavar="TAG")
    parser.add_argument("--reason", default="")
    parser.add_argument("--vrf")


def _id(parser: ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID")


def _pool(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("first", type=int, metavar="FIRST")
    parser.add_argument("last", type=int, metavar="LAST")
    parser.add_argument("--facility")


def _asns(parser: ArgumentParser) -> None:
    for name in ("pool", "asn", "at"):
        parser.add_argument(f"--{name}")


def _take_asn(parser: ArgumentParser) -> None:
    parser.add_argument("pool", metavar="POOL")
    parser.add_argument("--owner", required=True, metavar="ID")
    parser.add_argument("--slot", required=True)


def _asn(parser: ArgumentParser) -> None:
    parser.add_argument("asn", metavar="ASN")
    parser.add_argument("--yes", action="store_true", help="do it")


COMMANDS = (
    Command("ip", "who", who, _who),
    Command("ip", "history", history, _address),
    Command("ip", "correct", correct, _correct),
    Command("ip", "tags", list_tags, _tags),
    Command("ip", "tag", set_tag, _tag),
    Command("ip", "untag", clear_tag, _id),
    Command("asn", "pools", list_pools),
    Command("asn", "add-pool", add_pool, _pool),
    Command("asn", "list", list_asns, _asns),
    Command("asn", "take", take_asn, _take_asn),
    Command("asn", "give-back", give_asn_back, _asn, destroys=True),
)
