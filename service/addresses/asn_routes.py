"""Pools of AS numbers over HTTP, for staff."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from pydantic import Field

from ipam.asn import AsnTenure, Pool, add_pool, asns_at, give_back_asn, pools, take_asn
from service.addresses import schemas
from service.addresses.asked import time_asked
from service.addresses.objects import moment
from service.addresses.policy import answered
from service.api import parameters
from service.api.call import Body, Call, Route
from service.api.models import Custom, Maybe, Name, Request, Text, read
from service.api.parameters import Parameter
from service.api.problems import Invalid, not_found, shown
from service.policy import Right


class CreatePool(Request):
    """A new pool; both ends belong to it."""

    name: Name
    first: int
    last: int
    facility: Maybe[Text] = None


class TakeAsn(Request):
    """A number for somebody; the same owner and slot always get the same one while they hold it."""

    owner: UUID
    slot: Annotated[str, Field(min_length=1, max_length=200)]
    note: Custom = Field(default_factory=dict)


def _pool(pool: Pool) -> Body:
    size = pool.last - pool.first + 1
    return {
        "name": pool.name,
        "first": pool.first,
        "last": pool.last,
        "facility": pool.facility,
        "taken": pool.taken,
        "free": size - pool.taken,
    }


def _asn(one: AsnTenure, names: dict[int, str]) -> Body:
    return {
        "asn": one.asn,
        "pool": names[one.pool_id],
        "owner": str(one.owner),
        "slot": one.slot,
        "note": dict(one.note),
        "from": moment(one.since),
        "until": moment(one.until),
        "opened_by": one.opened_by,
        "closed_by": one.closed_by,
    }


async def list_pools(call: Call) -> Body:
    """GET /ipam/v1/asn-pools: the pools of AS numbers, with how much of each is taken"""
    return {"asn_pools": [_pool(pool) for pool in await pools(call.db)]}


async def create_pool(call: Call) -> Body:
    """POST /ipam/v1/asn-pools: a pool of AS numbers"""
    wish = read(CreatePool, call.body)
    with answered():
        async with call.db.acquire() as conn, conn.transaction():
            return _pool(await add_pool(conn, wish.name, wish.first, wish.last, facility=wish.facility))


async def list_asns(call: Call) -> Body:
    """GET /ipam/v1/asns: who has which numbers; narrowed by pool and asn; with `at`, who had them then"""
    text = call.word("asn")
    if text is not None and not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise Invalid(f"Asn is not valid: {shown(text)} is no AS number")
    at = time_asked(call, "at") or call.api.clock.now()
    found = await asns_at(call.db, at, pool=call.word("pool"), asn=None if text is None else int(text))
    names = {pool.id: pool.name for pool in await pools(call.db)}
    return {"asns": [_asn(one, names) for one in found]}


async def take(call: Call) -> Body:
    """POST /ipam/v1/asn-pools/{pool}/asns: a number of the pool for somebody"""
    wish = read(TakeAsn, call.body)
    with answered():
        async with call.db.acquire() as conn, conn.transaction():
            made = await take_asn(
                conn,
                call.ids["pool"],
                wish.owner,
                wish.slot,
                now=call.api.clock.now(),
                by=call.caller.actor,
                cool_down=timedelta(seconds=call.api.settings.cool_down_s),
                note=wish.note,
            )
    return _asn(made, {pool.id: pool.name for pool in await pools(call.db)})


async def end(call: Call) -> None:
    """DELETE /ipam/v1/asns/{asn}: the number is nobody's again after its cool-down"""
    text = call.ids["asn"]
    if not (text.isascii() and text.isdecimal() and len(text) <= 10):
        raise not_found()
    async with call.db.acquire() as conn, conn.transaction():
        if not await give_back_asn(conn, int(text), now=call.api.clock.now(), by=call.caller.actor):
            raise not_found()


_ASNS = (
    Parameter("pool", "Of this pool, by name."),
    Parameter("asn", "This number.", "integer"),
    parameters.AT,
)

ROUTES = (
    Route("GET", "/ipam/v1/asn-pools", list_pools, right=Right.LOOK, objects="asn_pools", answer=schemas.AsnPool),
    Route(
        "POST",
        "/ipam/v1/asn-pools",
        create_pool,
        right=Right.OPERATE,
        status=201,
        body=CreatePool,
        answer=schemas.AsnPool,
    ),
    Route(
        "POST",
        "/ipam/v1/asn-pools/{pool}/asns",
        take,
        right=Right.OPERATE,
        status=201,
        body=TakeAsn,
        answer=schemas.Asn,
    ),
    Route("GET", "/ipam/v1/asns", list_asns, right=Right.LOOK, objects="asns", query=_ASNS, answer=schemas.Asn),
    Route("DELETE", "/ipam/v1/asns/{asn}", end, right=Right.OPERATE, status=204),
)
