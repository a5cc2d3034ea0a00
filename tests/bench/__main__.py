"""`python -m tests.bench [PART …]`: run the parts whose names begin so (all without one)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import structlog

from service.log import configure_log
from tests.bench import (
    boot,
    dhcp,
    firmware,
    http,
    installer,
    ipam,
    leaves,
    lists,
    netconf,
    order,
    order_rate,
    tftp,
    write,
)
from tests.bench.result import Result, keep, shown

PARTS = {
    **ipam.PARTS,
    **netconf.PARTS,
    **leaves.PARTS,
    **lists.PARTS,
    **dhcp.PARTS,
    **http.PARTS,
    **tftp.PARTS,
    **boot.PARTS,
    **firmware.PARTS,
    **installer.PARTS,
    **write.PARTS,
    **order.PARTS,
    **order_rate.PARTS,
}


def main(wanted: list[str]) -> int:
    """Run, print and keep."""
    names = [name for name in PARTS if not wanted or any(name.startswith(prefix) for prefix in wanted)]
    if not names:
        print(f"no part is called {' or '.join(wanted)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    configure_log()
    # The service logs as it always does, and its lines are part of the cost; nobody reads them here.
    with Path(os.devnull).open("w") as nowhere:
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=nowhere))
        results = _measured(names)
    print(shown(results))
    return 0


def _measured(names: list[str]) -> list[Result]:
    results: list[Result] = []
    for name in names:
        print(f"{name} …", file=sys.stderr, flush=True)
        results += PARTS[name]()
        keep(Path("build/bench.json"), results)
    return results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
