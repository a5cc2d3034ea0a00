"""What a session's edits and commits are about: the candidate that all share, or a database of its own."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Protocol

from lxml import etree

from netconf.render import Element
from service.lab.leaf.checks import check
from service.lab.leaf.databases import DEFAULT_INSTANCE, Trials
from service.lab.leaf.datastore import EditError, apply_edit
from service.lab.leaf.faults import refuse_ports
from service.lab.leaf.secrets import hide
from service.lab.leaf.shown import delta

if TYPE_CHECKING:
    from service.lab.leaf.server import VirtualLeaf


class Workspace(Protocol):
    """A database that a session has open."""

    @property
    def tree(self) -> Element:
        """Its configuration, not to be changed."""

    @property
    def committed(self) -> Element:
        """What was last committed there."""

    def edit(self, draft: Element) -> None:
        """Make it `draft`. Raises EditError."""

    def discard(self) -> None:
        """Take back what was not committed. Raises EditError."""

    def validate(self) -> list[str]:
        """Whether it could be committed; what the leaf warns of. Raises EditError."""

    async def commit(
        self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str = ""
    ) -> list[str] | None:
        """Make it run; what the leaf warns of, or None where there was nothing to commit. Raises EditError."""

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

    @property
    def committed(self) -> Element:
        """What runs."""
        return self._leaf.running

    def edit(self, draft: Element) -> None:
        """Make the candidate `draft`, unless somebody else has locked it."""
        leaf = self._leaf
        leaf.need_free(self._session)
        refuse_ports(leaf.faults.refuse_ports, "edit-config", leaf.running, draft)
        if not leaf.faults.lose_edits:
            hide(draft)
            leaf.candidate, leaf.dirty = draft, True

    def discard(self) -> None:
        """Make the candidate what runs."""
        self._leaf.need_free(self._session)
        self._leaf.discard()

    def validate(self) -> list[str]:
        """Check the candidate."""
        refuse_ports(self._leaf.faults.refuse_ports, "validate", self._leaf.running, self.tree)
        return check(self.tree)

    async def commit(
        self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str = ""
    ) -> list[str]:
        """Run the candidate, or confirm the trial when nothing has changed since."""
        leaf = self._leaf
        leaf.need_free(self._session)
        _need_right_to_trial(leaf, self._session, persist_id)
        _refuse_commit(leaf, leaf.candidate)
        if confirmed_s is None and leaf.trial is not None and not leaf.dirty:
            await leaf.confirm(log)
            return []
        return await leaf.commit(self._session, confirmed_s=confirmed_s, persist=persist or None, log=log)

    def close(self) -> None:
        """The candidate stays; what the session has locked the leaf itself takes back."""


class Private:
    """A copy of the candidate, whose changes are merged into what runs by their commit."""

    def __init__(self, leaf: VirtualLeaf, session: int) -> None:
        self._leaf = leaf
        self._session = session
        self._base = leaf.running
        self.tree = copy.deepcopy(leaf.running)

    @property
    def committed(self) -> Element:
        """What runs."""
        return self._leaf.running

    def edit(self, draft: Element) -> None:
        """Make the copy `draft`."""
        faults = self._leaf.faults
        refuse_ports(faults.refuse_ports, "edit-config", self._base, draft)
        if not faults.lose_edits:
            hide(draft)
            self.tree = draft

    def discard(self) -> None:
        """Make it what runs."""
        self._base = self._leaf.running
        self.tree = copy.deepcopy(self._base)

    def validate(self) -> list[str]:
        """Check what a commit would make run."""
        merged = self._merged()
        refuse_ports(self._leaf.faults.refuse_ports, "validate", self._leaf.running, merged)
        return check(merged)

    def _merged(self) -> Element:
        """What runs, with the changes of the copy in it."""
        merged = copy.deepcopy(self._leaf.running)
        if (changes := delta(self._base, self.tree)) is not None:
            for one in changes.iter():
                if one.attrib.values() == ["create"]:  # somebody else may have done the same
                    one.attrib.clear()
            apply_edit(merged, changes)
        return merged

    async def commit(
        self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str = ""
    ) -> list[str] | None:
        """Run what runs with the changes of the copy, unless somebody has locked the candidate or changed it."""
        leaf = self._leaf
        if confirmed_s is not None:
            raise EditError("operation-failed", "confirmed commit is not allowed in private mode")
        leaf.need_free(self._session)
        if leaf.dirty:
            raise EditError("operation-failed", "shared configuration database modified")
        _need_right_to_trial(leaf, self._session, persist_id)
        if delta(self._base, self.tree) is None:
            return None
        merged = self._merged()
        _refuse_commit(leaf, merged)
        warnings = await leaf.commit(self._session, configuration=merged, log=log)
        self.discard()
        return warnings

    def close(self) -> None:
        """What was not committed is lost with the copy."""


class Ephemeral:
    """An instance of the ephemeral database, for one session at a time. Nothing in it is checked."""

    def __init__(self, leaf: VirtualLeaf, session: int, instance: str) -> None:
        if instance != DEFAULT_INSTANCE and instance not in leaf.instances():
            raise EditError("operation-failed", f"ephemeral instance {instance} is not configured")
        if (holder := leaf.instance_holders.setdefault(instance, session)) != session:
            raise EditError("lock-denied", f"configuration database locked by session {holder}", session=holder)
        self._leaf = leaf
        self._instance = instance
        self.discard()

    @property
    def committed(self) -> Element:
        """What was last committed in the instance."""
        return self._leaf.ephemeral.get(self._instance, etree.Element("configuration"))

    def edit(self, draft: Element) -> None:
        """Make the instance `draft`."""
        for tag in ("groups", "apply-groups"):
            if next(draft.iter(tag), None) is not None:
                raise EditError("operation-failed", f"{tag} cannot be ephemeral", bad_element=tag)
        if not self._leaf.faults.lose_edits:
            hide(draft)
            self.tree = draft

    def discard(self) -> None:
        """Make it what was last committed in it."""
        self.tree = copy.deepcopy(self.committed)

    def validate(self) -> list[str]:
        """There is nothing to check."""
        return []

    async def commit(
        self, *, confirmed_s: int | None, persist: str = "", persist_id: str = "", log: str = ""
    ) -> list[str]:
        """Have the instance take effect."""
        if confirmed_s is not None:
            raise EditError("operation-failed", "confirmed commit is not allowed for an ephemeral database")
        _refuse_commit(self._leaf, self._leaf.running)
        await self._leaf.commit_instance(self._instance, self.tree)
        return []

    def close(self) -> None:
        """Somebody else may open the instance."""
        self._leaf.instance_holders.pop(self._instance, None)


def _need_right_to_trial(leaf: VirtualLeaf, session: int, persist_id: str) -> None:
    """Raises EditError for a commit during a trial that is somebody else's."""
    trial = leaf.trial
    if leaf.trials is Trials.DEVICE:
        return
    if trial is None and persist_id:
        raise EditError("invalid-value", "no confirmed commit is pending under that persist-id")
    if trial is not None and trial.persist is not None and persist_id != trial.persist:
        raise EditError("in-use", "a confirmed commit is pending under another persist-id")
    if trial is not None and trial.persist is None and trial.session != session:
        raise EditError("in-use", "a confirmed commit of another session is pending")


def _refuse_commit(leaf: VirtualLeaf, wanted: Element) -> None:
    """Raises EditError for a commit that a fault keeps from happening."""
    faults = leaf.faults
    if faults.refuse_next:
        message, faults.refuse_next = faults.refuse_next, ""
        raise EditError("operation-failed", message)
    if faults.refuse_always:
        raise EditError("operation-failed", faults.refuse_always)
    refuse_ports(faults.refuse_ports, "commit", leaf.running, wanted)
