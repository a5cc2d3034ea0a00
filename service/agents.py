"""The agent's side of the service: hello, work, progress, done, failed (`images/protocol.py`).

A call counts only when it comes from the boot link of the session's machine.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast
from uuid import UUID

import structlog
from aiohttp import web

from pxe.http import source_address
from service.boot.decider import Saw
from service.boot.feed import boot_link_query
from service.boot.token import BadToken, digest, read
from service.firmware_bundles import bundle_by_hash
from service.parts import Parts
from service.secrets import open_sealed
from service.spellings import MAC
from service.stages import passed
from service.store.events import add_event
from service.store.inventories import told_inventory
from service.store.newcomers import others_gone
from service.store.notify import Hub
from service.store.rows import Pool
from service.store.runs import signal_all
from service.workflows.newcomer import judge
from service.workflows.rescue import login_told
from sql.loader import Q

log = structlog.get_logger()

SINK = "/agent/v1/sink"
_LONGEST_WAIT_S = 60.0
_MAC = re.compile(MAC)


class Agents:
    """The routes under /agent/v1."""

    def __init__(self, db: Pool, parts: Parts, hub: Hub, saw: Saw) -> None:
        """`saw` is told of a card that says hello from another machine's port."""
        self._db = db
        self._parts = parts
        self._hub = hub
        self._saw = saw

    def routes(self) -> list[web.RouteDef]:
        """For the boot application."""
        return [
            web.post("/agent/v1/hello", self._hello),
            web.post("/agent/v1/inventory", self._inventory),
            web.get("/agent/v1/work", self._work),
            web.post(SINK, self._sink),
            web.get("/agent/v1/bundles/{sha256}", self._bundle),
            web.post("/agent/v1/work/{id}/progress", self._progress),
            web.post("/agent/v1/work/{id}/done", self._done),
            web.post("/agent/v1/work/{id}/failed", self._failed),
        ]

    async def _hello(self, request: web.Request) -> web.Response:
        body = await _json(request)
        token, inventory = body.get("token"), body.get("inventory")
        at = await self._boot_link_at(request)
        if at is None or not isinstance(token, str):
            raise _problem(web.HTTPForbidden, "this is no boot link of ours, or there is no token")
        now = self._parts.clock.now()
        try:
            told = read(self._parts.key.secrets, token, at["port_id"], now=now)
        except BadToken as err:
            raise _problem(web.HTTPForbidden, str(err)) from None
        # The session follows from the token, so that a hello whose answer was lost gets the same one again.
        session = hmac.digest(told.key, b"session:" + token.encode(), hashlib.sha256).hex()
        found = inventory if isinstance(inventory, dict) else {}
        macs = _macs(body.get("mac"), found)
        machine_id = at["machine_id"]
        if machine_id is None:
            return await self._discovered(at["port_id"], macs, found, session, digest(token))
        if macs and at["mac"] not in macs:
            # The work that waits here is meant for another machine's disks.
            self._saw(at["port_id"], macs[0])
            raise _problem(web.HTTPForbidden, f"{macs[0]} is not the card that is recorded at this port: {at['mac']}")
        async with self._db.acquire() as conn, conn.transaction():
            session_id = await conn.fetchval(
                Q["begin_session"], machine_id, digest(token), digest(session), told.issued_at, now
            )
            if session_id is None:
                raise _problem(web.HTTPForbidden, "the boot token was used before, and its session has ended")
            await conn.execute(Q["end_other_sessions"], machine_id, session_id, now)
            if isinstance(inventory, dict):
                await told_inventory(conn, machine_id, inventory)
            if macs:  # the machine itself is at its port: whatever was seen of its cable before is settled
                await conn.execute(Q["card_settled"], at["port_id"], at["mac"], now)
        device_id = await self._db.fetchval(Q["device_on_machine"], machine_id)
        await signal_all(self._db, [machine_id, device_id], now=now)
        log.info("agent_hello", machine_id=str(machine_id))
        return web.json_response({"session": session, "machine": str(machine_id)})

    async def _discovered(
        self, port_id: UUID, macs: Sequence[str], inventory: dict[str, Any], session: str, token: bytes
    ) -> web.Response:
        """A machine at a free port: it is written down, looked at, and waits in the installer until it is enrolled."""
        if not macs:
            raise _problem(web.HTTPBadRequest, "mac: the card's address is missing")
        now = self._parts.clock.now()
        async with self._db.acquire() as conn, conn.transaction():
            await others_gone(conn, port_id, macs[0], now)
            news = await conn.fetchval(Q["discovered"], port_id, macs[0], inventory, digest(session), token, now)
            await judge(conn, port_id, now=now, settings=self._parts.settings)
            if news:
                port = await conn.fetchrow(Q["port_by_id"], port_id)
                body = f"A machine with the card {macs[0]} was found at {port['leaf']} {port['name']}"
                await add_event(conn, "machine.discovered", body, private=True, data={"mac": macs[0]})
        await signal_all(self._db, [port_id], now=now)
        log.info("machine_discovered", port_id=str(port_id), mac=macs[0])
        return web.json_response({"session": session, "machine": None})

    async def _inventory(self, request: web.Request) -> web.Response:
        """More than the hello told: what takes time to find out."""
        body = await _json(request)
        inventory = body.get("inventory")
        if not isinstance(inventory, dict):
            raise _problem(web.HTTPBadRequest, "inventory: an object is missing")
        at = await self._boot_link_at(request)
        if at is not None and at["machine_id"] is None:
            now = self._parts.clock.now()
            session = _session(request)
            if await self._db.fetchval(Q["discovery_session"], at["port_id"], session, now) is None:
                raise _problem(web.HTTPUnauthorized, "the session has ended: boot again")
            await self._db.execute(Q["discovery_inventory"], at["port_id"], session, inventory)
            await signal_all(self._db, [at["port_id"]], now=now)
            return web.Response(status=204)
        machine_id = await self._agent(request)
        async with self._db.acquire() as conn, conn.transaction():
            await told_inventory(conn, machine_id, inventory)
        return web.Response(status=204)

    async def _boot_link_at(self, request: web.Request) -> Any:
        """Port and machine of the boot link that the call comes from; None where it is none."""
        source = source_address(request)
        return None if source is None else await self._db.fetchrow(Q[boot_link_query(source)], source)

    async def _agent(self, request: web.Request) -> UUID:
        """The machine whose agent calls. Raises 401."""
        return await self._speaks(await self._boot_link_at(request), request)

    async def _speaks(self, at: Any, request: web.Request) -> UUID:
        """The machine whose agent calls from that boot link. Raises 401."""
        session = _session(request)
        if at is not None and at["machine_id"] is not None and session is not None:
            now = self._parts.clock.now()
            if await self._db.fetchval(Q["session_of"], session, at["machine_id"], now):
                return cast(UUID, at["machine_id"])
        raise _problem(web.HTTPUnauthorized, "the session has ended: boot again")

    async def _work(self, request: web.Request) -> web.Response:
        wait = min(_number(request.query.get("wait"), 0.0), _LONGEST_WAIT_S)
        at = await self._boot_link_at(request)
        if at is not None and at["machine_id"] is None:
            return await self._nothing_to_do(at["port_id"], _session(request), wait)
        machine_id = await self._speaks(at, request)
        loop = asyncio.get_running_loop()
        until = loop.time() + wait
        async with self._hub.watch(f"machine:{machine_id}") as watch:
            row = await self._next_work(machine_id)
            while row is None and await watch.changed(until - loop.time()):
                row = await self._next_work(machine_id)
        if row is None:
            return web.Response(status=204)
        spec = row["spec"]
        if sealed := spec.get("storage", {}).get("passphrase"):
            spec["storage"]["passphrase"] = open_sealed(self._parts.key, bytes.fromhex(sealed))
        return web.json_response({"id": str(row["id"]), "kind": row["kind"], "spec": spec})

    async def _nothing_to_do(self, port_id: UUID, session: bytes | None, wait: float) -> web.Response:
        """A machine that was discovered has no work; once it is enrolled it boots again, as who it is."""
        async with self._hub.watch(f"port:{port_id}") as watch:
            now = self._parts.clock.now()
            if await self._db.fetchval(Q["discovery_session"], port_id, session, now) is None:
                raise _problem(web.HTTPUnauthorized, "the session has ended: boot again")
            await watch.changed(wait)
        return web.Response(status=204)

    async def _next_work(self, machine_id: UUID) -> Any:
        row = await self._db.fetchrow(Q["next_work"], machine_id, self._parts.clock.now())
        if row is not None and row["kind"] == "install":
            await passed(self._db, row["run_id"], "")
        return row

    async def _progress(self, request: web.Request) -> web.Response:
        machine_id, work_id = await self._agent(request), _work_id(request)
        body = await _json(request)
        stage, told = str(body.get("stage", ""))[:40], body.get("result")
        result = told if isinstance(told, dict) else None
        subject = None
        async with self._db.acquire() as conn, conn.transaction():
            known = await conn.fetchval(Q["work_result"], work_id, machine_id)
            row = await conn.fetchrow(
                Q["work_progress"],
                work_id,
                machine_id,
                stage,
                max(0.0, min(100.0, _number(body.get("percent"), 0.0))),
                int(_number(body.get("bytes_done"), 0)),
                int(_number(body.get("bytes_total"), 0)),
                self._parts.clock.now(),
                int(_number(body.get("bytes_per_s"), 0)),
                result,
            )
            if row is None:
                raise _problem(web.HTTPConflict, "this work is no longer yours")
            if row["kind"] == "install":
                await passed(conn, row["run_id"], stage)
            if result is not None and result != known:
                subject = await conn.fetchval(Q["subject_of_run"], row["run_id"])
                if row["kind"] == "rescue":
                    await login_told(conn, machine_id, result)
        await signal_all(self._db, [subject], now=self._parts.clock.now())
        return web.Response(status=204)

    async def _sink(self, request: web.Request) -> web.Response:
        """Takes whatever a burn-in sends, to see how fast that goes."""
        if await self._boot_link_at(request) is None:
            raise _problem(web.HTTPForbidden, "this is no boot link of ours")
        count = 0
        async for piece in request.content.iter_any():
            count += len(piece)
        return web.json_response({"bytes": count})

    async def _bundle(self, request: web.Request) -> web.StreamResponse:
        """A firmware bundle by its hash, to whoever is at a boot link of ours."""
        if await self._boot_link_at(request) is None:
            raise _problem(web.HTTPForbidden, "this is no boot link of ours")
        path = await asyncio.to_thread(bundle_by_hash, self._parts.settings, request.match_info["sha256"])
        if path is None:
            raise _problem(web.HTTPNotFound, "there is no such bundle")
        return web.FileResponse(path)

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
                await passed(conn, row["run_id"], "done")
        await signal_all(self._db, [row["subject"]], now=now)
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


def _session(request: web.Request) -> bytes | None:
    """The hash of the session that a call shows, as it is kept."""
    scheme, _, session = request.headers.get("Authorization", "").partition(" ")
    return digest(session) if scheme == "Bearer" and session else None


def _macs(told: object, inventory: Mapping[str, Any]) -> list[str]:
    """The addresses of the machine's cards: the one that it booted from first, as far as it says."""
    nics = inventory.get("nics")
    listed = [nic.get("mac") for nic in nics if isinstance(nic, dict)] if isinstance(nics, list) else []
    return list(dict.fromkeys(mac for mac in (told, *listed) if isinstance(mac, str) and _MAC.fullmatch(mac)))


def _work_id(request: web.Request) -> UUID:
    try:
        return UUID(request.match_info["id"])
    except ValueError:
        raise _problem(web.HTTPNotFound, "no such work") from None
