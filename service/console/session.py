"""Who looks at the console: a token, typed in once, kept sealed in a cookie and checked on every request."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime, timedelta

from aiohttp import web

from service.policy import Right
from service.secrets import KeyRing, SecretUnreadable, open_sealed, seal
from service.store.accounts import Principal, principal_of
from service.store.rows import Pool

COOKIE = "roundhouse_console"
_LIFE = timedelta(hours=12)


def sign_in(response: web.StreamResponse, request: web.Request, key: KeyRing, token: str, now: datetime) -> None:
    """Hand the browser its session; scripts and other sites cannot reach it."""
    text = json.dumps({"token": token, "until": (now + _LIFE).timestamp()})
    response.set_cookie(
        COOKIE,
        base64.urlsafe_b64encode(seal(key, text)).decode(),
        max_age=int(_LIFE.total_seconds()),
        path="/console",
        httponly=True,
        samesite="Strict",
        secure=request.secure,
    )


def sign_out(response: web.StreamResponse) -> None:
    """Take the session away again."""
    response.del_cookie(COOKIE, path="/console", httponly=True, samesite="Strict")


async def staff_of(request: web.Request, db: Pool, key: KeyRing, now: datetime) -> Principal | None:
    """The staff member whose session the request carries; None without one, or when its token is no longer good."""
    cookie = request.cookies.get(COOKIE)
    if cookie is None:
        return None
    try:
        session = json.loads(open_sealed(key, base64.urlsafe_b64decode(cookie)))
    except (SecretUnreadable, binascii.Error, ValueError):
        return None
    if session["until"] < now.timestamp():
        return None
    principal = await principal_of(db, session["token"])
    return principal if principal is not None and may_look(principal) else None


def may_look(principal: Principal) -> bool:
    """Whether the console is for him."""
    return Right.LOOK in principal.rights
