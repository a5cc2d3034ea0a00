"""What a session's edits and commits are about: the candidate that all share, or a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from netconf.render import Element
from service.lab.leaf.checks import check
from service.lab.leaf.databases import Trials
from service.lab.leaf.datastore import EditError
from service.lab.leaf.faults import refuse_ports

if TYPE_CHECKING:
    from service.lab.leaf.server import VirtualLeaf


class Workspace(Protocol):
    """A database that a session has open."""

    @property
    def tree(self) -> Element:
        """Its configuration, not to be changed."""

    def edit(self, draft: Element) -> None:
        """Make it `draft`. Raises EditError."""

    def discard(self) -> None:
        """Take back what was not committed. Raises EditError."""

    def validate(self) -> list[str]:
        """Whether it could be committed; what the leaf warns of. Raises EditError."""

    async def commit(self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str) -> list[str]:
        """Make it run; what the leaf warns of. Raises EditError."""

    def close(self) -> None:
        """The session has no more use for it."""


class Shared:
    """The candidate."""

    def __init__(self, leaf: VirtualLeaf, session: int) -> None:
        self._leaf = leaf
        self._session = session

    @property
    def tree(self) -> Element:
        """The candidate as it is."""
        return self._leaf.candidate

    def edit(self, draft: Element) -> None:
        """Make the candidate `draft`, unless somebody else has locked it."""
        leaf = self._leaf
        leaf.need_free(self._session)
        refuse_ports(leaf.faults.refuse_ports, "edit-config", leaf.running, draft)
        if not leaf.faults.lose_edits:
            leaf.candidate, leaf.dirty = draft, True

    def discard(self) -> None:
        """Make the candidate what runs."""
        self._leaf.need_free(self._session)
        self._leaf.discard()

    def validate(self) -> list[str]:
        """Check the candidate."""
        leaf = self._leaf
        refuse_ports(leaf.faults.refuse_ports, "validate", leaf.running, leaf.candidate)
        return check(leaf.candidate)

    async def commit(self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str) -> list[str]:
        """Run the candidate, or confirm the trial when nothing has changed since."""
        leaf = self._leaf
        leaf.need_free(self._session)
        if leaf.trials is Trials.NAMED:
            self._need_right_to_trial(persist_id)
        refuse_commit(leaf, leaf.candidate)
        if confirmed_s is None and leaf.trial is not None and not leaf.dirty:
            await leaf.confirm(log)
            return []
        return await leaf.commit(self._session, confirmed_s=confirmed_s, persist=persist or None, log=log)

    def _need_right_to_trial(self, persist_id: str) -> None:
        trial = self._leaf.trial
        if trial is None and persist_id:
            raise EditError("invalid-value", "no confirmed commit is pending under that persist-id")
        if trial is not None and trial.persist is not None and persist_id != trial.persist:
            raise EditError("in-use", "a confirmed commit is pending under another persist-id")
        if trial is not None and trial.persist is None and trial.session != self._session:
            raise EditError("in-use", "a confirmed commit of another session is pending")

    def close(self) -> None:
        """The candidate stays; what the session has locked the leaf itself takes back."""


def refuse_commit(leaf: VirtualLeaf, wanted: Element) -> None:
    """Raises EditError for a commit that a fault keeps from happening."""
    faults = leaf.faults
    if faults.refuse_next:
        message, faults.refuse_next = faults.refuse_next, ""
        raise EditError("operation-failed", message)
    if faults.refuse_always:
        raise EditError("operation-failed", faults.refuse_always)
    refuse_ports(faults.refuse_ports, "commit", leaf.running, wanted)
