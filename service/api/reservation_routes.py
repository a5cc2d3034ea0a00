"""Hardware reservations of customers: what is kept for a project, and on which device it is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from service import reservations
from service.api import order_schemas
from service.api.call import Body, Call, Route
from service.api.device_view import scenery_of
from service.api.idempotency import made_before
from service.api.links import short, stamp
from service.api.models import Maybe, Request, Text, read
from service.api.objects import Object
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, flag
from service.api.problems import Invalid, not_found, shown
from service.api.scenery import Scenery
from service.policy import Right
from service.store.accounts import sees_project
from service.store.reservations import Reservation, reservation_by_id, reservations_page


class MoveReservation(Request):
    """Where a reservation goes."""

    project_id: UUID


class ActivateReservation(Request):
    """A note, which stays with the reservation."""

    description: Maybe[Text] = None


def reservation_object(one: Reservation, scenery: Scenery) -> Object:
    """A reservation. `custom_rate` is an hour's price; null is the plan's."""
    links = scenery.links
    return {
        "id": str(one.id),
        "short_id": short(one.id),
        "facility": scenery.facility(one.facility_id),
        "plan": scenery.plan(one.plan_id),
        "project": links.to("projects", one.project_id),
        "device": None if one.device_id is None else links.to("devices", one.device_id),
        "provisionable": one.provisionable,
        "spare": one.spare,
        "need_of_service": one.machine_state in ("quarantined", "maintenance", "retired"),
        "switch_uuid": short(one.leaf_id),
        "custom_rate": None if one.custom_rate is None else float(one.custom_rate),
        "description": one.note,
        "created_at": stamp(one.created_at),
        "termination_time": None if one.ends_at is None else stamp(one.ends_at),
        "href": links.href("hardware-reservations", one.id),
    }


@contextmanager
def refusals(field: str) -> Iterator[None]:
    """What is refused, as the dialect says it."""
    try:
        yield
    except reservations.ReservationRefused as err:
        raise Invalid(f"{field} is not valid: {err}") from None


async def visible(call: Call, ids: Sequence[UUID]) -> dict[UUID, Object]:
    """Those of the reservations whose projects the caller sees."""
    scenery, found = await scenery_of(call), {}
    for id_ in ids:
        one = await reservation_by_id(call.db, id_)
        if one is not None and await sees_project(call.db, call.caller, one.project_id):
            found[id_] = reservation_object(one, scenery)
    return found


async def _one(call: Call, id_: UUID) -> Object:
    found = await visible(call, [id_])
    if id_ not in found:
        raise not_found()
    return found[id_]


async def list_reservations(call: Call) -> Body:
    """GET /projects/{project}/hardware-reservations: machines that are kept for the project, newest first"""
    project_id, page = await call.project(), page_of(call)
    total, found = await reservations_page(
        call.db, project_id, page.size, page.offset, provisionable=call.flag("provisionable")
    )
    scenery = await scenery_of(call)
    return {
        "hardware_reservations": [reservation_object(one, scenery) for one in found],
        "meta": meta(call, page, total),
    }


async def get_reservation(call: Call) -> Body:
    """GET /hardware-reservations/{reservation}: one reserved machine, and the device that has it"""
    return await _one(call, call.id("reservation"))


async def move_reservation(call: Call) -> Body:
    """POST /hardware-reservations/{reservation}/move: keep it for another project; refused while a device has it"""
    id_, wish = call.id("reservation"), read(MoveReservation, call.body)
    await _one(call, id_)
    if not await sees_project(call.db, call.caller, wish.project_id):
        raise Invalid(f"Project is not valid: {shown(str(wish.project_id))} is none of yours")
    await call.require(Right.MANAGE, wish.project_id)
    async with call.db.acquire() as conn, conn.transaction():
        if await made_before(conn, call, id_, 201) is None:
            with refusals("Project"):
                if not await reservations.move_reservation(conn, id_, wish.project_id, now=call.api.clock.now()):
                    raise not_found()
    return await _one(call, id_)


async def activate_reservation(call: Call) -> Body:
    """POST /hardware-reservations/{reservation}/activate: a spare becomes a machine that can be ordered"""
    id_, wish = call.id("reservation"), read(ActivateReservation, call.body)
    await _one(call, id_)
    async with call.db.acquire() as conn, conn.transaction():
        if await made_before(conn, call, id_, 201) is None:
            with refusals("Hardware reservation"):
                if not await reservations.activate(conn, id_, wish.description):
                    raise not_found()
    return await _one(call, id_)


ROUTES = (
    Route(
        "GET",
        "/projects/{project}/hardware-reservations",
        list_reservations,
        answer=order_schemas.HardwareReservation,
        objects="hardware_reservations",
        right=Right.VIEW,
        query=(*PAGES, flag("provisionable", "Those that a device could be ordered on now, or the others.")),
    ),
    Route(
        "GET",
        "/hardware-reservations/{reservation}",
        get_reservation,
        answer=order_schemas.HardwareReservation,
        right=Right.VIEW,
    ),
    Route(
        "POST",
        "/hardware-reservations/{reservation}/move",
        move_reservation,
        answer=order_schemas.HardwareReservation,
        status=201,
        right=Right.MANAGE,
        body=MoveReservation,
    ),
    Route(
        "POST",
        "/hardware-reservations/{reservation}/activate",
        activate_reservation,
        answer=order_schemas.HardwareReservation,
        status=201,
        right=Right.USE,
        body=ActivateReservation,
    ),
)
