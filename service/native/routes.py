"""What a distribution's installer asks of the service and tells it, from its machine's boot link and with its token.

GET  /native/TOKEN/NAME        one of the rendered files; the first of them begins the installation
POST /native/TOKEN/installed   the disk may be booted; the body is the system's public host keys, one a line, or nothing
POST /native/TOKEN/failed      the installer has given up; the body says why

A token ends with its installation, and when a later one of the same machine is used: an installer that was started
anew begins from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import structlog
from aiohttp import web

from images.native.contract import CannotExpress
from pxe.http import source_address
from service.artefacts import NotBuilt
from service.boot.feed import boot_link_query
from service.boot.token import BadToken, digest
from service.native.rendering import NoMirror, rendered
from service.native.token import read_native
from service.parts import Parts
from service.ssh_keys import BadKey, parse_public_key
from service.stages import passed
from service.store.native import NativeInstall, begin_native, finish_native, native_on_machine, native_seen
from service.store.rows import Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_BOOTS = 5  # of an installer, under one order and on one machine, before it counts as one that never comes to its end
_REASON = 2000  # characters
_KEYS = 16


@dataclass(frozen=True, slots=True)
class _Caller:
    port_id: UUID
    machine_id: UUID
    install: NativeInstall
    token: str

    @property
    def at_work(self) -> bool:
        """Whether its installer is the one that began last."""
        return self.install.token == digest(self.token)


class NativeInstalls:
    """The routes under /native."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts

    def routes(self) -> list[web.RouteDef]:
        """For the boot application."""
        return [
            web.get("/native/{token}/{name}", self._file),
            web.post("/native/{token}/installed", self._installed),
            web.post("/native/{token}/failed", self._failed),
        ]

    async def _caller(self, request: web.Request) -> _Caller:
        """Who calls. Raises 403 for anyone but the machine at a boot link that is being installed."""
        source = source_address(request)
        at = None if source is None else await self._db.fetchrow(Q[boot_link_query(source)], source)
        machine_id = None if at is None else at["machine_id"]
        install = None if machine_id is None else await native_on_machine(self._db, machine_id)
        if at is None or machine_id is None or install is None:
            log.info("native_caller_unknown", source=str(source))
            raise web.HTTPForbidden(text="no machine is being installed by its own installer at this address\n")
        return _Caller(at["port_id"], machine_id, install, request.match_info["token"])

    async def _file(self, request: web.Request) -> web.Response:
        caller = await self._caller(request)
        if not caller.install.open:
            raise web.HTTPForbidden(text=f"this installation is {caller.install.state}\n")
        if caller.at_work:
            await native_seen(self._db, caller.machine_id, now=self._parts.clock.now())
        else:
            await self._begin(caller)
        device_id = await self._db.fetchval(Q["device_on_machine"], caller.machine_id)
        try:
            files = (await rendered(self._db, self._parts, device_id, caller.machine_id, caller.token)).files
        except (NoMirror, NotBuilt, CannotExpress) as err:
            log.error("native_not_rendered", machine_id=str(caller.machine_id), reason=str(err))
            raise web.HTTPServiceUnavailable(text=f"{err}\n") from None
        name = request.match_info["name"]
        log.info("native_file", machine_id=str(caller.machine_id), name=name, there=name in files)
        if name not in files:
            raise web.HTTPNotFound(text=f"there are {', '.join(files)}\n")
        # What it says may be different at the next boot: no cache on the way may keep it.
        return web.Response(text=files[name], headers={"Cache-Control": "no-store"})

    async def _begin(self, caller: _Caller) -> None:
        """An installer begins, perhaps not the first one. Raises 403 for a token that is not good, or no longer."""
        now = self._parts.clock.now()
        try:
            told = read_native(self._parts.key.secrets, caller.token, caller.port_id, now=now)
        except BadToken as err:
            raise web.HTTPForbidden(text=f"{err}\n") from None
        token = digest(caller.token)
        boots = await begin_native(self._db, caller.install, token, issued_at=told.issued_at, now=now)
        if boots is None:
            raise web.HTTPForbidden(text="a later installer has begun at this machine\n")
        log.info("native_begun", machine_id=str(caller.machine_id), boots=boots)
        if boots > _BOOTS:
            reason = f"its installer was started {boots} times and came to no end"
            await finish_native(self._db, caller.install, token, "failed", host_keys=[], reason=reason, now=now)
            await self._signal(caller)
            raise web.HTTPForbidden(text=f"{reason}\n")
        await passed(self._db, caller.install.run_id, "")
        await self._signal(caller)

    async def _installed(self, request: web.Request) -> web.Response:
        keys = _host_keys(await request.text())
        return await self._finish(request, "done", keys, None)

    async def _failed(self, request: web.Request) -> web.Response:
        told = (await request.text()).replace("\0", " ").strip()
        return await self._finish(request, "failed", [], told[:_REASON] or "its installer gave no reason")

    async def _finish(self, request: web.Request, state: str, keys: list[str], reason: str | None) -> web.Response:
        caller, now = await self._caller(request), self._parts.clock.now()
        if not caller.at_work:
            raise web.HTTPForbidden(text="a later installer has begun at this machine, or this one never did\n")
        async with self._db.acquire() as conn, conn.transaction():
            ended = await finish_native(
                conn, caller.install, digest(caller.token), state, host_keys=keys, reason=reason, now=now
            )
            if ended and state == "done":
                # From here on the disk may be started: the boot decision must say so before the machine asks.
                await conn.execute(Q["set_installed"], caller.machine_id, True)
                await passed(conn, caller.install.run_id, "done")
        if not ended and caller.install.state != state:
            raise web.HTTPConflict(text=f"this installation is {caller.install.state}\n")
        await self._signal(caller)
        log.info("native_finished", machine_id=str(caller.machine_id), state=state, reason=reason)
        return web.Response(status=204)

    async def _signal(self, caller: _Caller) -> None:
        subject = await self._db.fetchval(Q["subject_of_run"], caller.install.run_id)
        await signal_all(self._db, [subject], now=self._parts.clock.now())


def _host_keys(text: str) -> list[str]:
    """The keys of the body's lines. Raises 400 for a line that is none."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    try:
        return [parse_public_key(line).line for line in lines[:_KEYS]]
    except BadKey as err:
        raise web.HTTPBadRequest(text=f"no public host keys, one a line: {err}\n") from None
