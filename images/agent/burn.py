"""Burn-in: processors, memory, disks and network are tried for a while, and what was measured is told.

Nothing is judged here but right and wrong: what is fast enough, and how warm is too warm, the service knows.
"""

from __future__ import annotations

import time

from images.agent import burn_cpu, burn_disk, burn_memory, burn_network, toolbox
from images.agent.errors import WorkFailed
from images.agent.shell import CommandFailed, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from images.protocol import BurnInResult, BurnInSpec

    Report = Callable[..., None]  # stage, bytes done, bytes in all, percent=…

_SHARES = {"cpu": 3, "memory": 3, "disk": 3, "network": 1}
_LEAST_S = 5.0


def burn_in(spec: BurnInSpec, report: Report) -> BurnInResult:
    """Try the parts one after the other, each for its share of the time. Raises WorkFailed."""
    _load_sensors()
    whole = sum(_SHARES[part] for part in spec["parts"])
    found: BurnInResult = {}
    for part in ("cpu", "memory", "disk", "network"):
        if part not in spec["parts"]:
            continue
        seconds = max(_LEAST_S, spec["seconds"] * _SHARES[part] / whole)
        tell = _teller(f"burn-in {part}", seconds, report)
        if part == "cpu":
            found["cpu"] = burn_cpu.burn(seconds, tell)
        elif part == "memory":
            found["memory"] = burn_memory.burn(seconds, spec["memory_bytes"], tell)
        elif part == "disk":
            found["disks"] = burn_disk.burn(seconds, tell)
        else:
            found["network"] = burn_network.burn(seconds, spec["download_url"], spec["upload_url"], tell)
    return found


def _teller(stage: str, seconds: float, report: Report) -> Callable[[int], None]:
    """Takes the bytes done so far as often as one likes; reports once a second, for the console is slow."""
    begun, told = time.monotonic(), 0.0

    def tell(count: int) -> None:
        nonlocal told
        now = time.monotonic()
        if now - told >= 1:
            told = now
            report(stage, count, 0, percent=round(min(100.0, 100 * (now - begun) / seconds), 1))

    return tell


def _load_sensors() -> None:
    """Have the memory controller's counters and the thermometers, where the toolbox can be had: nothing needs them."""
    try:
        toolbox.need()
        with open("/sys/devices/system/cpu/modalias", encoding="ascii") as file:
            run(["modprobe", "-a", "-b", "-q", file.read().strip(), "drivetemp"])
    except (WorkFailed, CommandFailed, OSError) as err:
        print(f"roundhouse: burn-in without sensors: {err}", flush=True)
