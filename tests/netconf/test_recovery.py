"""What former sessions left behind on a leaf is found and ended; what is somebody else's is named and left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from netconf.connection import Database
from netconf.databases import DRAFTS
from netconf.desired import Profile
from netconf.errors import LockedByOther, Unverified
from netconf.recovery import held, settle
from netconf.render import configuration
from netconf.session import open_session
from netconf.transaction import apply
from service.lab.leaf import Fault, VirtualLeaf
from tests.netconf.lines import desired_lines
from tests.netconf.netconfd import netconfd, why_not
from tests.netconf.test_transaction import address, leaf_of, port, without_named_trials

WANTED = leaf_of(port(0, Profile.ACTIVE))


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("netconf.recovery._LOCK_PAUSE_S", 0.05)


async def test_a_session_of_ours_that_holds_the_lock_is_ended(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as dead, open_session(address(leaf)) as session:
        await dead.lock()
        assert (await apply(session, WANTED, ours={dead.session_id})).changed
        assert int(dead.session_id) not in leaf.sessions
        assert leaf.lock_holder is None


async def test_a_lock_of_somebody_else_is_never_ended(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as operator, open_session(address(leaf)) as session:
        await operator.lock()
        with pytest.raises(LockedByOther) as denied:
            await apply(session, WANTED, ours={"4711", session.session_id})
        assert denied.value.session == operator.session_id
        assert leaf.lock_holder == int(operator.session_id)


async def test_who_holds_the_lock_is_told_as_junos_tells_it(leaf: VirtualLeaf) -> None:
    leaf.lock_holder = "ops terminal p0 (pid 4711) on since 2025-01-01 00:00:00 UTC, idle 00:10:00 exclusive"
    async with open_session(address(leaf)) as session:
        # The number is ours and the login is not: numbers come again.
        with pytest.raises(LockedByOther, match="idle 00:10:00") as denied:
            await apply(session, WANTED, ours={"4711"})
    assert (denied.value.user, denied.value.session) == ("ops", "4711")


async def test_a_candidate_is_left_clean_whatever_happens_in_it(leaf: VirtualLeaf) -> None:
    async with open_session(address(leaf)) as session:
        with pytest.raises(ZeroDivisionError):
            async with held(session, DRAFTS[Database.CANDIDATE], ()):
                leaf.dirty = True
                raise ZeroDivisionError
        assert (leaf.lock_holder, leaf.dirty) == (None, False)


def state(leaf: VirtualLeaf) -> tuple[object, object, bool]:
    """What is not over yet."""
    return leaf.trial, leaf.lock_holder, leaf.dirty


async def trial_of_a_dead_controller(leaf: VirtualLeaf) -> str:
    """A trial of ours that outlives its session; the session's number."""
    async with open_session(address(leaf)) as dead:
        await dead.edit_candidate(configuration(WANTED))
        await dead.commit_confirmed(60, "roundhouse-leaf1" if dead.persists else None)
        return dead.session_id


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
async def test_a_trial_of_a_dead_controller_is_taken_back_and_never_confirmed(leaf: VirtualLeaf, named: bool) -> None:
    if not named:
        without_named_trials(leaf)
    await trial_of_a_dead_controller(leaf)
    async with open_session(address(leaf)) as session:
        # Nothing is desired that would have to be committed, but for the trial.
        assert not (await apply(session, leaf_of())).changed
    assert (leaf.set_lines(), leaf.trial, leaf.lock_holder) == ([], None, None)


async def test_a_trial_that_cannot_be_taken_back_is_not_taken_for_none(leaf: VirtualLeaf) -> None:
    await trial_of_a_dead_controller(leaf)
    async with open_session(address(leaf)) as session:
        leaf.faults.next["cancel-commit"] = Fault.REFUSE
        with pytest.raises(Unverified, match="mgd: cancel-commit failed"):
            await apply(session, WANTED)
        assert leaf.trial is not None
        await apply(session, WANTED)
    assert leaf.set_lines() == desired_lines(WANTED)
    assert state(leaf) == (None, None, False)


async def test_a_trial_of_an_operator_is_not_confirmed_by_a_change_of_ours(leaf: VirtualLeaf) -> None:
    without_named_trials(leaf)
    leaf.user = "ops"
    async with open_session(address(leaf)) as session:
        await session.commit_confirmed(60, None)
    leaf.user = "rh"
    async with open_session(address(leaf)) as session:
        with pytest.raises(LockedByOther) as denied:
            await apply(session, WANTED)
    assert (denied.value.user, leaf.set_lines()) == ("ops", [])
    assert leaf.trial is not None


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_netconfd_tells_its_sessions_and_ours_is_ended() -> None:
    with netconfd() as server:
        async with open_session(server) as dead, open_session(server) as other, open_session(server) as session:
            assert (await session.sessions())[dead.session_id] == server.username
            await apply(session, leaf_of(), ours={dead.session_id})
            assert dead.session_id not in await session.sessions()
            assert other.session_id in await session.sessions()


@pytest.mark.skipif(bool(why_not()), reason=why_not())
async def test_netconfd_has_other_words_for_no_trial_and_is_understood() -> None:
    with netconfd() as server:
        async with open_session(server) as session:
            await settle(session, "nobody's", ())
            await session.commit_confirmed(60, "somebody's")
        async with open_session(server) as session:
            await settle(session, "nobody's", ())
            with pytest.raises(LockedByOther):
                await session.lock("running")
            await settle(session, "somebody's", ())
            await session.lock("running")


async def test_a_key_leaves_nothing_on_disk_when_its_process_is_killed(tmp_path: Path) -> None:
    script = """if True:
        import os, signal, sys
        from netconf.connection import _key_file
        with _key_file("a key") as path:
            assert open(path).read() == "a key"
            os.kill(os.getpid(), signal.SIGKILL)
    """
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment)
    assert await child.wait() == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == []
