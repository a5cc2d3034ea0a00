"""What operators do with a machine's BMC beside its power. The BMC is asked while the caller waits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.admin import hardware_schemas
from service.admin.named import machine_in
from service.api.call import Body, Call, Route
from service.api.models import Strict, read
from service.api.problems import Refused
from service.bmcs import Bmc, bmc_of, change_bmc_password, trust_bmc
from service.policy import Right
from service.power.errors import PowerError
from service.secrets import SecretUnreadable


class Locate(Strict):
    """Whether the machine's LED blinks."""

    on: bool = True


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """What stands in the way is the state of the machine's BMC, and neither the request nor a fault of ours."""
    try:
        yield
    except (PowerError, SecretUnreadable) as err:
        raise Refused(409, f"{type(err).__name__}: {err}") from None


@asynccontextmanager
async def _bmc(call: Call) -> AsyncIterator[Bmc]:
    machine = await machine_in(call)
    async with _told(), bmc_of(call.db, call.api.key, machine) as bmc:
        yield bmc


async def get_bmc(call: Call) -> Body:
    """GET /admin/v1/machines/{machine}/bmc: health, sensors, logs and firmware, as the machine's BMC tells them now"""
    async with _bmc(call) as bmc:
        return await bmc.evidence()


async def locate(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/locate: have the machine's LED blink, or not"""
    asked = read(Locate, call.body)
    async with _bmc(call) as bmc:
        await bmc.locate(asked.on)
    return {"on": asked.on}


async def reset_bmc(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/bmc-reset: restart the BMC itself; the machine runs on"""
    async with _bmc(call) as bmc:
        await bmc.reset_bmc()
    return {"restarted": True}


async def change_password(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/bmc-password: give the BMC a new random password, which nobody is told

    It is tried by a login before the old one is forgotten. Machines behind one service share it.
    """
    machine = await machine_in(call)
    async with _told():
        return {"machines": await change_bmc_password(call.db, call.api.key, machine)}


async def trust(call: Call) -> Body:
    """POST /admin/v1/machines/{machine}/bmc-trust: take the certificate that the BMC shows now for the right one"""
    machine = await machine_in(call)
    async with _told():
        return {"was": machine.bmc_fingerprint, "fingerprint": await trust_bmc(call.db, machine)}


ROUTES = (
    Route("GET", "/admin/v1/machines/{machine}/bmc", get_bmc, right=Right.LOOK, answer=hardware_schemas.BmcTold),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/locate",
        locate,
        right=Right.FACILITY,
        body=Locate,
        answer=hardware_schemas.Located,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/bmc-reset",
        reset_bmc,
        status=202,
        right=Right.FACILITY,
        answer=hardware_schemas.BmcRestarted,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/bmc-password",
        change_password,
        right=Right.FACILITY,
        answer=hardware_schemas.BmcPasswordChanged,
    ),
    Route(
        "POST",
        "/admin/v1/machines/{machine}/bmc-trust",
        trust,
        right=Right.FACILITY,
        answer=hardware_schemas.BmcTrusted,
    ),
)
