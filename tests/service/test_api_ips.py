"""Elastic addresses over the API: reserved, labelled, led to devices, moved, split, merged and released."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from ipam.elastic import parts_of
from ipam.ledger import held_by, tenure_by_id
from ipam.permissions import Subject, grant
from ipam.prefixes import add_prefix, add_vrf, prefixes_for, set_status
from service.elastic import addresses_back, end_released
from tests.service.api_world import World
from tests.service.elastic_world import ELASTIC, placed, reserve

STAFF = Subject(None, frozenset(), frozenset(), staff=True)


@pytest.mark.parametrize(
    ("wish", "cidr", "shown"),
    [
        ({"quantity": 1}, 32, {"type": "public_ipv4", "public": True, "global_ip": False}),
        ({"quantity": "4"}, 30, {"type": "public_ipv4", "gateway": "192.0.2.1"}),
        ({"cidr": 24, "quantity": None}, 24, {"netmask": "255.255.255.0"}),
        ({"quantity": 256}, 24, {"network": "192.0.2.0"}),
        (
            {"type": "private_ipv4", "quantity": 8},
            29,
            {"public": False, "type": "private_ipv4", "network": "10.99.0.0"},
        ),
        ({"type": "public_ipv6", "cidr": 48, "quantity": None}, 48, {"address_family": 6, "public": True}),
        ({"type": "public_ipv6", "quantity": 1}, 128, {"address_family": 6}),
        ({"type": "public_ipv6", "quantity": 2**64}, 64, {"address_family": 6}),
        ({"type": "global_ipv4", "quantity": 2, "facility": None}, 31, {"global_ip": True, "facility": None}),
        ({"facility": None, "metro": "ny"}, 32, {"state": "created"}),
        ({"facility": "any"}, 32, {"management": False}),
    ],
)
async def test_what_can_be_reserved(elastic: World, wish: dict[str, Any], cidr: int, shown: dict[str, Any]) -> None:
    body = await reserve(elastic, **wish)
    assert body["cidr"] == cidr
    assert {name: body[name] for name in shown} == shown
    assert "assigned_to" not in body and body["assignments"] == []
    assert body["requested_by"] == {"href": f"/users/{elastic.user}"}
    assert (await elastic.call("GET", f"/ips/{body['id']}")).body == body


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"type": "elastic"}, "Type is not valid: 'elastic'"),
        ({"type": None}, "Type can't be blank"),
        ({"quantity": None}, "Quantity can't be blank"),
        ({"quantity": 3}, "Quantity is not valid: 3; allowed are powers of two up to 256"),
        ({"quantity": 512}, "Quantity is not valid: 512"),
        ({"quantity": 0}, "Quantity is not valid: 0"),
        ({"cidr": 23, "quantity": None}, "Cidr is not valid: 23; allowed are 24 to 32"),
        ({"cidr": 30}, "Quantity is not valid: 1 addresses are a /32 and no /30"),
        ({"type": "public_ipv6", "cidr": 47, "quantity": None}, "allowed are 48 to 128"),
        ({"facility": None}, "Facility can't be blank"),
        ({"facility": "xxx1"}, "Facility is not valid: 'xxx1' is not one of"),
        ({"type": "global_ipv4"}, "Facility is not valid: 'ewr1'; allowed is none"),
        ({"facility": "ams1"}, "ams1 has no elastic prefix for public_ipv4"),
        ({"type": "private_ipv4", "facility": "sjc1"}, "sjc1 has no elastic prefix for private_ipv4"),
        ({"customdata": "{"}, "Customdata is not valid"),
    ],
)
async def test_what_is_refused_names_field_value_and_what_is_allowed(
    elastic: World, wish: dict[str, Any], said: str
) -> None:
    asked = {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"} | wish
    answer = await elastic.call("POST", f"/projects/{elastic.project}/ips", asked)
    assert answer.status == 422 and said in answer.body["errors"][0], answer.body
    assert await elastic.db.fetchval("SELECT count(*) FROM tenure") == 0


async def test_exhausted_names_the_prefix_and_what_is_free(elastic: World) -> None:
    await reserve(elastic, cidr=25, quantity=None)
    wish = {"type": "public_ipv4", "cidr": 24, "facility": "ewr1", "fail_on_approval_required": True}
    answer = await elastic.call("POST", f"/projects/{elastic.project}/ips", wish)
    assert answer.status == 422
    assert "There aren't available addresses in that facility" in answer.body["errors"][0]
    assert "192.0.2.0/24 has no free /24: a /25 at most is free" in answer.body["errors"][0]


async def test_a_key_reserves_once_also_when_many_come_at_once_and_after_the_release(elastic: World) -> None:
    path, wish = f"/projects/{elastic.project}/ips", {"type": "public_ipv4", "quantity": 2, "facility": "ewr1"}
    wish |= {"details": "web", "tags": ["a"]}
    answers = await asyncio.gather(*(elastic.call("POST", path, wish, key="k") for _ in range(12)))
    assert {answer.status for answer in answers} == {201}
    (id_,) = {answer.body["id"] for answer in answers}
    assert answers[0].body["details"] == "web" and answers[0].body["tags"] == ["a"]
    other = await elastic.call("POST", path, wish | {"quantity": 4}, key="k")
    assert other.status == 422 and "was used for another request" in other.body["errors"][0]
    assert (await elastic.call("DELETE", f"/ips/{id_}")).status == 204
    late = await elastic.call("POST", path, wish, key="k")
    assert (late.status, late.body["id"]) == (201, id_)
    assert (await elastic.call("GET", path)).body["meta"]["total"] == 0


async def test_a_reservation_whose_process_died_before_its_label_is_completed_by_the_next_try(
    elastic: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, wish = f"/projects/{elastic.project}/ips", {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"}

    async def died(*_args: object, **_fields: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patch:
        patch.setattr("service.api.elastic_reserve.set_label", died)
        assert (await elastic.call("POST", path, wish | {"details": "web"}, key="k")).status == 500
    again = await elastic.call("POST", path, wish | {"details": "web"}, key="k")
    assert (again.status, again.body["details"]) == (201, "web")
    assert await elastic.db.fetchval("SELECT count(*) FROM tenure") == 1


async def test_a_crowd_reserves_each_block_once(elastic: World) -> None:
    found = await asyncio.gather(*(reserve(elastic, quantity=4) for _ in range(40)))
    blocks = Counter(one["network"] for one in found)
    assert len(blocks) == 40 and set(blocks.values()) == {1}


async def test_labels_can_be_changed_and_lists_filtered(elastic: World) -> None:
    first = await reserve(elastic, details="web", tags=["a"], customdata={"n": 1})
    second = await reserve(elastic, type="private_ipv4", tags=["b"])
    glob = await reserve(elastic, type="global_ipv4", facility=None)
    far = await reserve(elastic, facility="sjc1")
    device_id = await placed(elastic)
    path = f"/projects/{elastic.project}/ips"

    async def ids(query: str) -> list[str]:
        answer = await elastic.call("GET", f"{path}?{query}")
        assert answer.status == 200 and answer.body["meta"]["total"] == len(answer.body["ip_addresses"])
        return [one["id"] for one in answer.body["ip_addresses"] if not one["management"]]

    assert set(await ids("")) == {first["id"], second["id"], glob["id"], far["id"]}
    assert await ids("type=private_ipv4") == [second["id"]]
    assert set(await ids("types=global_ipv4,private_ipv4")) == {second["id"], glob["id"]}
    assert set(await ids("ipv4=true&public=true")) == {first["id"], glob["id"], far["id"]}
    assert await ids("facility=sjc1") == [far["id"]] and await ids("metro=sv") == [far["id"]]
    assert await ids("tag=b") == [second["id"]] and await ids("management=true") == []
    everything = (await elastic.call("GET", path)).body["ip_addresses"]
    assert sum(one["management"] for one in everything) == 3
    page = (await elastic.call("GET", f"{path}?per_page=2&page=2")).body
    assert len(page["ip_addresses"]) == 2 and page["meta"]["total"] == 7

    change = {"details": None, "tags": ["c"], "customdata": {"n": 2}}
    for method in ("PATCH", "PUT"):
        body = (await elastic.call(method, f"/ips/{first['id']}", change)).body
        assert (body["details"], body["tags"], body["customdata"]) == (None, ["c"], {"n": 2})
    body = (await elastic.call("PATCH", f"/ips/{first['id']}", {"details": "only this"})).body
    assert (body["details"], body["tags"]) == ("only this", ["c"])
    body = (await elastic.call("PATCH", f"/ips/{far['id']}", {"tags": ["new"]})).body
    assert (body["tags"], body["customdata"]) == (["new"], {})
    own = (await elastic.call("GET", f"/devices/{device_id}/ips")).body["ip_addresses"][0]
    assert (await elastic.call("PATCH", f"/ips/{own['id']}", {"details": "x"})).status == 422
    refused = await elastic.call("DELETE", f"/ips/{own['id']}")
    assert refused.status == 422 and "ends with its device" in refused.body["errors"][0]


async def test_a_project_takes_its_reservations_along(elastic: World) -> None:
    project = UUID((await elastic.call("POST", "/projects", {"name": "short-lived"})).body["id"])
    elastic = World(**({name: getattr(elastic, name) for name in World.__slots__} | {"project": project}))
    device_id = await placed(elastic)
    led, free = await reserve(elastic, quantity=2), await reserve(elastic, quantity=1)
    assert (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": led["address"]})).status == 201
    refused = await elastic.call("DELETE", f"/projects/{project}")
    assert refused.status == 422 and "delete its devices first" in refused.body["errors"][0]
    assert (await elastic.call("GET", f"/ips/{free['id']}")).status == 200, "a refusal changes nothing"
    assert (await elastic.call("DELETE", f"/devices/{device_id}")).status == 204
    assert (await elastic.call("DELETE", f"/projects/{project}")).status == 204
    for block in (led, free):
        assert (await elastic.call("GET", f"/ips/{block['id']}")).status == 404
    # What a leaf may still lead to the device's port ends when that is closed, the rest at once.
    kept = {block["id"]: await tenure_by_id(elastic.db, UUID(block["id"])) for block in (led, free)}
    assert [one is not None and one.until is None for one in kept.values()] == [True, False]
    async with elastic.db.acquire() as conn, conn.transaction():
        await addresses_back(conn, device_id, now=datetime.now(UTC), by="run:test")
    ended = await tenure_by_id(elastic.db, UUID(led["id"]))
    assert ended is not None and ended.until is not None


async def test_the_order_of_the_live_clients_device_then_reservation_then_project(elastic: World) -> None:
    project = UUID((await elastic.call("POST", "/projects", {"name": "short-lived"})).body["id"])
    elastic = World(**({name: getattr(elastic, name) for name in World.__slots__} | {"project": project}))
    device_id = await placed(elastic)
    block = await reserve(elastic, quantity=2)
    assert (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": "192.0.2.0"})).status == 201
    refused = await elastic.call("DELETE", f"/projects/{project}")
    assert refused.status == 422
    assert (await elastic.call("DELETE", f"/devices/{device_id}")).status == 204

    # The port is still open: the block is taken away, and may be led nowhere else.
    other = await placed(elastic)
    refused = await elastic.call("POST", f"/devices/{other}/ips", {"address": "192.0.2.0"})
    assert refused.status == 422 and "being taken away from a deleted device" in refused.body["errors"][0]
    assert (await elastic.call("GET", f"/ips/{block['id']}")).body["assignments"] == []
    assert (await elastic.call("GET", f"/ips/{block['id']}/available")).body == {"available": ["192.0.2.1/32"]}
    assert (await elastic.call("DELETE", f"/devices/{other}")).status == 204

    assert (await elastic.call("DELETE", f"/ips/{block['id']}")).status == 204
    assert (await elastic.call("GET", f"/ips/{block['id']}")).status == 404
    assert (await elastic.call("DELETE", f"/ips/{block['id']}")).status == 404
    assert (await elastic.call("GET", f"/projects/{project}/ips")).body["ip_addresses"] == []
    assert (await elastic.call("DELETE", f"/projects/{project}")).status == 204

    # Until the port is closed nobody gets the block; then it ends with the device's addresses.
    held = await tenure_by_id(elastic.db, UUID(block["id"]))
    assert held is not None and held.until is None
    async with elastic.db.acquire() as conn, conn.transaction():
        await end_released(conn, now=datetime.now(UTC))
    assert (await parts_of(elastic.db, [held.id]))[0].owner == device_id
    for _ in range(2):  # a step may be run twice
        async with elastic.db.acquire() as conn, conn.transaction():
            await addresses_back(conn, device_id, now=datetime.now(UTC), by="run:test")
    assert await held_by(elastic.db, device_id) == [] and await parts_of(elastic.db, [held.id]) == []
    held = await tenure_by_id(elastic.db, UUID(block["id"]))
    assert held is not None and held.until is not None and held.closed_by == f"user:{elastic.user}"
    assert await elastic.db.fetchval("SELECT count(*) FROM ip_label WHERE released_at IS NOT NULL") == 0


async def test_space_of_another_vrf_is_not_routed_and_not_handed_out(elastic: World) -> None:
    async with elastic.db.acquire() as conn:
        vrf = await add_vrf(conn, "customer")
        await add_prefix(conn, vrf, "192.0.2.0/24", "elastic", block_length=32, facility="ams1")
    wish = {"type": "public_ipv4", "quantity": 1, "facility": "ams1"}
    answer = await elastic.call("POST", f"/projects/{elastic.project}/ips", wish)
    assert answer.status == 422 and "ams1 has no elastic prefix" in answer.body["errors"][0]


async def test_strangers_see_and_change_nothing(elastic: World) -> None:
    device_id = await placed(elastic)
    block = await reserve(elastic, quantity=2)
    part = (await elastic.call("POST", f"/devices/{device_id}/ips", {"address": block["network"]})).body
    theirs = await elastic.other_tenant()
    for method, path, body in (
        ("GET", f"/ips/{block['id']}", None),
        ("GET", f"/ips/{part['id']}", None),
        ("GET", f"/ips/{block['id']}/available", None),
        ("PATCH", f"/ips/{block['id']}", {"details": "x"}),
        ("DELETE", f"/ips/{block['id']}", None),
        ("DELETE", f"/ips/{part['id']}", None),
        ("POST", f"/ips/{block['id']}/split", {"cidr": 32}),
        ("POST", f"/ips/{part['id']}/move", {"device": str(device_id)}),
        ("POST", "/ips/merge", {"ids": [block["id"], str(uuid4())]}),
        ("POST", f"/devices/{device_id}/ips", {"address": block["network"]}),
        ("POST", f"/projects/{elastic.project}/ips", {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"}),
        ("GET", f"/projects/{elastic.project}/ips", None),
    ):
        answer = await elastic.call(method, path, body, token="other-token")
        assert answer.status == 404, (method, path, answer.body)
    await elastic.add_token("reader", project_id=elastic.project, read_only=True)
    assert (await elastic.call("GET", f"/ips/{block['id']}", token="reader")).status == 200
    assert (await elastic.call("DELETE", f"/ips/{block['id']}", token="reader")).status == 403
    own = await elastic.call(
        "POST",
        f"/projects/{theirs}/ips",
        {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"},
        token="other-token",
    )
    assert own.status == 201
    refused = await elastic.call("POST", f"/devices/{device_id}/ips", {"address": own.body["network"]})
    assert refused.status == 422 and "lies in no elastic reservation" in refused.body["errors"][0]


async def test_own_and_granted_prefixes_go_first(elastic: World) -> None:
    theirs = await elastic.other_tenant()
    async with elastic.db.acquire() as conn, conn.transaction():
        organization = await conn.fetchval("SELECT organization_id FROM project WHERE id = $1", theirs)
        vrf = await add_vrf(conn, "default")
        foreign = await add_prefix(
            conn,
            vrf,
            "192.88.0.0/30",
            "elastic",
            block_length=32,
            facility="ewr1",
            organization_id=organization,
        )
    assert (await reserve(elastic))["network"].startswith("192.0.2.")
    async with elastic.db.acquire() as conn, conn.transaction():
        now = datetime.now(UTC)
        await grant(conn, STAFF, foreign.id, "assign", "project", elastic.project, by="user:test", now=now)
    found = [(await reserve(elastic))["network"] for _ in range(5)]
    assert found[:4] == ["192.88.0.0", "192.88.0.1", "192.88.0.2", "192.88.0.3"]
    assert found[4].startswith("192.0.2.")
    async with elastic.db.acquire() as conn:
        await add_prefix(
            conn, vrf, "192.88.1.0/24", "elastic", block_length=32, facility="ewr1", project_id=elastic.project
        )
    assert (await reserve(elastic))["network"] == "192.88.1.0"


async def test_a_frozen_prefix_gives_nothing_and_lets_nothing_move(elastic: World) -> None:
    device_id, block = await placed(elastic), await reserve(elastic, quantity=2)
    async with elastic.db.acquire() as conn:
        (prefix,) = [one for one in await prefixes_for(conn, "elastic", "ewr1") if str(one.cidr) == ELASTIC]
        await set_status(conn, prefix.id, "frozen")
    for method, path, body in (
        ("POST", f"/devices/{device_id}/ips", {"address": block["network"]}),
        ("POST", f"/ips/{block['id']}/split", {"cidr": 32}),
        ("DELETE", f"/ips/{block['id']}", None),
    ):
        answer = await elastic.call(method, path, body)
        assert answer.status == 422 and "frozen" in answer.body["errors"][0]


async def test_a_project_that_goes_away_meanwhile_gets_nothing(elastic: World) -> None:
    project = UUID((await elastic.call("POST", "/projects", {"name": "short-lived"})).body["id"])
    wish = {"type": "public_ipv4", "quantity": 1, "facility": "ewr1"}
    for _ in range(5):
        answers = await asyncio.gather(
            *(elastic.call("POST", f"/projects/{project}/ips", wish) for _ in range(4)),
            elastic.call("DELETE", f"/projects/{project}"),
        )
        assert {answer.status for answer in answers[:4]} <= {201, 404}
        for answer in answers[:4]:
            if answer.status == 201 and answers[4].status == 422:
                await elastic.call("DELETE", f"/ips/{answer.body['id']}")
        if answers[4].status == 204:
            break
    left = await elastic.db.fetchval("SELECT count(*) FROM tenure WHERE owner = $1 AND upper_inf(during)", project)
    assert left == 0
