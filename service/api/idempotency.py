"""`Idempotency-Key`: the same key gives the same answer, also when two come at once, and after a crash.

The key is remembered in the transaction that makes the thing. A second request waits in the insert until the first
has committed, and then finds what it made; when the first was refused, the second is the first.
"""

from __future__ import annotations

import hashlib
import json
from uuid import UUID

from service.api.call import Call
from service.api.problems import Invalid
from service.store.rows import Connection
from sql.loader import Q


async def made_before(conn: Connection, call: Call, subject: UUID, status: int) -> UUID | None:
    """What an earlier request with this key made, or None when this is the first and is now to make `subject`.

    Raises Refused (422) when the key came with another request before.
    """
    if call.idempotency_key is None:
        return None
    text = json.dumps([call.method, call.path, call.body], sort_keys=True)
    request = hashlib.sha256(text.encode()).digest()
    scope = call.caller.token_id
    if await conn.fetchval(Q["remember_request"], scope, call.idempotency_key, request, status, subject):
        return None
    row = await conn.fetchrow(Q["remembered_request"], scope, call.idempotency_key)
    if row["request"] != request:
        raise Invalid(f"Idempotency-Key is not valid: {call.idempotency_key!r} was used for another request")
    made: UUID = row["subject"]
    return made
