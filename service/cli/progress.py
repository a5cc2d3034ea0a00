"""The stages of an order as they pass: bars on a terminal, a line for each change elsewhere."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from typing import Any, TextIO

from service.cli.output import bar

Object = dict[str, Any]

_MARKS = {"done": "✓", "failed": "✗", "undone": "↺", "running": "▸", "pending": " ", "ended": "·"}


def stages_of(waterfall: Object) -> list[Object]:
    """All stages of all runs in their order."""
    return [stage for run in waterfall["runs"] for stage in run["stages"]]


def seconds(value: float | None) -> str:
    """A time as people read it."""
    if value is None:
        return "-"
    if value < 60:
        return f"{value:.2f} s"
    minutes, rest = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def part_done(stage: Object) -> float:
    """How far a stage is: what the machine reports, or else the share of its budget that is used up."""
    if stage["state"] in ("done", "undone", "failed", "ended"):
        return 1.0
    if stage["state"] == "pending":
        return 0.0
    if stage["percent"] is not None:
        return float(stage["percent"]) / 100
    return min(float(stage["actual_s"]) / stage["budget_s"], 1.0) if stage["budget_s"] else 0.0


def stage_line(stage: Object, width: int) -> str:
    """One stage as a line of a terminal."""
    name = stage["step"].replace("_", " ")
    time = "" if stage["state"] == "pending" else seconds(stage["actual_s"])
    more = stage["detail"] or stage["reason"] or "" if stage["state"] in ("running", "failed") else ""
    if stage["percent"] is not None and stage["state"] == "running":
        more = f"{stage['percent']:.0f} % {more}"
    return f" {_MARKS[stage['state']]} {name:<18.18} {bar(part_done(stage))} {time:>10}  {more}"[:width].rstrip()


@dataclass(slots=True)
class Progress:
    """Shows one order's progress on a stream."""

    stream: TextIO
    _drawn: int = 0
    _said: set[tuple[str, int, str]] = field(default_factory=set)

    def show(self, waterfall: Object) -> None:
        """Bring what is shown up to date."""
        if self.stream.isatty():
            self._draw(waterfall)
        else:
            self._say(waterfall)
        self.stream.flush()

    def _draw(self, waterfall: Object) -> None:
        width = shutil.get_terminal_size().columns
        lines = [f" {waterfall['hostname']}: {waterfall['state']}"[:width]]
        lines += [stage_line(stage, width) for stage in stages_of(waterfall)]
        if self._drawn:
            self.stream.write(f"\x1b[{self._drawn}A")
        self.stream.write("".join(f"\x1b[2K{line}\n" for line in lines))
        # Fewer lines than before: what is left of the old ones goes, and the cursor stays below the new ones.
        self.stream.write("\x1b[J")
        self._drawn = len(lines)

    def _say(self, waterfall: Object) -> None:
        for stage in stages_of(waterfall):
            said = (stage["step"], stage["attempt"], stage["state"])
            if stage["state"] in ("pending", "running") or said in self._said:
                continue
            self._said.add(said)
            reason = f": {stage['reason']}" if stage["reason"] else ""
            name = stage["step"].replace("_", " ")
            self.stream.write(f"{name} {stage['state']} after {seconds(stage['actual_s'])}{reason}\n")
