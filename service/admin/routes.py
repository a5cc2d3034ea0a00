"""What operators do over HTTP: enrol racks, and send machines through preparation again."""

from __future__ import annotations

from datetime import timedelta

import asyncpg
from aiohttp import web
from pydantic import ValidationError

from ipam.errors import IpamError
from service.admin.enrol import EnrolmentRefused, Inventory, enrol
from service.api.call import CALLER
from service.api.problems import Invalid, not_found, reasons
from service.lifecycle import IllegalMove
from service.parts import Parts
from service.store.hardware import machine_by_id
from service.store.rows import Pool
from service.workflows.prepare import start_prepare
from sql.loader import Q


class Operations:
    """The routes by which operators act."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts

    def add_routes(self, app: web.Application) -> None:
        """Join the API's application, whose middlewares ask for a staff token."""
        app.router.add_post("/admin/v1/inventory", self._post)
        app.router.add_post("/admin/v1/machines/{machine}/prepare", self._prepare)

    async def _prepare(self, request: web.Request) -> web.Response:
        """Send a machine that is in quarantine, enrolled or in the pool through preparation (again)."""
        async with self._db.acquire() as conn, conn.transaction():
            machine_id = await conn.fetchval(Q["machine_named"], request.match_info["machine"])
            if machine_id is None:
                raise not_found()
            now, limit = self._parts.clock.now(), timedelta(seconds=self._parts.settings.erase_limit_s)
            machine = await machine_by_id(conn, machine_id)
            if machine.device_id is not None:
                raise Invalid(f"machine {machine.name} belongs to device {machine.device_id}; delete that first")
            try:
                await start_prepare(conn, machine_id, None, "an operator asked for it", now=now, limit=limit)
            except IllegalMove as err:
                raise Invalid(str(err)) from None
        return web.json_response({"id": str(machine_id), "state": "preparing"}, status=202)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            inventory = Inventory.model_validate_json(await request.read())
        except ValidationError as err:
            raise Invalid(*reasons(err)) from None
        try:
            async with self._db.acquire() as conn, conn.transaction():
                counts = await enrol(conn, inventory, self._parts, by=request[CALLER].actor)
        except (EnrolmentRefused, IpamError) as err:
            raise Invalid(str(err)) from None
        except asyncpg.UniqueViolationError as err:
            raise Invalid(str(err.detail)) from None
        return web.json_response(counts)
