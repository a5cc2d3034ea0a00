"""The agent's side of the service: hello, work, progress, done, failed (`images/protocol.py`).

A call counts only when it comes from the boot link of the session's machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

from pxe.http import source_address
from service.boot import digest
from service.parts import Parts
from service.store.notify import Hub
from service.store.rows import Connection, Pool
from service.store.runs import signal_all
from sql.loader import Q

log = structlog.get_logger()

_TOKEN_LIFE = timedelta(hours=1)  # from the boot script to the hello: the slowest firmware loads its files within it
_LONGEST_WAIT_S = 60.0


# The dialect's events that an install passes, each with the agent's stage that brings it.
_PASSED = (
    ("", "provisioning.104", "Connected to magic install system"),
    ("writing", "provisioning.105", "Server partitions created"),
    ("growing", "provisioning.106", "Operating system packages installed"),
    ("configuring", "provisioning.107", "Server networking interfaces configured"),
    ("handing-over", "provisioning.108", "Cloud-init packages installed and configured"),
    ("done", "provisioning.109", "Installation finished, rebooting server"),
)
_STAGES = [stage for stage, _, _ in _PASSED]


class Agents:
    """The routes under /agent/v1."""

    def __init__(self, db: Pool, parts: Parts, hub: Hub) -> None:
        self._db = db
        self._parts = parts
        self._hub = hub

    def routes(self) -> list[web.RouteDef]:
        """For the boot application."""
        return [
            web.post("/agent/v1/hello", self._hello),
            web.get("/agent/v1/work", self._work),
            web.post("/agent/v1/work/{id}/progress", self._progress),
            web.post("/agent/v1/work/{id}/done", self._done),
            web.post("/agent/v1/work/{id}/failed", self._failed),
        ]

    async def _hello(self, request: web.Request) -> web.Response:
        body = await _json(request)
        token = body.get("token")
        machine_id = await self._machine_at(request)
        if machine_id is None or not isinstance(token, str):
            raise _problem(web.HTTPForbidden, "this is not the boot link of a machine of ours, or there is no token")
        # The session follows from the token, so that a hello whose answer was lost gets the same one again.
        session = hmac.digest(self._parts.key, b"session:" + token.encode(), hashlib.sha256).hex()
        now = self._parts.clock.now()
        async with self._db.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(
                Q["begin_session"], digest(token), machine_id, digest(session), now, now - _TOKEN_LIFE
            )
            if row is None:
                raise _problem(web.HTTPForbidden, "the token is unknown, too old, or another machine's")
            await conn.execute(Q["end_other_sessions"], machine_id, row["id"], now)
            if isinstance(inventory := body.get("inventory"), dict):
                await conn.execute(Q["set_inventory"], machine_id, inventory)
        device_id = await self._db.fetchval(Q["device_on_machine"], machine_id)
        await signal_all(self._db, [machine_id, device_id], now=now)
        log.info("agent_hello", machine_id=str(machine_id))
        return web.json_response({"session": session, "machine": str(machine_id)})

    async def _machine_at(self, request: web.Request) -> UUID | None:
        source = source_address(request)
        if source is None:
            return None
        row = await self._db.fetchrow(Q["machine_at_source"], source)
        return row["machine_id"] if row is not None and row["slot"] == "boot" else None

    async def _agent(self, request: web.Request) -> UUID:
        """The machine whose agent calls. Raises 401."""
        scheme, _, session = request.headers.get("Authorization", "").partition(" ")
        machine_id = await self._machine_at(request)
        if machine_id is not None and scheme == "Bearer":
            now = self._parts.clock.now()
            if await self._db.fetchval(Q["session_of"], digest(session), machine_id, now):
                return machine_id
        raise _problem(web.HTTPUnauthorized, "the session has ended: boot again")

    async def _work(self, request: web.Request) -> web.Response:
        machine_id = await self._agent(request)
        wait = min(_number(request.query.get("wait"), 0.0), _LONGEST_WAIT_S)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        async with self._hub.watch(f"machine:{machine_id}") as watch:
            row = await self._next_work(machine_id)
            while row is None and await watch.changed(until - loop.time()):
                row = await self._next_work(machine_id)
        if row is None:
            return web.Response(status=204)
        return web.json_response({"id": str(row["id"]), "kind": row["kind"], "spec": row["spec"]})

    async def _next_work(self, machine_id: UUID) -> Any:
        row = await self._db.fetchrow(Q["next_work"], machine_id, self._parts.clock.now())
        if row is not None and row["kind"] == "install":
            await self._passed(self._db, row["run_id"], "")
        return row

    async def _progress(self, request: web.Request) -> web.Response:
        machine_id, work_id = await self._agent(request), _work_id(request)
        body = await _json(request)
        stage = str(body.get("stage", ""))[:40]
        async with self._db.acquire() as conn, conn.transaction():
            run_id = await conn.fetchval(
                Q["work_progress"],
                work_id,
                machine_id,
                stage,
                max(0.0, min(100.0, _number(body.get("percent"), 0.0))),
                int(_number(body.get("bytes_done"), 0)),
                int(_number(body.get("bytes_total"), 0)),
                self._parts.clock.now(),
            )
            if run_id is None:
                raise _problem(web.HTTPConflict, "this work is no longer yours")
            await self._passed(conn, run_id, stage)
        return web.Response(status=204)

    async def _passed(self, conn: Connection, run_id: UUID, stage: str) -> None:
        """Record the events up to a stage that the device does not have yet; the agent may have skipped some."""
        if stage in _STAGES:
            passed = _PASSED[: _STAGES.index(stage) + 1]
            await conn.execute(
                Q["add_missing_events"], run_id, [type_ for _, type_, _ in passed], [body for _, _, body in passed]
            )

    async def _done(self, request: web.Request) -> web.Response:
        body = await _json(request)
        result = body.get("result")
        return await self._finish(request, "done", result if isinstance(result, dict) else {}, None)

    async def _failed(self, request: web.Request) -> web.Response:
        body = await _json(request)
        reason = f"{str(body.get('stage') or 'agent')[:40]}: {str(body.get('reason') or 'no reason given')[:2000]}"
        return await self._finish(request, "failed", {}, reason)

    async def _finish(
        self, request: web.Request, state: str, result: dict[str, Any], reason: str | None
    ) -> web.Response:
        machine_id, work_id = await self._agent(request), _work_id(request)
        async with self._db.acquire() as conn, conn.transaction():
            now = self._parts.clock.now()
            row = await conn.fetchrow(Q["finish_work"], work_id, machine_id, state, result, reason, now)
            if row is None:
                if await conn.fetchval(Q["work_state"], work_id, machine_id) == state:
                    return web.Response(status=204)
                raise _problem(web.HTTPConflict, "this work is no longer yours")
            if row["kind"] == "install" and state == "done":
                # From here on the disk may be started: the boot decision must say so before the machine asks.
                await conn.execute(Q["set_installed"], machine_id, True)
                await self._passed(conn, row["run_id"], "done")
            subject = await conn.fetchval(Q["subject_of_run"], row["run_id"])
        await signal_all(self._db, [subject], now=now)
        log.info("agent_work_finished", machine_id=str(machine_id), kind=row["kind"], state=state, reason=reason)
        return web.Response(status=204)


def _problem(kind: Callable[..., web.HTTPException], message: str) -> web.HTTPException:

    return kind(text=json.dumps({"errors": [message]}), content_type="application/json")


async def _json(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError:
        raise _problem(web.HTTPBadRequest, "the body is no JSON") from None
    if not isinstance(body, dict):
        raise _problem(web.HTTPBadRequest, "the body is no JSON object")
    return body


def _number(value: object, default: float) -> float:
    try:
        number = float(str(value)) if value is not None else default
    except ValueError:
        return default
    return number if number == number and abs(number) < 1e18 else default


def _work_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise _problem(web.HTTPNotFound, "no such work") from None
