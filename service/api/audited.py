"""The door's share of the audit log: whoever makes a request that changes something is named to the database."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import uuid4

import structlog
from aiohttp import web

from service.api.call import CALLER
from service.api.links import PREFIX
from service.api.problems import Refused
from service.store.acting import ACTING, Acting, note_request
from service.store.rows import AWAY, Pool

log = structlog.get_logger()

_READS = ("GET", "HEAD", "OPTIONS")
_OPERATORS = ("/admin/", "/ipam/")


async def audited(
    request: web.Request, db: Pool, answer: Callable[[], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer a request whose caller is known. What it changes is written down by triggers; each request of staff that
    may change something is written down besides, as not every act changes a row; a dry run as such. Its id is sent as
    X-Request-Id.
    """
    if request.method in _READS:
        return await answer()
    caller = request[CALLER]
    acting = Acting(
        actor=caller.actor,
        user_id=caller.user_id,
        token_id=caller.token_id,
        source=request.remote,
        method=request.method,
        path=request.path.removeprefix(PREFIX),
        request=uuid4(),
    )
    named = ACTING.set(acting)
    status = 500
    try:
        response = await answer()
        status = response.status
        response.headers["X-Request-Id"] = str(acting.request)
    except Refused as refused:
        status = refused.status
        raise
    except web.HTTPException as err:
        status = err.status
        raise
    finally:
        ACTING.reset(named)
        if not acting.over and (caller.staff or acting.path.startswith(_OPERATORS)):
            await _note(db, acting, status)
        acting.over = True
    return response


async def _note(db: Pool, acting: Acting, status: int) -> None:
    """What was done is done, also when it cannot be written down."""
    try:
        await note_request(db, acting, status, kind="request", action="dry_run" if acting.dry else "request")
    except AWAY:
        log.exception("request_not_audited", actor=acting.actor, method=acting.method, path=acting.path)


def for_nobody() -> None:
    """The request under way changes nothing that is audited: from here on its connections are told nothing."""
    if acting := ACTING.get():
        acting.over = True
