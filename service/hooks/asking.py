"""Questions to hooks: may this machine take this step? Whoever wants to know writes the question down and waits.

No transaction is open while a hook is asked. A question is decided once: by the hook's first answer, by an operator, or
by what the hook's owner has said for the case that it does not answer in time. What comes later changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID, uuid4

import structlog

from service.clock import Clock
from service.hooks import messages
from service.hooks.senders import Senders
from service.hooks.telling import GRACE
from service.lifecycle import MachineEvent
from service.store.events import add_event
from service.store.hardware import Machine
from service.store.hooks import Question, Verdict, facts_of
from service.store.notify import Hub
from service.store.rows import Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

NEWS = "hooks"  # the hub's topic of questions and hooks that are due
ASKABLE = {
    f"machine.{event}": what
    for event, what in (
        (MachineEvent.PREPARE, "before a machine is started for its erase"),
        (MachineEvent.PREPARED, "before a machine that was erased comes to the pool"),
        (MachineEvent.PLACE, "before a machine is given to an order"),
        (MachineEvent.MAINTAIN, "before a machine goes to maintenance, or is marked to go when its device is gone"),
        (MachineEvent.GIVE_BACK, "before a machine comes out of maintenance"),
        (MachineEvent.RETIRE, "before a machine is retired"),
    )
}
_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 60.0
_LOOK_S = 5.0


class Vetoed(Exception):
    """A hook does not allow it; the text says which and why."""


class MachineMoved(Exception):
    """The machine has moved since hooks were asked about it, and they want to be asked about it as it is now."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How the hooks' answers stand: all allow it, one does not, or some have not decided."""

    state: Literal["allowed", "vetoed", "open"]
    reason: str = ""  # of a veto; of open ones, who is waited for


async def ask(
    db: Pool,
    event: MachineEvent,
    machine_id: UUID,
    *,
    key: str,
    now: datetime,
    device_id: UUID | None = None,
    asker: UUID | None = None,
) -> Standing:
    """How it stands; asks the first time. The same `key` is the same question; `asker` is the subject of the run that
    is signalled when there is an answer.

    Where no hook follows this is one look at an index, and nothing is written.
    """
    transition = f"machine.{event}"
    if not await db.fetchval(Q["hooks_ask"], transition):
        return Standing("allowed")
    rows = await db.fetch(Q["questions_by_key"], key)
    if not rows:
        async with db.acquire() as conn, conn.transaction():
            await write_down(conn, event, machine_id, key=key, now=now, device_id=device_id, asker=asker)
        rows = await db.fetch(Q["questions_by_key"], key)
    return _standing(rows)


async def write_down(
    conn: Connection,
    event: MachineEvent,
    machine_id: UUID,
    *,
    key: str,
    now: datetime,
    device_id: UUID | None = None,
    asker: UUID | None = None,
) -> None:
    """Have all hooks that follow the transition asked, in the caller's transaction; see `ask`."""
    await conn.fetch(Q["ask_hooks"], key, f"machine.{event}", machine_id, device_id, asker, now)
    await conn.execute(Q["notify"], NEWS)


def _standing(rows: list[Any]) -> Standing:
    for row in rows:
        if row["state"] == "vetoed":
            return Standing("vetoed", f"hook {row['hook']} vetoed it: {row['reason']}")
    waiting = [f"hook {row['hook']} (until {row['until']:%H:%M:%S} UTC)" for row in rows if row["state"] == "open"]
    return Standing("open", ", ".join(waiting)) if waiting else Standing("allowed")


async def permitted(db: Pool, hub: Hub, clock: Clock, event: MachineEvent, machine_id: UUID) -> None:
    """Return when every hook allows it. Raises Vetoed. For callers without a run, and without a transaction."""
    key = f"call:{uuid4()}"
    async with hub.watch(f"question:{key}") as watch:
        while True:
            standing = await ask(db, event, machine_id, key=key, now=clock.now())
            if standing.state == "vetoed":
                raise Vetoed(standing.reason)
            if standing.state == "allowed":
                return
            await watch.changed(_LOOK_S)


async def still_permitted(conn: Connection, seen: Machine | None, now: Machine, asks: Sequence[MachineEvent]) -> None:
    """For the transaction of an act that was `permitted`, in which the machine is locked: `seen` is the machine that
    hooks were asked about, None for none; `asks` is what they would be asked about it `now`. Raises MachineMoved.
    """
    if seen is not None and (seen.id, seen.state_since, seen.device_id) == (now.id, now.state_since, now.device_id):
        return
    for event in asks:
        if await conn.fetchval(Q["hooks_ask"], f"machine.{event}"):
            since = f"{now.state_since:%Y-%m-%d %H:%M:%S} UTC"
            raise MachineMoved(
                f"{now.name} has moved while hooks were asked: it is {now.state} since {since}; ask again"
            )


async def claim(db: Pool, now: datetime) -> Question | None:
    """A question that is due, for this process alone for as long as it may take."""
    row = await db.fetchrow(Q["claim_question"], now, GRACE)
    return None if row is None else Question(**row)


async def put(db: Pool, senders: Senders, question: Question) -> None:
    """Ask the hook once, and decide the question or put it off."""
    clock = senders.process.clock
    now = clock.now()
    if now >= question.until:
        waited = (question.until - question.asked_at).total_seconds()
        await _fall_back(db, question, f"no answer within {waited:g} s", now)
        return
    facts = facts_of(await db.fetchrow(Q["subject_of_event"], question.machine_id, question.device_id))
    body = messages.asked(str(question.id), question.transition, question.asked_at, question.until, facts)
    answer = await senders.ask(question, body, now)
    now = clock.now()
    verdict, reason, later = messages.answered(question.kind, answer)
    if verdict is not None:
        await decide(
            db, question.id, verdict, by="hook", reason=reason, now=now, status=answer.status, answer=answer.text
        )
    elif later:
        await _put_off(db, question, question.until, answer.status, answer.text)
    elif question.attempts > question.retries or now >= question.until:
        await _fall_back(db, question, messages.why(question.kind, answer), now, answer.status, answer.text)
    else:
        pause = min(_FIRST_PAUSE_S * 2.0 ** (question.attempts - 1), _LONGEST_PAUSE_S)
        again = min(now + timedelta(seconds=senders.jitter.around(pause)), question.until)
        await _put_off(db, question, again, answer.status, answer.text)


async def _put_off(db: Pool, question: Question, again: datetime, status: int | None, answer: str) -> None:
    await db.fetchval(Q["question_later"], question.id, question.epoch, again, status, answer)


async def _fall_back(
    db: Pool, question: Question, fault: str, now: datetime, status: int | None = None, answer: str | None = None
) -> None:
    """What the hook's owner wants when it does not answer."""
    verdict: Verdict = "vetoed" if question.on_failure == "refuse" else "allowed"
    reason = f"it did not answer: {fault}"
    await decide(db, question.id, verdict, by="its failure", reason=reason, now=now, status=status, answer=answer)


async def decide(
    db: Pool,
    question_id: UUID,
    verdict: Verdict,
    *,
    by: str,
    reason: str | None,
    now: datetime,
    status: int | None = None,
    answer: str | None = None,
) -> bool:
    """Decide an open question; False when it was decided before. Whoever waits for it is woken."""
    async with db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(Q["decide_question"], question_id, verdict, by, reason, now, status, answer)
        if row is None:
            return False
        await conn.execute(Q["notify"], f"question:{row['key']}")
        await _tell(conn, row, question_id, verdict, by, reason)
        if row["asker"] is None and row["transition"] == f"machine.{MachineEvent.PLACE}":
            await _hold_or_free(conn, row, now)
    await signal_all(db, [row["asker"]], now=now)
    return True


async def _tell(conn: Connection, row: Any, question_id: UUID, verdict: Verdict, by: str, reason: str | None) -> None:
    """A veto is an event of the machine, and so is what was decided without the hook."""
    if verdict == "allowed" and by == "hook":
        return
    hook = await conn.fetchval(Q["hook_name"], row["hook_id"])
    machine = await conn.fetchval(Q["name_of_machine"], row["machine_id"])
    step = row["transition"].removeprefix("machine.")
    what = "vetoed" if verdict == "vetoed" else "allowed"
    body = f"Hook {hook}: {step} of {machine} is {what}" + (f": {reason}" if reason else "")
    data = {"question": str(question_id), "hook": hook, "transition": row["transition"], "by": by, "reason": reason}
    ids = {"machine_id": row["machine_id"], "device_id": row["device_id"]}
    await add_event(conn, f"hook.{what}", body, **ids, private=True, state=verdict, data=data)


async def _hold_or_free(conn: Connection, row: Any, now: datetime) -> None:
    """A machine that was held back, asked about again."""
    standing = _standing(await conn.fetch(Q["questions_by_key"], row["key"]))
    if standing.state == "vetoed":
        await hold(conn, row["machine_id"], standing.reason)
    elif standing.state == "allowed" and await conn.fetchval(Q["machine_held"], row["machine_id"], None):
        await conn.execute(Q["signal_waiting_at"], row["machine_id"], now)


async def hold(conn: Connection, machine_id: UUID, reason: str) -> None:
    """Give the machine to no order, for this reason."""
    await conn.fetchval(Q["machine_held"], machine_id, reason)


async def ask_again(db: Pool, machine_id: UUID, *, now: datetime) -> str:
    """Ask once more whether a machine that is held back may be given to orders; the key of the question."""
    key = f"again:{uuid4()}"
    standing = await ask(db, MachineEvent.PLACE, machine_id, key=key, now=now)
    if standing.state == "allowed":  # nobody is asked any more
        async with db.acquire() as conn, conn.transaction():
            if await conn.fetchval(Q["machine_held"], machine_id, None):
                await conn.execute(Q["signal_waiting_at"], machine_id, now)
    return key
