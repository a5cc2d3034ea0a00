"""`roundhouse NOUN VERB`: data on stdout, all else on stderr; 0 done, 1 refused, 2 wrong usage or not agreed to.

Nothing is asked but before a leaf is changed, and only of a person at a terminal.
"""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from importlib import import_module

from service.cli import (
    accounts,
    audit,
    bgp,
    devices,
    elastic,
    exchange,
    grants,
    handover,
    hardware,
    leaves,
    ledger,
    machine_work,
    prefixes,
    racks,
    releases,
    reports,
    reservations,
    reverse_dns,
    secrets,
    usage,
)
from service.cli.client import CallFailed, Client, environment
from service.cli.command import Command
from service.cli.output import Output, warn

COMMANDS: tuple[Command, ...] = (
    *devices.COMMANDS,
    *accounts.COMMANDS,
    *racks.COMMANDS,
    *handover.COMMANDS,
    *machine_work.COMMANDS,
    *hardware.COMMANDS,
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
    *secrets.COMMANDS,
    *reservations.COMMANDS,
    *usage.COMMANDS,
)
DEFAULT_API = "http://127.0.0.1:8080"

# What runs in this process rather than asking the API: module and help by command. A module is imported only when
# it is called for: a table of plans should not wait for the service's code to load.
LOCAL: dict[tuple[str, ...], tuple[str, str]] = {
    ("serve",): ("service.cli.serve", "Run the service."),
    ("lab", "up"): ("service.cli.lab", "Run the service with a virtual rack."),
    ("lab", "demo"): ("service.cli.lab", "Order a machine of a virtual rack and show it become active."),
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
    "device": "servers that were ordered",
    "project": "what devices belong to",
    "key": "SSH keys",
    "user": "who the token speaks for",
    "plan": "kinds of machines",
    "os": "operating systems",
    "facility": "data centres",
    "event": "what happened",
    "reservation": "machines that are kept for one project",
    "usage": "what was used, and what it cost",
    "machine": "the hardware (staff)",
    "leaf": "the switches (staff)",
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


def parser_for(argv: Sequence[str]) -> ArgumentParser:
    """The parser; a local command's own options are known when `argv` calls for it."""
    parser = ArgumentParser(prog="roundhouse", description="Bare-metal provisioning.", epilog=_ENVIRONMENT)
    parser.add_argument("--api", metavar="URL", help=f"default: ROUNDHOUSE_API, then {DEFAULT_API}")
    parser.add_argument("--json", action="store_true", help="print JSON")
    nouns = parser.add_subparsers(dest="noun", metavar="NOUN", required=True)
    verbs = {}
    for noun, text in _NOUNS.items():
        verbs[noun] = nouns.add_parser(noun, help=text).add_subparsers(dest="verb", metavar="VERB", required=True)
    for command in COMMANDS:
        words = (command.run.__doc__ or "").strip()
        sub = verbs[command.noun].add_parser(command.verb, help=words, description=words)
        sub.add_argument("--json", action="store_true", default=None, dest="json_here", help="print JSON")
        command.arguments(sub)
        sub.set_defaults(command=command)
    doctor = nouns.add_parser("doctor", help="find out what stands in the way of a working service")
    doctor.add_argument("--json", action="store_true", default=None, dest="json_here", help="print JSON")
    called = tuple(word for word in argv if not word.startswith("-"))
    for names, (module, text) in LOCAL.items():
        where = verbs[names[0]] if len(names) > 1 else nouns
        sub = where.add_parser(names[-1], help=text, description=text)
        if called[: len(names)] == names:
            import_module(module).add_arguments(sub)
        sub.set_defaults(module=module)
    return parser


_ENVIRONMENT = "ROUNDHOUSE_API and ROUNDHOUSE_TOKEN say whom to ask and as whom; ROUNDHOUSE_PROJECT names a project."


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command; the result is the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    args = parser_for(words).parse_args(words)
    if module := getattr(args, "module", None):
        run: Callable[[Namespace], int | None] = import_module(module).run
        return run(args) or 0
    out = Output(as_json=bool(args.json or args.json_here))
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
        status = command.run(args, client, out)
        sys.stdout.flush()
        return status
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
