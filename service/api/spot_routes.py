"""The spot market: prices, and requests for machines whenever they cost no more than that."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import Field

from service import intents
from service.addresses.asked import time_of
from service.api import order_schemas
from service.api.call import Body, Call, Route
from service.api.drafts import draft_of
from service.api.idempotency import made_before
from service.api.links import stamp
from service.api.models import CreateDevice, Hostname, Maybe, Moment, Price, Request, Text, Words, read
from service.api.parameters import Parameter, flag
from service.api.problems import Invalid, not_found, shown
from service.market import order_of
from service.policy import Right
from service.store.accounts import sees_project
from service.store.offers import Facility, Offers
from service.store.rows import Connection
from service.store.spot import spot_prices
from sql.loader import Q

_MOST = 1000


class SpotParameters(CreateDevice):
    """What each device of a request is ordered with."""

    hostnames: Maybe[list[Hostname]] = None


class SpotRequest(Request):
    """Between so many machines, whenever one costs no more than the bid, an hour."""

    devices_min: Annotated[int, Field(ge=1, le=_MOST)]
    devices_max: Annotated[int, Field(ge=1, le=_MOST)]
    max_bid_price: Price
    facilities: Words = Field(default_factory=list)
    metro: Maybe[Text] = None
    instance_parameters: SpotParameters
    end_at: Maybe[Moment] = None


async def prices(call: Call) -> Body:
    """GET /market/spot/prices, GET /market/spot/prices/metros: what a spot machine costs an hour now

    By facility or metro, then by plan; of several facilities in a metro the lowest. The price goes by how much of the
    pool is ordered at the plan's own price: a tenth of that while nothing is, all of it when everything is.
    """
    offers, found = await call.api.offers(), await spot_prices(call.db)
    by_metro = call.path.endswith("/metros")
    wanted, plans = _places(call, offers), {one.id: one.slug for one in offers.plans}
    if (named := call.word("plan")) is not None:
        plan = offers.plan(named)
        plans = {} if plan is None else {plan.id: plan.slug}
    told: dict[str, dict[str, dict[str, float]]] = {}
    for place in wanted:
        row = told.setdefault(place.metro_code if by_metro else place.code, {})
        for plan_id, slug in plans.items():
            if (price := found.get((place.id, plan_id))) is not None:
                row[slug] = {"price": min(float(price), row.get(slug, {"price": float(price)})["price"])}
    return {"spot_market_prices": told}


def _places(call: Call, offers: Offers) -> list[Facility]:
    facility, metro = call.word("facility"), call.word("metro")
    return [
        one
        for one in offers.facilities
        if facility in (None, one.code, str(one.id)) and metro in (None, one.metro_code, str(one.metro_id))
    ]


async def price_history(call: Call) -> Body:
    """GET /market/spot/prices/history?facility=&plan=&from=&until=: each change as [price, unix seconds]

    The first is the price that held when the time begins. Times are ISO 8601 or unix seconds.
    """
    offers = await call.api.offers()
    if call.word("plan") is None:
        raise Invalid("Plan can't be blank")
    if call.word("facility") is None and call.word("metro") is None:
        raise Invalid("Facility can't be blank")
    plan = offers.plan(call.word("plan") or "")
    if plan is None:
        slugs = ", ".join(one.slug for one in offers.plans)
        raise Invalid(f"Plan is not valid: {shown(call.word('plan'))} is not one of {slugs}")
    places = _places(call, offers)
    if not places:
        codes = ", ".join(one.code for one in offers.facilities)
        raise Invalid(f"Facility is not valid: {shown(call.word('facility'))} is not one of {codes}")
    since, until = moment_asked(call, "from"), moment_asked(call, "until")
    rows = await call.db.fetch(
        Q["spot_price_history"],
        [one.id for one in places],
        plan.id,
        since or datetime.fromtimestamp(0, UTC),
        until or call.api.clock.now(),
    )
    points = [[float(row["price"]), int(row["since"].timestamp())] for row in rows]
    return {"prices_history": {"datapoints": points}}


def moment_asked(call: Call, name: str) -> datetime | None:
    """A time of the query, ISO 8601 or unix seconds; None when it is missing. Raises Refused (422)."""
    if (value := call.word(name)) is None:
        return None
    if value.isascii() and value.isdecimal() and len(value) < 12:
        return datetime.fromtimestamp(int(value), UTC)
    found = time_of(name.capitalize(), value)
    if not 1970 <= found.year <= 9000:
        raise Invalid(f"{name.capitalize()} is not valid: {shown(value)} is not in the years 1970 to 9000")
    return found


def _object(row: Mapping[str, Any], call: Call, offers: Offers) -> Body:
    links = call.links
    ids = {one.code: one.id for one in offers.facilities}
    metro = next((one for one in offers.facilities if row["metro"] in (one.metro_code, str(one.metro_id))), None)
    return {
        "id": str(row["id"]),
        "devices_min": row["devices_min"],
        "devices_max": row["devices_max"],
        "max_bid_price": float(row["max_bid_price"]),
        "facilities": [links.to("facilities", ids[code]) for code in row["facilities"] if code in ids],
        "metro": None
        if metro is None
        else {"id": str(metro.metro_id), "code": metro.metro_code, "name": metro.metro_name},
        "instances": [links.to("devices", id_) for id_ in row["device_ids"]],
        "project": links.to("projects", row["project_id"]),
        "end_at": None if row["end_at"] is None else stamp(row["end_at"]),
        "created_at": stamp(row["created_at"]),
        "reason": row["reason"],
        "href": links.href("spot-market-requests", row["id"]),
    }


async def list_requests(call: Call) -> Body:
    """GET /projects/{project}/spot-market-requests: those that last, newest first"""
    rows = await call.db.fetch(Q["spot_requests"], await call.project(), None)
    offers = await call.api.offers()
    return {"spot_market_requests": [_object(row, call, offers) for row in rows]}


async def create_request(call: Call) -> Body:
    """POST /projects/{project}/spot-market-requests: order up to `devices_max` machines while the bid is enough

    Nothing is ordered before `devices_min` are free. The devices end with the request's `end_at`.
    """
    project_id, request_id = await call.project(), uuid4()
    wish, now, offers = read(SpotRequest, call.body), call.api.clock.now(), await call.api.offers()
    errors = []
    if wish.devices_max < wish.devices_min:
        errors.append(f"Devices max is not valid: {wish.devices_max}; allowed is {wish.devices_min} or more")
    if wish.end_at is not None and wish.end_at <= now:
        errors.append(f"End at is not valid: {shown(wish.end_at.isoformat())} is over; allowed is a time to come")
    if wish.instance_parameters.storage is not None and wish.instance_parameters.storage.passphrase:
        errors.append("Storage is not valid: a spot market request takes no passphrase")
    if errors:
        raise Invalid(*errors)
    row = {
        "devices_min": wish.devices_min,
        "max_bid_price": wish.max_bid_price,
        "facilities": [_code(offers, name) for name in wish.facilities],
        "metro": wish.metro,
        "parameters": wish.instance_parameters.model_dump(
            mode="json",
            exclude_unset=True,
            exclude={"facility", "metro", "spot_instance", "spot_price_max", "hardware_reservation_id"},
        ),
        "end_at": wish.end_at,
    }
    draft_of(read(CreateDevice, order_of(row, 0)), offers, call.api.catalogue)
    async with call.db.acquire() as conn, conn.transaction():
        if await conn.fetchrow(Q["lock_project"], *call.caller.scope, project_id) is None:
            raise not_found()
        if (earlier := await made_before(conn, call, request_id, 201)) is None:
            await conn.execute(
                Q["add_spot_request"],
                request_id,
                project_id,
                wish.devices_min,
                wish.devices_max,
                wish.max_bid_price,
                row["facilities"],
                wish.metro,
                row["parameters"],
                wish.end_at,
                call.caller.user_id,
                now,
            )
            await conn.execute(Q["notify"], "due")
    return _object(await _row(call, earlier or request_id), call, offers)


def _code(offers: Offers, name: str) -> str:
    if (found := offers.facility(name)) is None:
        codes = ", ".join(one.code for one in offers.facilities)
        raise Invalid(f"Facilities is not valid: {shown(name)} is not one of {codes}")
    return found.code


async def _row(call: Call, request_id: UUID) -> Mapping[str, Any]:
    row: Mapping[str, Any] | None = await call.db.fetchrow(Q["spot_requests"], None, request_id)
    if row is None or not await sees_project(call.db, call.caller, row["project_id"]):
        raise not_found()
    return row


async def get_request(call: Call) -> Body:
    """GET /spot-market-requests/{request}: with its devices, and why it has fewer than it wants"""
    return _object(await _row(call, call.id("request")), call, await call.api.offers())


async def delete_request(call: Call) -> None:
    """DELETE /spot-market-requests/{request}: order no more; devices stay, or go with `force_termination=true`"""
    row, force, now = await _row(call, call.id("request")), bool(call.flag("force_termination")), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if not await conn.fetchval(Q["end_spot_request"], row["id"], now):
            raise not_found()
        if force:
            await _terminate(call, conn, row["id"])


async def _terminate(call: Call, conn: Connection, request_id: UUID) -> None:
    # The request's row is held: no device joins it any more.
    for device in await conn.fetch(Q["devices_of_spot_request"], request_id):
        await conn.execute(Q["lock_course"], device["id"])
        await intents.delete_device(
            conn, device["id"], settings=call.api.settings, clock=call.api.clock, by=call.caller.actor
        )


_PRICES = (
    Parameter("facility", "At this facility, by code or id."),
    Parameter("metro", "In this metro, by code or id."),
    Parameter("plan", "Of this plan, by slug."),
)
ROUTES = (
    Route("GET", "/market/spot/prices", prices, answer=order_schemas.SpotPrices, right=Right.OPEN, query=_PRICES),
    Route(
        "GET", "/market/spot/prices/metros", prices, answer=order_schemas.SpotPrices, right=Right.OPEN, query=_PRICES
    ),
    Route(
        "GET",
        "/market/spot/prices/history",
        price_history,
        answer=order_schemas.SpotPriceHistory,
        right=Right.OPEN,
        query=(
            *_PRICES,
            Parameter("from", "Since this time, ISO 8601 or unix seconds."),
            Parameter("until", "Before this time, ISO 8601 or unix seconds."),
        ),
    ),
    Route(
        "GET",
        "/projects/{project}/spot-market-requests",
        list_requests,
        answer=order_schemas.SpotMarketRequest,
        objects="spot_market_requests",
        right=Right.VIEW,
    ),
    Route(
        "POST",
        "/projects/{project}/spot-market-requests",
        create_request,
        answer=order_schemas.SpotMarketRequest,
        status=201,
        right=Right.USE,
        body=SpotRequest,
    ),
    Route(
        "GET", "/spot-market-requests/{request}", get_request, answer=order_schemas.SpotMarketRequest, right=Right.VIEW
    ),
    Route(
        "DELETE",
        "/spot-market-requests/{request}",
        delete_request,
        status=204,
        right=Right.USE,
        query=(flag("force_termination", "With true: its devices are deleted, too."),),
    ),
)
