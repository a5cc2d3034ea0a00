"""How references are turned into objects, each kind in one look-up, and only what the caller may see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from service.api import objects
from service.api.call import Call
from service.api.device_view import render_devices
from service.api.expand import Load
from service.api.ip_routes import addresses
from service.api.objects import Object
from service.api.reservation_routes import visible
from service.store.accounts import organizations, projects, ssh_keys, users
from service.store.bgp import bgp_sessions_by_ids
from service.store.orders import devices


def loaders(call: Call) -> Mapping[str, Load]:
    """One look-up a kind, by the first part of its hrefs."""
    caller, db, links = call.caller, call.db, call.links

    async def load_users(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.user(one, links) for one in await users(db, caller, ids)}

    async def load_emails(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.email(one, links) for one in await users(db, caller, ids)}

    async def load_organizations(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.organization(one, links) for one in await organizations(db, caller, ids)}

    async def load_projects(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.project(one, links) for one in await projects(db, caller, ids)}

    async def load_ssh_keys(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.ssh_key(one, links) for one in await ssh_keys(db, caller, ids)}

    async def load_devices(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        found = await devices(db, caller, ids)
        rendered = await render_devices(call, found)
        return {device.order.id: one for device, one in zip(found, rendered, strict=True)}

    async def load_ips(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return await addresses(call, ids)

    async def load_facilities(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.facility(one, links) for one in (await call.api.offers()).facilities}

    async def load_metros(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.metro_id: objects.metro(one, links) for one in (await call.api.offers()).facilities}

    async def load_reservations(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return await visible(call, ids)

    async def load_bgp_sessions(ids: Sequence[UUID]) -> Mapping[UUID, Object]:
        return {one.id: objects.bgp_session(one, links) for one in await bgp_sessions_by_ids(db, caller, ids)}

    return {
        "bgp/sessions": load_bgp_sessions,
        "users": load_users,
        "emails": load_emails,
        "organizations": load_organizations,
        "projects": load_projects,
        "ssh-keys": load_ssh_keys,
        "devices": load_devices,
        "ips": load_ips,
        "facilities": load_facilities,
        "locations/metros": load_metros,
        "hardware-reservations": load_reservations,
    }
