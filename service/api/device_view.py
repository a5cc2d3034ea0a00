"""Devices read from the database and rendered, for whichever route shows them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog

from service.api.call import Call
from service.api.device_objects import device_object
from service.api.objects import Object
from service.api.problems import not_found
from service.api.scenery import Scenery
from service.forecast import Expected, UnderWay, etas
from service.limits import limits_of
from service.secrets import SecretUnreadable, open_sealed
from service.store.orders import Device, devices
from service.store.rows import Connection
from service.workflows.provision import PROVISION

log = structlog.get_logger()

_STEPS = [step.name for step in PROVISION.steps]


async def render_devices(call: Call, found: Sequence[Device], db: Connection | None = None) -> list[Object]:
    """The objects of these devices."""
    if not found:
        return []
    scenery, now = await scenery_of(call, db), call.api.clock.now()
    expected = await _etas(call, found, db)
    return [
        device_object(
            device, scenery, now=now, password=_password(call, device), expected=expected.get(device.order.id)
        )
        for device in found
    ]


async def _etas(call: Call, found: Sequence[Device], db: Connection | None) -> dict[UUID, Expected]:
    """When those that are under way will be active."""
    orders = [
        UnderWay(
            one.order.id,
            one.order.facility_id,
            one.order.plan_id,
            one.order.operating_system,
            limits_of(call.api.catalogue, call.api.settings, one.order.operating_system, one.order.engine),
            one.order.deadline,
        )
        for one in found
        if one.order.state in ("queued", "provisioning")
    ]
    if not orders:
        return {}
    now = call.api.clock.now()
    if db is not None:
        return await etas(db, call.api.lately, orders, _STEPS, now=now)
    async with call.db.acquire() as conn:
        return await etas(conn, call.api.lately, orders, _STEPS, now=now)


async def scenery_of(call: Call, db: Connection | None = None) -> Scenery:
    """What the devices of this answer share."""
    settings = call.api.settings
    consoles = (settings.sos_name or settings.sos_host) if settings.sos_port else ""
    return Scenery(await call.offers(db), call.links, call.api.catalogue, consoles)


def _password(call: Call, device: Device) -> str | None:
    try:
        return open_sealed(call.api.key, device.order.root_password)
    except SecretUnreadable:
        log.error("root_password_unreadable", device_id=str(device.order.id))
        return None


async def one_device(call: Call, device_id: UUID, *, db: Connection | None = None, deleted_too: bool = False) -> Object:
    """The object of one device. Raises Refused (404)."""
    found = await devices(call.db if db is None else db, call.caller, [device_id], deleted_too=deleted_too)
    if not found:
        raise not_found()
    return (await render_devices(call, found, db))[0]
