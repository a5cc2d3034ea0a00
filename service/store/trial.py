"""A transaction that may be a rehearsal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.store.rows import Connection, Pool


@asynccontextmanager
async def rehearsed(db: Pool, *, keep: bool) -> AsyncIterator[Connection]:
    """Everything that is done on the connection, kept when the block ends, or taken back where `keep` is false."""
    async with db.acquire() as conn:
        transaction = conn.transaction()
        await transaction.start()
        try:
            yield conn
        except BaseException:
            await transaction.rollback()
            raise
        if keep:
            await transaction.commit()
        else:
            await transaction.rollback()
