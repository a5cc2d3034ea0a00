"""The real packet-python against the real API, over TLS as it insists: what its users do on an ordinary day."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from cryptography import x509

from ipam.prefixes import add_prefix, add_vrf
from tests.certificates import certificate
from tests.service.api_world import ED25519, TOKEN, World
from tests.service.elastic_world import placed

packet = pytest.importorskip("packet", reason="packet-python is not installed")


@pytest.fixture
async def client(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """packet-python's manager. It talks TLS only, and its host is a plain attribute."""
    cert, secret = certificate(tmp_path, x509.IPAddress(IPv4Address("127.0.0.1")))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, secret)
    site = web.TCPSite(world.runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    port = world.runner.addresses[-1][1]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(cert))
    manager = packet.Manager(auth_token=TOKEN)
    manager.end_point = f"127.0.0.1:{port}"
    yield manager
    await site.stop()


def _day(client: Any) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    user = client.get_user()
    seen["user"] = user["full_name"]
    seen["plans"] = [plan.slug for plan in client.list_plans()]
    seen["systems"] = [system.slug for system in client.list_operating_systems()]
    seen["facilities"] = [facility.code for facility in client.list_facilities()]
    seen["capacity"] = client.get_capacity()["ewr1"]["c1.small.x86"]["level"]
    seen["enough"] = client.validate_capacity([("ewr1", "baremetal_1", 2)])
    seen["too_many"] = client.validate_capacity([("ewr1", "baremetal_1", 3)])
    project = client.create_project("from python")
    project.name = "renamed"
    project.update()
    seen["projects"] = [(one.name, one.id) for one in client.list_projects()]
    key = client.create_ssh_key("laptop", ED25519)
    key.label = "desktop"
    key.update()
    seen["keys"] = [one.label for one in client.list_ssh_keys()]
    client.create_project_ssh_key(project.id, "project key", ED25519)
    device = client.create_device(project.id, "python1", "baremetal_1", "ewr1", "debian_12", tags=["a"])
    seen["state"], seen["ports"] = device.state, [port["name"] for port in device.network_ports]
    device.hostname = "python2"
    device.update()
    seen["devices"] = [one.hostname for one in client.list_devices(project.id)]
    seen["all"] = [one.hostname for one in client.list_all_devices(project.id)]
    seen["shown"] = client.get_device(device.id).operating_system.slug
    seen["ips"] = client.list_device_ips(device.id)
    seen["project_ips"] = client.list_project_ips(project.id)
    seen["events"] = [event.type for event in client.list_device_events(device.id)]
    try:
        client.create_device(project.id, "bad_name", "baremetal_1", "ewr1", "debian_12")
    except packet.ResponseError as err:
        seen["refusal"] = str(err)
    device.delete()
    try:
        client.get_device(device.id)
    except packet.ResponseError as err:
        seen["gone"] = str(err)
    key.delete()
    project.delete()
    seen["left"] = [one.name for one in client.list_projects()]
    return seen


async def test_an_ordinary_day(world: World, client: Any) -> None:
    await world.add_machines(2)
    seen = await asyncio.to_thread(_day, client)
    assert seen["user"] == "Round House"
    assert "c1.small.x86" in seen["plans"] and "debian_12" in seen["systems"]
    assert seen["facilities"] == ["ams1", "ewr1", "sjc1"]
    assert (seen["capacity"], seen["enough"], seen["too_many"]) == ("limited", True, False)
    assert [name for name, _ in seen["projects"]] == ["default", "renamed"]
    assert seen["keys"] == ["desktop"]
    assert (seen["state"], seen["ports"]) == ("queued", ["bond0", "eth0"])
    assert seen["devices"] == seen["all"] == ["python2"]
    assert (seen["shown"], seen["ips"], seen["project_ips"]) == ("debian_12", [], [])
    assert "Hostname is not valid: 'bad_name'" in seen["refusal"]
    assert seen["gone"] == "Error 404: Not found"
    assert seen["left"] == ["default"]


def _addresses(client: Any, project_id: str, device_id: str) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    block = client.reserve_ip_address(project_id, "public_ipv4", 2, facility="ewr1", details="web", tags=["a"])
    seen["block"] = (f"{block.network}/{block.cidr}", block.details, block.tags, block.facility.code)
    seen["listed"] = [one.id == block.id for one in client.list_project_ips(project_id) if not one.management]
    seen["available"] = client.call_api(f"ips/{block.id}/available", params={"cidr": 32})
    part = client.create_device_ip(device_id, f"{block.network}/32", manageable=False, customdata={"a": 1})
    seen["part"] = (part.address, part.management, part.assigned_to["href"], part.customdata)
    seen["device"] = [one.address for one in client.list_device_ips(device_id) if not one.management]
    seen["left"] = client.call_api(f"ips/{block.id}/available", params={"cidr": 32})
    seen["shown"] = client.get_ip(part.id).address
    try:
        client.delete_ip(block.id)
    except packet.ResponseError as err:
        seen["refusal"] = str(err)
    part.delete()
    client.enable_project_bgp_config(project_id, asn=65000, deployment_type="local", md5="Secret0123456")
    config = client.get_bgp_config(project_id)
    seen["bgp"] = (config.status, config.asn, config.max_prefix, config.md5)
    session = client.create_bgp_session(device_id, "ipv4")
    seen["session"] = (session.address_family, session.status)
    seen["sessions"] = [one.id == session.id for one in client.get_bgp_sessions(device_id)]
    client.get_device(device_id).delete()
    client.delete_ip(block.id)
    seen["gone"] = list(client.list_project_ips(project_id))
    return seen


async def test_elastic_addresses_and_bgp(world: World, client: Any) -> None:
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "192.0.2.0/24", "elastic", block_length=32, facility="ewr1")
    device_id = await placed(world)
    seen = await asyncio.to_thread(_addresses, client, str(world.project), str(device_id))
    assert seen["block"] == ("192.0.2.0/31", "web", ["a"], "ewr1")
    assert seen["listed"] == [True]
    assert seen["available"] == {"available": ["192.0.2.0/32", "192.0.2.1/32"]}
    assert seen["part"] == ("192.0.2.0", False, f"/devices/{device_id}", {"a": 1})
    assert (seen["device"], seen["shown"]) == (["192.0.2.0"], "192.0.2.0")
    assert seen["left"] == {"available": ["192.0.2.1/32"]}
    assert "is assigned to" in seen["refusal"]
    assert seen["bgp"] == ("enabled", 65000, 10, "Secret0123456")
    assert (seen["session"], seen["sessions"]) == (("ipv4", "unknown"), [True])
    assert seen["gone"] == []
