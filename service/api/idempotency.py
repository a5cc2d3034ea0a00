"""`Idempotency-Key`: the same key gives the same answer, also when two come at once, and after a crash.

The key is remembered in the transaction that makes the thing. A second request waits in the insert until the first
has committed, and then finds what it made; when the first was refused, the second is the first.
"""

from __future__ import annotations

import hashlib
import json
from uuid import UUID, uuid5

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
    request, scope = digest_of(call), call.caller.token_id
    if await conn.fetchval(Q["remember_request"], scope, call.idempotency_key, request, status, subject):
        return None
    row = await conn.fetchrow(Q["remembered_request"], scope, call.idempotency_key)
    check_same(call, row["request"])
    made: UUID = row["subject"]
    return made


async def made_instead(conn: Connection, call: Call, subject: UUID) -> None:
    """Remember what the request has made, where its id was not known to `made_before`."""
    if call.idempotency_key is not None:
        await conn.execute(Q["remember_subject"], call.caller.token_id, call.idempotency_key, subject)


def digest_of(call: Call) -> bytes:
    """By which a request is known again."""
    text = json.dumps([call.method, call.path, call.body], sort_keys=True)
    return hashlib.sha256(text.encode()).digest()


def check_same(call: Call, request: bytes) -> None:
    """Raises Refused (422) when the call's key came with another request before."""
    if request != digest_of(call):
        raise Invalid(f"Idempotency-Key is not valid: {call.idempotency_key!r} was used for another request")


def id_of_key(call: Call) -> UUID | None:
    """An id that follows from the caller's token and key, and so is the same each time; None without a key."""
    return None if call.idempotency_key is None else uuid5(call.caller.token_id, call.idempotency_key)
