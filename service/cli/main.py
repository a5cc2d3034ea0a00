"""`roundhouse NOUN VERB`: data on stdout, all else on stderr.

Exit status: 0 done, 1 refused or failed, 2 wrong usage or not agreed to, 130 interrupted. Nothing is asked but before
something is changed that was shown first, and only of a person at a terminal.
"""

from __future__ import annotations

import os
import shutil
import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import cleandoc
from typing import Any

from service.cli import (
    accounts,
    audit,
    bgp,
    bmc,
    bulk,
    consoles,
    devices,
    elastic,
    exchange,
    facility_events,
    grants,
    handover,
    hardware,
    hardware_life,
    hooks,
    leaves,
    ledger,
    machine_work,
    offerings,
    orders,
    places,
    prefixes,
    racks,
    releases,
    reports,
    reservations,
    reverse_dns,
    runs,
    secrets,
    tenancy,
    usage,
)
from service.cli.client import CallFailed, Client, environment
from service.cli.command import Command
from service.cli.completion import answer
from service.cli.output import Output, WrongUsage, warn
from service.cli.watch import watch
from service.cli.words import EXAMPLES, MEANINGS

COMMANDS: tuple[Command, ...] = (
    *devices.COMMANDS,
    *consoles.COMMANDS,
    *accounts.COMMANDS,
    *tenancy.COMMANDS,
    *racks.COMMANDS,
    *handover.COMMANDS,
    *hooks.COMMANDS,
    *machine_work.COMMANDS,
    *hardware.COMMANDS,
    *hardware_life.COMMANDS,
    *leaves.COMMANDS,
    *prefixes.COMMANDS,
    *ledger.COMMANDS,
    *grants.COMMANDS,
    *reports.COMMANDS,
    *exchange.COMMANDS,
    *elastic.COMMANDS,
    *bgp.COMMANDS,
    *reverse_dns.COMMANDS,
    *releases.COMMANDS,
    *audit.COMMANDS,
    *offerings.COMMANDS,
    *facility_events.COMMANDS,
    *orders.COMMANDS,
    *places.COMMANDS,
    *runs.COMMANDS,
    *bulk.COMMANDS,
    *secrets.COMMANDS,
    *reservations.COMMANDS,
    *usage.COMMANDS,
    *bmc.COMMANDS,
)
DEFAULT_API = "http://127.0.0.1:8080"

# What runs in this process rather than asking the API: module and help by command. A module is imported only when
# it is called for: a table of plans should not wait for the service's code to load.
LOCAL: dict[tuple[str, ...], tuple[str, str]] = {
    ("serve",): ("service.cli.serve", "Run the service."),
    ("lab", "up"): ("service.cli.lab", "Run the service with a virtual rack."),
    ("lab", "demo"): ("service.cli.lab", "Order a machine of a virtual rack and show it become active."),
    ("completion",): ("service.cli.completion", "Print what makes a shell complete commands, options and names."),
    ("api", "spec"): ("service.cli.api_spec", "Print the API's OpenAPI document."),
    ("migrate",): ("service.cli.migrate", "Bring the database to this program's schema."),
    ("boot-node", "nginx"): ("service.cli.nginx", "Print a configuration for nginx in front of a boot node."),
    ("image", "keygen"): ("service.cli.image_store", "Make a key that releases are signed with."),
    ("image", "sign"): ("service.cli.image_store", "Sign a release."),
    ("image", "verify"): ("service.cli.image_store", "Read every file of the store, and check signatures."),
    ("image", "promote"): ("service.cli.image_store", "Give a release to all orders from now on."),
    ("image", "sync"): ("service.cli.image_store", "Take over the releases of another store."),
    ("image", "collect"): ("service.cli.image_store", "Remove old releases, and files that none refers to."),
    ("image", "import-netboot"): ("service.cli.image_netboot", "Take over a distribution's own installer."),
    ("image", "build"): ("service.cli.images.build", "Build an operating system's image."),
    ("image", "import"): ("service.cli.images.bring", "Import an image that others publish."),
    ("image", "test"): ("service.cli.images.try_out", "Start a copy of an image in QEMU."),
    ("image", "list"): ("service.cli.images.listing", "List the images of the store, with all their releases."),
    ("image", "show"): ("service.cli.images.show", "Show one release: its files, its partitions, how it was tested."),
    ("image", "packages"): ("service.cli.images.packages", "List the packages of an image, or compare two releases."),
}

_NOUNS = {
    "api": "the HTTP API itself",
    "device": "servers that were ordered",
    "project": "what devices belong to",
    "key": "SSH keys",
    "user": "accounts, and who the token speaks for",
    "organization": "customers, whose projects and members belong together",
    "member": "who is what in an organization or a project",
    "invitation": "memberships that are offered",
    "token": "what callers show to be known",
    "quota": "how much a customer may have (staff)",
    "plan": "kinds of machines",
    "os": "operating systems",
    "facility": "data centres",
    "event": "what happened",
    "reservation": "machines that are kept for one project",
    "usage": "what was used, and what it cost",
    "order": "the orders of all customers (staff)",
    "rack": "where the hardware stands (staff)",
    "webhook": "where a project's or organization's events are sent",
    "hook": "who is told of transitions, and who may veto them (staff)",
    "machine": "the hardware (staff)",
    "leaf": "the switches (staff)",
    "port": "the ports of all leaves (staff)",
    "handover": "from the installer to the disk, by hardware model (staff)",
    "boot-node": "who answers machines that boot (staff)",
    "run": "work under way (staff)",
    "secret": "the keys that seal what the database keeps secret (staff)",
    "vrf": "address spaces beside one another",
    "prefix": "the tree of address space",
    "ip": "addresses, and who has or had them",
    "bgp": "BGP of a project and its devices",
    "asn": "AS numbers (staff)",
    "report": "utilization, forecast and fragmentation of address space",
    "dns": "reverse zones and the names in them",
    "audit": "who changed what (staff)",
    "grant": "who may do what on which prefix",
    "lab": "the virtual rack",
    "image": "operating system images",
}


class _Manual(RawDescriptionHelpFormatter):
    """Help as a manual page: lines of a hundred columns at most, in which paragraphs stay as they were written."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=min(shutil.get_terminal_size((100, 24)).columns, 100))


def _epilog(*names: str) -> str | None:
    examples = EXAMPLES.get(names)
    return None if examples is None else "examples:\n" + "\n".join(f"  {line}" for line in examples)


def _with_help(where: Any, names: tuple[str, ...], words: str) -> ArgumentParser:
    """A command's parser. The first paragraph of its words is what the list of commands says."""
    words = cleandoc(words)
    short = " ".join(words.partition("\n\n")[0].split())
    sub: ArgumentParser = where.add_parser(
        names[-1], help=short, description=words, epilog=_epilog(*names), formatter_class=_Manual
    )
    return sub


def parser_for(argv: Sequence[str]) -> ArgumentParser:
    """The parser; a local command's own options are known when `argv` calls for it."""
    parser = ArgumentParser(
        prog="roundhouse", description=_DESCRIPTION, epilog=f"{_epilog()}\n\n{_ENVIRONMENT}", formatter_class=_Manual
    )
    parser.add_argument(
        "--api", metavar="URL", help=f"the service's address; default: ROUNDHOUSE_API, then {DEFAULT_API}"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    nouns = parser.add_subparsers(dest="noun", metavar="NOUN", required=True)
    verbs = {}
    for noun, text in _NOUNS.items():
        about = nouns.add_parser(noun, help=text, description=f"{text[:1].upper()}{text[1:]}.", formatter_class=_Manual)
        verbs[noun] = about.add_subparsers(dest="verb", metavar="VERB", required=True)
    for command in COMMANDS:
        sub = _with_help(verbs[command.noun], (command.noun, command.verb), command.run.__doc__ or "")
        command.arguments(sub)
        _common(sub, command)
        sub.set_defaults(command=command)
    doctor = _with_help(nouns, ("doctor",), _DOCTOR)
    doctor.add_argument("--json", action="store_true", default=None, dest="json_here", help="print JSON")
    called = tuple(word for word in argv if not word.startswith("-"))
    for names, (module, text) in LOCAL.items():
        sub = _with_help(verbs[names[0]] if len(names) > 1 else nouns, names, text)
        if called[: len(names)] == names:
            import_module(module).add_arguments(sub)
        sub.set_defaults(module=module)
        _meanings(sub)
    return parser


def _common(sub: ArgumentParser, command: Command) -> None:
    sub.add_argument("--json", action="store_true", default=None, dest="json_here", help="print JSON")
    if command.lists:
        sub.add_argument("--columns", metavar="NAME,…", help="these columns: by title, or by field as --json shows it")
        sub.add_argument("--sort", metavar="NAME", help="in the order of this column, by title or field")
        sub.add_argument("--reverse", action="store_true", help="the other way round")
    if command.looks:
        text = "again every so many seconds (2), drawn over itself; in a pipe what has changed"
        sub.add_argument("--watch", type=float, nargs="?", const=2.0, metavar="SECONDS", help=text)
    _meanings(sub)


def _meanings(sub: ArgumentParser) -> None:
    """Say of the arguments that many commands have what they mean, where the command itself does not."""
    for action in sub._actions:
        if action.help is None:
            action.help = MEANINGS.get(action.option_strings[-1] if action.option_strings else action.dest)


_DESCRIPTION = """\
Rent out physical servers: devices are ordered here, and machines, leaves and addresses looked after.

A command is a noun and a verb; `roundhouse NOUN --help` lists the verbs, `roundhouse NOUN VERB --help` tells all about
one. Data goes to standard output, as a table, or with --json as JSON; all else goes to standard error. What destroys
something needs --yes. What changes leaves, plans or prices is shown first.
"""
_ENVIRONMENT = """\
exit status:
  0  it is done
  1  it was refused or has failed; the reason is on standard error
  2  wrong usage, or what is to be destroyed or changed was not agreed to
  130  interrupted, as --watch and --follow are

environment:
  ROUNDHOUSE_API      whom to ask
  ROUNDHOUSE_TOKEN    as whom; ROUNDHOUSE_TOKEN_FILE names a file that holds it
  ROUNDHOUSE_PROJECT  the project that is meant, by id or name
"""
_DOCTOR = """\
Find out what stands in the way of a working service, one check a line; 1 when there is something.

Settings, state folder, database, images and boot files are those of this host; machines, leaves, boot nodes, cables and
runs are asked of the service, with a staff token.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; the result is the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:2] == ["completion", "answer"]:
        return answer(words[2:], parser_for)
    args = parser_for(words).parse_args(words)
    if module := getattr(args, "module", None):
        run: Callable[[Namespace], int | None] = import_module(module).run
        return run(args) or 0
    columns = tuple(part for part in (getattr(args, "columns", None) or "").split(",") if part)
    out = Output(
        as_json=bool(args.json or args.json_here),
        columns=columns,
        sort=getattr(args, "sort", None),
        reverse=getattr(args, "reverse", False),
    )
    name = " ".join(part for part in (args.noun, getattr(args, "verb", None)) if part)
    try:
        client = Client(args.api or environment("API") or DEFAULT_API, environment("TOKEN"))
        if args.noun == "doctor":
            from service.cli import doctor

            return doctor.run(args, client, out)
        command: Command = args.command
        if command.destroys and not args.yes:
            warn(f"roundhouse: {name}: this destroys something; say --yes")
            return 2
        if (every_s := getattr(args, "watch", None)) is not None:
            return watch(lambda: command.run(args, client, out), every_s, name, as_json=out.as_json)
        status = command.run(args, client, out)
        sys.stdout.flush()
        return status
    except WrongUsage as err:
        warn(f"roundhouse: {name}: {err}")
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nobody reads on: no word about it at exit
        return 1
    except (CallFailed, OSError, UnicodeDecodeError) as err:
        warn(f"roundhouse: {name}: {err}")
        return 1
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell says it


if __name__ == "__main__":
    sys.exit(main())
