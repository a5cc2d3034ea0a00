"""The switch transaction: what is running is read, changed as little as possible, committed on trial, read back, kept.

A commit is confirmed only after the leaf itself has shown, to a call of its own, that it runs what was asked for.
Otherwise it takes the change back by itself. After any error the running configuration is read again, and it decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from lxml import etree

from netconf.desired import Leaf
from netconf.errors import LockedByOther, NetconfError, OutcomeUnknown, Refused, Unreachable, Unverified
from netconf.owned import Key, edit, owned_objects, set_lines
from netconf.render import Element, configuration
from netconf.session import LeafSession, open_session

log = structlog.get_logger()

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Applied:
    """A leaf that is as it should be, and what it took."""

    changed: bool
    added: tuple[str, ...]  # `set` statements that are new
    removed: tuple[str, ...]  # and that are gone
    seconds: float


def desired_lines(leaf: Leaf) -> list[str]:
    """What the leaf's owned objects should read as, in `set` form."""
    return set_lines(owned_objects(configuration(leaf)))


async def read_owned(session: LeafSession) -> list[str]:
    """What the leaf's owned objects read as, in `set` form, from its running configuration."""
    return set_lines(owned_objects(await session.get_config("running")))


async def apply(session: LeafSession, desired: Leaf, *, confirm_timeout_s: int = 120) -> Applied:
    """Make the leaf's owned objects what they should be, all in one commit; nothing is done when they are.

    Raises Refused (with the leaf's own reason; nothing has changed), LockedByOther,
    Unreachable, Unverified (the change was taken back), OutcomeUnknown.
    """
    began = time.monotonic()
    wanted = owned_objects(configuration(desired))
    # The same name each time, so that a trial which outlived its controller can be ended by the next one.
    persist = f"roundhouse-{desired.name}" if session.persists else None
    if session.unsettled:
        await _recover(session, persist)
    running = owned_objects(await session.get_config("running"))
    change = edit(wanted, running)
    if change is None:
        return Applied(False, (), (), time.monotonic() - began)
    await _lock(session)
    try:
        await session.discard_changes()
        await _load(session, change, wanted)
        await _commit(session, wanted, persist, confirm_timeout_s)
    finally:
        await _unlock(session)
    before, after = set(set_lines(running)), set(set_lines(wanted))
    return Applied(True, tuple(sorted(after - before)), tuple(sorted(before - after)), time.monotonic() - began)


async def _recover(session: LeafSession, persist: str | None) -> None:
    """End a trial commit that was not confirmed: an earlier controller's, or this session's own.

    Where trials have names it is taken back, and what is running says what is left to do. Elsewhere any commit
    confirms it (Junos), and the comparison that follows finds what was wrong in it; but what cut the leaf off is left
    to its timer.
    """
    if persist is not None:
        try:
            await session.cancel_commit(persist)
        except Refused:
            log.debug("no_trial_commit_left", persist=persist)
            session.unsettled = False
        return
    async with open_session(session.address):
        await _lock(session)
        try:
            await session.discard_changes()
            await session.confirm(None)
        except Refused as err:
            # A leaf without a trial would have said yes: nothing that runs now can be relied on.
            raise Unverified([f"a trial that may be pending cannot be ended: {err}"]) from err
        finally:
            await _unlock(session)


async def _lock(session: LeafSession) -> None:
    """Lock the candidate, waiting a little for somebody else's lock; a dirty candidate counts as one."""
    for attempt in range(_LOCK_TRIES):
        try:
            await session.lock()
        except LockedByOther:
            if attempt == _LOCK_TRIES - 1:
                raise
            await asyncio.sleep(_LOCK_PAUSE_S)
        else:
            return


async def _unlock(session: LeafSession) -> None:
    try:
        await session.discard_changes()
        await session.unlock()
    except NetconfError:
        # Whatever went wrong before is the news; the end of the session frees the lock.
        return


async def _load(session: LeafSession, change: Element, wanted: Mapping[Key, Element]) -> None:
    """Load the change and see that it is in the candidate.

    After a validate it is loaded once more, whatever the candidate reads as: netconfd goes on showing the change and
    commits nothing of it.
    """
    await session.edit_candidate(change)
    if session.validates:
        await session.validate()
        await session.discard_changes()
        await session.edit_candidate(change)
    lost = _differences(wanted, owned_objects(await session.get_config("candidate")))
    if lost:
        raise Unverified(lost)


async def _commit(session: LeafSession, wanted: Mapping[Key, Element], persist: str | None, timeout_s: int) -> None:
    try:
        await session.commit_confirmed(timeout_s, persist)
    except (OutcomeUnknown, Unreachable) as err:
        # It may have been committed. Whoever looks next reads what is running; unconfirmed, it goes back by itself.
        raise OutcomeUnknown(str(err)) from err
    try:
        # A session of its own: what cuts us off from the leaf must not be confirmed over a session that still stands.
        async with open_session(session.address) as witness:
            differences = _differences(wanted, owned_objects(await witness.get_config("running")))
    except NetconfError as err:
        await _take_back(session, persist)
        raise Unverified([f"the leaf cannot be reached after the change: {err}"]) from err
    if differences:
        await _take_back(session, persist)
        raise Unverified(differences)
    try:
        await session.confirm(persist)
    except Refused as err:
        raise Unverified([f"the confirmation was refused: {err}"]) from err


async def _take_back(session: LeafSession, persist: str | None) -> None:
    """End the trial now where the leaf can do that; else its timer does."""
    if persist is not None:
        try:
            await session.cancel_commit(persist)
        except NetconfError:
            return


def _differences(wanted: Mapping[Key, Element], found: Mapping[Key, Element]) -> list[str]:
    """What is not as wanted, a line an object."""
    return [
        f"{' '.join(key)} is {'missing' if key not in found else 'left over' if key not in wanted else 'different'}"
        for key in sorted(wanted.keys() | found.keys())
        if key not in found or key not in wanted or etree.tostring(wanted[key]) != etree.tostring(found[key])
    ]
