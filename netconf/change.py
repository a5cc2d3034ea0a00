"""One change of a leaf, from its draft to its end: loaded, committed, read back, watched, and confirmed or undone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass

import structlog
from lxml import etree

from netconf import evidence
from netconf.by_port import Objects, without
from netconf.databases import Draft
from netconf.errors import LockedByOther, Lost, NetconfError, OutcomeUnknown, Refused, Unreachable, Unverified
from netconf.evidence import Seen
from netconf.owned import Key, differing, edit, owned_objects, standing
from netconf.recovery import roll_back
from netconf.render import Element
from netconf.session import LeafSession

log = structlog.get_logger()

_WITNESS_S = 15.0  # for what is asked of the witness; twice that and two connections must fit into a trial
_SETTLE_S = 10.0  # for a port to have its link again, and its routes; a quarter of a trial at most
_FIRST_LOOK_S, _LOOK_S = 0.05, 1.0  # between looks meanwhile

Part = Callable[[Objects], Mapping[Key, Element]]


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms a change is made."""

    draft: Draft
    part: Part  # which of all our objects are drafted so
    works: Part  # which can be expected to work when they are in
    persist: str | None  # the name of our trials, where they outlive their sessions
    confirm_timeout_s: int


class Change:
    """What is to be made of the leaf, with its draft ours alone: all that is wanted, or that without some ports."""

    def __init__(
        self, session: LeafSession, wanted: Objects, running: Objects, there: Objects, read: Element, terms: Terms
    ) -> None:
        self.wanted = wanted
        self.running = running  # with what was committed since, in whatever database
        self.read = read  # what is committed in this one, as the leaf showed it last
        self.commit_s: float | None = None  # seconds that the latest commit's call took
        self.loaded = False  # whether all of the change is in the draft, and taken as far as that goes
        self._session = session
        self._terms = terms
        self._draft = terms.draft
        self._there = there  # of that, what is ours
        self._target = running
        self._drafted: Element | None = None
        self._before: Seen | None = None

    def changes(self, left_out: Collection[str]) -> bool:
        """Whether there is anything to do in this database, without some ports."""
        return edit(self._terms.part(without(self.wanted, self.running, left_out)), self._there) is not None

    async def _load(self, document: Element) -> None:
        await self._draft.clear(self._session)
        await self._draft.load(self._session, document)

    async def _edit(self, left_out: Collection[str]) -> Element | None:
        """Bring the change into a draft that is what is running; nothing if there is none left."""
        self.loaded = False
        self._target = without(self.wanted, self.running, left_out)
        document = edit(self._terms.part(self._target), self._there)
        if document is not None:
            await self._load(document)
        return document

    async def check(self, left_out: Collection[str]) -> None:
        """Find out whether the leaf would take the change, as far as it can tell beforehand. Raises Refused."""
        if await self._edit(left_out) is not None:
            await self._draft.check(self._session)

    async def load(self, left_out: Collection[str], *, check: bool = True) -> None:
        """Load the change and see that it is in the draft. Raises Refused, Unverified, LockedByOther.

        After a check it is loaded once more, whatever the draft reads as: netconfd goes on showing the change and
        commits nothing of it. What works before the change is seen as late as can be.
        """
        document = await self._edit(left_out)
        if document is None:
            return
        if check:
            await self._draft.check(self._session)
            await self._load(document)
        self._drafted = await self._draft.drafted(self._session)
        _compare(self._terms.part(self._target), self._drafted)
        if self._session.junos:
            self._before = await observed(self._session)
            if self._before.trial_of is not None:
                # Any commit would confirm it.
                raise LockedByOther(f"a confirmed commit of {self._before.trial_of} waits for its confirmation")
        self.loaded = True

    async def change(self, left_out: Collection[str]) -> None:
        """Load and commit. Raises what they raise."""
        await self.load(left_out, check=False)
        await self.commit()

    async def commit(self) -> None:
        """Commit what was loaded, on trial where that can be, see that it holds, and confirm it.

        Raises Refused when nothing was committed, Lost and Unverified when it was taken back.
        """
        if not self.loaded:
            return
        began = time.monotonic()
        try:
            if self._draft.on_trial:
                await self._session.commit_confirmed(self._terms.confirm_timeout_s, self._terms.persist)
            else:
                await self._draft.commit(self._session)
        except (OutcomeUnknown, Unreachable) as err:
            # It may have been committed. Whoever looks next reads what is running; unconfirmed, it goes back by itself.
            raise OutcomeUnknown(str(err)) from err
        took = time.monotonic() - began
        try:
            read = await self._hold()
        except Unverified as err:
            await self._undo(err)
            if isinstance(err, Lost):
                raise Lost(err.ports, await self._back(err.ports)) from None
            raise Unverified(err.differences) from err
        if self._draft.on_trial:
            await self._confirm()
        self.running, self._there = self._target, self._terms.part(self._target)
        self.read, self.commit_s = read, took

    async def _confirm(self) -> None:
        try:
            await self._session.confirm(self._terms.persist)
        except Refused as err:
            refusal = Unverified([f"the confirmation was refused: {err}"])
            await self._undo(refusal)
            raise refusal from err
        except Unreachable as err:
            raise OutcomeUnknown(str(err)) from err

    async def _hold(self) -> Element:
        """What is running, as the witness sees it. Raises Unverified, and Lost for a change that holds by itself."""
        try:
            read, after = await self._witnessed()
            if self._drafted is None or not _reads_as(read, self._drafted):
                _compare(self._terms.part(self._target), read)
            if self._before is not None and after is not None:
                await self._watch(self._before, after)
        except Unverified:
            raise
        except NetconfError as err:
            raise _OutOfReach([f"the leaf cannot be reached after the change: {err}"]) from err
        return read

    async def _witnessed(self) -> tuple[Element, Seen | None]:
        """What the leaf shows to somebody else, over a path that was used after the change.

        The session that made the change proves nothing about others. The witness is another one; its call travels after
        the commit, so that a leaf which is cut off does not answer it. It was open before, so a new connection is made
        beside it, up to the leaf's greeting: what lies behind that, who may log in, is nothing that we ever change.
        """
        await self._session.greeted()
        try:
            return await self._testimony()
        except (Unreachable, OutcomeUnknown):
            # It may have ended for a reason of its own, long ago. A fresh one settles it.
            return await self._testimony()

    async def _testimony(self) -> tuple[Element, Seen | None]:
        witness = await self._session.witness()
        try:
            async with asyncio.timeout(_WITNESS_S):
                read = await self._draft.running(witness)
                return read, await observed(witness) if self._before is not None else None
        except TimeoutError:
            raise OutcomeUnknown(f"no answer within {_WITNESS_S:g} s") from None

    async def _watch(self, before: Seen, after: Seen) -> None:
        """See that what worked before the change works after it, when it has had time to settle. Raises Lost."""
        old, new = self._terms.works(self.running), self._terms.works(self._target)
        if lost := evidence.lost(before, after, old, new):
            async for after in self._looks():
                if not (lost := evidence.lost(before, after, old, new)):
                    break
            else:
                raise Lost(lost)
        if silent := evidence.unheard(before, after):
            log.info("leaf_neighbors_not_heard", ports=silent)

    async def _undo(self, why: Unverified) -> None:
        """Take the change back and see that it is. Raises Unverified where that cannot be said.

        A trial goes by its name, or by loading what the leaf ran before it; where there are no trials, what ran before
        of ours is committed in its place. What cut the leaf off is left to the trial's timer.
        """
        trial = self._draft.on_trial
        try:
            async with asyncio.timeout(_WITNESS_S if trial and isinstance(why, _OutOfReach) else None):
                if not trial:
                    await self._put_back()
                elif self._terms.persist is not None:
                    await self._session.cancel_commit(self._terms.persist)
                elif self._session.junos:
                    await roll_back(self._session)
                else:
                    raise Unverified(["its trials have no names"])
                _compare(self._there, await self._draft.running(await self._session.witness()))
        except (NetconfError, TimeoutError) as err:
            if trial and self._terms.persist is None:
                # RFC 6241 §8.4.1: with the session its trial goes, too.
                self._session.abandon()
            log.warning("leaf_change_not_taken_back", reason=str(why), error=str(err) or type(err).__name__)
            left = "its timer takes it back" if trial else f"it could not be taken back: {err}"
            raise Unverified([*why.differences, left]) from err

    async def _put_back(self) -> None:
        target = self._terms.part(self._target)
        # What stood where ours came may be somebody else's that we were to take over.
        document = edit({**standing(self.read, target.keys()), **self._there}, target)
        if document is not None:
            await self._load(document)
            _compare(self._there, await self._draft.drafted(self._session))
            await self._draft.commit(self._session)

    async def _back(self, lost: Mapping[str, str]) -> frozenset[str]:
        """Of what was lost with the change, which ports the leaf has again, now that it is taken back."""
        before = self._before
        assert before is not None
        left: Mapping[str, str] = lost
        old = self._terms.works(self.running)
        async for now in self._looks():
            left = evidence.lost(before, now, old, old)
            if not left.keys() & lost.keys():
                break
        return frozenset(lost.keys() - left.keys())

    async def _looks(self) -> AsyncIterator[Seen]:
        """What the leaf shows as time goes by, for as long as it may need to settle."""
        until = time.monotonic() + min(_SETTLE_S, self._terms.confirm_timeout_s / 4)
        pause = _FIRST_LOOK_S
        while True:
            yield await observed(await self._session.witness())
            if time.monotonic() >= until:
                return
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LOOK_S)


class _OutOfReach(Unverified):
    """Nobody else gets through to the leaf."""


async def observed(session: LeafSession) -> Seen:
    """What the leaf shows of its ports and routes. Raises Refused where a call of Junos' is not allowed to us."""
    interfaces, *routes, neighbors, commits = await session.ask(evidence.calls(), timeout_s=_WITNESS_S)
    for one in (interfaces, *routes):
        if isinstance(one, Refused):
            raise one
    # A leaf may run without LLDP, and not everybody may see who committed what.
    return evidence.seen_in(
        [None if isinstance(one, Refused) else one for one in (interfaces, *routes, neighbors, commits)]
    )


def _reads_as(one: Element, other: Element) -> bool:
    """Whether two configurations are written alike; Junos tells of itself in the top-level element's attributes."""
    return [etree.tostring(child) for child in one] == [etree.tostring(child) for child in other]


def _compare(wanted: Mapping[Key, Element], read: Element) -> None:
    """Raises Unverified with a line for each object of ours that is not as wanted."""
    found = owned_objects(read)
    differences = [
        f"{' '.join(key)} is {'missing' if key not in found else 'left over' if key not in wanted else 'different'}"
        for key in differing(wanted, found)
    ]
    if differences:
        raise Unverified(differences)
