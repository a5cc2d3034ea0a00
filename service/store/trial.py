"""A transaction that may be a rehearsal."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from service.store.acting import for_show
from service.store.rows import Connection, Pool


@asynccontextmanager
async def rehearsed(db: Pool, *, keep: bool) -> AsyncIterator[Connection]:
    """Everything that is done on the connection, kept when the block ends, or taken back where `keep` is false."""
    if not keep:
        for_show()
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


def compared(before: dict[str, Any], after: dict[str, Any], *, applied: bool) -> dict[str, Any]:
    """A change as its before and after: the whole object as it is then, and the fields that differ."""
    differs = [name for name in after if before[name] != after[name]]
    return {
        **after,
        "before": {name: before[name] for name in differs},
        "after": {name: after[name] for name in differs},
        "applied": applied,
    }
