"""The leaf's configuration databases: what runs, the candidate, a trial, what ran before, and what is ephemeral."""

from __future__ import annotations

import asyncio
import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

import structlog

from netconf.render import Element
from service.lab.leaf.checks import check
from service.lab.leaf.datastore import EditError, apply_edit
from service.lab.leaf.faults import LeafFaults, Struck

log = structlog.get_logger()

_KEPT = 50  # configurations that ran; Junos keeps as many
DEFAULT_INSTANCE = ""  # of the ephemeral database


class Trials(StrEnum):
    """Whose a confirmed commit is."""

    NAMED = "named"  # its session's, or who knows its name (confirmed-commit 1.1)
    DEVICE = "device"  # nobody's: it outlives its session, and any commit of anybody's confirms it (Junos)


@dataclass(slots=True)
class Trial:
    """A confirmed commit that waits for its confirmation."""

    before: Element
    struck_before: Struck
    session: int
    persist: str | None
    timer: asyncio.TimerHandle
    ending: bool = False  # being taken back, or being confirmed


@dataclass(frozen=True, slots=True)
class Commit:
    """A configuration that runs or ran, and how it came to that."""

    configuration: Element
    user: str
    client: str  # netconf, cli, other
    seconds: int  # since 1970
    log: str = ""
    comment: str = ""


@dataclass(eq=False, repr=False)
class Databases:
    """All of them, with the lock on the candidate."""

    name: str
    user: str
    running: Element
    ran: Callable[[], None]  # called after each change of what runs
    faults: LeafFaults
    commit_seconds: float
    confirm_seconds: float | None = None  # None: half of a commit
    trials: Trials = Trials.NAMED
    candidate: Element = field(init=False)
    dirty: bool = False
    lock_holder: int | str | None = None  # a session's number, or somebody at the console
    trial: Trial | None = None
    history: list[Commit] = field(default_factory=list)
    ephemeral: dict[str, Element] = field(default_factory=dict)  # by instance; gone with a reboot
    instance_holders: dict[str, int] = field(default_factory=dict)  # the sessions that have them open
    struck: Struck = field(default_factory=Struck)
    commits: int = 0
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)
    boots: int = 0
    _going_back: asyncio.Task[None] | None = None
    _since: str = ""  # when the lock was taken

    def __post_init__(self) -> None:
        self.candidate = copy.deepcopy(self.running)
        self._note("root", "cli")

    def _note(self, user: str, client: str, log: str = "", comment: str = "") -> None:
        self.history.insert(0, Commit(self.running, user, client, int(time.time()), log, comment))
        del self.history[_KEPT:]

    @property
    def effective(self) -> Element:
        """What the leaf does: what runs, with the ephemeral instances over it, the first named of them on top."""
        if not self.ephemeral:
            return self.running
        made = copy.deepcopy(self.running)
        named = self.instances()
        for instance in [DEFAULT_INSTANCE, *reversed(named)]:
            if instance in self.ephemeral:
                apply_edit(made, self.ephemeral[instance])
        return made

    def instances(self) -> list[str]:
        """The ephemeral instances that are configured."""
        place = "system/configuration-database/ephemeral/instance/name"
        return [(one.text or "").strip() for one in self.running.findall(place)]

    def discard(self) -> None:
        """Make the candidate what runs."""
        self.candidate, self.dirty = copy.deepcopy(self.running), False

    def need_free(self, session: int, tag: str = "in-use") -> None:
        """Raises EditError while somebody else has the database, be it the leaf itself that takes a trial back."""
        if self.trial is not None and self.trial.ending:
            raise EditError(tag, "configuration database locked by root, rolling back")
        if (holder := self.lock_holder) in (None, session):
            return
        if self.trials is Trials.DEVICE:
            # Junos says who it is in words of its own, and gives the error no tag.
            who = f"{self.user} terminal  (pid {holder}) on since {self._since}"
            who = holder if isinstance(holder, str) else who
            raise EditError("", f"configuration database locked by:\n  {who}\n      exclusive [edit]")
        if isinstance(holder, int):
            raise EditError(tag, f"configuration database locked by session {holder}", session=holder)
        raise EditError(tag, f"configuration database locked by {holder}")

    def lock(self, session: int) -> None:
        """Lock the candidate for a session. Raises EditError."""
        self.need_free(session, "lock-denied")
        if self.lock_holder is not None:
            raise EditError("lock-denied", "the candidate is locked by this session already", session=session)
        if self.dirty:
            tag = "" if self.trials is Trials.DEVICE else "lock-denied"
            raise EditError(tag, "configuration database modified")
        self.lock_holder = session
        self._since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())

    def unlock(self, session: int) -> None:
        """Unlock the candidate; uncommitted changes are lost. Raises EditError."""
        if self.lock_holder != session:
            raise EditError("operation-failed", "the candidate is not locked by this session")
        self.lock_holder = None
        if self.dirty:
            self.discard()

    async def commit(
        self,
        session: int,
        *,
        configuration: Element | None = None,
        confirmed_s: int | None = None,
        persist: str | None = None,
        log: str = "",
    ) -> list[str]:
        """Run the candidate, or the configuration given; what the leaf warns of.

        Raises EditError when it does not hold together.
        """
        async with self.busy:
            wanted = self.candidate if configuration is None else configuration
            warnings = check(wanted)
            await self._work(self.commit_seconds)
            trial = self.trial
            before = (self.running, self.struck) if trial is None else (trial.before, trial.struck_before)
            self.end_trial()
            comment = ""
            if confirmed_s is not None:
                timer = asyncio.get_running_loop().call_later(confirmed_s, self.roll_back)
                self.trial = Trial(*before, session, persist, timer)
                comment = f"commit confirmed, rollback in {-(-confirmed_s // 60)}mins"
            self.commits += 1
            self.running, self.struck = copy.deepcopy(wanted), Struck.of(self.faults)
            self._note(self.user, "netconf", log, comment)
            if configuration is None:
                self.dirty = False
            else:
                self.discard()
            self.ran()
            return warnings

    async def commit_instance(self, instance: str, configuration: Element) -> None:
        """Have an ephemeral instance take effect, which takes a tenth of a commit's time."""
        await self._work(self.commit_seconds / 10)
        self.ephemeral[instance] = copy.deepcopy(configuration)
        self.ran()

    async def confirm(self, log: str = "") -> None:
        """Keep what is on trial."""
        async with self.busy:
            trial = self.trial
            if trial is None:
                raise EditError("operation-failed", "the trial has been taken back")
            trial.timer.cancel()
            trial.ending = True
            await self._work(self.commit_seconds / 2 if self.confirm_seconds is None else self.confirm_seconds)
            self.trial = None
            self._note(self.user, "netconf", log)

    async def _work(self, seconds: float) -> None:
        boots = self.boots
        await asyncio.sleep(seconds)
        if boots != self.boots:
            raise ConnectionResetError("rebooted in the middle of a commit")

    def end_trial(self) -> None:
        """What is running stays."""
        if self.trial is not None:
            self.trial.timer.cancel()
            self.trial = None

    def roll_back(self) -> None:
        """The trial was not confirmed: what was running before runs again, after as long as a commit takes."""
        if self.trial is None or self.trial.ending:
            return
        self.trial.timer.cancel()
        self.trial.ending = True
        if self.commit_seconds:
            self._going_back = asyncio.create_task(self._go_back(self.trial))
        else:
            self.restore()

    async def _go_back(self, trial: Trial) -> None:
        async with self.busy:
            await asyncio.sleep(self.commit_seconds)
            if self.trial is trial:
                self.restore()

    async def gone_back(self) -> None:
        """Wait until a trial that is being taken back is gone."""
        if self._going_back is not None:
            await asyncio.shield(self._going_back)

    def restore(self) -> None:
        """What was running before the trial runs again."""
        if self.trial is not None:
            log.info("leaf_rolled_back", leaf=self.name)
            before, struck = self.trial.before, self.trial.struck_before
            self.end_trial()
            self.running, self.struck = before, struck
            self._note("root", "other")
            self.discard()
            self.ran()

    def boot(self) -> None:
        """Begin anew: without a trial, a lock, uncommitted changes or anything ephemeral."""
        self.restore()
        self.lock_holder = None
        self.ephemeral.clear()
        self.instance_holders.clear()
        self.discard()
        self.ran()

    def session_ended(self, number: int, *, killed: bool) -> None:
        """Clean up behind a session: its lock, its uncommitted changes, its trial (RFC 6241 §8.4.1).

        A trial of the device's own ends with its session only if that was killed.
        """
        if self.lock_holder == number:
            self.lock_holder = None
            self.discard()
        trial = self.trial
        ends = killed or self.trials is Trials.NAMED
        if trial is not None and trial.session == number and trial.persist is None and ends:
            self.roll_back()

    def close(self) -> None:
        """No timers and tasks any more."""
        self.end_trial()
        if self._going_back is not None:
            self._going_back.cancel()
