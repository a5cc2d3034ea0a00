"""Asking hooks again after a veto, as an operator wants it."""

from __future__ import annotations

from datetime import datetime, timedelta

from service.hooks.asking import ask_again
from service.lifecycle import IllegalMove, MachineEvent, MachineState
from service.settings import Settings
from service.store.hardware import machine_by_id
from service.store.hooks import QuestionSeen
from service.store.rows import Pool
from service.workflows.prepare import start_prepare
from sql.loader import Q


class NothingToAsk(Exception):
    """The question has no sense any more; the text says why."""


async def ask_question_again(db: Pool, question: QuestionSeen, *, now: datetime, settings: Settings) -> None:
    """Ask about a machine that is held back at once, and have one in quarantine prepared again, which asks.

    Raises NothingToAsk.
    """
    machine = await machine_by_id(db, question.machine_id)
    match question.transition.removeprefix("machine."):
        case MachineEvent.PLACE:
            if await db.fetchval(Q["held_of_machine"], machine.id) is None:
                raise NothingToAsk(f"machine {machine.name} is not held back: there is nothing to ask again")
            await ask_again(db, machine.id, now=now)
        case MachineEvent.PREPARE | MachineEvent.PREPARED:
            async with db.acquire() as conn, conn.transaction():
                if machine.state is not MachineState.QUARANTINED:
                    raise NothingToAsk(f"machine {machine.name} is {machine.state} by now and not in quarantine")
                limit = timedelta(seconds=settings.erase_limit_s)
                try:
                    await start_prepare(conn, machine.id, None, "a hook is asked again", now=now, limit=limit)
                except IllegalMove as err:
                    raise NothingToAsk(str(err)) from None
        case other:
            raise NothingToAsk(f"whether machine {machine.name} may {other} is asked when that is asked for again")
