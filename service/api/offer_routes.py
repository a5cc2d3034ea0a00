"""What is on offer: facilities, metros, plans, operating systems."""

from __future__ import annotations

from service.api import objects, offer_schemas, parameters
from service.api.call import Body, Call, Route
from service.api.parameters import Parameter
from service.api.problems import not_found
from service.policy import Right


async def list_facilities(call: Call) -> Body:
    """GET /facilities: the places where machines are"""
    offers = await call.api.offers()
    return {"facilities": [objects.facility(one, call.links) for one in offers.facilities]}


async def get_facility(call: Call) -> Body:
    """GET /facilities/{facility}: a place, by code or id"""
    found = (await call.api.offers()).facility(call.ids["facility"])
    if found is None:
        raise not_found()
    return objects.facility(found, call.links)


async def list_metros(call: Call) -> Body:
    """GET /locations/metros: the cities with facilities, by code"""
    offers = await call.api.offers()
    by_id = {one.metro_id: objects.metro(one, call.links) for one in offers.facilities}
    return {"metros": sorted(by_id.values(), key=lambda metro: str(metro["code"]))}


async def get_metro(call: Call) -> Body:
    """GET /locations/metros/{metro}: a metro, by code or id"""
    places = (await call.api.offers()).in_metro(call.ids["metro"])
    if not places:
        raise not_found()
    return objects.metro(places[0], call.links)


async def list_plans(call: Call) -> Body:
    """GET /plans, GET /projects/{project}/plans: narrowed by slug, type and categories"""
    if "project" in call.ids:
        await call.project()
    offers = await call.api.offers()
    plans = [objects.plan(one, offers, call.links) for one in offers.plans]
    if slug := call.word("slug"):
        named = offers.plan(slug)
        plans = [one for one in plans if named is not None and one["id"] == str(named.id)]
    if (type_ := call.word("type")) is not None:
        plans = [one for one in plans if one["type"] == type_]
    if (categories := call.words("categories")) is not None:
        plans = [one for one in plans if set(categories) & set(one["categories"])]
    return {"plans": plans}


async def get_plan(call: Call) -> Body:
    """GET /plans/{plan}: a plan, by slug, an older slug, or id"""
    offers = await call.api.offers()
    found = offers.plan(call.ids["plan"])
    if found is None:
        raise not_found()
    return objects.plan(found, offers, call.links)


async def list_operating_systems(call: Call) -> Body:
    """GET /operating-systems: what can be installed, with the plans that it runs on"""
    offers = await call.api.offers()
    found = [objects.operating_system(call.api.catalogue.get(slug), offers, call.links) for slug in offers.system_ids]
    return {"operating_systems": found}


async def get_operating_system(call: Call) -> Body:
    """GET /operating-systems/{operating_system}: one that can be installed, by slug or id"""
    offers = await call.api.offers()
    slug = offers.system(call.ids["operating_system"])
    if slug is None:
        raise not_found()
    return objects.operating_system(call.api.catalogue.get(slug), offers, call.links)


_PLANS = (
    Parameter("slug", "With this slug, also an older one."),
    Parameter("type", "Of this type: `standard`."),
    parameters.words("categories", "In one of these categories: `compute`."),
)

ROUTES = (
    Route("GET", "/facilities", list_facilities, right=Right.OPEN, objects="facilities", answer=offer_schemas.Facility),
    Route("GET", "/facilities/{facility}", get_facility, right=Right.OPEN, answer=offer_schemas.Facility),
    Route("GET", "/locations/metros", list_metros, right=Right.OPEN, objects="metros", answer=offer_schemas.Metro),
    Route("GET", "/locations/metros/{metro}", get_metro, right=Right.OPEN, answer=offer_schemas.Metro),
    Route("GET", "/plans", list_plans, right=Right.OPEN, objects="plans", query=_PLANS, answer=offer_schemas.Plan),
    Route("GET", "/plans/{plan}", get_plan, right=Right.OPEN, answer=offer_schemas.Plan),
    Route(
        "GET",
        "/projects/{project}/plans",
        list_plans,
        right=Right.VIEW,
        objects="plans",
        query=_PLANS,
        answer=offer_schemas.Plan,
    ),
    Route(
        "GET",
        "/operating-systems",
        list_operating_systems,
        right=Right.OPEN,
        objects="operating_systems",
        answer=offer_schemas.OperatingSystem,
    ),
    Route(
        "GET",
        "/operating-systems/{operating_system}",
        get_operating_system,
        right=Right.OPEN,
        answer=offer_schemas.OperatingSystem,
    ),
)
