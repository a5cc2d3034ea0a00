"""Group commit of allocations: callers who come at once share a transaction, and with it the wait for the disk.

While one batch is being written the next one gathers, so that the batch grows with the load and nobody waits for it
to fill. Each caller gets an answer only after its block is committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeAlias
from uuid import UUID

import asyncpg

from ipam.errors import PrefixClosed, PrefixExhausted
from ipam.ledger import Tenure, Want, no_block, take_all
from ipam.prefixes import Prefix

_AT_MOST = 512  # wants in one transaction: more would only make the first of them wait longer
_TRIES = 5  # of a batch that lost against another process's

# Gone with the transaction, and begun again: another process took for the same owner and slot, or we waited crosswise.
_LOST = (asyncpg.UniqueViolationError, asyncpg.DeadlockDetectedError, asyncpg.SerializationError)

_UNWRITABLE = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, TypeError, ValueError)

_Key: TypeAlias = tuple[tuple[int, ...], int | None, timedelta]


class Clock(Protocol):
    """Where the time comes from."""

    def now(self) -> datetime: ...


@dataclass(slots=True)
class _Queue:
    """What waits for blocks of one kind. A future is there for each owner and slot, however often it was asked for."""

    prefixes: Sequence[Prefix]
    length: int | None
    cool_down: timedelta
    waiting: dict[tuple[UUID, str], tuple[Want, asyncio.Future[Tenure]]] = field(default_factory=dict)
    writer: asyncio.Task[None] | None = None


class Committer:
    """Takes blocks for many callers at once; one per process, on a pool of its own connections."""

    def __init__(self, db: Any, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._queues: dict[_Key, _Queue] = {}

    async def take(
        self, prefixes: Sequence[Prefix], want: Want, *, cool_down: timedelta = timedelta(0), length: int | None = None
    ) -> Tenure:
        """A block, committed. The same owner and slot get the same block, also after a cancelled call.

        It has the mask length `length`, or the prefix's own. Raises ipam.errors.PrefixExhausted or PrefixClosed.
        """
        key = (tuple(prefix.id for prefix in prefixes), length, cool_down)
        queue = self._queues.setdefault(key, _Queue(prefixes, length, cool_down))
        slot = (want.owner, want.slot)
        if slot not in queue.waiting:
            queue.waiting[slot] = (want, asyncio.get_running_loop().create_future())
        _, answer = queue.waiting[slot]
        if queue.writer is None:
            queue.writer = asyncio.create_task(self._write(key, queue), name="ipam committer")
        # A caller that goes away must not take the answer from others who wait for the same.
        return await asyncio.shield(answer)

    async def _write(self, key: _Key, queue: _Queue) -> None:
        try:
            while queue.waiting:
                batch = [queue.waiting.pop(slot) for slot in list(queue.waiting)[:_AT_MOST]]
                await self._commit(queue, batch)
        finally:
            queue.writer = None
            if not queue.waiting:
                self._queues.pop(key, None)

    async def _commit(self, queue: _Queue, batch: list[tuple[Want, asyncio.Future[Tenure]]]) -> None:
        try:
            found = await self._taken(queue, [want for want, _ in batch])
        except BaseException as err:
            if isinstance(err, _UNWRITABLE) and len(batch) > 1:
                # One that cannot be written must not spoil it for the others.
                for one in batch:
                    await self._commit(queue, [one])
                return
            self._refuse(batch, err)
            if not isinstance(err, Exception):
                raise
            return
        unserved = []
        for one, tenure in zip(batch, found, strict=True):
            if tenure is None:
                unserved.append(one)
            elif not one[1].done():
                one[1].set_result(tenure)
        if unserved:
            await self._say_why(queue, unserved)

    async def _say_why(self, queue: _Queue, unserved: list[tuple[Want, asyncio.Future[Tenure]]]) -> None:
        try:
            why = await self._why_none(queue, unserved[0][0])
        except BaseException as err:
            self._refuse(unserved, err)
            if not isinstance(err, Exception):
                raise
            return
        for one in unserved:
            self._refuse([one], type(why)(*why.args))

    @staticmethod
    def _refuse(batch: list[tuple[Want, asyncio.Future[Tenure]]], err: BaseException) -> None:
        for _, answer in batch:
            if not answer.done():
                answer.set_exception(err if isinstance(err, Exception) else ConnectionError("shutting down"))
                answer.exception()  # whoever asked may be gone; that is no error of the loop's

    async def _taken(self, queue: _Queue, wants: list[Want]) -> list[Tenure | None]:
        for left in reversed(range(_TRIES)):
            try:
                async with self._db.acquire() as conn, conn.transaction():
                    return await take_all(
                        conn,
                        queue.prefixes,
                        wants,
                        now=self._clock.now(),
                        cool_down=queue.cool_down,
                        length=queue.length,
                    )
            except _LOST:
                if not left:
                    raise
        raise AssertionError("unreachable")

    async def _why_none(self, queue: _Queue, want: Want) -> PrefixExhausted | PrefixClosed:
        async with self._db.acquire() as conn:
            return await no_block(
                conn,
                queue.prefixes,
                want.slot,
                now=self._clock.now(),
                cool_down=queue.cool_down,
                length=queue.length,
            )
