"""The agent's life: hello, then one piece of work after another. Its exit code tells /init what comes next."""

from __future__ import annotations

import os
import sys
import time

from images.agent import cmdline, details, inventory, session, toolbox
from images.agent.errors import HelloRefused, SessionEnded, WorkDropped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from images.protocol import Handover

_REFUSED_PAUSE_S = 30  # a refused machine tries again by netboot, but not in a tight circle


def main() -> int:
    """Run until the machine is to be left; the exit code is one of `handover.EXIT_CODES`."""
    way = live()
    from images.agent.handover import EXIT_CODES

    return EXIT_CODES[way]


def live() -> Handover:
    """Hello and work, until the machine is to be left in the way that is returned."""
    with open("/proc/cmdline", encoding="ascii", errors="replace") as file:
        arguments = cmdline.parse(file.read())
    toolbox.offered(f"{arguments.url}/images/{arguments.toolbox}", arguments.toolbox)
    try:
        service = session.hello(arguments, inventory.take())
        with open("/proc/uptime", encoding="ascii") as file:
            print(f"roundhouse: waiting for work ({file.read().split()[0]} s after the kernel's start)", flush=True)
        details.start(service)
        from images.agent.worker import carry_out

        while True:
            work = service.next_work()
            print(f"roundhouse: {work['kind']} {work['id']}", flush=True)
            try:
                if way := carry_out(service, work, arguments.console):
                    return way
            except WorkDropped as err:
                print(f"roundhouse: work dropped: {err}", flush=True)
    except HelloRefused as err:
        print(f"roundhouse: {err}; back to the network in {_REFUSED_PAUSE_S} s", flush=True)
        time.sleep(_REFUSED_PAUSE_S)
    except SessionEnded as err:
        print(f"roundhouse: {err}; back to the network", flush=True)
    return "reboot"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    # Not by way of the interpreter's end: it would end threads that wait or listen by force, and that takes a library
    # that is not here.
    os._exit(code)
