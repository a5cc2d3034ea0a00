"""Racks and what stands in them, and the ports of all leaves."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
from pydantic import Field, StringConstraints

from service.admin import place_schemas
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Request, read
from service.api.parameters import Parameter, choice
from service.api.problems import Invalid, not_found, shown
from service.policy import Right
from service.spellings import RACK
from service.store.rows import Connection
from sql.loader import Q

_PROFILES = ("quarantine", "provisioning", "active", "rescue", "maintenance")
_SHOWING = ("pending", "faulty", "free", "used")

RackName = Annotated[str, StringConstraints(pattern=f"^{RACK}$")]
Units = Annotated[int, Field(ge=1, le=100)]


class AddRack(Request):
    """A rack and how many units it has."""

    facility: str
    name: RackName
    units: Units = 42


class ChangeRack(Request):
    """Another name or height."""

    name: RackName | None = None
    units: Units | None = None


class Put(Request):
    """What is put into a rack: a machine or a leaf, by name or id, and its lowest unit, counted from the floor."""

    machine: str | None = None
    leaf: str | None = None
    unit: Units


def _rack(row: Any, things: list[Any]) -> Body:
    inside = [
        {name: one[name] for name in ("unit", "kind", "name", "state", "plan", "device")}
        for one in things
        if one["rack_id"] == row["id"]
    ]
    return {**dict(row), "id": str(row["id"]), "created_at": stamp(row["created_at"]), "contents": inside}


async def _racks(db: Connection, facility: str | None, name: str | None) -> list[Body]:
    rows = await db.fetch(Q["racks_seen"], facility, name)
    things = await db.fetch(Q["in_racks"], [row["id"] for row in rows])
    return [_rack(row, things) for row in rows]


async def _rack_named(call: Call, db: Connection) -> Body:
    """The path's rack, by id, or by name where only one has it. Raises Refused."""
    found = await _racks(db, call.word("facility"), call.ids["rack"])
    if not found:
        raise not_found()
    if len(found) > 1:
        places = ", ".join(one["facility"] for one in found)
        raise Invalid(f"facility can't be blank: {places} have a rack {shown(call.ids['rack'])}")
    return found[0]


async def list_racks(call: Call) -> Body:
    """GET /admin/v1/racks: with what stands in each"""
    return {"racks": await _racks(call.db, call.word("facility"), None)}


async def get_rack(call: Call) -> Body:
    """GET /admin/v1/racks/{rack}: by id or name, with what stands in it"""
    return await _rack_named(call, call.db)


async def add_rack(call: Call) -> Body:
    """POST /admin/v1/racks: a rack without anything in it"""
    wish = read(AddRack, call.body)
    try:
        rack_id = await call.db.fetchval(Q["add_rack"], wish.facility, wish.name, wish.units)
    except asyncpg.UniqueViolationError:
        raise Invalid(f"Name is not valid: {wish.facility} has a rack {wish.name}") from None
    if rack_id is None:
        raise Invalid(f"Facility is not valid: there is no {shown(wish.facility)}")
    return (await _racks(call.db, None, str(rack_id)))[0]


async def change_rack(call: Call) -> Body:
    """PATCH /admin/v1/racks/{rack}: its name or height"""
    wish = read(ChangeRack, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        rack = await _rack_named(call, conn)
        top = max((one["unit"] for one in rack["contents"] if one["unit"] is not None), default=0)
        if wish.units is not None and wish.units < top:
            raise Invalid(f"Units is not valid: {wish.units}: something stands at unit {top}")
        try:
            await conn.execute(Q["change_rack"], rack["id"], wish.name, wish.units)
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Name is not valid: {rack['facility']} has a rack {wish.name}") from None
        return (await _racks(conn, None, rack["id"]))[0]


async def put(call: Call) -> Body:
    """POST /admin/v1/racks/{rack}/contents: record a machine or leaf at a unit of the rack"""
    wish = read(Put, call.body)
    if (wish.machine is None) == (wish.leaf is None):
        raise Invalid("Machine or leaf can't be blank: one of them is put into the rack, not both")
    async with call.db.acquire() as conn, conn.transaction():
        rack = await _rack_named(call, conn)
        if wish.unit > rack["units"]:
            raise Invalid(f"Unit is not valid: {wish.unit}; {rack['name']} has {rack['units']}")
        for one in rack["contents"]:
            both = {one["name"], wish.machine or wish.leaf}
            if one["unit"] == wish.unit and len(both) == 2 and (one["kind"] == "leaf" or wish.leaf is not None):
                raise Invalid(f"Unit is not valid: {wish.unit}; {one['name']} stands there")
        name, query = wish.machine or wish.leaf, "put_machine_into_rack" if wish.machine else "put_leaf_into_rack"
        if not await conn.fetchval(Q[query], name, rack["id"], wish.unit):
            what = "Machine" if wish.machine else "Leaf"
            raise Invalid(f"{what} is not valid: {shown(name)} is not in {rack['facility']}")
        return (await _racks(conn, None, rack["id"]))[0]


async def remove_rack(call: Call) -> None:
    """DELETE /admin/v1/racks/{rack}: one that nothing stands in"""
    async with call.db.acquire() as conn, conn.transaction():
        rack = await _rack_named(call, conn)
        try:
            await conn.execute(Q["remove_rack"], rack["id"])
        except asyncpg.ForeignKeyViolationError:
            inside = ", ".join(one["name"] for one in rack["contents"]) or "a retired machine"
            raise Invalid(f"{rack['name']} is not empty: {inside}") from None


def _port(row: Any) -> Body:
    found = {**dict(row)}
    for name in ("changed_at", "seen_at", "booted_at"):
        found[name] = None if row[name] is None else stamp(row[name])
    device_id = found.pop("device_id")
    return {
        **found,
        "device_id": None if device_id is None else str(device_id),
        "pending": row["applied"] < row["generation"],
    }


async def list_ports(call: Call) -> Body:
    """GET /admin/v1/ports: of all leaves; narrowed by leaf, port, facility, profile and showing"""
    for name, allowed in (("profile", _PROFILES), ("showing", _SHOWING)):
        value = call.word(name)
        if value is not None and value not in allowed:
            raise Invalid(f"{name} is not valid: {shown(value)} is not one of {', '.join(allowed)}")
    asked = [call.word(name) for name in ("leaf", "port", "facility", "profile", "showing")]
    return {"ports": [_port(row) for row in await call.db.fetch(Q["ports_listed"], *asked)]}


_FACILITY = Parameter("facility", "At this facility, by its code; needed where racks of several have the same name.")
_OF_PORTS = (
    Parameter("leaf", "Of this leaf, by name or id."),
    Parameter("port", "This port, as `xe-0/0/1`."),
    Parameter("facility", "At this facility, by its code."),
    choice("profile", "With this profile.", *_PROFILES),
    choice("showing", "Those that a leaf has not yet taken, that it refused, without and with a machine.", *_SHOWING),
)

ROUTES = (
    Route(
        "GET",
        "/admin/v1/racks",
        list_racks,
        right=Right.LOOK,
        query=(_FACILITY,),
        objects="racks",
        answer=place_schemas.Rack,
    ),
    Route(
        "POST", "/admin/v1/racks", add_rack, status=201, right=Right.FACILITY, body=AddRack, answer=place_schemas.Rack
    ),
    Route("GET", "/admin/v1/racks/{rack}", get_rack, right=Right.LOOK, query=(_FACILITY,), answer=place_schemas.Rack),
    Route(
        "PATCH",
        "/admin/v1/racks/{rack}",
        change_rack,
        right=Right.FACILITY,
        body=ChangeRack,
        query=(_FACILITY,),
        answer=place_schemas.Rack,
    ),
    Route("DELETE", "/admin/v1/racks/{rack}", remove_rack, status=204, right=Right.FACILITY, query=(_FACILITY,)),
    Route(
        "POST",
        "/admin/v1/racks/{rack}/contents",
        put,
        right=Right.FACILITY,
        body=Put,
        query=(_FACILITY,),
        answer=place_schemas.Rack,
    ),
    Route(
        "GET",
        "/admin/v1/ports",
        list_ports,
        right=Right.LOOK,
        query=_OF_PORTS,
        objects="ports",
        answer=place_schemas.Port,
    ),
)
