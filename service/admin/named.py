"""What the path of an operator's request names: found by its id or its name."""

from __future__ import annotations

from uuid import UUID

from service.api.call import Call
from service.api.problems import not_found
from service.store.hardware import Machine, machine_by_id
from service.store.rows import Connection
from sql.loader import Q


async def machine_id_in(call: Call, db: Connection | None = None) -> UUID:
    """The id of the path's machine. Raises Refused (404)."""
    machine_id: UUID | None = await (call.db if db is None else db).fetchval(Q["machine_named"], call.ids["machine"])
    if machine_id is None:
        raise not_found()
    return machine_id


async def machine_in(call: Call, db: Connection | None = None) -> Machine:
    """The path's machine. Raises Refused (404)."""
    return await machine_by_id(call.db if db is None else db, await machine_id_in(call, db))
