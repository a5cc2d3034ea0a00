"""The switch transaction: what is running is read, changed as little as possible, committed on trial, read back, kept.

A commit is confirmed only after the leaf itself has shown, to a call of its own, that it runs what was asked for, and
that what worked before still works. Otherwise it is taken back. After any error the running configuration is read
again, and it decides.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from netconf.by_port import Objects, changed_ports, named_in, without
from netconf.change import Change, Terms
from netconf.connection import Database
from netconf.culprits import Probe, first_culprit
from netconf.databases import DRAFTS, divided, overlaid
from netconf.desired import Leaf
from netconf.errors import Lost, Refused
from netconf.names import FABRIC
from netconf.owned import desired_objects, differing, foreign_ports, owned_objects, set_lines
from netconf.recovery import held, settle
from netconf.render import Element
from netconf.session import LeafSession

log = structlog.get_logger()

_TRIALS = 6  # of one change that ports are lost with, before it is given up for now

Work = Callable[[Change, Mapping[str, str]], Awaitable[dict[str, str]]]


@dataclass(frozen=True, slots=True)
class Applied:
    """A leaf that is as it should be, but for the ports that it refused, and what it took."""

    changed: bool
    added: tuple[str, ...]  # `set` statements that are new
    removed: tuple[str, ...]  # and that are gone
    seconds: float
    running: Element  # the leaf's `<configuration>` as it was read last: after the change, where there was one
    commit_s: float | None = None  # seconds that the leaf took for the latest commit, where there was one
    refused: Mapping[str, str] = field(default_factory=dict)  # ports that stay as they ran, and why


async def read_running(session: LeafSession) -> Element:
    """The leaf's `<configuration>`, with what of ours is ephemeral in it. Raises what a call raises."""
    running = await session.get_config("running")
    if session.address.database is not Database.EPHEMERAL:
        return running
    return overlaid(running, await DRAFTS[Database.EPHEMERAL].running(session))


async def apply(
    session: LeafSession, desired: Leaf, *, confirm_timeout_s: int = 120, ours: Collection[str] = ()
) -> Applied:
    """Make the leaf's owned objects what they should be, all in one commit; nothing is done when they are.

    `ours` are numbers of sessions (`LeafSession.session_id`) that earlier controllers had: what they left behind, like
    a lock that nobody comes back to, is ended. Somebody else's never is.

    Raises Refused (with the leaf's own reason; nothing has changed), LockedByOther, Unreachable, Unverified (the change
    was taken back; Lost if that was for a port that worked before), OutcomeUnknown.
    """

    def all_or_nothing(refused: Mapping[str, str]) -> None:
        for port, reason in refused.items():
            raise Refused(reason, port)

    async def whole(change: Change, left_out: Mapping[str, str]) -> dict[str, str]:
        all_or_nothing(left_out)
        await change.load({})
        await change.commit()
        return {}

    applied = await _applied(session, desired, whole, None, confirm_timeout_s, ours)
    all_or_nothing(applied.refused)
    return applied


async def apply_all(
    session: LeafSession,
    desired: Leaf,
    *,
    only: Collection[str] | None = None,
    confirm_timeout_s: int = 120,
    ours: Collection[str] = (),
) -> Applied:
    """As `apply`, but a port that the leaf refuses, or that is lost with its change, holds up no other one.

    With `only`, all other ports stay as they run, however that is: a change is the change of those ports, and nobody
    else's is taken back with it.

    Ports that carry somebody else's configuration and may not be taken over stay out of it. Ports that an error-path
    names are left out first; else they are found by halving, with at most log2(n) + 1 more validates for a lone one.
    What goes is committed in one commit, and the rest stays as it runs: `Applied.refused`. Only a refusal that neither
    a path nor a validate explains has to be narrowed down by commits, each verified. A port that is lost is known by
    name: the others go without it, and it once more by itself, as its machine may just have been switched off.

    Raises Refused only when what all ports share is refused by itself; else what `apply` raises.
    """
    return await _applied(session, desired, _commit_what_stands, only, confirm_timeout_s, ours)


async def _applied(
    session: LeafSession,
    desired: Leaf,
    work: Work,
    only: Collection[str] | None,
    confirm_timeout_s: int,
    ours: Collection[str],
) -> Applied:
    began = time.monotonic()
    wanted = desired_objects(desired)
    # The same name each time, so that a trial which outlived its controller can be ended by the next one.
    persist = f"roundhouse-{desired.name}" if session.persists else None
    if session.unsettled:
        await settle(session, persist, ours)
    read = await _read(session, ours)
    there = {database: owned_objects(one) for database, one in read.items()}
    running: Objects = next(iter(there.values())) if len(there) == 1 else owned_objects(_whole(read))
    first = running
    refused = {
        port: f"somebody else's configuration is on the interface: {lines}"
        for port, lines in foreign_ports(_whole(read), desired).items()
        if only is None or port in only
    }
    if only is not None:
        wanted = without(wanted, running, set(changed_ports(wanted, running)).difference(only))
    commit_s = None
    for database in read:
        terms = _terms(session, database, persist, confirm_timeout_s)
        change = Change(session, wanted, running, there[database], read[database], terms)
        if not change.changes(refused):
            continue
        await session.witness()  # the leaf is not kept waiting for it later
        async with held(session, terms.draft, ours):
            refused |= await work(change, refused)
        running, read[database], commit_s = change.running, change.read, change.commit_s or commit_s
    changed = differing(first, running)
    before, after = (set(set_lines({key: one[key] for key in changed if key in one})) for one in (first, running))
    return Applied(
        commit_s is not None,
        tuple(sorted(after - before)),
        tuple(sorted(before - after)),
        time.monotonic() - began,
        _whole(read),
        commit_s,
        refused,
    )


async def _read(session: LeafSession, ours: Collection[str]) -> dict[Database, Element]:
    """What is committed in each of the databases that our changes go through, in the order in which they do."""
    database = session.address.database
    if database is not Database.EPHEMERAL:
        return {database: await session.get_config("running")}
    async with held(session, DRAFTS[database], ours):
        instance = await DRAFTS[database].drafted(session)
    return {Database.CANDIDATE: await session.get_config("running"), database: instance}


def _whole(read: Mapping[Database, Element]) -> Element:
    running, *more = read.values()
    return overlaid(running, more[0]) if more else running


def _terms(session: LeafSession, database: Database, persist: str | None, confirm_timeout_s: int) -> Terms:
    """What is ephemeral comes last, when all that it needs is there."""

    def whole(objects: Objects) -> Objects:
        return objects

    def part(objects: Objects) -> Objects:
        return divided(objects)[database is Database.EPHEMERAL]

    both = session.address.database is Database.EPHEMERAL
    first = both and database is Database.CANDIDATE
    return Terms(DRAFTS[database], part if both else whole, part if first else whole, persist, confirm_timeout_s)


async def _commit_what_stands(change: Change, left_out: Mapping[str, str]) -> dict[str, str]:
    """Commit all that the leaf takes and that no port is lost with; the ports that stay as they run, with the reason.

    A port that is lost, and that is back when the change is, waits until the others have gone, and then goes by itself.
    If it is lost again, it was no accident. So, too, if one is lost again that has no part in the change; then nothing
    goes. A port that is not back was lost by itself: its machine was switched off, say.
    """
    refused: dict[str, str] = dict(left_out)
    waiting: dict[str, str] = {}
    lost: set[str] = set()  # with a change of theirs
    others: set[str] = set()  # without one
    for trial in range(_TRIALS):
        try:
            refused |= await _commit_what_goes(change, refused | waiting)
        except Lost as err:
            log.info("leaf_ports_lost", ports=dict(err.ports), back=sorted(err.back))
            parts = set(changed_ports(change.wanted, change.running)) - refused.keys() - waiting.keys()
            # Who has no part in the change may have one in what joins the leaf to the rest.
            shared = {FABRIC} & parts
            blamed = {name: err.ports[port] for port in err.back for name in ({port} & parts or shared or {port})}
            if trial == _TRIALS - 1 or blamed.keys() & others:
                raise
            refused |= {port: text for port, text in blamed.items() if port in lost & parts}
            waiting |= {port: text for port, text in blamed.items() if port in parts - lost}
            lost |= blamed.keys() & parts
            others |= blamed.keys() - parts - waiting.keys()  # one that waits may well be lost once more meanwhile
        else:
            if not waiting:
                break
            waiting = {}
    return refused


async def _commit_what_goes(change: Change, left_out: Mapping[str, str]) -> dict[str, str]:
    """Commit all that the leaf takes; the other ports that it does not take, with the reason."""
    refused: dict[str, str] = {}
    ports = [port for port in changed_ports(change.wanted, change.running) if port not in left_out]
    everything = frozenset(ports)
    good = 0  # so many of the ports are known to go

    def of_some(step: Callable[[Collection[str]], Awaitable[None]]) -> Probe:
        return lambda some: _refusal(step(everything.difference(some).union(left_out)))

    while True:
        # What is left after a search needs no validate of its own: the commit sees to that.
        refusal, probe = await _refusal(change.load({**left_out, **refused}, check=not refused)), of_some(change.check)
        if refusal is None and (refusal := await _refusal(change.commit())) is None:
            return refused
        if change.loaded and not _named(refusal, ports):
            # It may have been a passing mood; if it was none, the question is whether a validate can see it.
            refusal = await _refusal(change.load({**left_out, **refused}))
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
