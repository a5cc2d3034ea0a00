"""The switch transaction: what is running is read, changed as little as possible, committed on trial, read back, kept.

A commit is confirmed only after the leaf itself has shown, to a call of its own, that it runs what was asked for.
Otherwise it takes the change back by itself. After any error the running configuration is read again, and it decides.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog
from lxml import etree

from netconf.by_port import Objects, changed_ports, named_in, without
from netconf.culprits import Probe, first_culprit
from netconf.desired import Leaf
from netconf.errors import LockedByOther, NetconfError, OutcomeUnknown, Refused, Unreachable, Unverified
from netconf.owned import edit, owned_objects, set_lines
from netconf.render import Element, configuration
from netconf.session import LeafSession

log = structlog.get_logger()

_LOCK_TRIES = 5
_LOCK_PAUSE_S = 1.0
_WITNESS_S = 15.0  # twice that and two connections must fit into a trial


@dataclass(frozen=True, slots=True)
class Applied:
    """A leaf that is as it should be, but for the ports that it refused, and what it took."""

    changed: bool
    added: tuple[str, ...]  # `set` statements that are new
    removed: tuple[str, ...]  # and that are gone
    seconds: float
    running: Element  # the leaf's `<configuration>` as it was read last: after the change, where there was one
    commit_s: float | None = None  # seconds that the leaf took for the latest commit, where there was one
    refused: Mapping[str, str] = field(default_factory=dict)  # ports that stay as they ran, and the leaf's own reason


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

    async def whole(change: _Change) -> dict[str, str]:
        await change.load({})
        await change.commit()
        return {}

    return await _locked(session, desired, confirm_timeout_s, whole)


async def apply_all(
    session: LeafSession, desired: Leaf, *, only: Collection[str] | None = None, confirm_timeout_s: int = 120
) -> Applied:
    """As `apply`, but a port that the leaf refuses holds up no other one.

    With `only`, all other ports stay as they run, however that is: a change is the change of those ports, and nobody
    else's is taken back with it.

    Ports that an error-path names are left out first; else they are found by halving, with at most log2(n) + 1 more
    validates for a lone one. What goes is committed in one commit, and the rest stays as it runs: `Applied.refused`.
    Only a refusal that neither a path nor a validate explains has to be narrowed down by commits, each verified.

    Raises Refused only when what all ports share is refused by itself; else what `apply` raises.
    """
    return await _locked(session, desired, confirm_timeout_s, _commit_what_goes, only)


async def _locked(
    session: LeafSession,
    desired: Leaf,
    confirm_timeout_s: int,
    work: Callable[[_Change], Awaitable[dict[str, str]]],
    only: Collection[str] | None = None,
) -> Applied:
    began = time.monotonic()
    wanted = owned_objects(configuration(desired))
    # The same name each time, so that a trial which outlived its controller can be ended by the next one.
    persist = f"roundhouse-{desired.name}" if session.persists else None
    if session.unsettled:
        await _recover(session, persist)
    read = await session.get_config("running")
    running = owned_objects(read)
    if only is not None:
        wanted = without(wanted, running, set(changed_ports(wanted, running)).difference(only))
    if edit(wanted, running) is None:
        return Applied(False, (), (), time.monotonic() - began, read)
    await session.witness()  # the leaf is not kept waiting for it later
    change = _Change(session, wanted, read, persist, confirm_timeout_s)
    await _lock(session)
    try:
        refused = await work(change)
    finally:
        await _unlock(session)
    before, after = set(set_lines(running)), set(set_lines(change.running))
    return Applied(
        change.commit_s is not None,
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
        time.monotonic() - began,
        change.read,
        change.commit_s,
        refused,
    )


async def _commit_what_goes(change: _Change) -> dict[str, str]:
    """Commit all that the leaf takes; the ports that it does not take, with the reason."""
    refused: dict[str, str] = {}
    ports = changed_ports(change.wanted, change.running)
    everything = frozenset(ports)
    good = 0  # so many of the ports are known to go

    def of_some(step: Callable[[Collection[str]], Awaitable[None]]) -> Probe:
        return lambda some: _refusal(step(everything.difference(some)))

    while True:
        # What is left after a search needs no validate of its own: the commit sees to that.
        refusal, probe = await _refusal(change.load(refused, validate=not refused)), of_some(change.check)
        if refusal is None and (refusal := await _refusal(change.commit())) is None:
            return refused
        if change.loaded and not _named(refusal, ports):
            # It may have been a passing mood; if it was none, the question is whether a validate can see it.
            refusal = await _refusal(change.load(refused, validate=True))
            if refusal is None and (refusal := await _refusal(change.commit())) is None:
                return refused
            if change.loaded:
                probe = of_some(change.change)
        blamed = _named(refusal, ports)
        if not blamed:
            if not ports:
                raise refusal
            found = await first_culprit(ports, good, refusal, probe, many=bool(refused))
            good = found.good
            if found.refusal is not None:
                blamed = {ports[good]: found.refusal.reason}
        if blamed:
            log.info("leaf_refused_ports", ports=sorted(blamed))
        good -= sum(port in blamed for port in ports[:good])
        ports = [port for port in ports if port not in blamed]
        refused |= blamed


def _named(refusal: Refused, ports: Sequence[str]) -> dict[str, str]:
    """The ports that the leaf names in its refusal, and what it says of each."""
    return {port: reason for reason, path in refusal.errors for port in named_in(path, ports)}


async def _refusal(step: Awaitable[None]) -> Refused | None:
    try:
        await step
    except Refused as err:
        return err
    return None


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
    await _seen_by_witness(session)
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


class _Change:
    """What is to be made of the leaf, while its candidate is locked: all that is wanted, or that without some ports."""

    def __init__(
        self, session: LeafSession, wanted: Objects, read: Element, persist: str | None, confirm_timeout_s: int
    ) -> None:
        self.wanted = wanted
        self.read = read  # the whole configuration, as the leaf showed it last
        self.running: Objects = owned_objects(read)
        self.commit_s: float | None = None
        self.loaded = False  # whether all of the change is in the candidate, and taken as far as that goes
        self._session = session
        self._persist = persist
        self._confirm_timeout_s = confirm_timeout_s
        self._target = self.running

    async def _edit(self, left_out: Collection[str]) -> Element | None:
        """Bring the change into a candidate that is what is running; nothing if there is none left."""
        self.loaded = False
        self._target = without(self.wanted, self.running, left_out)
        await self._session.discard_changes()
        document = edit(self._target, self.running)
        if document is not None:
            await self._session.edit_candidate(document)
        return document

    async def check(self, left_out: Collection[str]) -> None:
        """Find out whether the leaf would take the change, as far as it can tell beforehand. Raises Refused."""
        if await self._edit(left_out) is not None and self._session.validates:
            await self._session.validate()

    async def load(self, left_out: Collection[str], *, validate: bool = True) -> None:
        """Load the change and see that it is in the candidate. Raises Refused, Unverified.

        After a validate it is loaded once more, whatever the candidate reads as: netconfd goes on showing the change
        and commits nothing of it.
        """
        document = await self._edit(left_out)
        if document is None:
            return
        if validate and self._session.validates:
            await self._session.validate()
            await self._session.discard_changes()
            await self._session.edit_candidate(document)
        lost = _differences(self._target, owned_objects(await self._session.get_config("candidate")))
        if lost:
            raise Unverified(lost)
        self.loaded = True

    async def change(self, left_out: Collection[str]) -> None:
        """Load and commit. Raises what they raise."""
        await self.load(left_out, validate=False)
        await self.commit()

    async def commit(self) -> None:
        """Commit what was loaded on trial, verify it and confirm it. Raises Refused when nothing was committed."""
        if not self.loaded:
            return
        session, persist = self._session, self._persist
        began = time.monotonic()
        try:
            await session.commit_confirmed(self._confirm_timeout_s, persist)
        except (OutcomeUnknown, Unreachable) as err:
            # It may have been committed. Whoever looks next reads what is running; unconfirmed, it goes back by itself.
            raise OutcomeUnknown(str(err)) from err
        took = time.monotonic() - began
        try:
            seen = await _seen_by_witness(session)
        except NetconfError as err:
            await _take_back(session, persist)
            raise Unverified([f"the leaf cannot be reached after the change: {err}"]) from err
        if differences := _differences(self._target, owned_objects(seen)):
            await _take_back(session, persist)
            raise Unverified(differences)
        try:
            await session.confirm(persist)
        except Refused as err:
            raise Unverified([f"the confirmation was refused: {err}"]) from err
        except Unreachable as err:
            raise OutcomeUnknown(str(err)) from err
        self.running, self.read, self.commit_s = self._target, seen, took


async def _seen_by_witness(session: LeafSession) -> Element:
    """What is running as the leaf shows it to somebody else, over a path that was used after the change.

    The session that made the change proves nothing about others. The witness is another one; its call travels after
    the commit, so that a leaf which is cut off does not answer it. It was open before, so a new connection is made
    beside it, up to the leaf's greeting: what lies behind that, who may log in, is nothing that we ever change.
    """
    await session.greeted()
    try:
        witness = await session.witness()
        return await witness.get_config("running", timeout_s=_WITNESS_S)
    except (Unreachable, OutcomeUnknown):
        # It may have ended for a reason of its own, long ago. A fresh one settles it.
        witness = await session.witness()
        return await witness.get_config("running", timeout_s=_WITNESS_S)


async def _take_back(session: LeafSession, persist: str | None) -> None:
    """End the trial now where the leaf can do that; else its timer does."""
    if persist is not None:
        try:
            await session.cancel_commit(persist)
        except NetconfError:
            return


def _differences(wanted: Objects, found: Objects) -> list[str]:
    """What is not as wanted, a line an object."""
    return [
        f"{' '.join(key)} is {'missing' if key not in found else 'left over' if key not in wanted else 'different'}"
        for key in sorted(wanted.keys() | found.keys())
        if key not in found or key not in wanted or etree.tostring(wanted[key]) != etree.tostring(found[key])
    ]
