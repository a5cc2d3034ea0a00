"""Sessions: how soon a dead one is noticed, that nothing of it is left, and that no leaf waits for another one."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import AsyncExitStack

import pytest
from lxml import etree

from netconf import session as netconf_session
from netconf.desired import Profile
from netconf.errors import OutcomeUnknown, Unreachable
from netconf.session import LeafAddress, open_session
from netconf.transaction import apply
from service.lab.leaf import Fault, Point, VirtualLeaf
from tests.netconf.lines import desired_lines
from tests.netconf.test_transaction import PORTS, address, leaf_of, port


def threads() -> set[str]:
    """All that run, but for asyncio's own pool, which keeps its threads."""
    return {f"{one.name} {one.ident}" for one in threading.enumerate() if not one.name.startswith("asyncio_")}


async def left_over(before: set[str]) -> set[str]:
    """The threads that are still there after a while."""
    for _ in range(1200):
        if not threads() - before:
            break
        await asyncio.sleep(0.05)
    return threads() - before


async def test_a_session_that_ends_just_as_a_call_is_sent_is_noticed_at_once(leaf: VirtualLeaf) -> None:
    for delay in (0.0, 0.001, 0.002, 0.005, 0.01, 0.02):
        async with open_session(address(leaf)) as session:
            dropping = asyncio.get_running_loop().call_later(delay, next(iter(leaf.sessions.values())).drop)
            began = time.monotonic()
            with pytest.raises(Unreachable):
                while time.monotonic() - began < 60:
                    await session.get_config("running")
            assert not session.alive
            dropping.cancel()


async def test_a_call_without_an_answer_ends_the_session_and_frees_its_lock(
    leaf: VirtualLeaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_session(address(leaf)) as session:
        await session.lock()
        monkeypatch.setattr(netconf_session, "_READ_S", 0.3)
        leaf.faults.next[Point.UNLOCK] = Fault.HANG
        with pytest.raises(OutcomeUnknown):
            await session.unlock()
        with pytest.raises(Unreachable):
            await session.unlock()
        async with asyncio.timeout(60):
            while leaf.lock_holder is not None:
                await asyncio.sleep(0.01)


async def test_what_a_closed_session_was_reading_is_not_told(leaf: VirtualLeaf) -> None:
    leaf.running.append(etree.fromstring("<system><secret>hunter2</secret></system>"))
    async with open_session(address(leaf)) as session:
        leaf.faults.next[Point.READ] = Fault.HALF_THEN_GONE
        with pytest.raises(Unreachable) as gone:
            await session.get_config("running")
        assert str(gone.value) == "get-config: the session was closed"


async def test_a_cancelled_call_leaves_no_session_and_no_lock(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        leaf.commit_seconds = 0.5
        changing = asyncio.create_task(apply(session, leaf_of(port(0, Profile.ACTIVE))))
        async with asyncio.timeout(60):
            while not leaf.calls["commit"]:
                await asyncio.sleep(0.01)
        changing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await changing
        assert not session.alive
    leaf.commit_seconds = 0.0
    async with asyncio.timeout(60):
        while leaf.lock_holder is not None:
            await asyncio.sleep(0.01)
    async with open_session(address(leaf)) as session:
        await apply(session, leaf_of(port(0, Profile.ACTIVE)))
    assert (leaf.set_lines(), leaf.trial) == (desired_lines(leaf_of(port(0, Profile.ACTIVE))), None)


async def test_the_witness_stands_and_is_replaced_when_it_has_ended(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        await apply(session, leaf_of(port(0, Profile.ACTIVE)))
        witness = await session.witness()
        assert witness.session_id != session.session_id
        await apply(session, leaf_of(port(1, Profile.ACTIVE)))
        assert await session.witness() is witness
        leaf.sessions[int(witness.session_id)].drop()
        await apply(session, leaf_of(port(2, Profile.ACTIVE)))
        assert await session.witness() is not witness
        assert len(leaf.sessions) == 2
    assert leaf.set_lines() == desired_lines(leaf_of(port(2, Profile.ACTIVE)))


async def test_nothing_is_left_of_sessions_that_failed_to_open(
    leaf: VirtualLeaf, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = threads()
    leaf.reachable.clear()
    with monkeypatch.context() as impatient:
        impatient.setattr(netconf_session, "_CONNECT_S", 0.3)
        for _ in range(3):
            with pytest.raises(Unreachable, match="did not answer"):
                async with open_session(address(leaf)):
                    pass
    leaf.reachable.set()
    for wrong in (LeafAddress(leaf.address, leaf.port, "rh", "guess", leaf.host_key), address(leaf)):
        with pytest.raises(Unreachable):
            async with open_session(wrong) as session:
                leaf.faults.hang = True
                monkeypatch.setattr(netconf_session, "_READ_S", 0.3)
                monkeypatch.setattr(netconf_session, "_LONG_READ_S", 0.3)
                with pytest.raises(OutcomeUnknown):
                    await session.get_config("running")
                await session.get_config("running")
    assert not await left_over(before)


async def test_fifty_leaves_change_beside_one_another_and_hold_up_nobody() -> None:
    """None of their commits ends before all have begun, which are more than asyncio's own pool has threads."""
    before = threads()
    async with AsyncExitStack() as stack:
        leaves = []
        for number in range(50):
            leaf = await VirtualLeaf.start(f"leaf{number}", PORTS[:2], username="rh", password="secret")
            stack.push_async_callback(leaf.stop)
            leaves.append(leaf)
        sessions = [await stack.enter_async_context(open_session(address(leaf))) for leaf in leaves]
        wanted = leaf_of(port(0, Profile.ACTIVE))
        async with AsyncExitStack() as busy:
            for leaf in leaves:
                await busy.enter_async_context(leaf.busy)
            changing = [asyncio.create_task(apply(session, wanted)) for session in sessions]
            async with asyncio.timeout(120):
                while not all(leaf.calls["commit"] for leaf in leaves):
                    await asyncio.sleep(0.02)
            assert await asyncio.to_thread(lambda: "at once") == "at once"
            assert not any(one.done() for one in changing)
        assert all([(await one).changed for one in changing])
        workers = [thread for thread in threading.enumerate() if thread.name.startswith("netconf-")]
        assert len(workers) == len(leaves)
    assert not await left_over(before)


async def test_a_transaction_waits_for_the_leaf_no_more_often_than_it_must(leaf: VirtualLeaf) -> None:
    """What it takes is told by the benches; here that it makes no handshake, and no call twice without need."""
    async with open_session(address(leaf)) as session:
        await apply(session, leaf_of(port(0, Profile.QUARANTINE)))
        sessions = set(leaf.sessions)
        leaf.calls.clear()
        await apply(session, leaf_of(port(0, Profile.ACTIVE)))
        assert set(leaf.sessions) == sessions
    looks = {name: 2 for name in leaf.calls if name.endswith("-information")} | {"get-route-information": 4}
    assert {name: times for name, times in leaf.calls.items() if name != "close-session"} == {
        "get-config": 3,  # what runs, the draft, what runs then
        "lock": 1,
        "discard-changes": 3,
        "edit-config": 2,  # a validate may empty the draft
        "validate": 1,
        "commit": 2,
        "unlock": 1,
        **looks,
    }
