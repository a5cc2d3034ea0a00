"""Reverse DNS over HTTP: zones as zone files, and the name that a customer gives an address that he holds."""

from __future__ import annotations

from typing import Any

from ipam.internet import INTERNET
from ipam.ledger import Tenure, holding
from ipam.permissions import Right as PrefixRight
from ipam.permissions import visible
from ipam.prefixes import vrfs
from ipam.reverse import BadName, host_name, zone_around, zone_named, zone_text
from ipam.space import Network
from service.addresses import schemas
from service.addresses.asked import address_in
from service.addresses.objects import moment
from service.addresses.policy import answered, require, subject_of
from service.addresses.reverse_zones import Cut, name_of, names, zones
from service.api.call import Body, Call, Document, Route
from service.api.models import Request, Text, read
from service.api.problems import Invalid, not_found
from service.policy import Right
from service.settings import listed
from service.store.accounts import sees_project, uses_project
from service.store.rows import Connection
from sql.loader import Q

_LINKS = ("public", "private", "ipv6")  # of these blocks the first address is the leaf's


class NameAddress(Request):
    """What an address shall be called."""

    name: Text


async def _zones(call: Call, conn: Connection) -> list[Cut]:
    """The zones of the prefixes that the caller may see."""
    seen = await visible(conn, subject_of(call.caller))
    return [cut for cut in await zones(conn) if seen is None or cut.prefix_id in seen]


async def list_zones(call: Call) -> Body:
    """GET /ipam/v1/dns/zones: with how the last update of each went"""
    async with call.db.acquire() as conn:
        cuts = await _zones(call, conn)
        states = {row["name"]: row for row in await conn.fetch(Q["reverse_zone_states"])}
    return {"zones": [_zone(cut, states.get(cut.zone.name)) for cut in cuts]}


def _zone(cut: Cut, state: Any) -> Body:
    return {
        "zone": cut.zone.name,
        "network": str(cut.zone.network),
        "prefix": cut.prefix_id,
        "delegation": cut.zone.delegation,
        "names": 0 if state is None else state["names"],
        "fault": None if state is None else state["fault"],
        "tried_at": None if state is None else moment(state["tried_at"]),
        "confirmed_at": None if state is None else moment(state["confirmed_at"]),
    }


async def zone_file(call: Call) -> Document:
    """GET /ipam/v1/dns/zones/{zone}: the zone as it should be"""
    settings = call.api.settings
    async with call.db.acquire() as conn:
        cuts = await _zones(call, conn)
        zone = zone_named([cut.zone for cut in cuts], call.ids["zone"])
        if zone is None:
            raise not_found()
        (cut,) = [cut for cut in cuts if cut.zone is zone]
        found = await names(conn, cut, settings.ptr_template)
    try:
        text = zone_text(
            zone,
            found,
            nameservers=listed(settings.dns_nameservers),
            hostmaster=settings.dns_hostmaster,
            serial=int(call.api.clock.now().timestamp()),
        )
    except BadName as err:
        raise Invalid(f"The settings dns_nameservers and dns_hostmaster are not valid: {err}") from None
    return Document(text, "text/dns")  # RFC 4027


async def show_ptr(call: Call) -> Body:
    """GET /ipam/v1/ips/{address}/ptr: what an address should be called, and what the DNS server has confirmed"""
    async with call.db.acquire() as conn:
        block = address_in(call)
        return await _ptr(call, conn, await _own(call, conn, block, "view"), block)


async def set_ptr(call: Call) -> Body:
    """PUT /ipam/v1/ips/{address}/ptr: call an address that one holds by a name"""
    wish, block = read(NameAddress, call.body), address_in(call)
    with answered():
        name = host_name(wish.name)
    async with call.db.acquire() as conn, conn.transaction():
        held = await _own(call, conn, block, "assign")
        if held.slot in _LINKS and held.leaf.ip == block.network_address:
            raise Invalid(f"Ip is not valid: {block.network_address} is the leaf's side of {held.block}")
        await conn.execute(
            Q["set_ptr"],
            held.vrf_id,
            block.network_address,
            name,
            held.project_id,
            call.caller.actor,
            call.api.clock.now(),
        )
        return await _ptr(call, conn, held, block)


async def delete_ptr(call: Call) -> None:
    """DELETE /ipam/v1/ips/{address}/ptr: the address has its default name again, if there is one"""
    block = address_in(call)
    async with call.db.acquire() as conn, conn.transaction():
        held = await _own(call, conn, block, "assign")
        await conn.execute(Q["delete_ptr"], held.vrf_id, block.network_address)


async def _own(call: Call, conn: Connection, block: Network, right: PrefixRight) -> Tenure:
    """The tenure that the address is held by, when the caller may name the address: it is his project's, or he has the
    right on the prefix. Raises Refused (404, or 403 where he may see the prefix).
    """
    vrf_id = (await vrfs(conn)).get(INTERNET)
    found = await holding(conn, block, call.api.clock.now(), vrf_ids=[] if vrf_id is None else [vrf_id])
    held = next((tenure for tenure in found if tenure.kind == "held"), None)
    if held is None:
        raise not_found()
    knows = sees_project if right == "view" else uses_project
    if held.project_id is not None and await knows(conn, call.caller, held.project_id):
        return held
    with answered():
        await require(conn, call.caller, held.prefix_id, right)
    return held


async def _ptr(call: Call, conn: Connection, held: Tenure, block: Network) -> Body:
    template = call.api.settings.ptr_template
    zone = zone_around([cut.zone for cut in await zones(conn)], block)
    zone_name = None if zone is None else zone.name
    row = await conn.fetchrow(Q["ptr_at"], held.vrf_id, block.network_address, template, zone_name)
    return {
        "address": str(block.network_address),
        "name": name_of(row, template),
        "own": row["given"] is not None,
        "zone": zone_name,
        "set_by": row["set_by"],
        "set_at": moment(row["set_at"]),
        "confirmed": row["pushed"],
        "confirmed_at": moment(row["confirmed_at"]),
    }


ROUTES = (
    Route("GET", "/ipam/v1/dns/zones", list_zones, right=Right.VIEW, objects="zones", answer=schemas.Zone),
    Route("GET", "/ipam/v1/dns/zones/{zone}", zone_file, right=Right.VIEW, documents=("text/dns",)),
    Route("GET", "/ipam/v1/ips/{address}/ptr", show_ptr, right=Right.VIEW, answer=schemas.Ptr),
    Route("PUT PATCH", "/ipam/v1/ips/{address}/ptr", set_ptr, right=Right.USE, body=NameAddress, answer=schemas.Ptr),
    Route("DELETE", "/ipam/v1/ips/{address}/ptr", delete_ptr, right=Right.USE, status=204),
)
