"""Processors: all of them compute the same thing over and over, and every result has to be the known one."""

from __future__ import annotations

import glob
import hashlib
import os
import time

from images.agent import children
from images.agent.blockdev import read_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# What `compute` comes to on a processor that computes rightly.
RIGHT = (
    "fb770736d76c2e40399fa9a29c27cd21c157a2119f7c899a74752a2db588dcbe"
    "17002a223b07f91024987f640ef3f9172598264930465ed8426879a8926cf30b"
)
_MODULUS = (1 << 2203) - 1  # a Mersenne prime
_BLOCK = bytes(range(256)) * 1024


def compute() -> str:
    """Integers of 2,203 bits, floating point and hashes, some hundredths of a second; a hash over the results."""
    number, real, digest = 3, 1.0, hashlib.sha512()
    for turn in range(1, 40):
        number = pow(number + turn, 65_537, _MODULUS)
        for step in range(1, 400):
            # Only what IEEE 754 says to the last bit: a power depends on the library's version.
            real = (real * 1.000_000_3 + step / turn) / (1.000_1 + step / 1024)
        digest.update(_BLOCK)
        digest.update(number.to_bytes(276, "little") + real.hex().encode())
    return digest.hexdigest()


def burn(seconds: float, tell: Callable[[int], None]) -> dict[str, float]:
    """Compute on every processor for so many seconds.

    `slowest_rounds_per_s` is that of the slowest processor; `temperature_c` the highest that was seen, 0 where no
    sensor tells. Raises WorkFailed, and what `tell` raises.
    """
    processors = sorted(os.sched_getaffinity(0))
    warmest = 0.0

    def told(count: int) -> None:
        nonlocal warmest
        warmest = max(warmest, temperature())
        tell(0)

    found = children.run([_job(processor, seconds) for processor in processors], seconds, told)
    return {
        "threads": len(processors),
        "rounds": sum(rounds for rounds, _, _ in found),
        "wrong": sum(wrong for _, wrong, _ in found),
        "slowest_rounds_per_s": round(min(rounds / took for rounds, _, took in found), 2),
        "temperature_c": warmest,
    }


def _job(processor: int, seconds: float) -> Callable[[Callable[[int], None]], tuple[int, int, float]]:
    def work(_: Callable[[int], None]) -> tuple[int, int, float]:
        os.sched_setaffinity(0, {processor})
        begun = time.monotonic()
        rounds = wrong = 0
        while rounds == 0 or time.monotonic() - begun < seconds:
            wrong += compute() != RIGHT
            rounds += 1
        return rounds, wrong, time.monotonic() - begun

    return work


def temperature(root: str = "/sys") -> float:
    """The warmest sensor of the processors, in °C; 0 where there is none."""
    found = [0.0]
    for path in glob.glob(f"{root}/class/hwmon/hwmon*/temp*_input"):
        if read_text(f"{os.path.dirname(path)}/name") in ("coretemp", "k10temp", "zenpower", "cpu_thermal"):
            value = read_text(path)
            found.append(int(value) / 1000 if value.lstrip("-").isdigit() else 0.0)
    return max(found)
