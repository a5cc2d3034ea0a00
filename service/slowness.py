"""Why an order is as slow as it is: each stage beside what it usually takes, told in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from service.store.orders_seen import Usual

_NOTICEABLE_S = 1.0  # more than the median, before a stage is worth a sentence
_WELL_MEASURED = 5  # runs, before their p95 says anything

Stage = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compared:
    """A stage beside the usual one; seconds."""

    stage: Stage
    usual: Usual | None

    @property
    def over_s(self) -> float | None:
        """How much longer than half of the others it took; None where nothing is known of others."""
        return None if self.usual is None else float(self.stage["actual_s"]) - self.usual.median_s

    @property
    def slow(self) -> bool:
        """Whether it took longer than nearly all others, or than half of its budget where there are no others."""
        actual, budget = float(self.stage["actual_s"]), self.stage["budget_s"]
        if self.usual is None or self.usual.measured < _WELL_MEASURED:
            return budget is not None and actual > budget / 2
        return actual > self.usual.p95_s and actual - self.usual.median_s > _NOTICEABLE_S


def compare(stages: Sequence[Stage], usual: Mapping[str, Usual]) -> list[Compared]:
    """The stages that have begun, each beside the usual one."""
    return [Compared(one, usual.get(one["step"])) for one in stages if one["state"] != "pending"]


def sentences(found: Sequence[Compared], *, waiting: bool) -> list[str]:
    """What there is to say: what failed on the way, what was slow (the slowest first), what it waits for now."""
    said = [
        f"{_name(one.stage)} failed after {_s(one.stage['actual_s'])}: {one.stage['reason']}"
        for one in found
        if one.stage["state"] == "failed"
    ]
    slow = [one for one in found if one.slow and one.stage["state"] != "failed"]
    for one in sorted(slow, key=lambda one: -(one.over_s or one.stage["actual_s"])):
        because = f": {one.stage['reason']}" if one.stage["reason"] else ""
        said.append(f"{_name(one.stage)} {_took(one.stage)} {_s(one.stage['actual_s'])}, {_usually(one)}{because}")
    now = next((one for one in found if one.stage["state"] == "running"), None)
    if waiting and now is not None and not now.slow:
        because = f": {now.stage['reason']}" if now.stage["reason"] else ""
        said.append(f"it is at {_name(now.stage)} for {_s(now.stage['actual_s'])}, {_usually(now)}{because}")
    return said or ["no stage took longer than it usually does"]


def _took(stage: Stage) -> str:
    return "has been taking" if stage["state"] == "running" else "took"


def _name(stage: Stage) -> str:
    name = str(stage["step"]).replace("_", " ")
    return name if stage["attempt"] == 1 else f"{name} (time {stage['attempt']})"


def _usually(one: Compared) -> str:
    budget = "" if one.stage["budget_s"] is None else f"; its budget is {_s(one.stage['budget_s'])}"
    if one.usual is None:
        return f"and no other order of the plan has measured it{budget}"
    return f"usually {_s(one.usual.median_s)} (95 of 100 within {_s(one.usual.p95_s)}){budget}"


def _s(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"
