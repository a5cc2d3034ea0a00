"""One request for a page, and what a page is made from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from service.api.call import Api
from service.store.accounts import Principal

Page = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One request for a page."""

    api: Api
    staff: Principal
    request: web.Request


View = Callable[[Look], Awaitable[Page | None]]
