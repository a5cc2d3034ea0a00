"""Parts of devices and projects that the dialect also shows alone: ports, keys, user data, custom data."""

from __future__ import annotations

from collections.abc import Sequence

from service.api import account_schemas, device_schemas, objects, offer_schemas, schemas
from service.api.call import Body, Call, Route
from service.api.device_objects import ports_of
from service.api.links import bond0_of, eth0_of
from service.api.models import Maybe, Request, Text, read
from service.api.objects import Object
from service.api.offer_routes import list_operating_systems
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, Parameter
from service.api.problems import Invalid, not_found
from service.api.userdata import faults_in
from service.metadata.document import metadata
from service.metadata.subject import subject_on
from service.policy import Right
from service.store.accounts import organizations, projects, ssh_keys
from service.store.orders import Device, devices
from sql.loader import Q

_LAYER_3 = (
    "every port is a routed Layer 3 link; there are no VLANs, no Layer 2 and no other bonds to choose here. Allowed are"
    " elastic addresses (POST /devices/ID/ips) and BGP (POST /devices/ID/bgp/sessions)"
)


class PortChange(Request):
    """What the dialect can ask of a port. None of it is looked at, for the answer is the same."""

    vnid: Maybe[Text] = None


class Userdata(Request):
    """User data that is to be looked at."""

    userdata: Maybe[str] = None


async def _device(call: Call) -> Device:
    found: list[Device] = await devices(call.db, call.caller, [call.id("device")])
    if not found:
        raise not_found()
    return found[0]


async def device_customdata(call: Call) -> Body:
    """GET /devices/{device}/customdata: the object itself"""
    return (await _device(call)).order.customdata


async def device_userdata(call: Call) -> Body:
    """GET /devices/{device}/userdata: what the device's system is given at its first start"""
    return {"userdata": (await _device(call)).order.userdata}


async def device_metadata(call: Call) -> Body:
    """GET /devices/{device}/metadata: what the device itself is told, without the hash of its password

    404 while it has no machine yet.
    """
    device, settings = await _device(call), call.api.settings
    machine_id = await call.db.fetchval(Q["machine_of_device"], device.order.id)
    base_url = settings.boot_url.rstrip("/") or f"http://{settings.boot_host}:{settings.boot_port}"
    found = machine_id and await subject_on(call.db, call.api.catalogue, call.api.key, machine_id, base_url)
    if not found:
        raise not_found()
    return {name: value for name, value in metadata(found).items() if name != "password_hash"}


async def device_keys(call: Call) -> Body:
    """GET /devices/{device}/ssh-keys: those that the device was ordered with, as far as they are still there"""
    order = (await _device(call)).order
    return {
        "ssh_keys": [
            objects.ssh_key(one, call.links) for one in await ssh_keys(call.db, call.caller, order.ssh_key_ids)
        ]
    }


async def project_customdata(call: Call) -> Body:
    """GET /projects/{project}/customdata: the object itself"""
    found = await projects(call.db, call.caller, [call.id("project")])
    if not found:
        raise not_found()
    return found[0].customdata


async def get_port(call: Call) -> Body:
    """GET /ports/{port}: the bond or the network port of a device"""
    return await _port(call)


async def _port(call: Call) -> Object:
    id_ = call.id("port")
    # A port's id is its device's with some bits turned, and turning them again leads back.
    for device in await devices(call.db, call.caller, [bond0_of(id_), eth0_of(id_)]):
        for port in ports_of(device.order, call.links):
            if port["id"] == str(id_):
                return {**port, "disbond_operation_supported": False}
    raise not_found()


async def keep_port(call: Call) -> Body:
    """POST /ports/{port}/bond, POST /ports/{port}/convert/layer-3: the port is so already, and stays so"""
    return await _port(call)


async def refuse_port(call: Call) -> Body:
    """POST /ports/{port}/...: always refused (422), for there is no Layer 2 here"""
    port = await _port(call)
    what = call.path.partition(f"{port['id']}/")[2]
    raise Invalid(f"{what} is not valid: {_LAYER_3}")


async def no_networks(call: Call) -> Body:
    """GET /projects/{project}/virtual-networks: none, for there are no VLANs here"""
    await call.project()
    return {"virtual_networks": [], "meta": meta(call, page_of(call), 0)}


async def refuse_network(call: Call) -> Body:
    """POST /projects/{project}/virtual-networks: always refused (422), for there are no VLANs here"""
    await call.project()
    raise Invalid(f"virtual-networks is not valid: {_LAYER_3}")


async def no_incidents(call: Call) -> Body:
    """GET /incidents: none is told here"""
    return {"incidents": []}


async def no_payment_methods(call: Call) -> Body:
    """GET /organizations/{organization}/payment-methods: none, for who pays how is arranged elsewhere"""
    if not await organizations(call.db, call.caller, [call.id("organization")]):
        raise not_found()
    return {"payment_methods": [], "meta": meta(call, page_of(call), 0)}


async def validate_userdata(call: Call) -> None:
    """POST /userdata/validate: 204 when nothing is wrong with it that can be told without running it"""
    if errors := faults_in(read(Userdata, call.body).userdata or ""):
        raise Invalid(*(f"Userdata is not valid: {error}" for error in errors))


def _refused(methods: str, *patterns: str) -> Sequence[Route]:
    return [
        Route(
            methods,
            f"/ports/{{port}}/{one}",
            refuse_port,
            right=Right.USE,
            body=PortChange,
            answer=schemas.Error,
            status=422,
        )
        for one in patterns
    ]


ROUTES = (
    Route(
        "GET", "/devices/{device}/customdata", device_customdata, right=Right.VIEW, answer=account_schemas.CustomData
    ),
    Route("GET", "/devices/{device}/metadata", device_metadata, right=Right.VIEW, answer=device_schemas.Metadata),
    Route("GET", "/devices/{device}/userdata", device_userdata, right=Right.VIEW, answer=device_schemas.DeviceUserdata),
    Route(
        "GET",
        "/devices/{device}/ssh-keys",
        device_keys,
        answer=account_schemas.SshKey,
        objects="ssh_keys",
        right=Right.VIEW,
    ),
    Route(
        "GET", "/projects/{project}/customdata", project_customdata, right=Right.VIEW, answer=account_schemas.CustomData
    ),
    Route("GET", "/ports/{port}", get_port, answer=device_schemas.NetworkPort, right=Right.VIEW),
    Route("POST", "/ports/{port}/bond", keep_port, answer=device_schemas.NetworkPort, right=Right.USE, body=PortChange),
    Route(
        "POST",
        "/ports/{port}/convert/layer-3",
        keep_port,
        answer=device_schemas.NetworkPort,
        right=Right.USE,
        body=PortChange,
    ),
    *_refused("POST", "disbond", "assign", "unassign", "convert/layer-2"),
    *_refused("POST DELETE", "native-vlan"),
    Route(
        "GET",
        "/projects/{project}/virtual-networks",
        no_networks,
        right=Right.VIEW,
        query=PAGES,
        answer=device_schemas.VirtualNetworks,
    ),
    Route(
        "POST",
        "/projects/{project}/virtual-networks",
        refuse_network,
        right=Right.USE,
        body=PortChange,
        answer=schemas.Error,
        status=422,
    ),
    Route("GET", "/incidents", no_incidents, right=Right.OPEN, answer=device_schemas.Incidents),
    Route(
        "GET",
        "/organizations/{organization}/payment-methods",
        no_payment_methods,
        right=Right.VIEW,
        query=PAGES,
        answer=device_schemas.PaymentMethods,
    ),
    Route(
        "GET",
        "/operating-system-versions",
        list_operating_systems,
        objects="operating_systems",
        right=Right.OPEN,
        answer=offer_schemas.OperatingSystem,
    ),
    Route(
        "POST",
        "/userdata/validate",
        validate_userdata,
        status=204,
        writes=False,
        right=Right.OPEN,
        body=Userdata,
        query=(Parameter("userdata", "What is to be looked at, where the body does not have it."),),
    ),
)
