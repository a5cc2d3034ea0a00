"""Devices: order, list, change, act, delete, and waiting for one."""

from __future__ import annotations

from ipaddress import ip_address
from time import monotonic
from uuid import UUID, uuid4

from service import intents
from service.api import device_schemas, parameters
from service.api.call import Body, Call, Route
from service.api.device_view import one_device, render_devices
from service.api.drafts import draft_of, engine_errors, install_errors, ipxe_errors, termination_error
from service.api.idempotency import made_before
from service.api.models import Action, ChangeDevice, CreateDevice, read
from service.api.objects import runs_on
from service.api.ordering import place_order
from service.api.pages import meta, page_of
from service.api.parameters import Parameter
from service.api.problems import Invalid, Refused, forbidden, not_found, shown
from service.api.storage import StorageWish
from service.api.waterfall import get_waterfall
from service.lifecycle import DeviceState, IllegalMove
from service.policy import Right
from service.secrets import open_sealed, seal
from service.store.accounts import organizations
from service.store.device_lists import SORTABLE, DeviceFilter, devices_page
from service.store.orders import Order
from service.store.orders import devices as read_devices
from service.store.rows import Connection
from service.workflows.install import engine_for
from sql.loader import Q

_LONGEST_WAIT_S = 60.0


async def list_devices(call: Call) -> Body:
    """GET /projects/{project}/devices, GET /organizations/{organization}/devices: narrowed by the filters"""
    project_id = organization_id = None
    if "project" in call.ids:
        project_id = await call.project()
    else:
        organization_id = call.id("organization")
        if not await organizations(call.db, call.caller, [organization_id]):
            raise not_found()
    return await devices_body(call, project_id=project_id, organization_id=organization_id)


async def devices_body(call: Call, *, project_id: UUID | None = None, organization_id: UUID | None = None) -> Body:
    """One page of the devices that the call's filters let through."""
    page = page_of(call)
    search = call.word("search")
    wanted = DeviceFilter(
        project_id=project_id,
        organization_id=organization_id,
        hostname=call.word("hostname"),
        facilities=call.words("facility"),
        metros=call.words("metro"),
        tag=call.word("tag"),
        states=call.words("state"),
        plans=call.words("plan") or call.words("type"),
        mac=call.word("mac_address"),
        search=search,
        search_systems=[entry.slug for entry in call.api.catalogue if search and search.lower() in entry.name.lower()],
        search_address=_address(search),
        order=_order(call),
        reserved=call.flag("reserved"),
        ends=call.flag("has_termination_time"),
    )
    total, ids = await devices_page(call.db, call.caller, wanted, page.size, page.offset)
    found = await read_devices(call.db, call.caller, ids)
    return {"devices": await render_devices(call, found), "meta": meta(call, page, total)}


def _address(text: str | None) -> str | None:
    try:
        return str(ip_address(text)) if text else None
    except ValueError:
        return None


def _order(call: Call) -> str:
    by, direction = call.word("sort_by") or "created_at", call.word("sort_direction") or "desc"
    if by not in SORTABLE:
        raise Invalid(f"sort_by is not valid: {shown(by)} is not one of {', '.join(SORTABLE)}")
    if direction not in ("asc", "desc"):
        raise Invalid(f"sort_direction is not valid: {shown(direction)} is neither asc nor desc")
    return by if direction == "asc" else f"-{by}"


async def create_device(call: Call) -> Body:
    """POST /projects/{project}/devices: order a machine; the answer is a device that is queued"""
    project_id, device_id = call.id("project"), uuid4()
    draft = draft_of(read(CreateDevice, call.body), await call.offers(), call.api.catalogue)
    async with call.db.acquire() as conn, conn.transaction():
        project = await conn.fetchrow(Q["lock_project"], *call.caller.scope, project_id)
        if project is None:
            raise not_found()
        if (earlier := await made_before(conn, call, device_id, 201)) is None:
            await place_order(conn, call.api, project, draft, device_id, created_by=call.caller.user_id)
    return await one_device(call, earlier or device_id, deleted_too=True)


async def get_device(call: Call) -> Body:
    """GET /devices/{device}: a device with its addresses and how far it has come"""
    return await one_device(call, call.id("device"))


async def change_device(call: Call) -> Body:
    """PUT and PATCH /devices/{device}: what can be changed of a device while it lives; what is not sent stays"""
    device_id, change = call.id("device"), read(ChangeDevice, call.body)
    sent = change.model_fields_set
    async with call.db.acquire() as conn, conn.transaction():
        row = await _locked(conn, call, device_id)
        if "ipxe_script_url" in sent and change.ipxe_script_url is not None:
            errors = ipxe_errors(call.api.catalogue, row["operating_system"], change.ipxe_script_url, None)
            if errors:
                raise Invalid(*errors)
        await conn.execute(
            Q["change_device"],
            device_id,
            change.hostname,
            "description" in sent,
            change.description,
            [] if "tags" in sent and change.tags is None else change.tags,
            "" if "userdata" in sent and change.userdata is None else change.userdata,
            change.locked,
            change.always_pxe,
            "ipxe_script_url" in sent,
            change.ipxe_script_url,
            change.billing_cycle,
            {} if "customdata" in sent and change.customdata is None else change.customdata,
            call.api.clock.now(),
        )
        await _change_terms(call, conn, row, change)
        await _allow_pxe(call, conn, row, change)
    return await one_device(call, device_id)


async def _change_terms(call: Call, conn: Connection, row: Body, change: ChangeDevice) -> None:
    """When the device ends by itself, and whether it stays a spot instance. Raises Refused (422)."""
    sent, spot = change.model_fields_set, row["spot_price_max"] is not None
    errors = termination_error(change.termination_time, call.api.clock.now())
    if change.spot_instance and not spot:
        errors.append("Spot instance is not valid: True; allowed is false: only an order makes a spot instance")
    leaves = change.spot_instance is False and spot
    if change.locked and spot and not leaves:
        errors.append("Locked is not valid: True; allowed for a spot instance, which may be taken back, is false")
    if "termination_time" in sent and row["outbid"] and not leaves:
        errors.append("Termination time is not valid: the spot instance was outbid, and allowed is none but its own")
    if errors:
        raise Invalid(*errors)
    # Whoever turns to the plan's own price is outbid no more.
    ends = "termination_time" in sent or (leaves and row["outbid"])
    await conn.execute(
        Q["change_terms"],
        row["id"],
        change.network_frozen,
        ends,
        change.termination_time,
        leaves,
        call.api.clock.now(),
    )


async def _allow_pxe(call: Call, conn: Connection, row: Body, change: ChangeDevice) -> None:
    """Whether the next network boot leads into the customer's script once more; staff say so. Raises Refused."""
    if change.allow_pxe is None:
        return
    if Right.SUPPORT not in call.caller.rights:
        raise forbidden("You are not authorized: allow_pxe is for staff")
    if change.allow_pxe and call.api.catalogue.get(row["operating_system"]).engine != "ipxe":
        system = row["operating_system"]
        raise Invalid(f"Allow pxe is not valid: True; allowed is false: {system} starts from its disk")
    await conn.execute(Q["allow_pxe"], row["id"], change.allow_pxe)


async def _locked(conn: Connection, call: Call, device_id: UUID) -> Body:
    """The device's row, locked behind its run: a worker takes the two in the same order."""
    await conn.execute(Q["lock_course"], device_id)
    row = await conn.fetchrow(Q["lock_device"], *call.caller.scope, device_id)
    if row is None:
        raise not_found()
    return dict(row)


async def delete_device(call: Call) -> None:
    """DELETE /devices/{device}: gone at once for the customer; force_delete changes nothing, for nothing is kept"""
    device_id = call.id("device")
    async with call.db.acquire() as conn, conn.transaction():
        row = await _locked(conn, call, device_id)
        if row["locked"]:
            raise Invalid("Cannot delete a locked item: unlock the device first")
        await intents.delete_device(
            conn, device_id, settings=call.api.settings, clock=call.api.clock, by=call.caller.actor
        )


async def act_on_device(call: Call) -> None:
    """POST /devices/{device}/actions: power_on, power_off, reboot, reinstall, rescue"""
    device_id, action = call.id("device"), read(Action, call.body)
    if action.type not in intents.ACTIONS:
        raise Invalid(f"Type is not valid: {shown(action.type)} is not one of {', '.join(intents.ACTIONS)}")
    async with call.db.acquire() as conn, conn.transaction():
        row = await _locked(conn, call, device_id)
        if await made_before(conn, call, device_id, 202) is not None:
            return
        system, native = None, False
        if action.type == "reinstall":
            system, native = await _reinstall_as(call, conn, row, action)
        try:
            await intents.act(
                conn,
                device_id,
                action.type,
                settings=call.api.settings,
                clock=call.api.clock,
                operating_system=system,
                native=native,
            )
        except IllegalMove as err:
            raise Invalid(f"Type is not valid: {shown(action.type)}: {err}") from None


async def _reinstall_as(call: Call, conn: Connection, row: Body, action: Action) -> tuple[str | None, bool]:
    """Check what a reinstall asks for, and write it down.

    Returns the operating system if it is to be another, and whether its own installer installs it. What the action
    does not name stays as it was. Raises Refused (422).
    """
    if action.preserve_data:
        raise Invalid("Preserve data is not valid: True; allowed is false: the disk is written anew")
    offers, catalogue = await call.api.offers(conn), call.api.catalogue
    system = offers.system(action.operating_system) if action.operating_system else row["operating_system"]
    if system is None:
        slugs = ", ".join(offers.system_ids)
        raise Invalid(f"Operating system is not valid: {shown(action.operating_system)} is not one of {slugs}")
    plan = next(one for one in offers.plans if one.id == row["plan_id"])
    if not runs_on(catalogue.get(system), plan):
        raise Invalid(f"Operating system is not valid: {system} does not run on {plan.slug}")
    device = (await read_devices(conn, call.caller, [row["id"]]))[0].order
    userdata = device.userdata if action.userdata is None else action.userdata
    script = action.ipxe_script_url or (device.ipxe_script_url if catalogue.get(system).engine == "ipxe" else None)
    if errors := ipxe_errors(catalogue, system, script, userdata):
        raise Invalid(*errors)
    now = call.api.clock.now()
    await _reinstall_how(call, conn, device, system, action, userdata)
    unchanged = (None, False, None, None)
    await conn.execute(Q["change_device"], row["id"], *unchanged, userdata, None, None, True, script, None, None, now)
    native = engine_for(catalogue, system, action.engine or device.engine) == "native"
    return system if system != row["operating_system"] else None, native


async def _reinstall_how(
    call: Call, conn: Connection, device: Order, system: str, action: Action, userdata: str
) -> None:
    """Check and write down by which engine and onto which disks a device is reinstalled. Raises Refused (422)."""
    catalogue, key = call.api.catalogue, call.api.key
    engine, storage, sealed = action.engine or device.engine, action.storage, device.storage_passphrase
    if not set(catalogue.get(system).engines) - {"ipxe"} and action.engine is None:
        engine = None
    if storage is None:
        passphrase = "" if sealed is None else open_sealed(key, sealed)
        storage = StorageWish.model_validate({**device.storage, "passphrase": passphrase})
    elif storage.passphrase:
        sealed = seal(key, storage.passphrase)
    else:
        sealed = None
    errors = engine_errors(catalogue, system, engine, action.storage)
    errors = errors or install_errors(catalogue, system, engine, storage, device.hostname, userdata)
    if errors:
        raise Invalid(*errors)
    now = call.api.clock.now()
    await conn.execute(Q["change_installation"], device.id, engine, storage.kept(), sealed, now)


async def wait_for_device(call: Call) -> Body:
    """GET /devices/{device}/wait?state=active,failed&timeout=30: the device as soon as it is in one of the states

    Answers with whatever state it is in when `timeout` (seconds, 60 at most) has passed; 404 once it is deleted.
    """
    device_id = call.id("device")
    states = set(call.words("state") or ["active", "failed"])
    if unknown := states - set(DeviceState):
        raise Invalid(f"state is not valid: {shown(sorted(unknown)[0])} is not one of {', '.join(DeviceState)}")
    until = monotonic() + _seconds(call.word("timeout"))
    async with call.api.hub.watch(f"device:{device_id}") as watch:
        while True:
            found = await read_devices(call.db, call.caller, [device_id])
            if not found:
                raise not_found()
            left = until - monotonic()
            if found[0].order.state in states or left <= 0:
                return (await render_devices(call, found))[0]
            await watch.changed(left)


def _seconds(text: str | None) -> float:
    try:
        value = 30.0 if text is None else float(text)
    except ValueError:
        raise Invalid(f"timeout is not valid: {shown(text)} is no number of seconds") from None
    if not value >= 0:
        raise Refused(422, f"timeout is not valid: {shown(text)} is below zero")
    return min(value, _LONGEST_WAIT_S)


_WAIT = (
    parameters.words("state", "The states that are waited for; active and failed where none is named."),
    Parameter("timeout", "How long to wait, in seconds: 30 where nothing is said, 60 at most.", "number"),
)

ROUTES = (
    Route(
        "GET",
        "/projects/{project}/devices",
        list_devices,
        right=Right.VIEW,
        objects="devices",
        query=parameters.DEVICES,
        answer=device_schemas.Device,
    ),
    Route(
        "GET",
        "/organizations/{organization}/devices",
        list_devices,
        right=Right.VIEW,
        objects="devices",
        query=parameters.DEVICES,
        answer=device_schemas.Device,
    ),
    Route(
        "POST",
        "/projects/{project}/devices",
        create_device,
        right=Right.USE,
        status=201,
        audited=False,
        body=CreateDevice,
        answer=device_schemas.Device,
    ),
    Route("GET", "/devices/{device}", get_device, right=Right.VIEW, answer=device_schemas.Device),
    Route(
        "PUT PATCH",
        "/devices/{device}",
        change_device,
        right=Right.USE,
        body=ChangeDevice,
        answer=device_schemas.Device,
    ),
    Route("DELETE", "/devices/{device}", delete_device, right=Right.USE, status=204),
    Route("POST", "/devices/{device}/actions", act_on_device, right=Right.USE, status=202, body=Action),
    Route(
        "GET",
        "/devices/{device}/wait",
        wait_for_device,
        right=Right.VIEW,
        query=_WAIT,
        answer=device_schemas.Device,
        addition=True,
    ),
    Route(
        "GET",
        "/devices/{device}/waterfall",
        get_waterfall,
        right=Right.VIEW,
        answer=device_schemas.Waterfall,
        addition=True,
    ),
)
