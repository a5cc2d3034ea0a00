"""A request's body, and how much of it is taken."""

from __future__ import annotations

from aiohttp import web

from service.api.problems import Refused

_CONTENT = web.RequestKey("content", bytes)


async def content_of(request: web.Request, largest: int) -> bytes:
    """The request's body, read in pieces, as only the outermost application's limit holds for a whole one.

    Raises Refused (413) when it has more than `largest` bytes.
    """
    if _CONTENT not in request:  # it is there when a deadlock makes the handler be called again
        content = bytearray()
        async for piece in request.content.iter_any():
            content += piece
            if len(content) > largest:
                raise Refused(413, f"The body is too large: allowed are {_size(largest)}")
        request[_CONTENT] = bytes(content)
    return request[_CONTENT]


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"
