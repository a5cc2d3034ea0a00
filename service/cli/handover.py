"""`roundhouse handover`: how each hardware model goes from the installer to the system on its disk."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from service.cli.client import Client, escaped
from service.cli.command import Command
from service.cli.output import Column, Output

RULES: list[Column] = [
    ("ID", "id"),
    ("PLAN", lambda rule: rule["plan"] or "any"),
    ("VENDOR", lambda rule: rule["vendor"] or "any"),
    ("PRODUCT", lambda rule: rule["product"] or "any"),
    ("WAYS", "ways"),
    ("NOTE", "note"),
    ("CHANGED BY", "changed_by"),
]
_PATH = "/admin/v1/handover-rules"


def list_rules(args: Namespace, client: Client, out: Output) -> int:
    """List the rules; a machine that none fits tries switch_root, kexec and reboot in this order."""
    out.rows(client.get(_PATH)["handover_rules"], RULES)
    return 0


def set_rule(args: Namespace, client: Client, out: Output) -> int:
    """Say which ways a model can be handed over in, the best first."""
    body = {name: getattr(args, name) for name in ("plan", "vendor", "product", "note") if getattr(args, name)}
    out.one(client.post(_PATH, {**body, "ways": args.ways.split(",")}), RULES)
    return 0


def remove_rule(args: Namespace, client: Client, out: Output) -> int:
    """Take a rule away."""
    client.delete(f"{_PATH}/{escaped(args.rule)}")
    out.done({"id": args.rule}, f"rule {args.rule} is gone")
    return 0


def _set(parser: ArgumentParser) -> None:
    parser.add_argument("ways", help="of switch_root, kexec and reboot, with commas")
    parser.add_argument("--plan", help="for machines of this plan only")
    parser.add_argument("--vendor", help="as the firmware tells it: `machine show --json`, system.sys_vendor")
    parser.add_argument("--product", help="as the firmware tells it: system.product_name")
    parser.add_argument("--note", help="why")


def _rule(parser: ArgumentParser) -> None:
    parser.add_argument("rule", help="its id")


COMMANDS = (
    Command("handover", "list", list_rules),
    Command("handover", "set", set_rule, _set),
    Command("handover", "remove", remove_rule, _rule),
)
