"""Events that a facility's own systems sign instead of having a token: POST /inbound/v1/facilities/CODE/events.

The form is that of Standard Webhooks 1.0.0, as webhooks go out in it: `webhook-id` is the event's id for ever,
`webhook-timestamp` when this try was signed, `webhook-signature` HMAC-SHA256 with the facility's secret. What was
signed too long ago is refused, what is told again under its id is carried out once.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import asyncpg
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.admin import hook_schemas
from service.admin.facility_telling import SIGNED_BY, Happened, event_object, keep
from service.api.call import Api, Body, Signed
from service.api.content import content_of
from service.api.models import read
from service.api.problems import Invalid, NotAllowed, Refused, refusal_response
from service.api.storable import parse, why_unstorable
from service.hooks.signature import BadSignature, verify
from service.secrets import open_sealed
from service.store.acting import ACTING, Acting
from service.store.rows import AWAY
from service.throttle import Throttle, Verdict
from sql.loader import Q

log = structlog.get_logger()

_LARGEST = 64 << 10  # bytes of an event
_LONGEST_ID = 200  # characters
_REFUSALS = 60  # that one address may have logged a minute
INBOX = "/inbound"
_EVENTS = "/v1/facilities/{facility}/events"
TOLD = Signed(
    INBOX + _EVENTS,
    "A facility's own system tells what happened to a machine, signed with the facility's secret",
    Happened,
    hook_schemas.FacilityEvent,
)


@dataclass(frozen=True, slots=True)
class FacilitySecret:
    """What a facility signs with, sealed; None where it signs nothing."""

    facility: str
    secret: bytes | None
    old_secret: bytes | None
    old_secret_until: datetime | None
    set_by: str | None
    set_at: datetime | None

    def good(self, now: datetime) -> list[bytes]:
        """The sealed secrets that may be signed with now."""
        old = self.old_secret if self.old_secret_until is not None and self.old_secret_until > now else None
        return [one for one in (self.secret, old) if one is not None]


class FacilityInbox:
    """The inbox of one process."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._refusals = Throttle(_REFUSALS)

    def application(self) -> web.Application:
        """To be mounted at INBOX."""
        app = web.Application(middlewares=[_worded])
        app.router.add_post(_EVENTS, self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await self._told(request, request.match_info["facility"])
        except Refused as refused:
            return refusal_response(refused.status, refused.errors)
        except (*AWAY, asyncpg.DeadlockDetectedError):
            log.warning("facility_event_put_off", path=request.path, exc_info=True)
            return refusal_response(503, ("The event was not kept; send it again",))
        return web.Response(text=json.dumps(body), content_type="application/json")

    async def _told(self, request: web.Request, code: str) -> Body:
        content = await content_of(request, _LARGEST)
        facility = await self._signer(request, code, content)
        id_ = request.headers["webhook-id"]
        if not (0 < len(id_) <= _LONGEST_ID and id_.isprintable()):
            raise Invalid(f"webhook-id is not valid: it must be 1 to {_LONGEST_ID} printable characters")
        try:
            given = parse(content)
        except ValueError:
            raise Refused(400, "The body is not valid JSON") from None
        if not isinstance(given, dict):
            raise Invalid("The body is not valid: it must be a JSON object")
        if (why := why_unstorable(given)) is not None:
            raise Invalid(f"The body is not valid: {why}")
        happened = read(Happened, given)
        source = f"{SIGNED_BY}{facility}"
        acting = Acting(source, None, None, request.remote, request.method, request.path, uuid4())
        named = ACTING.set(acting)
        try:
            return event_object(await keep(self._api, source, id_, happened))
        finally:
            ACTING.reset(named)
            acting.over = True

    async def _signer(self, request: web.Request, code: str, content: bytes) -> str:
        """The facility that has signed the request. Raises Refused (401), in the same words where there is none."""
        now = self._api.clock.now()
        row = None if "\0" in code else await self._api.db.fetchrow(Q["facility_secret"], code)
        found = None if row is None else FacilitySecret(**row)
        why = "the facility has no secret"
        for sealed in [] if found is None else found.good(now):
            try:
                verify(request.headers, content, open_sealed(self._api.key, sealed), now=now.timestamp())
            except BadSignature as err:
                why = str(err)
            else:
                assert found is not None
                return found.facility
        if self._refusals.judge(request.remote, now) is not Verdict.DROP:
            log.warning("facility_event_refused", facility=code, source=request.remote, reason=why)
        raise Refused(401, "The event is not signed with a secret of this facility, or was signed too long ago")


@web.middleware
async def _worded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Another path and another method are refused in the API's words."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as err:
        refused = NotAllowed(request.method, sorted(err.allowed_methods))
        response = refusal_response(refused.status, refused.errors)
        response.headers["Allow"] = err.headers["Allow"]
        return response
    except web.HTTPNotFound:
        return refusal_response(404, ("Not found",))
