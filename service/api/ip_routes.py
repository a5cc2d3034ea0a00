"""Addresses as customers look at them: a device's assignments, a project's reservations, elastic and management."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

from ipam.ledger import Tenure
from ipam.space import free_within
from service.api import address_schemas, parameters
from service.api.call import Body, Call, Route
from service.api.device_objects import ip_addresses
from service.api.device_view import scenery_of
from service.api.ip_objects import assignment, elastic_assignment, elastic_reservation, reservation
from service.api.links import reservation_of
from service.api.pages import meta, page_of
from service.api.parameters import Parameter
from service.api.problems import Invalid, not_found, shown
from service.api.scenery import Scenery
from service.policy import Right
from service.store.elastic import AddressFilter, Reservation, addresses_page, assignments, reservations
from service.store.orders import Device, devices
from sql.loader import Q

_PER_PAGE = 250
_TYPES = ("public_ipv4", "private_ipv4", "public_ipv6", "global_ipv4")
_AVAILABLE_AT_MOST = 1000  # subnets in one answer: an IPv6 block has more than anybody could read

Render = Callable[[Tenure, Device, Scenery], Body]


async def device_ips(call: Call) -> Body:
    """GET /devices/{device}/ips: all addresses that lead to a device, those of its own links first"""
    found = await devices(call.db, call.caller, [call.id("device")])
    if not found:
        raise not_found()
    return {"ip_addresses": ip_addresses(found[0], await scenery_of(call))}


def _types(call: Call) -> list[str]:
    """The types that the filters type, types, public, ipv4 and ipv6 let through."""
    types = (call.words("type") or []) + (call.words("types") or [])
    families = [name for name in ("ipv4", "ipv6") if call.flag(name)]
    public = call.flag("public")
    return [
        kind
        for kind in _TYPES
        if (not types or kind in types)
        and (not families or kind[-4:] in families)
        and (public is None or (kind != "private_ipv4") is public)
    ]


async def project_ips(call: Call) -> Body:
    """GET /projects/{project}/ips: narrowed by type, types, public, ipv4, ipv6, management, tag, facility, metro"""
    project_id = await call.project()
    page = page_of(call, _PER_PAGE)
    wanted = AddressFilter(
        types=_types(call),
        management=call.flag("management"),
        tag=call.word("tag"),
        facilities=call.words("facility"),
        metros=call.words("metro"),
    )
    total, ids, management = await addresses_page(call.db, project_id, wanted, page.size, page.offset)
    held = await _rendered(call, [id_ for id_ in ids if id_ in management], reservation)
    elastic = await reservations(call.db, call.caller, [id_ for id_ in ids if id_ not in management])
    if elastic:
        scenery = await scenery_of(call)
        held |= {one.id: elastic_reservation(one, scenery) for one in elastic}
    return {"ip_addresses": [held[id_] for id_ in ids if id_ in held], "meta": meta(call, page, total)}


async def _rendered(call: Call, ids: Sequence[UUID], render: Render) -> dict[UUID, Body]:
    """These management blocks, as far as the caller may see them."""
    rows = await call.db.fetch(Q["devices_of_tenures"], *call.caller.scope, list(ids)) if ids else []
    if not rows:
        return {}
    scenery = await scenery_of(call)
    found = await devices(call.db, call.caller, list({row["device_id"] for row in rows}))
    return {tenure.id: render(tenure, device, scenery) for device in found for tenure in device.links}


async def addresses(call: Call, ids: Sequence[UUID]) -> Mapping[UUID, Body]:
    """Assignments and reservations by their ids, as far as the caller may see them."""
    scenery = await scenery_of(call)
    found = {one.id: elastic_reservation(one, scenery) for one in await reservations(call.db, call.caller, ids)}
    found |= {one.id: elastic_assignment(one, scenery) for one in await assignments(call.db, call.caller, ids)}
    if missing := [id_ for id_ in ids if id_ not in found]:
        held = await _rendered(call, missing, assignment)
        found |= {id_: held[id_] for id_ in missing if id_ in held}
        held = await _rendered(call, [reservation_of(id_) for id_ in missing], reservation)
        found |= {id_: held[reservation_of(id_)] for id_ in missing if reservation_of(id_) in held}
    return found


async def get_ip(call: Call) -> Body:
    """GET /ips/{ip}: an assignment, or a reservation"""
    return await one_address(call, call.id("ip"))


async def one_address(call: Call, id_: UUID) -> Body:
    """An assignment or a reservation. Raises Refused (404)."""
    found = await addresses(call, [id_])
    if id_ not in found:
        raise not_found()
    return found[id_]


async def available(call: Call) -> Body:
    """GET /ips/{ip}/available?cidr=32: what of a reservation leads to no device, in subnets of that size

    A thousand at most. A management block is assigned whole, so nothing of it is free; a global block may lead to
    many devices, and stays available for more.
    """
    found = await reservations(call.db, call.caller, [call.id("ip")])
    if not found:
        if "type" not in await get_ip(call):
            raise not_found()
        return {"available": []}
    return {"available": await _free(call, found[0])}


async def _free(call: Call, one: Reservation) -> list[str]:
    length = _length(call, one)
    used = [
        row["block"]
        for row in await call.db.fetch(Q["blocks_routed"], one.id)
        if not (row["kind"] == "anycast" and row["block"].prefixlen == length)
    ]
    return [str(subnet) for subnet in free_within(one.block, used, length, _AVAILABLE_AT_MOST)]


def _length(call: Call, one: Reservation) -> int:
    shortest, longest = one.block.prefixlen, one.block.max_prefixlen
    text = call.word("cidr")
    if text is None:
        return longest
    if not (text.isascii() and text.isdecimal() and len(text) < 4 and shortest <= int(text) <= longest):
        raise Invalid(f"Cidr is not valid: {shown(text)}; allowed are {shortest} to {longest}")
    return int(text)


_AVAILABLE = (Parameter("cidr", "The prefix length of the subnets; single addresses where none is named.", "integer"),)

ROUTES = (
    Route(
        "GET",
        "/devices/{device}/ips",
        device_ips,
        right=Right.VIEW,
        objects="ip_addresses",
        answer=address_schemas.Assignment,
    ),
    Route(
        "GET",
        "/projects/{project}/ips",
        project_ips,
        right=Right.VIEW,
        objects="ip_addresses",
        query=parameters.IPS,
        answer=address_schemas.Reservation,
    ),
    Route("GET", "/ips/{ip}", get_ip, right=Right.VIEW, answer=address_schemas.AssignmentOrReservation),
    Route(
        "GET", "/ips/{ip}/available", available, right=Right.VIEW, query=_AVAILABLE, answer=address_schemas.Available
    ),
)
