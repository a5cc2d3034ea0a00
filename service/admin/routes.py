"""What operators do over HTTP: `POST /admin/v1/inventory`."""

from __future__ import annotations

import asyncpg
from aiohttp import web
from pydantic import ValidationError

from ipam.errors import IpamError
from service.admin.enrol import EnrolmentRefused, Inventory, enrol
from service.api.problems import Invalid, reasons
from service.parts import Parts
from service.store.rows import Pool


class Enrolment:
    """The route by which racks come in."""

    def __init__(self, db: Pool, parts: Parts) -> None:
        self._db = db
        self._parts = parts

    def add_routes(self, app: web.Application) -> None:
        """Join the API's application, whose middlewares ask for a staff token."""
        app.router.add_post("/admin/v1/inventory", self._post)

    async def _post(self, request: web.Request) -> web.Response:
        try:
            inventory = Inventory.model_validate_json(await request.read())
        except ValidationError as err:
            raise Invalid(*reasons(err)) from None
        try:
            async with self._db.acquire() as conn, conn.transaction():
                counts = await enrol(conn, inventory, self._parts)
        except (EnrolmentRefused, IpamError) as err:
            raise Invalid(str(err)) from None
        except asyncpg.UniqueViolationError as err:
            raise Invalid(str(err.detail)) from None
        return web.json_response(counts)
