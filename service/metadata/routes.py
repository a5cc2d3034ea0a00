"""Metadata, userdata and the EC2 tree over HTTP, answered by source address; and what machines tell, by `heard`."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from pxe.http import source_address
from service.metadata.document import EC2_VERSION, Subject, ec2_answer, metadata
from service.metadata.heard import Heard
from service.metadata.source import machine_at
from service.metadata.subject import subject_on
from service.parts import Parts
from service.store.rows import Pool

Handler = Callable[[web.Request], Awaitable[web.Response]]
_SLASHES = re.compile(r"/{2,}")


@dataclass(frozen=True, slots=True)
class _Row:
    methods: tuple[str, ...]
    handler: Handler


class Metadata:
    """The routes that an installed system calls, however many slashes it writes."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts
        read, tell = ("GET", "HEAD"), ("PUT", "POST")
        heard = Heard(db, parts)
        self._rows = {
            "/metadata": _Row(read, self._metadata),
            "/userdata": _Row(read, self._userdata),
            "/phone-home": _Row(tell, heard.phone_home),
            "/phone-home/key": _Row(read, heard.key),
            "/events": _Row(tell, heard.user_event),
            "/phone-home/events": _Row(tell, heard.user_event),
            "/problem": _Row(tell, heard.problem),
            "/hardware-components": _Row(tell, heard.components),
            "/healthcheck": _Row(read, self._health),
            "/_packet/healthcheck": _Row(read, self._health),
        }
        self._ec2_row = _Row(read, self._ec2)

    def routes(self) -> list[web.RouteDef]:
        """For the boot application. What has a route of its own there goes before the last of these."""
        return [web.route("*", "/{path:.*}", self._door)]

    async def _door(self, request: web.Request) -> web.Response:
        path = _plain(request.path)
        row = self._rows.get(path)
        if row is None and (path == f"/{EC2_VERSION}" or path.startswith(f"/{EC2_VERSION}/")):
            row = self._ec2_row
        if row is None:
            return web.json_response({"error": "Not found"}, status=404)
        if request.method not in row.methods:
            allowed = ", ".join(row.methods)
            body = {"errors": [f"{request.method} is not allowed here; allowed are {allowed}"]}
            return web.json_response(body, status=405, headers={"Allow": allowed})
        return await row.handler(request)

    async def _subject(self, request: web.Request) -> Subject | None:
        at = await machine_at(self._db, source_address(request))
        if at is None:
            return None
        return await subject_on(self._db, self._parts.catalogue, self._parts.key, at.machine_id, self._parts.boot_url)

    async def _metadata(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        return _unknown() if subject is None else web.json_response(metadata(subject))

    async def _userdata(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        return _unknown() if subject is None else web.Response(text=subject.userdata)

    async def _ec2(self, request: web.Request) -> web.Response:
        subject = await self._subject(request)
        if subject is None:
            return _unknown()
        text = ec2_answer(subject, _plain(request.path).removeprefix(f"/{EC2_VERSION}"))
        return web.Response(text=text) if text is not None else web.Response(status=404, text="not found")

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})


def _plain(path: str) -> str:
    return _SLASHES.sub("/", path).rstrip("/")


def _unknown() -> web.Response:
    return web.json_response({"error": "No device was found at this address."}, status=404)
