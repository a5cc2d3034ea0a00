"""BGP: a project's configuration, its devices' sessions and their neighbours."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator

from ipam.bgp import LOCAL_AS, MAX_PREFIXES, why_not
from ipam.ledger import held_by
from service import elastic
from service.api import address_schemas, objects
from service.api.call import Body, Call, Route
from service.api.idempotency import made_before
from service.api.links import stamp
from service.api.models import Maybe, Request, Text, read
from service.api.objects import Object
from service.api.problems import Invalid, not_found, shown
from service.bgp import bgp_changed, neighbors, password_of, session_ended
from service.policy import Right
from service.secrets import seal
from service.store.bgp import BgpConfig, BgpSession, bgp_config, bgp_sessions, set_bgp_config, set_bgp_session
from service.store.events import add_event
from service.store.hardware import port_changed
from service.store.orders import devices
from sql.loader import Q

_FAMILIES: Mapping[object, str] = {4: "ipv4", 6: "ipv6", "4": "ipv4", "6": "ipv6"}
_MD5 = re.compile(r"[A-Za-z0-9]{10,20}")


def _password(value: str) -> str:
    if not _MD5.fullmatch(value):
        raise ValueError("it must be 10 to 20 letters and digits")  # its value is nobody's to repeat
    return value


class SetBgpConfig(Request):
    """How a project speaks BGP."""

    deployment_type: Literal["local", "global"]
    asn: Maybe[int] = None
    md5: Maybe[Annotated[str, AfterValidator(_password)]] = None
    use_case: Maybe[Text] = None


class AddBgpSession(Request):
    """A session of a device with its leaf."""

    address_family: Maybe[Literal["ipv4", "ipv6"]] = None
    default_route: Maybe[bool] = None


class ChangeBgpSession(Request):
    """What can be changed of a session."""

    default_route: bool


async def set_config(call: Call) -> None:
    """POST /projects/{project}/bgp-configs: local is enabled at once, global when an operator has approved it

    The same again changes nothing; another AS number or type is another configuration, to be approved anew.
    """
    project_id, wish = await call.project(), read(SetBgpConfig, call.body)
    local = wish.deployment_type == "local"
    if wish.asn is None and not local:
        raise Invalid("Asn can't be blank")
    asn = LOCAL_AS if wish.asn is None else wish.asn
    if why := why_not(asn, local=local):
        raise Invalid(f"Asn is not valid: {asn}; {why}")
    now = call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if not await conn.fetchval(Q["lock_project_bgp"], project_id):
            raise not_found()
        before = await bgp_config(conn, project_id)
        same = before is not None and (before.deployment_type, before.asn) == (wish.deployment_type, asn)
        if before is not None and same and (_told(call, before), before.use_case) == (wish.md5, wish.use_case):
            return
        wanted = BgpConfig(
            id=uuid4() if before is None else before.id,
            project_id=project_id,
            deployment_type=wish.deployment_type,
            asn=asn,
            md5=None if wish.md5 is None else seal(call.api.key, wish.md5),
            use_case=wish.use_case,
            status=before.status if before is not None and same else "enabled" if local else "requested",
            requested_at=before.requested_at if before is not None and same else now,
            since=now,
        )
        await set_bgp_config(conn, wanted, now=now, by=call.caller.actor)
        await bgp_changed(conn, project_id, now=now)
        if wanted.status == "requested" and not same:
            body = f"Global BGP with AS {asn} was asked for" + (f": {wish.use_case}" if wish.use_case else "")
            await add_event(conn, "project.bgp_requested", body, project_id=project_id, private=True)


def _told(call: Call, config: BgpConfig) -> str | None:
    return password_of(config, call.api.key)


async def _config(call: Call, project_id: UUID) -> BgpConfig:
    found = await bgp_config(call.db, project_id)
    if found is None:
        raise not_found()
    return found


async def get_config(call: Call) -> Body:
    """GET /projects/{project}/bgp-config: with the password for who may write"""
    project_id = await call.project()
    return await _config_object(call, await _config(call, project_id))


async def _config_object(call: Call, one: BgpConfig) -> Object:
    links = call.links
    sessions = await bgp_sessions(call.db, call.caller, project_id=one.project_id)
    return {
        "id": str(one.id),
        "status": one.status,
        "deployment_type": one.deployment_type,
        "asn": one.asn,
        "md5": None if call.caller.read_only else password_of(one, call.api.key),
        "use_case": one.use_case,
        "route_object": None,
        "max_prefix": MAX_PREFIXES,
        "project": links.to("projects", one.project_id),
        "sessions": [links.to("bgp/sessions", session.id) for session in sessions],
        "ranges": [],
        "requested_at": stamp(one.requested_at),
        "created_at": stamp(one.requested_at),
        "href": f"{links.href('projects', one.project_id)}/bgp-config",
    }


async def approve_config(call: Call) -> Body:
    """POST /admin/v1/projects/{project}/bgp-config/approve: of a global configuration; once more changes nothing"""
    project_id, now = await call.project(), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        await conn.execute(Q["lock_project_bgp"], project_id)
        before = await bgp_config(conn, project_id)
        if before is None:
            raise not_found()
        if before.status != "enabled":
            await set_bgp_config(conn, replace(before, status="enabled"), now=now, by=call.caller.actor)
            body = f"Global BGP with AS {before.asn} was approved"
            await add_event(conn, "project.bgp_enabled", body, project_id=project_id)
            await bgp_changed(conn, project_id, now=now)
    return await _config_object(call, await _config(call, project_id))


async def add_session(call: Call) -> Body:
    """POST /devices/{device}/bgp/sessions: one an address family; IPv4 where none is named"""
    device_id, wish = call.id("device"), read(AddBgpSession, _with_family(call.body))
    now, id_ = call.api.clock.now(), uuid4()
    async with call.db.acquire() as conn, conn.transaction():
        targets = await elastic.lock_targets(conn, call.caller, [device_id])
        if device_id not in targets:
            raise not_found()
        if (earlier := await made_before(conn, call, id_, 201)) is None:
            config = await bgp_config(conn, targets[device_id].project_id)
            if config is None or config.status != "enabled":
                state = "has no BGP configuration" if config is None else "has one that awaits approval"
                raise Invalid(f"Bgp session is not valid: the device's project {state}")
            family = wish.address_family or "ipv4"
            found = await bgp_sessions(conn, call.caller, device_id=device_id)
            if any(one.address_family == family for one in found):
                raise Invalid(f"Address family is not valid: {shown(family)}: the device has such a session already")
            wanted = BgpSession(
                id_, device_id, targets[device_id].project_id, family, bool(wish.default_route), now, now
            )
            await set_bgp_session(conn, wanted, now=now, by=call.caller.actor)
            await port_changed(conn, device_id, now=now)
    return await _one_session(call, earlier or id_)


def _with_family(body: Body) -> Body:
    """Some clients write the address family as a number."""
    value: Any = body.get("address_family")
    known = _FAMILIES.get(value) if isinstance(value, str | int) else None
    return body if known is None else body | {"address_family": known}


async def _session(call: Call, id_: UUID) -> BgpSession:
    found = await bgp_sessions(call.db, call.caller, id_=id_)
    if not found:
        raise not_found()
    return found[0]


async def _one_session(call: Call, id_: UUID) -> Body:
    return objects.bgp_session(await _session(call, id_), call.links)


async def list_device_sessions(call: Call) -> Body:
    """GET /devices/{device}/bgp/sessions: a device's BGP sessions"""
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id]):
        raise not_found()
    found = await bgp_sessions(call.db, call.caller, device_id=device_id)
    return {"bgp_sessions": [objects.bgp_session(one, call.links) for one in found]}


async def list_project_sessions(call: Call) -> Body:
    """GET /projects/{project}/bgp/sessions: the BGP sessions of a project's devices"""
    found = await bgp_sessions(call.db, call.caller, project_id=await call.project())
    return {"bgp_sessions": [objects.bgp_session(one, call.links) for one in found]}


async def get_session(call: Call) -> Body:
    """GET /bgp/sessions/{session}: a BGP session"""
    return await _one_session(call, call.id("session"))


async def change_session(call: Call) -> Body:
    """PUT /bgp/sessions/{session}: whether the leaf announces a default route"""
    id_, change = call.id("session"), read(ChangeBgpSession, call.body)
    seen = await _session(call, id_)
    async with call.db.acquire() as conn, conn.transaction():
        if not await elastic.lock_targets(conn, call.caller, [seen.device_id]):
            raise not_found()
        found = await bgp_sessions(conn, call.caller, id_=id_)
        if not found:
            raise not_found()
        if found[0].default_route != change.default_route:
            wanted, now = replace(found[0], default_route=change.default_route), call.api.clock.now()
            await set_bgp_session(conn, wanted, now=now, by=call.caller.actor)
            await port_changed(conn, seen.device_id, now=now)
    return await _one_session(call, id_)


async def delete_session(call: Call) -> None:
    """DELETE /bgp/sessions/{session}: the leaf ends the session"""
    seen, now = await _session(call, call.id("session")), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if not await conn.fetch(Q["end_bgp_sessions"], seen.id, None, now, call.caller.actor):
            raise not_found()
        await session_ended(conn, seen.device_id, now=now)


async def list_neighbors(call: Call) -> Body:
    """GET /devices/{device}/bgp/neighbors: with the password for who may write"""
    device_id = call.id("device")
    if not await devices(call.db, call.caller, [device_id]):
        raise not_found()
    key = None if call.caller.read_only else call.api.key
    return {"bgp_neighbors": await neighbors(call.db, device_id, await held_by(call.db, device_id), key=key)}


ROUTES = (
    Route("POST", "/projects/{project}/bgp-configs", set_config, right=Right.USE, status=204, body=SetBgpConfig),
    Route(
        "GET", "/projects/{project}/bgp-config", get_config, right=Right.VIEW, answer=address_schemas.BgpConfiguration
    ),
    Route(
        "POST",
        "/admin/v1/projects/{project}/bgp-config/approve",
        approve_config,
        right=Right.SUPPORT,
        answer=address_schemas.BgpConfiguration,
    ),
    Route(
        "GET",
        "/projects/{project}/bgp/sessions",
        list_project_sessions,
        right=Right.VIEW,
        objects="bgp_sessions",
        answer=address_schemas.BgpSession,
    ),
    Route(
        "GET",
        "/devices/{device}/bgp/sessions",
        list_device_sessions,
        right=Right.VIEW,
        objects="bgp_sessions",
        answer=address_schemas.BgpSession,
    ),
    Route(
        "POST",
        "/devices/{device}/bgp/sessions",
        add_session,
        right=Right.USE,
        status=201,
        body=AddBgpSession,
        answer=address_schemas.BgpSession,
    ),
    Route(
        "GET",
        "/devices/{device}/bgp/neighbors",
        list_neighbors,
        right=Right.VIEW,
        objects="bgp_neighbors",
        answer=address_schemas.BgpNeighbor,
    ),
    Route("GET", "/bgp/sessions/{session}", get_session, right=Right.VIEW, answer=address_schemas.BgpSession),
    Route(
        "PUT PATCH",
        "/bgp/sessions/{session}",
        change_session,
        right=Right.USE,
        body=ChangeBgpSession,
        answer=address_schemas.BgpSession,
    ),
    Route("DELETE", "/bgp/sessions/{session}", delete_session, right=Right.USE, status=204),
)
