"""How fast each running download may go, so that no machine and no rack takes more than its rate."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

Apply = Callable[[int], None]  # told a download's rate in bytes/s, at its beginning and whenever it changes


@dataclass(frozen=True, slots=True)
class Rates:
    """Bytes per second; 0: no limit."""

    machine: int = 0
    rack: int = 0


@dataclass(slots=True, eq=False)
class Download:
    """One that runs. `rate` is in bytes/s; 0: no limit."""

    machine: Hashable
    rack: Hashable | None
    apply: Apply = field(repr=False)
    rate: int = -1  # not told yet


class Shares:
    """Divides a rack's rate evenly over its machines that download, and a machine's share over its downloads.

    Every machine has the same limit, so what one cannot use none of the others can use either: nothing is left over
    to be divided again.
    """

    def __init__(self, rates: Rates) -> None:
        self._rates = rates
        self._machines: defaultdict[Hashable, list[Download]] = defaultdict(list)
        self._racks: defaultdict[Hashable, set[Hashable]] = defaultdict(set)

    def begin(self, machine: Hashable, rack: Hashable | None, apply: Apply) -> Download:
        """A download has begun; `rack` is None where the machine's rack is not known: its own limit holds alone."""
        download = Download(machine, rack, apply)
        self._machines[machine].append(download)
        if rack is not None:
            self._racks[rack].add(machine)
        self._divide(download)
        return download

    def end(self, download: Download) -> None:
        """A download has ended, however."""
        machine, rack = download.machine, download.rack
        others = self._machines[machine]
        others.remove(download)
        if not others:
            del self._machines[machine]
        if rack is not None and not any(other.rack == rack for other in others):
            self._racks[rack].discard(machine)
            if not self._racks[rack]:
                del self._racks[rack]
        self._divide(download)

    def _divide(self, changed: Download) -> None:
        """Tell each download whose rate is another now that `changed` has begun or ended."""
        touched = {changed.machine} if changed.rack is None else {changed.machine, *self._racks.get(changed.rack, ())}
        for machine in touched:
            downloads = self._machines.get(machine, [])
            for download in downloads:
                rate = self._share(download, len(downloads))
                if rate != download.rate:
                    download.rate = rate
                    download.apply(rate)

    def _share(self, download: Download, downloads: int) -> int:
        limits = [self._rates.machine] if self._rates.machine else []
        if self._rates.rack and download.rack is not None:
            limits.append(self._rates.rack // len(self._racks[download.rack]))
        return max(1, min(limits) // downloads) if limits else 0
