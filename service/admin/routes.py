"""What operators do over HTTP: enrol racks, and send machines through preparation again."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from ipam.errors import IpamError
from service.admin import schemas
from service.admin.enrol import EnrolmentRefused, Inventory, enrol
from service.api.call import Body, Call, Route
from service.api.models import read
from service.api.problems import Invalid, not_found
from service.lifecycle import IllegalMove
from service.policy import Right
from service.store.hardware import machine_by_id
from service.workflows.prepare import start_prepare
from sql.loader import Q


async def prepare(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/prepare: send a machine that is in quarantine, enrolled or in the pool through
    preparation (again)"""
    async with call.db.acquire() as conn, conn.transaction():
        machine_id = await conn.fetchval(Q["machine_named"], call.ids["machine"])
        if machine_id is None:
            raise not_found()
        now, limit = call.api.clock.now(), timedelta(seconds=call.api.settings.erase_limit_s)
        machine = await machine_by_id(conn, machine_id)
        if machine.device_id is not None:
            raise Invalid(f"machine {machine.name} belongs to device {machine.device_id}; delete that first")
        try:
            await start_prepare(conn, machine_id, None, "an operator asked for it", now=now, limit=limit)
        except IllegalMove as err:
            raise Invalid(str(err)) from None
    return {"id": str(machine_id), "state": "preparing"}


async def enrol_racks(call: Call) -> Body:
    """POST /admin/v1/inventory: enrol leaves, links, machines and prefixes; what is there already stays as it is"""
    inventory = read(Inventory, call.body)
    try:
        async with call.db.acquire() as conn, conn.transaction():
            return dict(await enrol(conn, inventory, call.api.parts, by=call.caller.actor))
    except (EnrolmentRefused, IpamError) as err:
        raise Invalid(str(err)) from None
    except asyncpg.UniqueViolationError as err:
        raise Invalid(str(err.detail)) from None


ROUTES = (
    Route("POST", "/admin/v1/inventory", enrol_racks, right=Right.FACILITY, body=Inventory, answer=schemas.Enrolled),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/prepare",
        prepare,
        right=Right.FACILITY,
        status=202,
        answer=schemas.MachineState,
    ),
)
