"""Addresses, read from the ledger: a device's assignments, and the management reservations that they come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

from ipam.ledger import Tenure
from service.api.call import Body, Call, Route
from service.api.device_objects import Scenery, assignment, reservation
from service.api.device_view import scenery_of
from service.api.links import reservation_of
from service.api.pages import meta, page_of
from service.api.problems import not_found
from service.store.orders import Device, devices
from sql.loader import Q

_PER_PAGE = 250
_KINDS = {"public_ipv4": "public", "private_ipv4": "private", "public_ipv6": "ipv6"}  # a type's slot in the ledger

Render = Callable[[Tenure, Device, Scenery], Body]


async def device_ips(call: Call) -> Body:
    """GET /devices/{device}/ips"""
    found = await devices(call.db, call.caller, [call.id("device")])
    if not found:
        raise not_found()
    scenery = await scenery_of(call)
    return {"ip_addresses": [assignment(tenure, found[0], scenery) for tenure in found[0].links]}


def _slots(call: Call) -> list[str]:
    """The slots that the filters type, types, public, ipv4 and ipv6 let through."""
    types = (call.words("type") or []) + (call.words("types") or [])
    families = [name for name in ("ipv4", "ipv6") if call.flag(name)]
    public = call.flag("public")
    return [
        slot
        for kind, slot in _KINDS.items()
        if (not types or kind in types)
        and (not families or kind[-4:] in families)
        and (public is None or kind.startswith("public") is public)
    ]


async def project_ips(call: Call) -> Body:
    """GET /projects/{project}/ips: narrowed by type, types, public, ipv4, ipv6"""
    project_id = await call.project()
    page = page_of(call, _PER_PAGE)
    row = await call.db.fetchrow(Q["tenures_of_project"], project_id, _slots(call), page.size, page.offset)
    return {"ip_addresses": await _rendered(call, row["ids"], reservation), "meta": meta(call, page, row["total"])}


async def _rendered(call: Call, ids: Sequence[UUID], render: Render) -> list[Body]:
    """These tenures, as far as the caller may see them, in the order of `ids`."""
    rows = await call.db.fetch(Q["devices_of_tenures"], *call.caller.scope, list(ids))
    if not rows:
        return []
    scenery = await scenery_of(call)
    found = await devices(call.db, call.caller, list({row["device_id"] for row in rows}))
    held = {tenure.id: render(tenure, device, scenery) for device in found for tenure in device.links}
    return [held[id_] for id_ in ids if id_ in held]


async def get_ip(call: Call) -> Body:
    """GET /ips/{ip}: an assignment, or a reservation"""
    id_ = call.id("ip")
    found = await _rendered(call, [id_], assignment) or await _rendered(call, [reservation_of(id_)], reservation)
    if not found:
        raise not_found()
    return found[0]


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
