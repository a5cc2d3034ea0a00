"""A controller that is killed, or frozen, at any call of a transaction: the next one settles it without anybody's help.

Between the calls a transaction awaits nothing else, so that these are all the points at which it can be struck.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from netconf import change as netconf_change
from netconf.desired import Profile
from netconf.owned import desired_objects, edit, owned_objects, set_lines
from netconf.session import open_session
from netconf.transaction import apply_all
from service.lab.leaf import VirtualLeaf
from service.lab.leaf.datastore import apply_edit, without_namespaces
from tests.netconf.killed import Moment, change, write_table
from tests.netconf.lines import desired_lines
from tests.netconf.test_evidence import lost_while, opened
from tests.netconf.test_refusals import instead
from tests.netconf.test_transaction import PORTS, address, leaf_of, port, without_named_trials

OLD = leaf_of(port(0, Profile.QUARANTINE), port(1, Profile.ACTIVE))
NEW = leaf_of(port(0, Profile.ACTIVE, 2), port(1, Profile.QUARANTINE, 2))
_AT_ONCE = 4
_CASES = [(style, moment) for style in ("named", "nameless") for moment in Moment]


class Calls(Counter[str]):
    """The calls that a leaf was sent, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __setitem__(self, name: str, times: int) -> None:
        super().__setitem__(name, times)
        last = "confirm" if "commit confirmed" in self.made else "commit confirmed"
        self.made.append(last if name == "commit" else name)


@dataclass(frozen=True)
class Outcome:
    """What became of a killing."""

    style: str
    moment: Moment
    call: str
    then: str  # what the leaf runs when the controller is dead
    on_trial: bool
    settled: str  # and when the next one has been there

    @property
    def row(self) -> tuple[str, ...]:
        return self.call, self.moment, self.style, self.then + ", on trial" * self.on_trial, self.settled


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that need no second to start."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.netconf.killed"])
    return context


async def started(style: str) -> VirtualLeaf:
    """A leaf that runs OLD."""
    leaf = await VirtualLeaf.start("leaf1", PORTS[:2], username="rh", password="secret")
    if style == "nameless":
        without_named_trials(leaf)
    leaf.calls = Calls()
    document = edit(desired_objects(OLD), {})
    assert document is not None
    apply_edit(leaf.running, without_namespaces(document))
    leaf.discard()
    leaf.ran()
    return leaf


def state(leaf: VirtualLeaf) -> str:
    lines = leaf.set_lines()
    return "old" if lines == desired_lines(OLD) else "new" if lines == desired_lines(NEW) else "neither"


async def struck(
    processes: ForkServerContext,
    leaf: VirtualLeaf,
    nth: int,
    moment: Moment,
    number: signal.Signals,
    *,
    settle_s: float = 10.0,
) -> BaseProcess:
    controller = processes.Process(target=change, args=(address(leaf), NEW, nth, moment, number, settle_s))
    controller.start()
    return controller


async def over(controller: BaseProcess) -> None:
    while controller.is_alive():
        await asyncio.sleep(0.005)


async def settled(leaf: VirtualLeaf, ours: Collection[str] = ()) -> str:
    """What the leaf runs when another controller has been there, who must not say what is not so."""
    async with open_session(address(leaf)) as session:
        applied = await apply_all(session, NEW, ours=ours)
    assert not applied.refused
    assert set_lines(owned_objects(applied.running)) == leaf.set_lines()
    clean = (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
    return state(leaf) if clean else "not cleaned up"


async def outcome(processes: ForkServerContext, style: str, nth: int, moment: Moment, call: str) -> Outcome:
    leaf = await started(style)
    try:
        controller = await struck(processes, leaf, nth, moment, signal.SIGKILL)
        await over(controller)
        assert controller.exitcode == -signal.SIGKILL
        async with asyncio.timeout(60):
            while leaf.sessions:
                await asyncio.sleep(0.005)
        then, on_trial = state(leaf), leaf.trial is not None
        return Outcome(style, moment, f"{nth}. {call}", then, on_trial, await settled(leaf))
    finally:
        await leaf.stop()


@pytest.fixture(scope="module")
def reference(processes: ForkServerContext) -> dict[str, list[str]]:
    """The calls of a transaction that nobody kills, by style."""

    async def calls(style: str) -> list[str]:
        leaf = await started(style)
        try:
            controller = await struck(processes, leaf, 0, Moment.SENT, signal.SIGKILL)
            await over(controller)
            assert (controller.exitcode, state(leaf)) == (0, "new")
            assert isinstance(leaf.calls, Calls)
            return leaf.calls.made
        finally:
            await leaf.stop()

    return {style: asyncio.run(calls(style)) for style in ("named", "nameless")}


async def test_a_controller_that_is_killed_leaves_old_or_new_and_the_next_one_settles_it(
    processes: ForkServerContext, reference: dict[str, list[str]]
) -> None:
    places = asyncio.Semaphore(_AT_ONCE)

    async def placed(style: str, nth: int, moment: Moment, call: str) -> Outcome:
        async with places:
            return await outcome(processes, style, nth, moment, call)

    outcomes = await asyncio.gather(
        *(placed(style, nth, moment, call) for style, moment in _CASES for nth, call in enumerate(reference[style], 1))
    )
    columns = ("killed at", "moment", "trials", "the leaf then runs", "and after the next controller")
    write_table("A controller that is killed", columns, [one.row for one in outcomes])
    assert {one.settled for one in outcomes} == {"new"}
    assert {one.then for one in outcomes} == {"old", "new"}
    for one in outcomes:
        calls = reference[one.style]
        nth = int(one.call.partition(".")[0])
        # Only the confirmation makes it last.
        assert one.then == "old" or one.on_trial or nth > calls.index("confirm"), one


@pytest.mark.parametrize("style", ["named", "nameless"])
async def test_a_controller_that_is_frozen_is_put_out_and_cannot_come_back(
    processes: ForkServerContext, reference: dict[str, list[str]], style: str
) -> None:
    calls = reference[style]
    for nth in range(calls.index("lock") + 1, calls.index("confirm") + 1, 3):
        leaf = await started(style)
        controller = await struck(processes, leaf, nth, Moment.ANSWERED, signal.SIGSTOP)
        try:
            async with asyncio.timeout(60):
                while not _frozen(controller):
                    await asyncio.sleep(0.01)
            left = {str(number) for number in leaf.sessions}
            assert await settled(leaf, ours=left) == "new"
        finally:
            os.kill(controller.pid or 0, signal.SIGCONT)
            await over(controller)
            await leaf.stop()
        assert (controller.exitcode, state(leaf)) == (1, "new")


@pytest.mark.parametrize("style", ["named", "nameless"])
async def test_a_change_that_cuts_a_host_off_outlives_no_controller(
    processes: ForkServerContext, reference: dict[str, list[str]], style: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netconf_change, "_SETTLE_S", 0.5)
    first = reference[style].index("commit confirmed") + 1
    best = instead(NEW, OLD, {PORTS[0]})

    async def one(nth: int) -> None:
        leaf = await started(style)
        try:
            lost_while(leaf, "down", PORTS[0], opened(leaf, 0))
            controller = await struck(processes, leaf, nth, Moment.ANSWERED, signal.SIGKILL, settle_s=0.5)
            await over(controller)
            assert controller.exitcode in (0, -signal.SIGKILL)
            assert opened(leaf, 0)() <= (leaf.trial is not None)
            async with open_session(address(leaf)) as session:
                applied = await apply_all(session, NEW)
            assert (set(applied.refused), leaf.set_lines()) == ({PORTS[0]}, desired_lines(best))
            assert (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
        finally:
            await leaf.stop()

    await asyncio.gather(*(one(nth) for nth in range(first, first + 48, 6)))


def _frozen(process: BaseProcess) -> bool:
    status = Path(f"/proc/{process.pid}/status")
    return status.exists() and "\nState:\tT" in status.read_text()
