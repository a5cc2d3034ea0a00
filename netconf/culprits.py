"""Which port is to blame for a refusal that names none: halving, with the leaf as the judge. Pure."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from netconf.errors import Refused

Probe = Callable[[Sequence[str]], Awaitable[Refused | None]]


@dataclass(frozen=True, slots=True)
class Found:
    """The first `good` ports go together. With a refusal, the one after them is to blame; without, none is."""

    good: int
    refusal: Refused | None


async def first_culprit(ports: Sequence[str], good: int, refusal: Refused, probe: Probe, *, many: bool) -> Found:
    """The first port that does not go with those before it.

    `ports[:good]` are known to go, all of them together were refused. It takes at most log2(n) + 1 probes: the last
    one is made when the refusal has not been seen since the other ports were found good, so that what was only a
    passing mood of the leaf is blamed on no port. With `many` it begins with single ports, as more are to be expected.
    """
    low, high = good, len(ports)
    step = 1 if many else high
    fresh = True
    while high - low > 1:
        middle = low + max(1, min(step, (high - low) // 2))
        found = await probe(ports[:middle])
        if found is None:
            low, step, fresh = middle, step * 2, False
        else:
            high, refusal, fresh = middle, found, True
    if not fresh:
        found = await probe(ports[:high])
        return Found(high, None) if found is None else Found(low, found)
    return Found(low, refusal)
