"""What is on offer, as operators make and change it: facilities and plans. A change can be rehearsed first."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Literal

import asyncpg
from pydantic import AfterValidator, Field, StringConstraints

from service.admin import place_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Request, read
from service.api.problems import Invalid, not_found, shown
from service.policy import Right
from service.store.rows import Connection
from service.store.trial import compared, rehearsed
from sql.loader import Q

_SLUG = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def _slug(value: str) -> str:
    if not _SLUG.fullmatch(value):
        raise ValueError(f"{shown(value)} must be small letters, digits and inner . _ -, 63 characters at most")
    return value


Slug = Annotated[str, AfterValidator(_slug)]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]
Price = Annotated[Decimal, Field(ge=0, lt=1_000_000, max_digits=10, decimal_places=4)]


class AddFacility(Request):
    """A new data centre. The metro is made, too, when `metro_name` and `country` are given."""

    code: Slug
    name: Text
    metro: Slug
    metro_name: Text | None = None
    country: Annotated[str, StringConstraints(pattern="^[A-Z]{2}$")] | None = None  # ISO 3166-1 alpha-2


class ChangeFacility(Request):
    """What is to be another name or metro; `dry_run` shows it and changes nothing."""

    name: Text | None = None
    metro: Slug | None = None
    dry_run: bool = False


class Cpu(Request):
    """Processors of one kind."""

    count: Annotated[int, Field(ge=1, le=64)]
    type: Text


class Memory(Request):
    """All of it, as `32GB`."""

    total: Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,5}(GB|TB)$")]


class Drive(Request):
    """Disks of one kind; `size` as `480GB` or `1.6TB`."""

    count: Annotated[int, Field(ge=1, le=200)]
    size: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,5}(\.[0-9]{1,3})?(GB|TB)$")]
    type: Literal["SSD", "HDD", "NVME"]
    category: Literal["boot", "cache", "storage"] = "storage"


class Nic(Request):
    """Network cards of one kind; `type` as `10Gbps`."""

    count: Annotated[int, Field(ge=1, le=32)]
    type: Annotated[str, StringConstraints(pattern="^[1-9][0-9]{0,3}(Mbps|Gbps)$")]


class Features(Request):
    """What the machines can do."""

    raid: bool = False
    txt: bool = False
    uefi: bool = False


class Specs(Request):
    """What a machine of the plan is made of."""

    cpus: Annotated[list[Cpu], Field(min_length=1)]
    memory: Memory
    drives: Annotated[list[Drive], Field(min_length=1)]
    nics: Annotated[list[Nic], Field(min_length=1)]
    features: Features = Features()
    arch: Literal["amd64", "arm64"] = "amd64"


class AddPlan(Request):
    """A new kind of machine; the price is per hour."""

    slug: Slug
    aliases: Annotated[list[Slug], Field(default_factory=list)]
    name: Text | None = None
    description: Text | None = None
    specs: Specs
    price_hourly: Price


class ChangePlan(Request):
    """What is to be otherwise; `dry_run` shows it, and whom it touches, and changes nothing."""

    aliases: list[Slug] | None = None
    name: Text | None = None
    description: Text | None = None
    specs: Specs | None = None
    price_hourly: Price | None = None
    dry_run: bool = False


def _plan(row: Any) -> Body:
    return {**dict(row), "id": str(row["id"]), "price_hourly": float(row["price_hourly"])} | {
        "created_at": stamp(row["created_at"]),
        "href": f"/admin/v1/plans/{row['slug']}",
    }


def _facility(row: Any) -> Body:
    return {**dict(row), "id": str(row["id"]), "href": f"/admin/v1/facilities/{row['code']}"}


async def _one(db: Connection, query: str, name: str) -> Body:
    row = await db.fetchrow(Q[query], name)
    if row is None:
        raise not_found()
    return _plan(row) if query == "plans_kept" else _facility(row)


async def list_facilities(call: Call) -> Body:
    """GET /admin/v1/facilities: with how many racks, leaves, machines and devices each has"""
    return {"facilities": [_facility(row) for row in await call.db.fetch(Q["facilities_kept"], None)]}


async def get_facility(call: Call) -> Body:
    """GET /admin/v1/facilities/{facility}: by code or id"""
    return await _one(call.db, "facilities_kept", call.ids["facility"])


async def _metro(conn: Connection, code: str) -> Any:
    metro = await conn.fetchval(Q["metro_named"], code)
    if metro is None:
        raise Invalid(f"Metro is not valid: there is no {shown(code)}; give metro_name and country to make it")
    return metro


async def add_facility(call: Call) -> Body:
    """POST /admin/v1/facilities: a new data centre, in a metro that is there or is made with it"""
    wish = read(AddFacility, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        if wish.metro_name is not None and wish.country is not None:
            await conn.execute(Q["add_metro"], wish.metro, wish.metro_name, wish.country)
        try:
            await conn.execute(Q["add_facility"], await _metro(conn, wish.metro), wish.code, wish.name)
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Code is not valid: there is a facility {wish.code}") from None
        return await _one(conn, "facilities_kept", wish.code)


async def change_facility(call: Call) -> Body:
    """PATCH /admin/v1/facilities/{facility}: its name or metro; with dry_run only shown"""
    wish = read(ChangeFacility, call.body)
    async with rehearsed(call.db, keep=not wish.dry_run) as conn:
        before = await _one(conn, "facilities_kept", call.ids["facility"])
        metro = None if wish.metro is None else await _metro(conn, wish.metro)
        await conn.execute(Q["change_facility"], before["code"], wish.name, metro)
        after = await _one(conn, "facilities_kept", before["code"])
    return compared(before, after, applied=not wish.dry_run)


async def list_plans(call: Call) -> Body:
    """GET /admin/v1/plans: with how many machines and devices each has"""
    return {"plans": [_plan(row) for row in await call.db.fetch(Q["plans_kept"], None)]}


async def get_plan(call: Call) -> Body:
    """GET /admin/v1/plans/{plan}: by slug, older slug or id"""
    return await _one(call.db, "plans_kept", call.ids["plan"])


async def _names_free(conn: Connection, names: list[str], *, but: str | None) -> None:
    for row in await conn.fetch(Q["plan_by_any_name"], names):
        if row["slug"] != but:
            raise Invalid(f"Slug or aliases is not valid: plan {row['slug']} has one of {', '.join(names)}")


async def add_plan(call: Call) -> Body:
    """POST /admin/v1/plans: a new kind of machine"""
    wish = read(AddPlan, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        await _names_free(conn, [wish.slug, *wish.aliases], but=None)
        name = wish.name or wish.slug
        specs = wish.specs.model_dump()
        await conn.execute(
            Q["add_plan"], wish.slug, wish.aliases, name, wish.description or name, specs, wish.price_hourly
        )
        return await _one(conn, "plans_kept", wish.slug)


async def change_plan(call: Call) -> Body:
    """PATCH /admin/v1/plans/{plan}: price, words, aliases or specs; with dry_run only shown"""
    wish = read(ChangePlan, call.body)
    async with rehearsed(call.db, keep=not wish.dry_run) as conn:
        before = await _one(conn, "plans_kept", call.ids["plan"])
        if wish.aliases is not None:
            await _names_free(conn, wish.aliases, but=before["slug"])
        specs = None if wish.specs is None else wish.specs.model_dump()
        await conn.execute(
            Q["change_plan"], before["id"], wish.aliases, wish.name, wish.description, specs, wish.price_hourly
        )
        after = await _one(conn, "plans_kept", before["slug"])
    return compared(before, after, applied=not wish.dry_run)


ROUTES = (
    Route(
        "GET",
        "/admin/v1/facilities",
        list_facilities,
        right=Right.LOOK,
        objects="facilities",
        answer=place_schemas.FacilityKept,
    ),
    Route(
        "POST",
        "/admin/v1/facilities",
        add_facility,
        status=201,
        right=Right.OPERATE,
        body=AddFacility,
        answer=place_schemas.FacilityKept,
    ),
    Route("GET", "/admin/v1/facilities/{facility}", get_facility, right=Right.LOOK, answer=place_schemas.FacilityKept),
    Route(
        "PATCH",
        "/admin/v1/facilities/{facility}",
        change_facility,
        right=Right.OPERATE,
        body=ChangeFacility,
        answer=place_schemas.FacilityChange,
    ),
    Route("GET", "/admin/v1/plans", list_plans, right=Right.LOOK, objects="plans", answer=place_schemas.PlanKept),
    Route(
        "POST",
        "/admin/v1/plans",
        add_plan,
        status=201,
        right=Right.OPERATE,
        body=AddPlan,
        answer=place_schemas.PlanKept,
    ),
    Route("GET", "/admin/v1/plans/{plan}", get_plan, right=Right.LOOK, answer=place_schemas.PlanKept),
    Route(
        "PATCH",
        "/admin/v1/plans/{plan}",
        change_plan,
        right=Right.OPERATE,
        body=ChangePlan,
        answer=place_schemas.PlanChange,
    ),
)
