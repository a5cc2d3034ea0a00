"""What the console's forms do. A form is believed only from a page of this console, in the browser that got it.

Its hidden token follows from the session's cookie, which other sites cannot read; the cookie itself is sent to requests
of this site alone (SameSite=Strict), and an `Origin` of another site is refused.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import urlsplit
from uuid import UUID

from aiohttp import web

from service.console.look import Look
from service.console.session import COOKIE
from service.hooks import changes
from service.hooks.senders import senders
from service.hooks.telling import deliver_again, test_hook
from service.policy import Right
from service.store.hooks import Delivery, Hook, Owner, delivery_of, hook_of, questions_seen
from service.workflows.ask_again import NothingToAsk, ask_question_again

_LARGEST = 2**63 - 1
_PURPOSE = b"a form of the console"


class ActRefused(Exception):
    """It is not done; the text is for the person at the browser."""


def form_token(request: web.Request) -> str:
    """What a form of this session carries."""
    return hmac.new(request.cookies.get(COOKIE, "").encode(), _PURPOSE, hashlib.sha256).hexdigest()


def from_our_page(request: web.Request, given: str) -> bool:
    """Whether a form was sent by a page of this console."""
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        return False
    return hmac.compare_digest(form_token(request).encode(), given.encode())


def _told(one: Delivery) -> str:
    arrived = "arrived" if one.state == "delivered" else "did not arrive"
    return f"It {arrived}: {one.status if one.status is not None else 'no answer'} {one.answer[:200]}".rstrip()


async def _hook(look: Look, form: Mapping[str, str]) -> Hook:
    found = await hook_of(look.api.db, Owner(), form.get("hook", ""))
    if found is None:
        raise ActRefused("There is no such hook any more.")
    return found


async def _test(look: Look, form: Mapping[str, str]) -> str:
    hook = await _hook(look, form)
    async with senders(look.api) as ways:
        return _told(await test_hook(look.api.db, ways, hook))


async def _redeliver(look: Look, form: Mapping[str, str]) -> str:
    hook, id_ = await _hook(look, form), _id(form.get("delivery", ""))
    found = await delivery_of(look.api.db, hook.id, id_)
    if found is None:
        raise ActRefused("There is no such delivery any more.")
    async with senders(look.api) as ways:
        return _told(await deliver_again(look.api.db, ways, hook, found))


async def _replay(look: Look, form: Mapping[str, str]) -> str:
    hook, text = await _hook(look, form), form.get("from", "")
    if hook.mode == "ask":
        raise ActRefused(f"{hook.name} is asked and not told.")
    if not (text.isascii() and text.isdecimal() and len(text) <= 19 and int(text) <= _LARGEST):
        raise ActRefused(f"{text[:40]!r} is no cursor; allowed are whole numbers from 0 on.")
    async with look.api.db.acquire() as conn, conn.transaction():
        begins = await changes.rewind(conn, hook, int(text), now=look.api.clock.now())
    return f"{hook.name} is told everything behind {begins} again."


async def _ask_again(look: Look, form: Mapping[str, str]) -> str:
    found = await questions_seen(look.api.db, question_id=_id(form.get("question", "")))
    if not found:
        raise ActRefused("There is no such question any more.")
    try:
        await ask_question_again(look.api.db, found[0], now=look.api.clock.now(), settings=look.api.settings)
    except NothingToAsk as err:
        raise ActRefused(f"Not asked again: {err}.") from None
    return f"The hooks are asked about {found[0].machine} again."


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise ActRefused("The form is not whole.") from None


Act = Callable[[Look, Mapping[str, str]], Awaitable[str]]
ACTS: Mapping[str, tuple[Right, Act]] = {
    "test": (Right.OPERATE, _test),
    "redeliver": (Right.OPERATE, _redeliver),
    "replay": (Right.OPERATE, _replay),
    "ask-again": (Right.FACILITY, _ask_again),
}
