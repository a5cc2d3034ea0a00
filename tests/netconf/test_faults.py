"""Every fault of a leaf at every point of a transaction: it ends old or verified new, and a new try settles it."""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from netconf import change, recovery
from netconf import session as netconf_session
from netconf.desired import Leaf, Profile
from netconf.errors import NetconfError, Unreachable
from netconf.session import open_session
from netconf.transaction import apply
from service.lab.leaf import Fault, Point, VirtualLeaf
from tests.netconf.killed import write_table
from tests.netconf.lines import desired_lines
from tests.netconf.test_transaction import PORTS, address, leaf_of, port, without_named_trials

OLD = leaf_of(port(0, Profile.QUARANTINE), port(1, Profile.ACTIVE))
NEW = leaf_of(port(0, Profile.ACTIVE, 2), port(1, Profile.QUARANTINE, 2))
_TRIAL_S = 2
_PATIENCE_S = 1.2
_AT_ONCE = 10  # cells that run beside one another: nearly all of their time is waiting
_LOOK, _LOOK_ON_TRIAL = "get-interface-information", "get-interface-information-on-trial"
_TAKE_BACK = {True: "cancel-commit", False: "rollback"}  # where trials have names, and where not
# What has a fault set for it when the trial begins: the calls that it then strikes.
_ON_TRIAL = {_LOOK_ON_TRIAL: _LOOK, "cancel-commit": "cancel-commit", "rollback": Point.EDIT}
_WORDS: dict[str, str] = {
    _LOOK: "look before",
    _LOOK_ON_TRIAL: "look after",
    **dict.fromkeys(_TAKE_BACK.values(), "take back"),
    Point.READ: "before lock",
    Point.LOCK: "lock",
    Point.EDIT: "edit",
    Point.VALIDATE: "validate",
    Point.COMMIT_CONFIRMED: "commit confirmed",
    Point.READ_ON_TRIAL: "verify",
    Point.COMMIT: "confirm",
    Point.UNLOCK: "unlock",
}
_TRIAL_POINTS = (Point.COMMIT_CONFIRMED, Point.READ_ON_TRIAL, _LOOK_ON_TRIAL, Point.COMMIT)


@dataclass(frozen=True)
class Cell:
    """A fault at a point; what of the faults is no `Fault` is told by its words."""

    fault: str
    point: str
    named: bool = True  # whether trials outlive their sessions
    alone: bool = False  # nobody comes to settle it before the trial's timer has run out
    cut: bool = False  # whether the change cuts a host off besides


@dataclass
class Outcome:
    cell: Cell
    first: str
    then: str = "neither"
    kept: str = "neither"  # what it runs if nobody comes
    again: str = "never"
    tries: int = 0
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.then in ("old", "new") and self.again == "new"


SLOW, TOO_SLOW = "slow commit", "commit slower than we wait"
BLACK_HOLE, BLACK_HOLE_AT_ONCE = "black hole after the answer", "black hole before the answer"
BLACK_HOLES = (BLACK_HOLE, BLACK_HOLE_AT_ONCE)
HOST_CUT_OFF, UPLINK_CUT_OFF, ROUTE_LOST = "a host cut off", "an uplink cut off", "a route that does not come"
CUTS = (HOST_CUT_OFF, UPLINK_CUT_OFF, ROUTE_LOST)
REBOOT_AMID = "reboot amid"
LOCK, LONG_LOCK = "lock of somebody else, for a second", "lock of somebody else, for long"
_HARMLESS = (Fault.WARNINGS, SLOW, LOCK)


def cells() -> list[Cell]:
    every = [Cell(fault, point) for fault in Fault for point in (*Point, _LOOK, _LOOK_ON_TRIAL)]
    special = [
        *(Cell(one, Point.COMMIT_CONFIRMED) for one in CUTS),
        Cell(REBOOT_AMID, Point.COMMIT_CONFIRMED),
        Cell(SLOW, Point.COMMIT_CONFIRMED),
        Cell(TOO_SLOW, Point.COMMIT_CONFIRMED),
        Cell(BLACK_HOLE, Point.COMMIT_CONFIRMED),
        Cell(BLACK_HOLE_AT_ONCE, Point.COMMIT_CONFIRMED),
        Cell(LOCK, Point.LOCK),
        Cell(LONG_LOCK, Point.LOCK),
    ]
    trials = [one for one in (*every, *special) if one.point in _TRIAL_POINTS]
    nameless = [Cell(one.fault, one.point, named=False) for one in trials]
    # The others leave no trial behind, or one that ends with its session.
    pending = [one for one in trials if one.fault not in (Fault.WARNINGS, SLOW, *BLACK_HOLES, *CUTS)]
    alone = [Cell(one.fault, one.point, alone=True) for one in pending]
    undone = [Cell(fault, _TAKE_BACK[named], named, cut=True) for fault in Fault for named in (True, False)]
    return [*every, *special, *nameless, *alone, *undone]


def goes_through(cell: Cell) -> bool:
    """Whether the transaction makes the change in spite of the fault."""
    return not cell.cut and (cell.fault in _HARMLESS or cell.point is Point.UNLOCK)


def arm(leaf: VirtualLeaf, cell: Cell) -> None:
    if cell.fault in (SLOW, TOO_SLOW):
        leaf.commit_seconds = _PATIENCE_S * (0.5 if cell.fault == SLOW else 1.5)
    elif cell.fault in BLACK_HOLES:
        leaf.faults.black_hole, leaf.faults.black_hole_answers = True, cell.fault == BLACK_HOLE
    elif cell.fault in CUTS:
        cut(leaf, cell.fault)
    elif cell.fault == REBOOT_AMID:
        leaf.commit_seconds = _PATIENCE_S / 2
        leaf.calls = Rebooting(leaf)
    elif cell.fault in (LOCK, LONG_LOCK):
        leaf.lock_holder = "root terminal p0 (pid 4711) on since 2025-01-01 00:00:00 UTC, exclusive"
        if cell.fault == LOCK:
            asyncio.get_running_loop().call_later(0.3, calm, leaf)
    elif cell.point in _ON_TRIAL:
        faults = [(_ON_TRIAL[cell.point], Fault(cell.fault))]
        # The port changes with the trial.
        leaf.port_view(PORTS[0]).watch(lambda: leaf.faults.next.update(faults.pop() for _ in faults[:1]))
    else:
        leaf.faults.next[cell.point] = Fault(cell.fault)
    if cell.cut:
        cut(leaf, HOST_CUT_OFF)


def cut(leaf: VirtualLeaf, fault: str) -> None:
    """Have each change do harm, until the leaf is calm again."""
    harmed, what = {
        HOST_CUT_OFF: (leaf.faults.down, PORTS[0]),
        UPLINK_CUT_OFF: (leaf.faults.down, "et-0/0/48"),
        ROUTE_LOST: (leaf.faults.lost_routes, "203.0.113.0/32"),
    }[fault]
    harmed.add(what)


class Rebooting(Counter[str]):
    """Counts calls, and has the leaf reboot while it is at a commit."""

    def __init__(self, leaf: VirtualLeaf) -> None:
        super().__init__()
        self._leaf = leaf

    def __setitem__(self, name: str, times: int) -> None:
        super().__setitem__(name, times)
        if name == "commit" and times == 1:
            asyncio.get_running_loop().call_later(self._leaf.commit_seconds / 2, self._leaf.reboot)


def calm(leaf: VirtualLeaf) -> None:
    leaf.commit_seconds, leaf.faults.black_hole = 0.0, False
    for one in (leaf.faults.next, leaf.faults.down, leaf.faults.lost_routes):
        one.clear()
    if isinstance(leaf.lock_holder, str):
        leaf.lock_holder = None


def state(leaf: VirtualLeaf) -> str:
    lines = leaf.set_lines()
    return "old" if lines == desired_lines(OLD) else "new" if lines == desired_lines(NEW) else "neither"


async def run(cell: Cell) -> Outcome:
    leaf = await VirtualLeaf.start("leaf1", PORTS[:2], username="rh", password="secret")
    if not cell.named:
        without_named_trials(leaf)
    began = time.monotonic()
    try:
        await _settled(leaf, OLD)
        outcome = Outcome(cell, await _first(leaf, cell))
        if cell.alone or cell.fault in BLACK_HOLES:
            while leaf.trial is not None:
                await asyncio.sleep(0.05)
        outcome.then, outcome.kept = state(leaf), "old" if leaf.trial is not None else state(leaf)
        calm(leaf)
        while outcome.again != "new" and outcome.tries < 40:
            outcome.tries += await _settled(leaf, NEW)
            clean = (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
            outcome.again = state(leaf) if clean else "not cleaned up"
        outcome.seconds = time.monotonic() - began
        return outcome
    finally:
        await leaf.stop()


async def _settled(leaf: VirtualLeaf, wanted: Leaf) -> int:
    """Have the leaf run what is wanted, by as many tries as that takes: how many they were."""
    for tries in range(1, 41):
        try:
            async with open_session(address(leaf)) as session:
                await apply(session, wanted, confirm_timeout_s=_TRIAL_S)
        except NetconfError:
            await asyncio.sleep(0.2)
        else:
            return tries
    return tries


async def _first(leaf: VirtualLeaf, cell: Cell) -> str:
    """What the transaction makes of it that the fault strikes."""
    while True:
        try:
            async with open_session(address(leaf)) as session:
                arm(leaf, cell)
                try:
                    await apply(session, NEW, confirm_timeout_s=60 if goes_through(cell) else _TRIAL_S)
                except NetconfError as err:
                    return f"{type(err).__name__}: {err}"
                return "applied"
        except Unreachable:  # on a busy machine our little patience is too little even for a leaf that is well
            continue


async def _outcomes(asked: list[Cell], at_once: int) -> list[Outcome]:
    places = asyncio.Semaphore(at_once)

    async def placed(cell: Cell) -> Outcome:
        async with places:
            return await run(cell)

    return await asyncio.gather(*(placed(cell) for cell in asked))


def rows(outcomes: list[Outcome]) -> Iterator[tuple[str, ...]]:
    for one in outcomes:
        cell = one.cell
        trials = "named" if cell.named else "nameless"
        settled = "the leaf's timer" if cell.alone else "the next session"
        fault = f"{HOST_CUT_OFF}, then {cell.fault}" if cell.cut else cell.fault
        # Which port the leaf listens on is no news.
        first = re.sub(r"127\.0\.0\.1:\d+", "the leaf", one.first)
        then = one.then if one.then == one.kept else f"{one.then}, on trial"
        yield fault, _WORDS[cell.point], trials, settled, first, then, str(one.tries)


def have_patience(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """Have the transaction wait for its leaf so long, and for a lock less than a second."""
    for name in ("_READ_S", "_LONG_READ_S", "_COMMIT_S"):
        monkeypatch.setattr(netconf_session, name, seconds)
    monkeypatch.setattr(netconf_session, "_CONNECT_S", seconds * 2)
    monkeypatch.setattr(change, "_SETTLE_S", 0.2)
    monkeypatch.setattr(change, "_WITNESS_S", seconds / 2)
    monkeypatch.setattr(recovery, "_LOCK_PAUSE_S", 0.15)


async def test_whatever_goes_wrong_the_leaf_ends_old_or_new_and_a_new_try_settles_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # What must go through in spite of its fault has more time: on a busy machine little patience would end it.
    through = [one for one in cells() if goes_through(one)]
    have_patience(monkeypatch, 5 * _PATIENCE_S)
    outcomes = await _outcomes(through, _AT_ONCE // 2)
    have_patience(monkeypatch, _PATIENCE_S)
    outcomes += await _outcomes([one for one in cells() if one not in through], _AT_ONCE)
    columns = ("fault", "at", "trials", "settled by", "the transaction says", "the leaf then runs", "tries until new")
    write_table("Every fault at every point of a transaction", columns, rows(outcomes))
    assert [one for one in outcomes if not one.good] == []
    spared = [one for one in outcomes if one.cell.fault in _HARMLESS and not one.cell.cut]
    assert [one for one in spared if one.first != "applied"] == []
    cuts = [one for one in outcomes if one.cell.fault in (*BLACK_HOLES, *CUTS) or one.cell.cut]
    assert [one for one in cuts if one.kept != "old"] == []
    assert [one for one in outcomes if one.cell.point is Point.UNLOCK and one.then != "new"] == []
