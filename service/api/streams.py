"""Answers that go on: server-sent events (HTML standard, section 9.2) out of the event log.

A reader comes back with the id that it saw last and misses nothing. Before anything is sent, the caller is looked at
again: a token that was taken away, or a membership that has ended, ends the stream.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from time import monotonic

from aiohttp import web

from service.api.links import Links
from service.api.objects import event
from service.api.problems import Refused
from service.store.accounts import Principal
from service.store.event_log import LoggedEvent
from service.store.notify import Hub

PAGE = 100  # events sent together
HEARTBEAT_S = 15.0  # proxies cut what is silent for a minute
_SLOW_S = 20.0  # a reader who takes nothing for so long is cut off, and comes back when it can
_RETRY_MS = 2000

Again = Callable[[], Awaitable[Principal]]  # who the caller is now; raises Refused
# The next events behind a position, PAGE at most; None when there is nothing more to be seen, now or later.
Read = Callable[[Principal, int], Awaitable[Sequence[LoggedEvent] | None]]


@dataclass(frozen=True, slots=True)
class Stream:
    """What a handler answers with to have events sent until the reader leaves."""

    topic: str  # of the hub, told when there is something new
    position: int  # where it begins
    links: Links
    read: Read

    def frame(self, one: LoggedEvent, caller: Principal) -> str:
        """An event as it is sent. It has no name of its own, so that a browser's `onmessage` gets every type."""
        return f"id: {one.position}\ndata: {json.dumps(shown(one, self.links, caller))}\n\n"


def shown(one: LoggedEvent, links: Links, caller: Principal) -> dict[str, object]:
    """An event with its cursor."""
    return {**event(one, links, staff=caller.staff), "cursor": str(one.position)}


async def serve(request: web.Request, stream: Stream, hub: Hub, again: Again) -> web.StreamResponse:
    """Send the stream's events as they come, with a heartbeat when there are none."""
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    async with hub.watch(stream.topic) as watch:
        # Without data, so no event: from now on the reader knows where it stands.
        text, position = f"retry: {_RETRY_MS}\nid: {stream.position}\n\n", stream.position
        beaten = monotonic()
        while True:
            try:
                caller = await again()
            except Refused:
                return response
            events = await stream.read(caller, position)
            if events is None:
                return response
            text += "".join(stream.frame(one, caller) for one in events)
            if not text and monotonic() - beaten >= HEARTBEAT_S:
                text = ": still here\n\n"
            if text:
                if not await _taken(request, response, text):
                    return response
                beaten = monotonic()
            text, position = "", events[-1].position if events else position
            if len(events) < PAGE:
                await watch.changed(max(0.0, beaten + HEARTBEAT_S - monotonic()))


async def _taken(request: web.Request, response: web.StreamResponse, text: str) -> bool:
    """Whether the reader took it in time; one that does not is cut off."""
    try:
        async with asyncio.timeout(_SLOW_S):
            await response.write(text.encode())
    except TimeoutError:
        if request.transport is not None:
            request.transport.abort()
        return False
    except ConnectionError:
        return False
    return True
