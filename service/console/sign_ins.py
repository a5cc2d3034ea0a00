"""Who signed in to the console, who was refused and who signed out, in the audit log.

A good token is never refused for how many bad ones came before it: tokens are too long to be guessed, and a limit would
only let others keep operators out. What is limited is how much refused ones may write.
"""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network
from typing import Literal
from uuid import uuid4

import structlog
from aiohttp import web

from service.clock import Clock
from service.store.accounts import Principal
from service.store.acting import Acting, note_request
from service.store.rows import AWAY, Pool
from service.throttle import Throttle, Verdict

log = structlog.get_logger()

NOBODY = "nobody"  # whose token is none of ours
REFUSED, TOO_MANY = 403, 429
_OF_ONE, _OF_ALL = 10, 100  # refused sign-ins a minute that are written down: of one network, of all together
_SITE = 64  # bits of an IPv6 address that one caller has to himself


class SignIns:
    """What one process's console writes down of its door."""

    def __init__(self, db: Pool, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._by_network = Throttle(_OF_ONE)
        self._all = Throttle(_OF_ALL)

    async def refused(self, request: web.Request, known: Principal | None) -> int:
        """Write a refused sign-in down; `known` is whose token it was. The status to answer with: 429 for the first
        too many of a minute, which is written down, and for those behind it, which are not.
        """
        now = self._clock.now()
        verdict = self._by_network.judge(_network(request.remote), now)
        if verdict is Verdict.TAKE:
            verdict = self._all.judge(None, now)
        status = REFUSED if verdict is Verdict.TAKE else TOO_MANY
        if verdict is not Verdict.DROP:
            log.info("console_sign_in_refused", peer=request.remote, status=status)
            await self._note(request, known, "sign_in", status)
        return status

    async def opened(self, request: web.Request, who: Principal) -> None:
        """Write a sign-in down."""
        await self._note(request, who, "sign_in", web.HTTPSeeOther.status_code)

    async def closed(self, request: web.Request, who: Principal) -> None:
        """Write a sign-out down."""
        await self._note(request, who, "sign_out", web.HTTPSeeOther.status_code)

    async def _note(
        self, request: web.Request, who: Principal | None, action: Literal["sign_in", "sign_out"], status: int
    ) -> None:
        acting = Acting(
            actor=NOBODY if who is None else who.actor,
            user_id=None if who is None else who.user_id,
            token_id=None if who is None else who.token_id,
            source=request.remote,
            method=request.method,
            path=request.path,
            request=uuid4(),
        )
        try:
            await note_request(self._db, acting, status, kind="session", action=action)
        except AWAY:
            log.exception("sign_in_not_audited", actor=acting.actor, action=action, source=acting.source)


def _network(source: str | None) -> str | None:
    """What one caller has to himself: an IPv4 address, or an IPv6 network."""
    if source is None:
        return None
    address = ip_address(source.partition("%")[0])
    return source if isinstance(address, IPv4Address) else str(ip_network((address, _SITE), strict=False))
