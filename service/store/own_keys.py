"""Keys of the service itself, made when they are first asked for and then the same for all its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from service.secrets import KeyRing, open_sealed, seal
from service.store.rows import Connection
from sql.loader import Q


async def own_key(db: Connection, keys: KeyRing, name: str, make: Callable[[], str]) -> str:
    """The key of that name as text; `make` makes it, in a thread, where there is none yet. `keys` seal it.

    Raises SecretUnreadable where it was sealed with another one.
    """
    sealed = await db.fetchval(Q["service_secret"], name)
    if sealed is None:
        await db.execute(Q["add_service_secret"], name, seal(keys, await asyncio.to_thread(make)))
        sealed = await db.fetchval(Q["service_secret"], name)  # two processes may have made one: the first counts
    return open_sealed(keys, sealed)
