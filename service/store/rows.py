"""Small pieces that every store module uses: the connection's type and JSON columns."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

import asyncpg

from service.store.acting import Naming

# asyncpg brings no types; these names tell a reader which of its two objects is meant.
Connection: TypeAlias = Any
Pool: TypeAlias = Any

# A connection keeps so many statements prepared: more than an order and the API have, so that none is planned anew.
_STATEMENTS = 1000

# What a call raises while the database cannot be asked, and when it refuses.
# The last is what asyncpg says of a connection that is cut between two messages.
AWAY = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)


async def _prepare_connection(conn: Connection) -> None:
    for kind in ("json", "jsonb"):
        await conn.set_type_codec(kind, encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def _as_it_is(_conn: Connection) -> None:
    """What a session knows when it is handed back, it may know when it is taken again."""


async def open_pool(url: str, *, size: int = 10) -> Pool:
    """A pool of at most `size`, whose connections read and write JSON columns as Python values; the caller closes it.

    The only state that a session has is who acts, where somebody does (LISTEN and session locks have connections of
    their own): handing any other connection back needs no round trip. asyncpg itself ends a transaction that was left
    open.
    """
    naming = Naming()

    async def prepare(conn: Connection) -> None:
        naming.opened(conn)
        await _prepare_connection(conn)

    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=size,
        statement_cache_size=_STATEMENTS,
        init=prepare,
        setup=naming.tell,
        reset=_as_it_is,
    )
