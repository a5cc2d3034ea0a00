"""Events of a device, a project, an organization, or all that the caller may see."""

from __future__ import annotations

from uuid import UUID

from service.api import device_schemas, parameters
from service.api.call import Body, Call, Route
from service.api.event_log_routes import logged
from service.api.objects import event
from service.api.pages import meta, page_of
from service.api.problems import not_found
from service.policy import Right
from service.store.accounts import organizations
from service.store.event_lists import events_page
from service.store.orders import devices, events


async def _listed(
    call: Call,
    *,
    device_id: UUID | None = None,
    project_id: UUID | None = None,
    organization_id: UUID | None = None,
) -> Body:
    if (after := call.word("after")) is not None:
        return await logged(call, after, device_id=device_id, project_id=project_id, organization_id=organization_id)
    page = page_of(call)
    total, found = await events_page(
        call.db,
        call.caller,
        page.size,
        page.offset,
        device_id=device_id,
        project_id=project_id,
        organization_id=organization_id,
        type_=call.word("type"),
    )
    shown = [event(one, call.links, staff=call.caller.staff) for one in found]
    return {"events": shown, "meta": meta(call, page, total)}


async def list_events(call: Call) -> Body:
    """GET /events: all that the caller may see, newest first"""
    return await _listed(call)


async def device_events(call: Call) -> Body:
    """GET /devices/{device}/events: what happened to a device, newest first"""
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id]):
        raise not_found()
    return await _listed(call, device_id=device_id)


async def project_events(call: Call) -> Body:
    """GET /projects/{project}/events: what happened in a project, newest first"""
    return await _listed(call, project_id=await call.project())


async def organization_events(call: Call) -> Body:
    """GET /organizations/{organization}/events: what happened in all projects of an organization, newest first"""
    organization_id = call.id("organization")
    if not await organizations(call.db, call.caller, [organization_id]):
        raise not_found()
    return await _listed(call, organization_id=organization_id)


async def get_event(call: Call) -> Body:
    """GET /events/{event}: one event"""
    found = await events(call.db, call.caller, [call.id("event")])
    if not found:
        raise not_found()
    return event(found[0], call.links, staff=call.caller.staff)


ROUTES = (
    Route(
        "GET",
        "/events",
        list_events,
        right=Right.VIEW,
        objects="events",
        query=parameters.EVENTS,
        answer=device_schemas.Event,
    ),
    Route("GET", "/events/{event}", get_event, right=Right.VIEW, answer=device_schemas.Event),
    Route(
        "GET",
        "/devices/{device}/events",
        device_events,
        right=Right.VIEW,
        objects="events",
        query=parameters.EVENTS,
        answer=device_schemas.Event,
    ),
    Route(
        "GET",
        "/projects/{project}/events",
        project_events,
        right=Right.VIEW,
        objects="events",
        query=parameters.EVENTS,
        answer=device_schemas.Event,
    ),
    Route(
        "GET",
        "/organizations/{organization}/events",
        organization_events,
        right=Right.VIEW,
        objects="events",
        query=parameters.EVENTS,
        answer=device_schemas.Event,
    ),
)
