"""BGP over the API: configurations that are approved, sessions, neighbours, passwords and the history of it all."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ipam.prefixes import add_prefix, add_vrf
from service.bgp import neighbors
from service.secrets import load_keys
from tests.service.api_world import World
from tests.service.elastic_world import placed, reserve

PASSWORD = "Secret0123456"
LOCAL = {"deployment_type": "local", "asn": 65000, "md5": PASSWORD, "use_case": "failover"}


async def configure(world: World, **fields: Any) -> None:
    answer = await world.call("POST", f"/projects/{world.project}/bgp-configs", LOCAL | fields)
    assert (answer.status, answer.body) == (204, b""), answer.body


async def test_local_is_enabled_at_once_and_the_same_again_changes_nothing(world: World) -> None:
    path = f"/projects/{world.project}/bgp-config"
    assert (await world.call("GET", path)).status == 404
    assert (await world.call("GET", f"/projects/{world.project}")).body["bgp_config"] is None
    await asyncio.gather(*(configure(world) for _ in range(4)))
    found = (await world.call("GET", path)).body
    assert (found["status"], found["asn"], found["deployment_type"], found["max_prefix"]) == (
        "enabled",
        65000,
        "local",
        10,
    )
    assert found["md5"] == PASSWORD and found["use_case"] == "failover"
    assert (await world.call("GET", f"/projects/{world.project}")).body["bgp_config"] == {"href": path}
    assert await world.db.fetchval("SELECT count(*) FROM bgp_config") == 1
    await configure(world, asn=None, md5=None)
    again = (await world.call("GET", path)).body
    assert (again["id"], again["asn"], again["md5"]) == (found["id"], 65000, None)
    rows = await world.db.fetch(
        "SELECT upper(during) AS until, lower(during) AS since FROM bgp_config ORDER BY version"
    )
    assert [row["until"] is None for row in rows] == [False, True] and rows[0]["until"] == rows[1]["since"]


async def test_a_password_is_sealed_and_shown_only_to_who_may_write(world: World) -> None:
    await configure(world)
    sealed = await world.db.fetchval("SELECT md5 FROM bgp_config")
    assert PASSWORD.encode() not in sealed
    await world.add_token("reader", project_id=world.project, read_only=True)
    path = f"/projects/{world.project}/bgp-config"
    assert (await world.call("GET", path, token="reader")).body["md5"] is None
    device_id = await placed(world)
    assert (await world.call("POST", f"/devices/{device_id}/bgp/sessions", {})).status == 201
    path = f"/devices/{device_id}/bgp/neighbors"
    for token, shown in (("reader", None), (await world.tenant_token(), PASSWORD)):
        (found,) = (await world.call("GET", path, token=token)).body["bgp_neighbors"]
        assert (found["md5_enabled"], found["md5_password"]) == (True, shown)


async def test_global_waits_for_an_operator(world: World) -> None:
    await configure(world, deployment_type="global", asn=64496)
    path = f"/projects/{world.project}/bgp-config"
    device_id = await placed(world)
    assert (await world.call("GET", path)).body["status"] == "requested"
    refused = await world.call("POST", f"/devices/{device_id}/bgp/sessions", {"address_family": "ipv4"})
    assert refused.status == 422 and "awaits approval" in refused.body["errors"][0]
    approve = f"/admin/v1/projects/{world.project}/bgp-config/approve"
    assert (await world.call("POST", approve, token=await world.tenant_token())).status == 403
    for _ in range(2):
        answer = await world.call("POST", approve)
        assert (answer.status, answer.body["status"]) == (200, "enabled")
    assert (await world.call("POST", f"/devices/{device_id}/bgp/sessions", {"address_family": "ipv4"})).status == 201
    # Another password keeps what was approved, another number does not.
    await configure(world, deployment_type="global", asn=64496, md5="Another0123")
    assert (await world.call("GET", path)).body["status"] == "enabled"
    await configure(world, deployment_type="global", asn=64497)
    assert (await world.call("GET", path)).body["status"] == "requested"
    assert (await world.call("GET", f"/devices/{device_id}/bgp/neighbors")).body == {"bgp_neighbors": []}
    types = [row["type"] for row in await world.db.fetch("SELECT type FROM event WHERE type LIKE 'project.bgp%'")]
    assert types == ["project.bgp_requested", "project.bgp_enabled", "project.bgp_requested"]
    other = await world.other_tenant()
    assert (await world.call("POST", f"/admin/v1/projects/{other}/bgp-config/approve")).status == 404


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"deployment_type": "regional"}, "Deployment type is not valid: 'regional'"),
        ({"deployment_type": None}, "Deployment type can't be blank"),
        ({"asn": 64496}, "Asn is not valid: 64496; a local one is private"),
        ({"deployment_type": "global", "asn": None}, "Asn can't be blank"),
        ({"deployment_type": "global", "asn": 65000}, "a global one is neither private nor reserved"),
        ({"asn": "many"}, "Asn is not valid: 'many'"),
        ({"md5": "short"}, "Md5 is not valid: it must be 10 to 20 letters and digits"),
        ({"md5": "with-a-hyphen"}, "Md5 is not valid: it must be"),
    ],
)
async def test_what_is_refused(world: World, wish: dict[str, Any], said: str) -> None:
    answer = await world.call("POST", f"/projects/{world.project}/bgp-configs", LOCAL | wish)
    assert answer.status == 422 and said in answer.body["errors"][0], answer.body
    assert await world.db.fetchval("SELECT count(*) FROM bgp_config") == 0


async def test_sessions_from_beginning_to_end(world: World) -> None:
    device_id = await placed(world)
    path = f"/devices/{device_id}/bgp/sessions"
    refused = await world.call("POST", path, {"address_family": "ipv4"})
    assert refused.status == 422 and "has no BGP configuration" in refused.body["errors"][0]
    await configure(world)
    answers = await asyncio.gather(*(world.call("POST", path, {"address_family": "ipv4"}, key="k") for _ in range(4)))
    assert {answer.status for answer in answers} == {201}
    (id_,) = {answer.body["id"] for answer in answers}
    one = answers[0].body
    assert (one["status"], one["learned_routes"], one["default_route"]) == ("unknown", [], False)
    refused = await world.call("POST", path, {"address_family": 4})
    assert refused.status == 422 and "has such a session already" in refused.body["errors"][0]
    assert (await world.call("POST", path, {"address_family": "ipx"})).status == 422
    six = await world.call("POST", path, {"address_family": 6, "default_route": True})
    assert (six.status, six.body["address_family"], six.body["default_route"]) == (201, "ipv6", True)
    listed = (await world.call("GET", path)).body["bgp_sessions"]
    assert [session["address_family"] for session in listed] == ["ipv4", "ipv6"]
    assert (await world.call("GET", f"/projects/{world.project}/bgp/sessions")).body["bgp_sessions"] == listed
    assert len((await world.call("GET", f"/projects/{world.project}/bgp-config")).body["sessions"]) == 2
    changed = await world.call("PUT", f"/bgp/sessions/{id_}", {"default_route": True})
    assert (changed.body["id"], changed.body["default_route"]) == (id_, True)
    assert changed.body["created_at"] == one["created_at"]
    assert (await world.call("GET", f"/bgp/sessions/{id_}")).body == changed.body
    assert (await world.call("DELETE", f"/bgp/sessions/{id_}")).status == 204
    for method in ("GET", "DELETE"):
        assert (await world.call(method, f"/bgp/sessions/{id_}")).status == 404
    assert (await world.call("PUT", f"/bgp/sessions/{id_}", {"default_route": False})).status == 404
    assert (await world.call("DELETE", f"/devices/{device_id}")).status == 204
    rows = await world.db.fetch("SELECT id, upper(during) AS until, ended_by FROM bgp_session ORDER BY version")
    assert [str(row["id"]) for row in rows].count(id_) == 2 and len(rows) == 3
    assert all(row["until"] is not None and row["ended_by"] == f"user:{world.user}" for row in rows)


async def test_neighbours_take_what_the_project_holds_there(world: World, tmp_path: Any) -> None:
    async with world.db.acquire() as conn:
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "192.0.2.0/24", "elastic", block_length=32, facility="ewr1")
        await add_prefix(conn, vrf, "192.0.0.0/24", "elastic", block_length=32, facility="sjc1")
        await add_prefix(conn, vrf, "2001:db8:e000::/44", "elastic", block_length=128, facility="ewr1")
        await add_prefix(conn, vrf, "198.18.0.0/24", "anycast", block_length=32)
    await configure(world)
    device_id = await placed(world)
    await reserve(world, quantity=4)
    await reserve(world, facility="sjc1")
    await reserve(world, type="global_ipv4", facility=None)
    await reserve(world, type="public_ipv6", quantity=None, cidr=56)
    for family in ("ipv4", "ipv6"):
        await world.call("POST", f"/devices/{device_id}/bgp/sessions", {"address_family": family})
    four, six = (await world.call("GET", f"/devices/{device_id}/bgp/neighbors")).body["bgp_neighbors"]
    assert four == {
        "address_family": 4,
        "customer_as": 65000,
        "customer_ip": "10.0.0.1",
        "default_route": False,
        "md5_enabled": True,
        "md5_password": PASSWORD,
        "multihop": False,
        "peer_as": 65530,
        "peer_ips": ["10.0.0.0"],
        "routes_in": [{"route": "192.0.2.0/30", "exact": False}, {"route": "198.18.0.0/32", "exact": True}],
        "routes_out": [],
    }
    assert (six["customer_ip"], six["peer_ips"]) == ("2001:db8::1", ["2001:db8::"])
    assert six["routes_in"] == [{"route": "2001:db8:e000::/56", "exact": False}]
    links: list[Any] = []  # before the device is placed there is nobody to speak to
    assert await neighbors(world.db, device_id, links, key=load_keys(tmp_path)) == []


async def test_strangers_see_and_change_nothing(world: World) -> None:
    await configure(world)
    device_id = await placed(world)
    session = (await world.call("POST", f"/devices/{device_id}/bgp/sessions", {})).body["id"]
    await world.other_tenant()
    for method, path, body in (
        ("POST", f"/projects/{world.project}/bgp-configs", LOCAL),
        ("GET", f"/projects/{world.project}/bgp-config", None),
        ("GET", f"/projects/{world.project}/bgp/sessions", None),
        ("GET", f"/devices/{device_id}/bgp/sessions", None),
        ("POST", f"/devices/{device_id}/bgp/sessions", {"address_family": "ipv6"}),
        ("GET", f"/devices/{device_id}/bgp/neighbors", None),
        ("GET", f"/bgp/sessions/{session}", None),
        ("PUT", f"/bgp/sessions/{session}", {"default_route": True}),
        ("DELETE", f"/bgp/sessions/{session}", None),
    ):
        answer = await world.call(method, path, body, token="other-token")
        assert answer.status == 404, (method, path, answer.body)
