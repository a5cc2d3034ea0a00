"""Addresses, read from the ledger: a device's assignments, and the management reservations that they come from."""

from __future__ import annotations

from collections.abc import Callable

from ipam.ledger import Tenure
from service.api.call import Body, Call, Route
from service.api.device_objects import assignment, reservation
from service.api.links import Links, reservation_of
from service.api.pages import meta, page_of
from service.api.problems import not_found
from service.store.accounts import projects
from service.store.offers import Offers
from service.store.orders import Device, DeviceFilter, devices, devices_page
from sql.loader import Q

_PER_PAGE = 250
_ALL = 1_000_000  # devices of one project

Render = Callable[[Tenure, Device, Offers, Links], Body]


async def device_ips(call: Call) -> Body:
    """GET /devices/{device}/ips"""
    found = await devices(call.db, call.caller, [call.id("device")])
    if not found:
        raise not_found()
    offers = await call.api.offers()
    return {"ip_addresses": [assignment(tenure, found[0], offers, call.links) for tenure in found[0].links]}


async def project_ips(call: Call) -> Body:
    """GET /projects/{project}/ips: narrowed by type, types, public, ipv4, ipv6"""
    project_id = call.id("project")
    if not await projects(call.db, call.caller, [project_id]):
        raise not_found()
    page = page_of(call, _PER_PAGE)
    _, ids = await devices_page(call.db, call.caller, DeviceFilter(project_id=project_id), _ALL, 0)
    offers = await call.api.offers()
    found = [
        reservation(tenure, device, offers, call.links)
        for device in await devices(call.db, call.caller, ids)
        for tenure in device.links
    ]
    types = (call.words("type") or []) + (call.words("types") or [])
    families = [family for name, family in (("ipv4", 4), ("ipv6", 6)) if call.flag(name)]
    public = call.flag("public")
    found = [
        one
        for one in found
        if (not types or one["type"] in types)
        and (not families or one["address_family"] in families)
        and (public is None or one["public"] is public)
    ]
    return {"ip_addresses": found[page.offset : page.offset + page.size], "meta": meta(call, page, len(found))}


async def get_ip(call: Call) -> Body:
    """GET /ips/{ip}: an assignment, or a reservation"""
    id_ = call.id("ip")
    renders: dict[object, Render] = {id_: assignment, reservation_of(id_): reservation}
    for row in await call.db.fetch(Q["devices_of_tenures"], *call.caller.scope, list(renders)):
        for device in await devices(call.db, call.caller, [row["device_id"]]):
            tenure = next(one for one in device.links if one.id == row["id"])
            return renders[row["id"]](tenure, device, await call.api.offers(), call.links)
    raise not_found()


async def available(call: Call) -> Body:
    """GET /ips/{ip}/available: a management block is assigned whole, so nothing of it is free"""
    if "type" not in await get_ip(call):
        raise not_found()
    return {"available": []}


ROUTES = (
    Route("GET", "/devices/{device}/ips", device_ips, objects="ip_addresses"),
    Route("GET", "/projects/{project}/ips", project_ips, objects="ip_addresses"),
    Route("GET", "/ips/{ip}", get_ip),
    Route("GET", "/ips/{ip}/available", available),
)
