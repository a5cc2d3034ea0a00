"""The spot market at work: prices are written down, instances that were outbid end, requests get their machines."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import structlog

from ipam.errors import IpamError
from service.api.drafts import Draft, draft_of
from service.api.models import CreateDevice, read
from service.api.ordering import Ground, place_order
from service.api.problems import Refused
from service.store.events import add_event
from service.store.offers import free_capacity, read_offers
from service.store.rows import Connection, Pool
from service.store.spot import record_price, spot_prices
from sql.loader import Q

log = structlog.get_logger()

NOTICE = timedelta(seconds=120)  # that an instance which was outbid still has


async def write_prices(db: Pool, ground: Ground) -> None:
    """Write down the prices that have changed."""
    now = ground.clock.now()
    for (facility_id, plan_id), price in (await spot_prices(db)).items():
        await record_price(db, facility_id, plan_id, price, now=now)


async def take_back(db: Pool, ground: Ground) -> None:
    """Give notice to the spot instances that cost more now than their customers would pay."""
    prices = await spot_prices(db)
    for row in await db.fetch(Q["spot_devices"]):
        price = prices.get((row["facility_id"], row["plan_id"]))
        if price is None or price <= row["spot_price_max"]:
            continue
        now = ground.clock.now()
        async with db.acquire() as conn, conn.transaction():
            ended = await conn.fetchrow(Q["outbid"], row["id"], now, now + NOTICE)
            if ended is not None:
                body = f"The spot price is {price} an hour, above {ended['spot_price_max']}; the instance is taken back"
                data = {"price": str(price), "termination_time": ended["termination_time"].isoformat()}
                await add_event(conn, "instance.outbid", body, device_id=row["id"], data=data)


async def fill_requests(db: Pool, ground: Ground) -> None:
    """Order machines for the requests whose bid is enough: the highest bid first, each device in a transaction."""
    for row in await db.fetch(Q["spot_requests_open"]):
        while await _fill_one(db, ground, row["id"]):
            pass


async def _fill_one(db: Pool, ground: Ground, request_id: UUID) -> bool:
    """One device more for the request; False when it gets none now."""
    try:
        async with db.acquire() as conn, conn.transaction():
            row = await conn.fetchrow(Q["lock_spot_request"], request_id)
            if row is None:
                return False
            now = ground.clock.now()
            if row["project_deleted_at"] is not None or (row["end_at"] is not None and row["end_at"] <= now):
                await conn.execute(Q["end_spot_request"], request_id, now)
                return False
            if row["devices"] >= row["devices_max"]:
                await conn.execute(Q["spot_request_waits"], request_id, None)
                return False
            draft = await _draft(conn, ground, row)
            if why := await _why_not(conn, draft, row):
                await conn.execute(Q["spot_request_waits"], request_id, why)
                return False
            project = {"id": row["project_id"], "organization_id": row["organization_id"]}
            await place_order(
                conn, ground, project, draft, uuid4(), created_by=row["created_by"], spot_request=request_id
            )
            return True
    except (Refused, IpamError) as err:
        why = "; ".join(err.errors) if isinstance(err, Refused) else str(err)
        await db.execute(Q["spot_request_waits"], request_id, why)
        return False


async def _draft(conn: Connection, ground: Ground, row: Mapping[str, Any]) -> Draft:
    offers = await read_offers(conn, [entry.slug for entry in ground.catalogue])
    return draft_of(read(CreateDevice, order_of(row, row["ever"])), offers, ground.catalogue)


def order_of(row: Mapping[str, Any], number: int) -> dict[str, Any]:
    """The order of a request's next device, of which it has had `number` so far."""
    wish = dict(row["parameters"])
    names = wish.pop("hostnames", None)
    if names:
        wish["hostname"] = names[number % len(names)]
    wish |= {"spot_instance": True, "spot_price_max": str(row["max_bid_price"]), "metro": row["metro"]}
    wish["facility"] = row["facilities"] or ([] if row["metro"] else ["any"])
    if row["end_at"] is not None:
        own = wish.get("termination_time")
        ends = row["end_at"] if own is None else min(datetime.fromisoformat(own), row["end_at"])
        wish["termination_time"] = ends.isoformat()
    return wish


async def _why_not(conn: Connection, draft: Draft, row: Mapping[str, Any]) -> str | None:
    """Why the request gets nothing now; None when it may have a device."""
    prices, free = await spot_prices(conn), await free_capacity(conn)
    bid: Decimal = row["max_bid_price"]
    asked = {place.code: prices.get((place.id, draft.plan.id)) for place in draft.places}
    fitting = [place for place in draft.places if (price := asked[place.code]) is not None and price <= bid]
    if not fitting:
        told = ", ".join(f"{code} {price}" for code, price in asked.items() if price is not None)
        return f"{bid} an hour is bid for {draft.plan.slug}, and asked now: {told or 'there is none'}"
    there = sum(free.get((place.id, draft.plan.id), 0) for place in fitting)
    if not there or row["devices"] + there < row["devices_min"]:
        return f"{there} {draft.plan.slug} are free, and {row['devices_min'] - row['devices']} or more are wanted"
    return None
