"""Batches: many devices by one request. A worker places them; the batch tells how far it has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import Field

from service import intents
from service.api import order_schemas
from service.api.call import Body, Call, Route
from service.api.capacity_routes import places_of
from service.api.drafts import draft_of
from service.api.idempotency import made_before
from service.api.links import stamp
from service.api.models import CreateDevice, Hostname, Maybe, Request, read
from service.api.parameters import flag
from service.api.problems import Invalid, Refused, not_found
from service.policy import Right
from service.store.accounts import sees_project
from service.store.offers import Offers, free_capacity
from service.store.rows import Connection
from sql.loader import Q

_MOST = 1000  # devices in one request
_INDEX = "{{index}}"


class OrderBatch(CreateDevice):
    """So many devices of one kind."""

    hostname: Annotated[str | None, Field(max_length=255)] = None  # checked once the index stands in it
    hostnames: Maybe[list[Hostname]] = None
    quantity: Maybe[Annotated[int, Field(ge=1, le=_MOST)]] = None
    facility_diversity_level: Maybe[Annotated[int, Field(ge=1, le=100)]] = None


class OrderBatches(Request):
    """What is ordered together."""

    batches: Annotated[list[OrderBatch], Field(min_length=1, max_length=100)]


@dataclass(frozen=True, slots=True)
class _Lot:
    """A batch with what each of its devices is ordered with, and their hostnames."""

    batch: OrderBatch
    fields: dict[str, Any]
    names: list[str | None]


def _names(batch: OrderBatch) -> list[str | None]:
    """The devices' hostnames. `{{index}}` is the device's number in its batch, from 01 on. Raises Refused (422)."""
    quantity = batch.quantity or len(batch.hostnames or []) or 1
    if batch.hostnames:
        if len(batch.hostnames) != quantity:
            raise Invalid(f"Hostnames is not valid: {len(batch.hostnames)} names for {quantity} devices")
        return list(batch.hostnames)
    if not batch.hostname:
        return [None] * quantity
    width = max(2, len(str(quantity)))
    return [batch.hostname.replace(_INDEX, f"{place:0{width}}") for place in range(1, quantity + 1)]


async def _spread(conn: Connection, batch: OrderBatch, offers: Offers, quantity: int) -> list[list[str]]:
    """The facilities of each device, in order of preference. With a diversity level they are dealt out over so many."""
    level = batch.facility_diversity_level
    if level is None:
        return [[] for _ in range(quantity)]
    if batch.facility:
        places = [place for name in batch.facility for place in places_of(offers, name, None)]
    else:
        places = places_of(offers, None, batch.metro)
    places = list({place.id: place for place in places}.values())
    if level > len(places):
        raise Invalid(
            f"Facility diversity level is not valid: {level}; the order names {len(places)} facilities, and allowed is"
            " no more than that"
        )
    plan = offers.plan(batch.plan or "")
    free, share = await free_capacity(conn), -(-quantity // level)
    roomy = [place for place in places if plan is not None and free.get((place.id, plan.id), 0) >= share]
    chosen = (roomy + [place for place in places if place not in roomy])[:level]
    return [[chosen[number % level].code] for number in range(quantity)]


async def create_batches(call: Call) -> Body:
    """POST /projects/{project}/devices/batch: order many devices; each is placed, or says in its batch why it was not

    `hostname` may hold {{index}}, or `hostnames` names each. `facility_diversity_level` deals the devices out over so
    many of the facilities.
    """
    project_id, request_id = await call.project(), uuid4()
    wish = read(OrderBatches, call.body)
    offers, catalogue = await call.api.offers(), call.api.catalogue
    named = [_names(batch) for batch in wish.batches]
    if (total := sum(map(len, named))) > _MOST:
        raise Invalid(f"Quantity is not valid: {total} devices in one request; allowed are {_MOST}")
    lots = [_Lot(batch, _wish(batch), names) for batch, names in zip(wish.batches, named, strict=True)]
    for lot in lots:
        devices = [read(CreateDevice, lot.fields | {"hostname": name}) for name in dict.fromkeys(lot.names)]
        draft_of(devices[0], offers, catalogue)  # they differ in their names alone, and these are good
    async with call.db.acquire() as conn, conn.transaction():
        if await conn.fetchrow(Q["lock_project"], *call.caller.scope, project_id) is None:
            raise not_found()
        if (earlier := await made_before(conn, call, request_id, 201)) is None:
            for place, lot in enumerate(lots):
                spread = await _spread(conn, lot.batch, offers, len(lot.names))
                await _add(conn, call, project_id, request_id, place, lot, spread)
            await conn.execute(Q["notify"], "due")
    ids = [row["id"] for row in await call.db.fetch(Q["batches_of_request"], earlier or request_id)]
    by_id = {one["id"]: one for one in await _objects(call, None, ids)}
    return {"batches": [by_id[str(id_)] for id_ in ids if str(id_) in by_id]}


def _wish(batch: OrderBatch) -> dict[str, Any]:
    """What each of the batch's devices is ordered with. Raises Refused (422)."""
    if batch.storage is not None and batch.storage.passphrase:
        raise Invalid(
            "Storage is not valid: a batch takes no passphrase; order devices with encrypted disks one by one"
        )
    return batch.model_dump(
        mode="json",
        exclude_unset=True,
        exclude={"hostname", "hostnames", "quantity", "facility_diversity_level"},
    )


async def _add(
    conn: Connection,
    call: Call,
    project_id: UUID,
    request_id: UUID,
    place: int,
    lot: _Lot,
    spread: Sequence[Sequence[str]],
) -> None:
    batch_id, now = uuid4(), call.api.clock.now()
    await conn.execute(Q["add_batch"], batch_id, request_id, place, project_id, lot.fields, call.caller.user_id, now)
    await conn.execute(
        Q["add_batch_devices"],
        batch_id,
        list(range(1, len(lot.names) + 1)),
        [uuid4() for _ in lot.names],
        list(lot.names),
        [",".join(codes) for codes in spread],
    )


async def _objects(call: Call, project_id: UUID | None, ids: Sequence[UUID] | None) -> list[Body]:
    found = []
    for row in await call.db.fetch(Q["batches"], project_id, ids):
        left, total = row["waiting"], row["quantity"]
        state = "queued" if left == total else "in_progress" if left else "failed" if row["refused"] else "completed"
        found.append(
            {
                "id": str(row["id"]),
                "state": state,
                "quantity": total,
                "error_messages": row["error_messages"] or [],
                "devices": [call.links.to("devices", id_) for id_ in row["device_ids"] or []],
                "project": call.links.to("projects", row["project_id"]),
                "created_at": stamp(row["created_at"]),
                "updated_at": stamp(row["updated_at"]),
                "href": call.links.href("batches", row["id"]),
            }
        )
    return found


async def list_batches(call: Call) -> Body:
    """GET /projects/{project}/batches: newest first"""
    return {"batches": await _objects(call, await call.project(), None)}


async def get_batch(call: Call) -> Body:
    """GET /batches/{batch}: how many devices it has, which were ordered, and what kept the others from it

    `completed` means that all devices are ordered; `failed`, that some could not be.
    """
    row = await call.db.fetchrow(Q["batches"], None, [call.id("batch")])
    if row is None or not await sees_project(call.db, call.caller, row["project_id"]):
        raise not_found()
    return (await _objects(call, None, [row["id"]]))[0]


async def delete_batch(call: Call) -> None:
    """DELETE /batches/{batch}: order no more of it; its devices stay, or go with `remove_associated_instances=true`"""
    batch_id = call.id("batch")
    remove = bool(call.flag("remove_associated_instances"))
    async with call.db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(Q["lock_batch"], batch_id)
        if row is None or not await sees_project(conn, call.caller, row["project_id"]):
            raise not_found()
        await conn.execute(Q["cancel_batch"], batch_id, call.api.clock.now())
        for device in await conn.fetch(Q["devices_of_batch"], batch_id) if remove else ():
            await conn.execute(Q["lock_course"], device["id"])
            if device["locked"]:
                raise Refused(422, f"Cannot delete a locked item: unlock device {device['hostname']} first")
            await intents.delete_device(
                conn, device["id"], settings=call.api.settings, clock=call.api.clock, by=call.caller.actor
            )


ROUTES = (
    Route(
        "POST",
        "/projects/{project}/devices/batch",
        create_batches,
        answer=order_schemas.Batch,
        status=201,
        objects="batches",
        right=Right.USE,
        body=OrderBatches,
    ),
    Route(
        "GET",
        "/projects/{project}/batches",
        list_batches,
        answer=order_schemas.Batch,
        objects="batches",
        right=Right.VIEW,
    ),
    Route("GET", "/batches/{batch}", get_batch, answer=order_schemas.Batch, right=Right.VIEW),
    Route(
        "DELETE",
        "/batches/{batch}",
        delete_batch,
        status=204,
        right=Right.USE,
        query=(flag("remove_associated_instances", "With true: its devices are deleted, too."),),
    ),
)
