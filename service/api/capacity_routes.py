"""How much of what is free, and whether a wish could be met now."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from uuid import UUID

from service.api import offer_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import CapacityQuestion, CapacityWish, read
from service.api.parameters import Parameter
from service.api.problems import Invalid, shown
from service.forecast import pools, usual
from service.limits import limits_of
from service.policy import Right
from service.store.offers import Facility, Offers, free_capacity

Free = Mapping[tuple[UUID, UUID], int]


def level(free: int) -> str:
    """The dialect's word for so many free machines."""
    return "unavailable" if free < 1 else "critical" if free < 2 else "limited" if free < 5 else "normal"


def places_of(offers: Offers, facility: str | None, metro: str | None) -> list[Facility]:
    """The facilities that a wish means. Raises Refused (422)."""
    if facility == "any" or (not facility and metro == "any"):
        return list(offers.facilities)
    if facility:
        if (found := offers.facility(facility)) is None:
            codes = ", ".join(one.code for one in offers.facilities)
            raise Invalid(f"Facility is not valid: {shown(facility)} is not one of {codes}, any")
        return [found]
    if not metro:
        raise Invalid("Facility can't be blank")
    if not (places := offers.in_metro(metro)):
        codes = ", ".join(sorted({one.metro_code for one in offers.facilities}))
        raise Invalid(f"Metro is not valid: {shown(metro)} is not one of {codes}, any")
    return places


async def capacity(call: Call) -> Body:
    """GET /capacity, GET /capacity/metros: how much of each plan is free, by facility or by metro"""
    offers, free = await call.api.offers(), await free_capacity(call.db)
    by_metro = call.path.endswith("/metros")
    counted: dict[str, dict[str, int]] = {}
    for place in offers.facilities:
        row = counted.setdefault(place.metro_code if by_metro else place.code, {})
        for plan in offers.plans:
            row[plan.slug] = row.get(plan.slug, 0) + free.get((place.id, plan.id), 0)
    return {
        "capacity": {
            code: {slug: {"level": level(count)} for slug, count in row.items()} for code, row in counted.items()
        }
    }


async def check_capacity(call: Call) -> Body:
    """POST /capacity, POST /capacity/metros: each wish is echoed with whether all of its machines are free

    Wishes for the same machines are counted together.
    """
    wishes = read(CapacityQuestion, call.body).servers
    offers, free = await call.api.offers(), dict(await free_capacity(call.db))
    return {"servers": [_answer(wish, offers, free) for wish in wishes]}


def _answer(wish: CapacityWish, offers: Offers, free: dict[tuple[UUID, UUID], int]) -> Body:
    if (plan := offers.plan(wish.plan)) is None:
        slugs = ", ".join(one.slug for one in offers.plans)
        raise Invalid(f"Plan is not valid: {shown(wish.plan)} is not one of {slugs}")
    places = places_of(offers, wish.facility, wish.metro)
    available = sum(free.get((place.id, plan.id), 0) for place in places) >= wish.quantity
    missing = wish.quantity if available else 0
    for place in places:
        taken = min(missing, free.get((place.id, plan.id), 0))
        free[place.id, plan.id] = free.get((place.id, plan.id), 0) - taken
        missing -= taken
    return {**wish.model_dump(exclude_none=True), "available": available}


async def capacity_eta(call: Call) -> Body:
    """GET /capacity/eta: when an order placed now would be active, at each place that is meant

    `eta` is null where no machine is expected; `seconds` is what it takes from the machine on, and `ahead` how many
    orders get a machine before it. `basis` is `measurement` where that was measured lately (`measured` orders), and
    `limit` where it was not: then it is what an order may take at most.
    """
    offers, now = await call.api.offers(), call.api.clock.now()
    named, slug = call.word("plan"), call.word("operating_system")
    plan = offers.plan(named) if named else None
    if plan is None:
        slugs = ", ".join(one.slug for one in offers.plans)
        raise Invalid(f"Plan is not valid: {shown(named)} is not one of {slugs}" if named else "Plan can't be blank")
    system = offers.system(slug) if slug else None
    if slug and system is None:
        raise Invalid(f"Operating system is not valid: {shown(slug)} is not one of {', '.join(offers.system_ids)}")
    places = places_of(offers, call.word("facility"), call.word("metro"))
    limits, lately = limits_of(call.api.catalogue, call.api.settings, system, None), call.api.lately
    async with call.db.acquire() as conn:
        found = await pools(conn, lately, [place.id for place in places], plan.id, None, now=now)
        took = usual(await lately.times_of(conn, "provision", now=now), plan.id, system, limits)
    rows = []
    for place in places:
        pool = found[place.id]
        start = pool.start(now)
        rows.append(
            {
                "facility": place.code,
                "plan": plan.slug,
                "operating_system": system,
                "free": pool.ready,
                "ahead": pool.ahead,
                "eta": None if start is None else stamp(start + timedelta(seconds=took.p50_s)),
                "seconds": {"p50": round(took.p50_s, 1), "p95": round(took.p95_s, 1)},
                "measured": took.measured,
                "basis": took.basis,
            }
        )
    return {"etas": rows}


ROUTES = (
    Route("GET", "/capacity", capacity, right=Right.OPEN, answer=offer_schemas.Capacity),
    Route("GET", "/capacity/metros", capacity, right=Right.OPEN, answer=offer_schemas.Capacity),
    Route(
        "POST",
        "/capacity",
        check_capacity,
        right=Right.OPEN,
        writes=False,
        body=CapacityQuestion,
        answer=offer_schemas.CapacityAnswer,
    ),
    Route(
        "POST",
        "/capacity/metros",
        check_capacity,
        right=Right.OPEN,
        writes=False,
        body=CapacityQuestion,
        answer=offer_schemas.CapacityAnswer,
    ),
    Route(
        "GET",
        "/capacity/eta",
        capacity_eta,
        right=Right.OPEN,
        query=(
            Parameter("plan", "Its slug or id."),
            Parameter("facility", "Its code or id, or any."),
            Parameter("metro", "Its code or id, or any."),
            Parameter("operating_system", "Its slug or id."),
        ),
        addition=True,
        objects="etas",
        answer=offer_schemas.CapacityEta,
    ),
)
