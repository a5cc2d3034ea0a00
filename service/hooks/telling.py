"""Delivery: each hook is told what it follows in the order of the log, at least once, by one process at a time.

The hook's row says how far it was told. A delivery is written down before it is sent and keeps its id over all tries, a
kill of the process included, so that a receiver can tell a repeat. What fails is tried again with growing pauses, and
holds up what comes behind it; after its last try it is a dead letter, and the hook goes on with the next.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

import structlog

from service.hooks import messages
from service.hooks.senders import Senders
from service.hooks.sending import Answer
from service.store.event_log import LoggedEvent, events_behind
from service.store.events import add_event
from service.store.hooks import Delivery, Hook, facts_of
from service.store.rows import Connection, Pool
from sql.loader import Q

log = structlog.get_logger()

GRACE = timedelta(seconds=5)  # behind a delivery's limit, before another process may take the hook over
_TURN = 50  # events for one hook before others have their turn
_LONGEST_PAUSE_S = 3600.0
_GONE = 410  # HTTP: the receiver wants no more


async def claim(db: Pool, now: datetime) -> Hook | None:
    """A hook that has something to be told, for this process alone until it is let go."""
    row = await db.fetchrow(Q["claim_hook"], now, GRACE)
    return None if row is None else Hook(**row)


async def tell(db: Pool, senders: Senders, hook: Hook) -> None:
    """Tell a claimed hook what it follows until it has caught up, a delivery fails, or others have their turn."""
    position = hook.position
    events = await events_behind(
        db,
        position,
        _TURN,
        private=not hook.owner.customer,
        project_id=hook.project_id,
        organization_id=hook.organization_id,
        patterns=hook.follows,
    )
    attempt = hook.attempt
    for event in events:
        if not await db.fetchval(Q["hold_hook"], hook.id, hook.epoch, GRACE):
            return
        if not await _told(db, senders, hook, event, attempt):
            return
        attempt = 0
    if len(events) < _TURN:
        await db.execute(Q["hook_caught_up"], hook.id, hook.epoch, hook.wanted)
    else:
        await db.execute(Q["let_hook_go"], hook.id, hook.epoch)


async def _told(db: Pool, senders: Senders, hook: Hook, event: LoggedEvent, attempt: int) -> bool:
    """One try. False when the hook is to wait, or is another's by now."""
    clock = senders.process.clock
    now = clock.now()
    delivery_id = await db.fetchval(Q["begin_delivery"], hook.id, hook.epoch, event.id, event.position, event.type, now)
    if delivery_id is None:
        return False
    answer = await senders.send(hook, delivery_id, await _message(db, hook, event), now)
    now = clock.now()
    if messages.delivered(hook.kind, answer):
        async with db.acquire() as conn, conn.transaction():
            await _end(conn, delivery_id, "delivered", answer, now)
            return bool(await conn.fetchval(Q["hook_told"], hook.id, hook.epoch, event.position))
    fault = messages.why(hook.kind, answer)
    log.info("hook_not_told", hook=str(hook.id), type=event.type, attempt=attempt + 1, reason=fault)
    spent = attempt >= hook.retries
    async with db.acquire() as conn, conn.transaction():
        await _end(conn, delivery_id, "dead" if spent else "pending", answer, now)
        if _is_over(senders, hook, answer, now):
            await _disable(conn, hook, fault, now)
            return False
        if spent:
            return bool(await conn.fetchval(Q["hook_gives_one_up"], hook.id, hook.epoch, event.position, fault, now))
        again = now + timedelta(seconds=pause(senders, attempt))
        await conn.fetchval(Q["hook_failed"], hook.id, hook.epoch, again, fault, now)
    return False


def pause(senders: Senders, attempt: int) -> float:
    """Seconds before the next try, after `attempt` tries before this one: doubled each time, an hour at most."""
    first = senders.process.settings.hook_retry_s
    return senders.jitter.around(min(first * 2.0**attempt, _LONGEST_PAUSE_S))


def _is_over(senders: Senders, hook: Hook, answer: Answer, now: datetime) -> bool:
    """Whether a customer's webhook is told no more: it says so, or nothing has arrived for too long."""
    if not hook.owner.customer:
        return False
    since = hook.failing_since or now
    return answer.status == _GONE or (now - since).total_seconds() > senders.process.settings.webhook_disable_s


async def _disable(conn: Connection, hook: Hook, fault: str, now: datetime) -> None:
    since = hook.failing_since or now
    why = f"disabled: nothing has arrived since {since:%Y-%m-%d %H:%M:%S} UTC; at last {fault}"
    if await conn.fetchval(Q["disable_hook"], hook.id, hook.epoch, why):
        body = f"Webhook {hook.name} is {why}"
        await add_event(conn, "webhook.disabled", body, project_id=hook.project_id, data={"webhook": str(hook.id)})


async def _message(db: Pool, hook: Hook, event: LoggedEvent) -> bytes:
    facts = None
    if not hook.owner.customer:
        facts = facts_of(await db.fetchrow(Q["subject_of_event"], event.machine_id, event.device_id))
    return messages.told(event, facts)


async def _end(conn: Connection, delivery_id: UUID, state: str, answer: Answer, now: datetime) -> None:
    await conn.execute(Q["end_delivery"], delivery_id, state, answer.status, answer.text, answer.took_s, now)


async def test_hook(db: Pool, senders: Senders, hook: Hook) -> Delivery:
    """Send the hook something that nobody follows, once; what came of it."""
    now = senders.process.clock.now()
    delivery_id = await db.fetchval(Q["add_test_delivery"], hook.id, now)
    answer = await senders.send(hook, delivery_id, messages.tried(now, hook.name), now)
    return await _ended(db, senders, hook, delivery_id, answer)


async def deliver_again(db: Pool, senders: Senders, hook: Hook, delivery: Delivery) -> Delivery:
    """Deliver something once more, out of turn: a dead letter, or what the receiver has lost."""
    now = senders.process.clock.now()
    body = messages.tried(now, hook.name)
    if delivery.event_id is not None:
        event = await _event(db, delivery)
        body = await _message(db, hook, event)
    await db.execute(Q["delivery_again"], delivery.id, now)
    return await _ended(db, senders, hook, delivery.id, await senders.send(hook, delivery.id, body, now))


async def _event(db: Pool, delivery: Delivery) -> LoggedEvent:
    return LoggedEvent(**await db.fetchrow(Q["event_at"], delivery.position))


async def _ended(db: Pool, senders: Senders, hook: Hook, delivery_id: UUID, answer: Answer) -> Delivery:
    state = "delivered" if messages.delivered(hook.kind, answer) else "dead"
    async with db.acquire() as conn, conn.transaction():
        await _end(conn, delivery_id, state, answer, senders.process.clock.now())
        row = await conn.fetchrow(Q["deliveries_of"], hook.id, None, delivery_id, 1, 0)
    return Delivery(**row)
