"""The state tables: everything reachable, every wait with an exit, the drawing true."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from service.lifecycle import (
    DEVICE,
    LEAF,
    MACHINE,
    WAITING,
    DeviceEvent,
    DeviceState,
    IllegalMove,
    LeafState,
    MachineEvent,
    MachineState,
    diagrams,
    next_device,
    next_machine,
)
from service.settings import Settings

TABLES: list[tuple[Mapping[Any, Any], type, str, set[str]]] = [
    (DEVICE, DeviceState, "queued", {"deleted"}),
    (MACHINE, MachineState, "enrolled", {"retired"}),
    (LEAF, LeafState, "unknown", set()),
]
# States in which nothing is waited for: only a person or a customer moves them on.
RESTING = {"active", "inactive", "failed", "deleted", "enrolled", "ready", "in_use", "quarantined", "maintenance"} | {
    "retired",
    "unknown",
    "in_sync",
    "refused",
    "locked",
    "unreachable",
}


@pytest.mark.parametrize(("table", "states", "first", "ends"), TABLES)
def test_every_state_is_reached_and_left(table: Mapping[Any, Any], states: type, first: str, ends: set[str]) -> None:
    reached, frontier = {first}, [first]
    while frontier:
        here = frontier.pop()
        for (state, _), goal in table.items():
            if state == here and goal not in reached:
                reached.add(goal)
                frontier.append(goal)
    assert reached == set(states)  # type: ignore[call-overload]
    assert {state for state, _ in table} == reached - ends


@pytest.mark.parametrize("state", [*DeviceState, *MachineState, *LeafState])
def test_a_state_rests_or_has_an_exit(state: Any) -> None:
    exit_ = WAITING.get(state)
    assert (exit_ is None) == (str(state) in RESTING)
    if exit_ is not None:
        assert getattr(Settings(), exit_.budget) > 0
        table: Mapping[Any, Any] = {**DEVICE, **MACHINE, **LEAF}
        assert (state, exit_.event) in table


def test_the_pool_is_reached_through_preparation_alone() -> None:
    into_pool = {state for (state, _), goal in MACHINE.items() if goal is MachineState.READY}
    assert into_pool == {MachineState.PREPARING}


def test_what_is_not_in_the_table_is_refused() -> None:
    with pytest.raises(IllegalMove, match="queued takes no reinstall"):
        next_device(DeviceState.QUEUED, DeviceEvent.REINSTALL)
    with pytest.raises(IllegalMove, match="ready takes no activate"):
        next_machine(MachineState.READY, MachineEvent.ACTIVATE)


def test_the_drawing_is_the_table() -> None:
    drawn = Path(__file__).parents[2] / "docs" / "lifecycle.md"
    assert drawn.read_text(encoding="utf-8") == diagrams()
