"""The rules of the wire, each of which breaks a real client when it is missed."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest

from service.api.call import split_path
from service.api.links import bond0_of, eth0_of, reservation_of
from tests.service.api_world import ED25519, TOKEN, World


async def raw(world: World, target: str) -> tuple[int, Any]:
    """A request line as it is, which HTTP libraries would put right."""
    host, port = urlsplit(world.url).hostname, urlsplit(world.url).port
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(f"GET {target} HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {TOKEN}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/json" in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    "target",
    [
        "/capacity",
        "//capacity?",
        "///metal//v1//capacity",
        "/metal/v1/capacity/",
        "/metal/v1/metal/v1/capacity?",
    ],
)
async def test_slashes_and_prefixes_are_put_right(world: World, target: str) -> None:
    status, body = await raw(world, target)
    assert status == 200 and body["capacity"]["ewr1"]["c1.small.x86"] == {"level": "unavailable"}


def test_a_prefix_is_a_whole_segment() -> None:
    assert split_path("/metal/v10/projects") == ("", "/metal/v10/projects")
    assert split_path("//metal/v1") == ("/metal/v1", "/")
    assert split_path("/") == ("", "/")


async def test_hrefs_carry_the_prefix_of_the_request_and_lead_back(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    for prefix in ("", "/metal/v1"):
        shown = (await world.call("GET", f"{prefix}/devices/{device}")).body
        assert shown["href"] == f"{prefix}/devices/{device}"
        for name in ("project", "plan", "facility", "metro", "operating_system", "created_by"):
            found = await world.call("GET", shown[name]["href"])
            assert found.status == 200 and found.body["href"] == shown[name]["href"], name
        assert (await world.call("GET", shown["href"])).status == 200
        page = (await world.call("GET", f"{prefix}/projects?per_page=1")).body
        assert page["meta"]["self"]["href"] == f"{prefix}/projects?page=1&per_page=1"
        assert page["projects"][0]["organization"]["href"].startswith(f"{prefix}/organizations/")


async def test_parameters_may_come_in_the_query_and_the_body_wins(world: World) -> None:
    made = await world.call("POST", "/projects?name=queried&tags[]=a&tags[]=b", content=b"")
    assert (made.status, made.body["name"], made.body["tags"]) == (201, "queried", ["a", "b"])
    both = await world.call("POST", "/projects?name=queried", {"name": "sent", "unknown": {"x": [1]}})
    assert both.body["name"] == "sent"


@pytest.mark.parametrize(
    ("content", "status"),
    [(b"{", 400), (b"[" * 100_000, 400), (b"[]", 422), (b'"x"', 422), (b"1", 422), (b"null", 422), (b"\xff", 400)],
)
async def test_bodies_that_are_no_object_are_refused(world: World, content: bytes, status: int) -> None:
    answer = await world.call("POST", "/projects", content=content)
    assert answer.status == status and isinstance(answer.body["errors"][0], str)


@pytest.mark.parametrize("value", ["1e999", "NaN", "-Infinity", '{"a":' * 80 + "1" + "}" * 80, '"\\u0000"', "1" * 5000])
async def test_what_cannot_be_stored_is_refused(world: World, value: str) -> None:
    content = ('{"name": "p", "customdata": {"a": ' + value + "}}").encode()
    assert (await world.call("POST", "/projects", content=content)).status in (400, 422)
    as_text = {"name": "p", "customdata": '{"a": ' + value + "}"}
    assert (await world.call("POST", "/projects", as_text)).status == 422


async def test_unknown_places_and_methods_answer_in_json(world: World) -> None:
    for path in ("/nowhere", "/devices/nonsense", f"/devices/{uuid4()}", "/projects/x/y/z", "/"):
        answer = await world.call("GET", path)
        assert (answer.status, answer.body) == (404, {"errors": ["Not found"]}), path
    wrong = await world.call("DELETE", "/plans")
    assert wrong.status == 405 and "GET" in wrong.body["errors"][0]
    large = await world.call("POST", "/projects", content=b" " * (5 << 20))
    assert large.status == 413 and large.body["errors"]


async def test_a_fault_of_ours_is_a_500_in_json_without_detail(world: World) -> None:
    await world.db.execute("ALTER TABLE plan RENAME TO plan_gone")
    answer = await world.call("GET", "/plans")
    assert answer.status == 500
    assert answer.body["errors"][0].startswith("Oh snap") and "plan_gone" not in json.dumps(answer.body)


async def test_lists_have_what_clients_index(world: World) -> None:
    await world.add_machines(6)
    plans = (await world.call("GET", "/plans?")).body["plans"]
    small = next(plan for plan in plans if plan["slug"] == "c1.small.x86")
    assert small["line"] == "baremetal" and small["specs"]["cpus"][0]["type"] and small["pricing"]["hour"] == 0.4
    assert [place["href"].split("/")[1] for place in small["available_in"]] == ["facilities"]
    assert len((await world.call("GET", "/plans?slug=baremetal_1")).body["plans"]) == 1
    systems = (await world.call("GET", "/operating-systems")).body["operating_systems"]
    assert {"debian_12", "ubuntu_22_04", "custom_ipxe"} <= {system["slug"] for system in systems}
    assert all(system["distro"] and UUID(system["id"]).version == 4 for system in systems)
    facilities = (await world.call("GET", "/facilities")).body["facilities"]
    assert [(place["code"], place["metro"]["code"]) for place in facilities] == [
        ("ams1", "am"),
        ("ewr1", "ny"),
        ("sjc1", "sv"),
    ]
    metro = (await world.call("GET", "/locations/metros")).body["metros"][1]
    assert (await world.call("GET", metro["href"])).body == metro
    capacity = (await world.call("GET", "/capacity/metros")).body["capacity"]
    assert (
        capacity["ny"]["c1.small.x86"] == {"level": "normal"}
        and capacity["am"]["c1.small.x86"]["level"] == "unavailable"
    )


async def test_capacity_is_counted_over_all_wishes(world: World) -> None:
    await world.add_machines(3)
    await world.order()

    async def answer(*wishes: tuple[str, int]) -> list[bool]:
        servers = [{"facility": place, "plan": "baremetal_1", "quantity": count} for place, count in wishes]
        body = (await world.call("POST", "/capacity", {"servers": servers})).body
        return [server["available"] for server in body["servers"]]

    assert await answer(("ewr1", 2)) == [True]
    assert await answer(("ewr1", 3)) == [False]
    assert await answer(("ewr1", 1), ("ewr1", 1), ("ewr1", 1)) == [True, True, False]
    assert await answer(("sjc1", 1), ("any", 2)) == [False, True]
    for bad in ({"plan": "x", "facility": "ewr1"}, {"plan": "baremetal_1", "facility": "x"}, {"plan": "baremetal_1"}):
        assert (await world.call("POST", "/capacity", {"servers": [bad | {"quantity": 1}]})).status == 422


async def test_references_become_objects_and_objects_references(world: World) -> None:
    await world.add_machines(1)
    await world.call("POST", "/ssh-keys", {"label": "k", "key": ED25519})
    device = (await world.order()).body["id"]
    path = f"/devices/{device}"
    plain = (await world.call("GET", path)).body
    assert set(plain["project"]) == {"href"} and set(plain["ssh_keys"][0]) == {"href"}
    full = (await world.call("GET", path + "?include=project,ssh_keys,nonsense,facility&include=project.members")).body
    assert full["project"]["id"] == str(world.project) and full["project"]["href"] == plain["project"]["href"]
    assert full["project"]["members"][0]["id"] == str(world.user) and full["ssh_keys"][0]["label"] == "k"
    cut = (await world.call("GET", path + "?exclude=plan,facility.metro,operating_system")).body
    assert set(cut["plan"]) == {"href"} and set(cut["facility"]["metro"]) == {"href"} and "code" in cut["facility"]
    listed = (await world.call("GET", "/projects?include=members,organization,devices")).body["projects"][0]
    assert listed["members"][0]["id"] and listed["organization"]["name"] and listed["devices"][0]["hostname"] == "web1"


async def test_addresses_come_from_the_ledger(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    for slot, role in (("public", "public"), ("private", "private"), ("ipv6", "ipv6")):
        await world.db.execute(
            """INSERT INTO tenure (vrf_id, prefix_id, prefix_cidr, block, owner, slot, during)
               SELECT vrf_id, id, cidr, set_masklen(network(cidr)::inet, block_length)::cidr, $1, $2,
                      tstzrange(now(), NULL)
               FROM prefix WHERE role = $3 AND facility = 'ewr1'""",
            UUID(device),
            slot,
            role,
        )
    shown = (await world.call("GET", f"/devices/{device}")).body["ip_addresses"]
    assert [(one["address"], one["cidr"], one["gateway"], one["public"]) for one in shown] == [
        ("203.0.113.1", 31, "203.0.113.0", True),
        ("2001:db8::1", 127, "2001:db8::", True),
        ("10.0.0.1", 31, "10.0.0.0", False),
    ]
    assert all("type" not in one and one["assigned_to"]["href"] == f"/devices/{device}" for one in shown)
    assert shown[1]["parent_block"]["cidr"] == 64
    listed = (await world.call("GET", f"/devices/{device}/ips")).body["ip_addresses"]
    assert {one["id"] for one in listed} == {one["id"] for one in shown}
    assert (await world.call("GET", shown[0]["href"])).body == shown[0]
    block = (await world.call("GET", shown[0]["parent_block"]["href"])).body
    assert (block["type"], block["management"], block["network"]) == ("public_ipv4", True, "203.0.113.0")
    assert "assigned_to" not in block and block["assignments"] == [{"href": shown[0]["href"]}]
    assert (await world.call("GET", block["available"])).body == {"available": []}
    path = f"/projects/{world.project}/ips"
    assert (await world.call("GET", path)).body["meta"]["total"] == 3
    for query, count in (("type=public_ipv4", 1), ("types=public_ipv4,private_ipv4", 2), ("ipv4=true&public=true", 1)):
        assert (await world.call("GET", f"{path}?{query}")).body["meta"]["total"] == count, query
    assert len((await world.call("GET", f"/projects/{world.project}/devices?search=203.0.113.1")).body["devices"]) == 1
    await world.other_tenant()
    for href in (shown[0]["href"], shown[0]["parent_block"]["href"]):
        assert (await world.call("GET", href, token="other-token")).status == 404


def test_derived_ids_are_version_4_and_lead_back() -> None:
    for turned in (bond0_of, eth0_of, reservation_of):
        for _ in range(50):
            one = uuid4()
            assert turned(one) != one and turned(turned(one)) == one
            assert turned(one).version == 4 and turned(one).variant == one.variant
