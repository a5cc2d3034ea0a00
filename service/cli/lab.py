"""`roundhouse lab up` and `roundhouse lab demo`: the virtual rack in the foreground."""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from ipaddress import ip_interface
from pathlib import Path
from typing import cast, get_args

from service.cli.serve import database, for_ever, run_until_stopped
from service.lab.demo import demo
from service.lab.netns import NetworkError, add_service_address, enter_private_namespace
from service.lab.outside import Outside
from service.lab.qemu import PLATFORMS, DiskKind, DiskSpec
from service.lab.rack import TooManyMachines
from service.lab.up import (
    SERVICE_ADDRESS,
    Lab,
    LabSettings,
    RackNotReady,
    lab_settings,
    namespace_settings,
    running_lab,
    state_folder,
)
from service.log import configure_log
from service.settings import BadSetting
from service.store.embedded import PostgresNotStarted
from service.wiring import listening

Course = Callable[[Lab], Awaitable[int]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `lab up` and `lab demo`."""
    parser.add_argument("--machines", type=int, default=8, help="light machines in the rack (8)")
    parser.add_argument("--leaves", type=int, default=2, help="leaves of 48 ports each (2)")
    parser.add_argument("--plan", default="c1.small.x86", help="the machines' plan (c1.small.x86)")
    parser.add_argument("--facility", default="ewr1", help="where the rack stands (ewr1)")
    parser.add_argument("--commit-seconds", type=float, default=0.0, help="how long a leaf takes for a commit (0)")
    parser.add_argument("--api-port", type=int, default=0, help="port of API and console; 0 takes a free one")
    parser.add_argument("--token", help="the staff user's token; made and printed when left out")
    parser.add_argument("--state-dir", type=Path, help="keep the database and images here; else they go with the lab")
    parser.add_argument("--database-url", help="a PostgreSQL of one's own instead of the embedded one")
    parser.add_argument("--log-level", default="warning", help="debug, info, warning or error (warning)")
    parser.add_argument("--qemu", type=int, default=0, help="machines that really boot, in QEMU (root)")
    parser.add_argument("--strangers", type=int, default=0, help="light machines at free ports, not enrolled (0)")
    parser.add_argument("--qemu-strangers", type=int, default=0, help="the same, in QEMU (root)")
    parser.add_argument("--firmware", choices=tuple(PLATFORMS), default="bios", help="of the virtual machines (bios)")
    parser.add_argument(
        "--disks",
        type=disk_specs,
        default=(DiskSpec(),),
        metavar="KIND[:GIB[:SECTOR]],…",
        help=f"of each virtual machine; kinds are {', '.join(get_args(DiskKind))} (virtio:8:512)",
    )
    parser.add_argument("--images", type=Path, default=Path("var/images"), help="the image store for --qemu")
    parser.add_argument("--once", action="store_true", help="lab demo: release the machine again and exit")


def disk_specs(text: str) -> tuple[DiskSpec, ...]:
    """`nvme:4,virtio:8:4096`: kind, GiB and logical sector size of each disk. Raises ArgumentTypeError."""
    specs = []
    for one in text.split(","):
        kind, *numbers = one.split(":")
        if kind not in get_args(DiskKind) or len(numbers) > 2 or not all(number.isdigit() for number in numbers):
            raise argparse.ArgumentTypeError(f"{one!r}; allowed is KIND[:GIB[:SECTOR]] as in nvme:8:4096")
        gib, sector = [int(number) for number in [*numbers, *("8", "512")[len(numbers) :]]]
        if sector not in (512, 4096) or (kind == "sata" and sector != 512):
            raise argparse.ArgumentTypeError(f"{one!r}: sectors have 512 or 4096 bytes, those of sata 512")
        specs.append(DiskSpec(gib << 30, cast("DiskKind", kind), sector))
    return tuple(specs)


async def _up(lab: Lab) -> int:
    print(json.dumps(lab.ready_line()), flush=True)
    await for_ever()
    return 0


def run(arguments: argparse.Namespace) -> int:
    """Run the lab until SIGTERM, or the demonstration; the exit code."""

    async def show(lab: Lab) -> int:
        return await demo(lab, once=arguments.once)

    return run_course(arguments, show if arguments.verb == "demo" else _up)


def run_course(arguments: argparse.Namespace, course: Course) -> int:
    """Run the lab as long as the course does; its exit code."""
    configure_log(arguments.log_level)
    asked = LabSettings(
        machines=arguments.machines,
        leaves=arguments.leaves,
        plan=arguments.plan,
        facility=arguments.facility,
        commit_s=arguments.commit_seconds,
        qemu=arguments.qemu,
        strangers=arguments.strangers,
        qemu_strangers=arguments.qemu_strangers,
        welcome=arguments.strangers + arguments.qemu_strangers > 0,
        firmware=arguments.firmware,
        disks=arguments.disks,
    )
    try:
        return _run(arguments, asked, course)
    except (RackNotReady, TooManyMachines, NetworkError, BadSetting, PostgresNotStarted, OSError) as err:
        print(f"roundhouse lab: {err}", file=sys.stderr)
        return 1


def _run(arguments: argparse.Namespace, asked: LabSettings, course: Course) -> int:
    token = arguments.token or secrets.token_urlsafe(24)
    with state_folder(arguments.state_dir) as state:
        api_sockets = [listening("127.0.0.1", arguments.api_port)]
        console_sockets: list[socket.socket] = []
        api_port, url, level = api_sockets[0].getsockname()[1], arguments.database_url, arguments.log_level
        if asked.virtual:
            # The API's socket stays outside; everything that is opened from here on is inside, a second one included.
            console_sockets = [listening("127.0.0.1", 0)]
            outside = Outside()
            enter_private_namespace()
            asked = replace(asked, upstream=outside.connector)
            api_sockets.append(listening("127.0.0.1", api_port))
            add_service_address(ip_interface(f"{SERVICE_ADDRESS}/32"))
            images = arguments.images.resolve()
            settings = namespace_settings(
                *(state, images),
                api_port=api_port,
                sos_port=console_sockets[0].getsockname()[1],
                database_url=url,
                log_level=level,
            )
        else:
            settings = lab_settings(state, api_port=api_port, database_url=url, log_level=level)
        with database(settings) as url:

            async def main() -> int:
                async with running_lab(asked, settings, url, token, api_sockets, console_sockets) as lab:
                    return await course(lab)

            return run_until_stopped(main())
