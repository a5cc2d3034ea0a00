"""Receivers of webhooks for the tests: real HTTP servers on sockets that answer as they are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass(frozen=True, slots=True)
class Heard:
    """One request."""

    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """Its body."""
        return json.loads(self.body)


@dataclass(eq=False)
class Receiver:
    """What was heard, and how the next requests are answered: a status, "hang", or "close"; the last one stays."""

    answers: list[int | str] = field(default_factory=lambda: [200])
    text: str = ""
    heard: list[Heard] = field(default_factory=list)
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        self.heard.append(Heard({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        async with self._changed:
            self._changed.notify_all()
        if answer == "hang":
            await asyncio.sleep(600)
        if answer == "close" or isinstance(answer, str):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        headers = {"Location": f"{self.url}/elsewhere"} if 300 <= answer < 400 else {}
        return web.Response(status=answer, text=self.text, headers=headers)

    async def until(self, count: int, limit: float = 60) -> list[Heard]:
        """What was heard, as soon as it is so many."""
        async with asyncio.timeout(limit), self._changed:
            await self._changed.wait_for(lambda: len(self.heard) >= count)
        return self.heard

    @property
    def types(self) -> list[str]:
        """The types of what was heard."""
        return [one.json["type"] for one in self.heard]


@asynccontextmanager
async def receiver(*answers: int | str, text: str = "") -> AsyncIterator[Receiver]:
    """One on a free port of the loopback address, while the block runs."""
    made = Receiver(answers=list(answers) or [200], text=text)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    server = TestServer(app)
    await server.start_server()
    made.url = str(server.make_url("/hook"))
    try:
        yield made
    finally:
        assert server.runner is not None
        server.runner._shutdown_timeout = 0.1
        await server.close()
