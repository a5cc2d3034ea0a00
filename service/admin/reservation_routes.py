"""Hardware reservations for operators: which machines are kept for whom."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from pydantic import Field

from service import reservations
from service.admin import billing_schemas
from service.api.call import Body, Call, Route
from service.api.device_view import scenery_of
from service.api.idempotency import made_before, made_instead
from service.api.models import Maybe, Moment, Price, Request, Text, read
from service.api.objects import Object
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, flag
from service.api.problems import Invalid, not_found
from service.api.reservation_routes import refusals, reservation_object
from service.api.scenery import Scenery
from service.policy import Right
from service.store.reservations import Reservation, all_reservations, reservation_by_id


class MakeReservation(Request):
    """A machine to be kept for a project."""

    machine: Annotated[str, Field(min_length=1, max_length=255)]
    project_id: UUID
    custom_rate: Maybe[Price] = None
    spare: bool = False
    description: Maybe[Text] = None
    termination_time: Maybe[Moment] = None


def _object(one: Reservation, scenery: Scenery) -> Object:
    ended = {"ended_at": None if one.ended_at is None else one.ended_at.isoformat()}
    return {**reservation_object(one, scenery), "machine": one.machine, "machine_state": one.machine_state, **ended}


async def list_all(call: Call) -> Body:
    """GET /admin/v1/hardware-reservations: those of all projects, newest first; with `all=true` ended ones, too"""
    page, scenery = page_of(call, 250), await scenery_of(call)
    total, found = await all_reservations(call.db, page.size, page.offset, ended_too=bool(call.flag("all")))
    return {"hardware_reservations": [_object(one, scenery) for one in found], "meta": meta(call, page, total)}


async def make(call: Call) -> Body:
    """POST /admin/v1/hardware-reservations: keep a machine, by name or id, for one project

    Nobody else is placed on it from then on; it is charged whether it is used or not.
    """
    wish, now = read(MakeReservation, call.body), call.api.clock.now()
    if wish.termination_time is not None and wish.termination_time <= now:
        raise Invalid(f"Termination time is not valid: {wish.termination_time.isoformat()} is over")
    async with call.db.acquire() as conn, conn.transaction():
        if (id_ := await made_before(conn, call, wish.project_id, 201)) is None:
            with refusals("Reservation"):
                id_ = await reservations.reserve(
                    conn,
                    wish.machine,
                    wish.project_id,
                    custom_rate=wish.custom_rate,
                    spare=wish.spare,
                    note=wish.description,
                    ends_at=wish.termination_time,
                    by=call.caller.actor,
                    now=now,
                )
            await made_instead(conn, call, id_)
    return await _one(call, id_)


async def _one(call: Call, id_: UUID) -> Body:
    one = await reservation_by_id(call.db, id_, ended_too=True)
    if one is None:
        raise not_found()
    return _object(one, await scenery_of(call))


async def end(call: Call) -> None:
    """DELETE /admin/v1/hardware-reservations/{reservation}: the machine is anybody's again; refused while in use"""
    async with call.db.acquire() as conn, conn.transaction():
        with refusals("Reservation"):
            if not await reservations.end(conn, call.id("reservation"), now=call.api.clock.now()):
                raise not_found()


ROUTES = (
    Route(
        "GET",
        "/admin/v1/hardware-reservations",
        list_all,
        answer=billing_schemas.MachineReserved,
        objects="hardware_reservations",
        right=Right.LOOK,
        query=(*PAGES, flag("all", "With true: those that have ended, too.")),
    ),
    Route(
        "POST",
        "/admin/v1/hardware-reservations",
        make,
        answer=billing_schemas.MachineReserved,
        status=201,
        right=Right.SUPPORT,
        body=MakeReservation,
    ),
    Route("DELETE", "/admin/v1/hardware-reservations/{reservation}", end, status=204, right=Right.SUPPORT),
)
