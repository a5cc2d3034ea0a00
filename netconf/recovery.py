"""What former sessions may have left on a leaf, and who else is at work there: trials, locks, sessions."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager

import structlog
from lxml import etree

from netconf.connection import Database
from netconf.databases import DRAFTS, Draft
from netconf.errors import LockedByOther, NetconfError, Refused, Unverified
from netconf.evidence import trial_in
from netconf.owned import NETCONF
from netconf.render import Element
from netconf.session import LeafSession

log = structlog.get_logger()

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 1.0
_NO_TRIAL = re.compile(r"\b(no|not|without)\b.*\b(pending|confirmed|outstanding|ongoing|progress)\b", re.IGNORECASE)


async def settle(session: LeafSession, persist: str | None, ours: Collection[str]) -> None:
    """End what a controller that died may have left behind: its sessions, and a trial that nobody will confirm.

    What runs on trial is taken back and never confirmed, as nobody knows any more whether it was to be trusted. Where
    trials have names ours is cancelled by its own. On Junos the history of commits tells whether one is pending, and
    what ran before is loaded from it. Elsewhere a trial has ended with its session (RFC 6241 §8.4.1).

    Raises LockedByOther, Unverified when the trial cannot be ended, and what a call raises.
    """
    await _end_sessions(session, ours)
    if persist is not None:
        try:
            await session.cancel_commit(persist)
        except Refused as err:
            if not (_says_none(err) or await _none_pending(session)):
                raise Unverified([f"a trial that may be pending cannot be ended: {err}"]) from err
    elif session.junos and await _pending(session):
        async with held(session, DRAFTS[Database.CANDIDATE], ours):
            await roll_back(session)
    session.unsettled = False


def _says_none(refusal: Refused) -> bool:
    """Whether a refused cancel-commit means that no trial of that name is pending.

    RFC 6241 §8.4.4.1 has `invalid-value` for another name than the pending one's; for none at all each server has its
    own words, and netconfd none.
    """
    return refusal.tag == "invalid-value" or _NO_TRIAL.search(refusal.reason) is not None


async def _none_pending(session: LeafSession) -> bool:
    """Whether the leaf shows that no trial is pending: what is running can be locked (RFC 6241 §7.5)."""
    try:
        await session.lock("running")
    except (Refused, LockedByOther):
        return False
    await session.unlock("running")
    return True


async def _end_sessions(session: LeafSession, ours: Collection[str]) -> None:
    """End those of our former sessions that the leaf still has, where it tells whose its sessions are."""
    left = {one for one in ours if one != session.session_id}
    if not left:
        return
    for number, user in (await session.sessions()).items():
        # Numbers come again after a reboot.
        if number in left and user == session.address.username:
            log.info("leaf_session_left_behind", session=number)
            await session.kill_session(number)


async def _pending(session: LeafSession) -> bool:
    """Whether a trial of ours is pending, as far as Junos tells it to us. Raises LockedByOther for another one's."""
    try:
        user = trial_in(await session.rpc(_operation("get-commit-information"), must_say_ok=False))
    except Refused as err:
        log.warning("leaf_history_not_told", error=str(err))
        return False
    if user is not None and user != session.address.username:
        raise LockedByOther(f"a confirmed commit of {user} waits for its confirmation", user=user)
    return user is not None


async def roll_back(session: LeafSession) -> None:
    """Make the leaf what it was before the trial of ours that is pending, if one is, while its candidate is ours.

    Raises Unverified when that did not end it, and what a call raises. Junos only.
    """
    operation = _operation("load-configuration")
    operation.set("rollback", "1")
    await session.rpc(operation)
    # Asked afterwards: a trial that is pending now was pending then, so that what was loaded is what ran before it.
    if await _pending(session):
        await session.confirm(None)
        if await _pending(session):
            raise Unverified(["a trial that is pending could not be ended"])
        log.info("leaf_trial_taken_back")


@asynccontextmanager
async def held(session: LeafSession, draft: Draft, ours: Collection[str]) -> AsyncIterator[None]:
    """Have the draft to ourselves while the block runs, and leave nothing of it that is not committed.

    Somebody else's lock is waited for a little, and a candidate with somebody's changes in it counts as one. A session
    of ours that was left behind with the lock is ended. Raises LockedByOther.
    """
    ended: set[str] = set()
    for attempt in range(_LOCK_TRIES):
        try:
            await draft.begin(session)
            break
        except LockedByOther as err:
            if _is_ours(err, session, ours) and err.session not in ended:
                ended.add(err.session)
                await _end_holder(session, err)
            elif attempt == _LOCK_TRIES - 1:
                raise
            else:
                await asyncio.sleep(_LOCK_PAUSE_S)
    else:
        raise LockedByOther("a lock of our own that does not go")
    try:
        yield
    finally:
        try:
            await draft.end(session)
        except NetconfError:
            # Whatever went wrong before is the news; the end of the session frees the lock.
            session.abandon()


def _is_ours(err: LockedByOther, session: LeafSession, ours: Collection[str]) -> bool:
    # Numbers come again after a reboot; where the leaf tells the holder's login it must be ours, too.
    return err.session in ours and err.session != session.session_id and err.user in ("", session.address.username)


async def _end_holder(session: LeafSession, holder: LockedByOther) -> None:
    log.info("leaf_lock_left_behind", session=holder.session)
    try:
        await session.kill_session(holder.session)
    except Refused as err:
        said = f"{holder.holder}; it is a session of ours that could not be ended: {err}"
        raise LockedByOther(said, session=holder.session, user=holder.user) from err


def _operation(tag: str) -> Element:
    return etree.Element(f"{{{NETCONF}}}{tag}", nsmap={None: NETCONF})  # type: ignore[dict-item]
