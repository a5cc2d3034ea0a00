"""What machines tell over HTTP: phone-home, events, problems, components. Each call counts for whose address it is.

Whoever is unknown gets 200 for what an installation tells, so that nothing asks again for ever.
"""

from __future__ import annotations

import json

import structlog
from aiohttp import web

from pxe.http import source_address
from service.lifecycle import MachineState
from service.metadata import told
from service.metadata.keep import Speaker, keep, keep_components, keep_problem
from service.metadata.password_key import NAME, NotForUs, make_key, public_pem
from service.metadata.source import Caller, machine_at
from service.metadata.told import BadBody, Message, PhonedHome
from service.parts import Parts
from service.store.own_keys import own_key
from service.store.rows import Pool
from service.throttle import Throttle, Verdict

log = structlog.get_logger()

MESSAGES = 60  # of a machine in a minute: an installation tells some ten, a busy boot script of a customer's some more
_LARGEST = 64 << 10  # bytes of a message
_LARGEST_INVENTORY = 512 << 10


class Heard:
    """The handlers of what machines tell."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts
        self._throttle = Throttle(MESSAGES)

    async def phone_home(self, request: web.Request) -> web.Response:
        """PUT or POST, JSON or form or empty."""
        try:
            message = told.phone_home(await _said(request))
        except BadBody as err:
            return _refused(400, err)
        return await self._keep(request, message)

    async def user_event(self, request: web.Request) -> web.Response:
        """A customer's own event: JSON, whatever the content type; curl calls it a form."""
        try:
            message = told.user_event(await _said(request, any_type=True))
        except BadBody as err:
            return _refused(400, err)
        return await self._keep(request, message)

    async def problem(self, request: web.Request) -> web.Response:
        """{"problem": "missing_drive"}; 404 for whoever is no machine of ours."""
        try:
            problem = told.problem(await _said(request, any_type=True))
        except BadBody as err:
            return _refused(400, err)
        caller = await self._caller(request)
        if caller is None:
            return web.json_response({"error": "No machine was found at this address."}, status=404)
        if (refused := await self._too_many(caller)) is None:
            await keep_problem(self._db, caller.machine_id, problem)
        return refused or web.Response()

    async def components(self, request: web.Request) -> web.Response:
        """What the machine consists of; not from a customer's system, which could tell anything."""
        try:
            components = dict(await _said(request, _LARGEST_INVENTORY, any_type=True))
        except BadBody as err:
            return _refused(400, err)
        caller = await self._caller(request)
        if caller is None:
            return web.json_response({"error": "No machine was found at this address."}, status=404)
        if caller.state is MachineState.IN_USE:
            return _refused(403, "a machine in use says nothing of its components")
        if (refused := await self._too_many(caller)) is None:
            await keep_components(self._db, caller.machine_id, components)
        return refused or web.Response()

    async def key(self, _request: web.Request) -> web.Response:
        """The public key that a password is to be encrypted with, in PEM."""
        pem = await own_key(self._db, self._parts.key, NAME, make_key)
        return web.Response(text=public_pem(pem), content_type="application/x-pem-file")

    async def _caller(self, request: web.Request) -> Caller | None:
        return await machine_at(self._db, source_address(request))

    async def _keep(self, request: web.Request, message: Message) -> web.Response:
        caller = await self._caller(request)
        if caller is None:
            log.info("message_of_unknown", source=request.remote, path=request.path)
            return web.Response()
        if not isinstance(message, PhonedHome) and (refused := await self._too_many(caller)) is not None:
            return refused
        speaker = Speaker(caller.device_id, caller.machine_id)
        try:
            await keep(self._db, self._parts.key, speaker, message, now=self._parts.clock.now())
        except NotForUs as err:
            return _refused(400, err)
        return web.Response()

    async def _too_many(self, caller: Caller) -> web.Response | None:
        verdict = self._throttle.judge(caller.machine_id, self._parts.clock.now())
        if verdict is Verdict.TAKE:
            return None
        why = f"more than {MESSAGES} messages within a minute; the others of it are not kept"
        if verdict is Verdict.TELL:
            await Speaker(caller.device_id, caller.machine_id).event(self._db, "instance.messages_dropped", why)
        return web.json_response({"errors": [why]}, status=429, headers={"Retry-After": "60"})


async def _said(request: web.Request, largest: int = _LARGEST, *, any_type: bool = False) -> told.Fields:
    content = await request.read()  # of which the server has taken no more than the application's largest
    if len(content) > largest:
        text = json.dumps({"errors": [f"the body is larger than {largest} bytes"]})
        raise web.HTTPRequestEntityTooLarge(largest, len(content), text=text, content_type="application/json")
    return told.fields("application/json" if any_type else request.content_type, content)


def _refused(status: int, why: object) -> web.Response:
    return web.json_response({"errors": [str(why)]}, status=status)
