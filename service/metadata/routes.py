"""Metadata, userdata, the EC2 tree and phone-home over HTTP, answered by source address."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl
from uuid import UUID

import structlog
from aiohttp import web

from ipam.ledger import held_by
from pxe.http import source_address
from service.bgp import neighbors
from service.metadata.document import EC2_VERSION, Subject, ec2_answer, metadata
from service.parts import Parts
from service.store.elastic import assignments_of
from service.store.events import add_event
from service.store.rows import Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_USER_STATES = ("running", "succeeded", "failed")


class BadBody(ValueError):
    """The body cannot be read."""


class Metadata:
    """The routes that an installed system calls."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """For the boot application."""
        return [
            web.get("/metadata", self._metadata),
            web.get("/userdata", self._userdata),
            web.get(f"/{EC2_VERSION}", self._ec2),
            web.get(f"/{EC2_VERSION}/{{path:.*}}", self._ec2),
            web.route("*", "/phone-home", self._phone_home),
            web.post("/events", self._user_event),
            web.post("/phone-home/events", self._user_event),
            web.get("/healthcheck", self._health),
            web.get("/_packet/healthcheck", self._health),
        ]

    async def _subject(self, request: web.Request) -> Subject | None:
        source = source_address(request)
        at = await self._db.fetchrow(Q["machine_at_source"], source) if source is not None else None
        row = None if at is None else await self._db.fetchrow(Q["metadata_subject"], at["machine_id"])
        if row is None:
            return None
        entry = self._parts.catalogue.get(row["operating_system"])
        system = {"slug": entry.slug, "distro": entry.distro, "version": entry.version}
        device_id = UUID(row["id"])
        links = [link for link in await held_by(self._db, device_id) if link.kind == "held"]
        return Subject(
            **(dict(row) | {"operating_system": system}),
            links=links,
            elastic=(await assignments_of(self._db, [device_id]))[device_id],
            bgp_neighbors=await neighbors(self._db, device_id, links, key=self._parts.key),
            base_url=self._parts.boot_url,
        )

    async def _metadata(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        if subject is None:
            return _unknown()
        return web.json_response(metadata(subject))

    async def _userdata(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        return _unknown() if subject is None else web.Response(text=subject.userdata)

    async def _ec2(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        if subject is None:
            return _unknown()
        text = ec2_answer(subject, request.match_info.get("path", ""))
        return web.Response(text=text) if text is not None else web.Response(status=404, text="not found")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _phone_home(self, request: web.Request) -> web.Response:
        """PUT or POST, JSON or form or empty. An unknown caller gets 200 too, so that it does not repeat for ever."""
        if request.method not in ("PUT", "POST"):
            raise web.HTTPMethodNotAllowed(request.method, ["PUT", "POST"])
        try:
            body = await _body(request)
        except BadBody as err:
            return web.json_response({"errors": [str(err)]}, status=400)
        subject = await self._subject(request)
        if subject is None:
            log.info("phone_home_unknown", source=request.remote)
            return web.Response()
        device_id, type_ = UUID(subject.id), str(body.get("type") or "")
        if type_ == "failure":
            reason = str(body.get("reason") or "no reason given")[:2000]
            await add_event(self._db, "failure", reason, device_id=device_id, private=True, data={"reason": reason})
        elif type_:
            private = str(body.get("private", "")).lower() in ("true", "1")
            text = str(body.get("body") or type_)[:2000]
            await add_event(self._db, type_[:80], text, device_id=device_id, private=private)
        else:
            await self._home(device_id)
        return web.Response()

    async def _home(self, device_id: UUID) -> None:
        """The installed system is up. The first call counts, each further one changes nothing."""
        now = self._parts.clock.now()
        if await self._db.fetchval(Q["record_phone_home"], device_id, now):
            await signal_all(self._db, [device_id], now=now)
            log.info("phone_home", device_id=str(device_id))

    async def _user_event(self, request: web.Request) -> web.Response:
        """A customer's own event, `{"state", "code", "message"}`; curl sends it with a form's content type."""
        try:
            body = json.loads(await request.text() or "null")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            return web.json_response({"errors": ["the body is no JSON object"]}, status=400)
        code, state = body.get("code", 1000), body.get("state")
        if not (isinstance(code, int) and 1000 <= code <= 1099):
            return web.json_response({"errors": [f"code {code!r} is not within 1000 to 1099"]}, status=400)
        if state is not None and state not in _USER_STATES:
            allowed = ", ".join(_USER_STATES)
            return web.json_response({"errors": [f"state {state!r} is none of {allowed}"]}, status=400)
        subject = await self._subject(request)
        if subject is not None:
            text = str(body.get("message") or "")[:2000]
            await add_event(self._db, f"user.{code}", text, device_id=UUID(subject.id), state=state)
        return web.Response()


def _unknown() -> web.Response:
    return web.json_response({"error": "No device was found at this address."}, status=404)


async def _body(request: web.Request) -> Mapping[str, Any]:
    text = await request.text()
    if not text.strip():
        return {}
    if request.content_type == "application/x-www-form-urlencoded":
        return dict(parse_qsl(text, keep_blank_values=True))
    if request.content_type not in ("application/json", "application/octet-stream"):
        raise BadBody(f"content type {request.content_type!r} is neither JSON nor a form")
    try:
        body = json.loads(text)
    except ValueError:
        raise BadBody("the body is no JSON") from None
    if not isinstance(body, dict):
        raise BadBody("the body is no JSON object")
    return body
