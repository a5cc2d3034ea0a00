"""What operators do over HTTP: enrol racks, and send machines through preparation again."""

from __future__ import annotations

from datetime import timedelta

import asyncpg

from ipam.errors import IpamError
from service.admin import schemas
from service.admin.enrol import EnrolmentRefused, Inventory, enrol
from service.admin.named import machine_in
from service.api.call import Body, Call, Route
from service.api.models import read
from service.api.problems import Invalid
from service.lifecycle import IllegalMove
from service.policy import Right
from service.workflows.prepare import start_prepare


async def prepare(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/prepare: send a machine that is in quarantine, enrolled or in the pool through
    preparation (again)"""
    async with call.db.acquire() as conn, conn.transaction():
        machine = await machine_in(call, conn)
        now, limit = call.api.clock.now(), timedelta(seconds=call.api.settings.erase_limit_s)
        if machine.device_id is not None:
            raise Invalid(f"machine {machine.name} belongs to device {machine.device_id}; delete that first")
        try:
            await start_prepare(conn, machine.id, None, "an operator asked for it", now=now, limit=limit)
        except IllegalMove as err:
            raise Invalid(str(err)) from None
    return {"id": str(machine.id), "state": "preparing"}


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
        answer=schemas.MachineNow,
    ),
)
