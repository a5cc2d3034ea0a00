"""RDAP over a real socket, held against RFC 9083's rules; nobody learns of a customer's devices."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from ipam import elastic
from ipam.asn import add_pool, take_asn
from ipam.ledger import Want, give_back_one, hold, take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for, set_status
from service.api.app import make_api
from service.seed import seed
from service.settings import Settings
from service.store.notify import Hub
from service.store.rows import Pool
from tests.service.parts import make_parts
from tests.service.rdap_rules import check

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BY = "user:test"


@dataclass(frozen=True, slots=True)
class Registry:
    """A provider with a /22 and a /32, a customer with a /24 of his own and a reservation."""

    db: Pool
    http: ClientSession
    url: str
    organization: UUID
    project: UUID
    vrf: int

    async def get(self, path: str, *, method: str = "GET") -> tuple[int, Any, Any]:
        async with self.http.request(method, f"{self.url}/{path}") as response:
            text = await response.read()
            assert response.headers["Content-Type"] == "application/rdap+json"  # no charset: RFC 8259 §11
            assert response.headers["Access-Control-Allow-Origin"] == "*"
            body = json.loads(text) if text else None
            if body is not None:
                check(body)
            return response.status, body, response.headers


@pytest.fixture
async def registry(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[Registry]:
    settings = Settings(
        state_dir=tmp_path,
        rdap_provider="Example Hosting",
        rdap_abuse_email="abuse@example.net",
    )
    async with db.acquire() as conn:
        seeded = await seed(conn, token="t", operating_systems=[], organization="Customer Ltd")
        vrf = await add_vrf(conn, "default")
        await add_prefix(conn, vrf, "198.18.0.0/22", "container", description="rack row 7, keys at the desk")
        await add_prefix(conn, vrf, "198.18.0.0/24", "public", block_length=31, facility="ewr1")
        await add_prefix(conn, vrf, "198.18.1.0/24", "elastic", block_length=32, facility="ams1")
        own = seeded.organization_id
        await add_prefix(conn, vrf, "198.18.2.0/24", "container", organization_id=own)
        await add_prefix(conn, vrf, "198.18.2.128/25", "elastic", block_length=32)
        await add_prefix(conn, vrf, "2001:db8::/32", "container")
        await add_prefix(conn, vrf, "10.0.0.0/8", "private", block_length=31)
        other = await add_vrf(conn, "management")
        await add_prefix(conn, other, "198.51.100.0/24", "management")
    app = make_api(db, make_parts(settings), Hub(database_url))
    server = TestServer(app)
    await server.start_server()
    try:
        async with ClientSession() as http:
            url = str(server.make_url("/rdap"))
            yield Registry(db, http, url, seeded.organization_id, seeded.project_id, vrf)
    finally:
        await server.close()


async def test_the_providers_prefix_is_told_without_what_is_the_providers_own_business(registry: Registry) -> None:
    status, body, _ = await registry.get("ip/198.18.0.7")
    assert status == 200
    assert (body["startAddress"], body["endAddress"], body["ipVersion"]) == ("198.18.0.0", "198.18.0.255", "v4")
    assert (body["handle"], body["parentHandle"]) == ("NET-198.18.0.0-24", "NET-198.18.0.0-22")
    assert (body["status"], body["country"], body["type"]) == (["active"], "US", "ALLOCATED")
    assert [event["eventAction"] for event in body["events"]] == ["registration"]
    registrant, abuse = body["entities"]
    assert registrant["roles"] == ["registrant"] and registrant["vcardArray"][1][1][3] == "Example Hosting"
    assert abuse["roles"] == ["abuse"] and ["email", {}, "text", "abuse@example.net"] in abuse["vcardArray"][1]
    links = {link["rel"]: link for link in body["links"]}
    assert links["self"]["href"] == f"{registry.url}/ip/198.18.0.0/24"
    assert links["self"]["value"] == f"{registry.url}/ip/198.18.0.7"
    _, up, _ = await registry.get(links["up"]["href"].removeprefix(registry.url + "/"))
    assert up["handle"] == body["parentHandle"] and "parentHandle" not in up
    assert "rack" not in json.dumps(up) and "port43" not in up


async def test_a_customers_devices_are_not_published(registry: Registry) -> None:
    device, bare = uuid4(), uuid4()
    async with registry.db.acquire() as conn:
        public = await prefixes_for(conn, "public", "ewr1")
        link = await take(
            conn, public, device, "public", now=NOW, by=BY, project_id=registry.project, note={"hostname": "secret1"}
        )
        await take(conn, public, bare, "public", now=NOW, by=BY, project_id=registry.project)
    for asked in (f"ip/{link.host.ip}", f"ip/{link.block}"):
        _, body, _ = await registry.get(asked)
        assert body["handle"] == "NET-198.18.0.0-24"
        told = json.dumps(body)
        assert "Customer" not in told and "secret1" not in told and str(device) not in told


async def test_a_reservation_is_registered_for_the_customer_until_it_ends(registry: Registry) -> None:
    async with registry.db.acquire() as conn:
        prefixes = await prefixes_for(conn, "elastic", "ams1")
        slot = elastic.new_slot()
        held = await take(
            conn, prefixes[:1], registry.project, slot, now=NOW, by=BY, length=29, project_id=registry.project
        )
        part = ip_network(held.block.network_address)
        await elastic.route(conn, held.id, part, uuid4(), now=NOW, by=BY, project_id=registry.project, note={})
    for asked in (f"ip/{held.block.network_address}", f"ip/{held.block}"):
        status, body, _ = await registry.get(asked)
        assert (status, body["handle"], body["type"]) == (200, "RES-198.18.1.0-29", "ASSIGNED")
        assert body["cidr0_cidrs"] == [{"v4prefix": "198.18.1.0", "length": 29}]
        assert body["entities"][0]["vcardArray"][1][1][3] == "Customer Ltd"
        assert (body["parentHandle"], body["country"]) == ("NET-198.18.1.0-24", "NL")
        assert [event["eventAction"] for event in body["events"]] == ["registration", "last changed"]
        assert body["events"][0]["eventDate"] == "2026-03-01T12:00:00Z"
    for wider in ("ip/198.18.1.0/28", "ip/198.18.1.8"):
        assert (await registry.get(wider))[1]["handle"] == "NET-198.18.1.0-24"
    async with registry.db.acquire() as conn, conn.transaction():
        await elastic.unroute(conn, (await elastic.parts_of(conn, [held.id]))[0].id, now=datetime.now(UTC), by=BY)
        await elastic.release(conn, held.id, now=datetime.now(UTC), by=BY)
    assert (await registry.get(f"ip/{held.block}"))[1]["handle"] == "NET-198.18.1.0-24"


async def test_a_reservation_of_a_whole_prefix_does_not_lead_up_to_itself(registry: Registry) -> None:
    async with registry.db.acquire() as conn, conn.transaction():
        prefix = await add_prefix(conn, registry.vrf, "198.18.3.0/24", "elastic", block_length=32)
        whole = await hold(
            conn,
            prefix,
            ip_network("198.18.3.0/24"),
            Want(registry.project, elastic.new_slot(), BY, project_id=registry.project),
            now=NOW,
        )
    _, body, _ = await registry.get("ip/198.18.3.9")
    assert (body["handle"], body["parentHandle"]) == ("RES-198.18.3.0-24", "NET-198.18.0.0-22")
    async with registry.db.acquire() as conn, conn.transaction():
        await give_back_one(conn, whole.id, now=datetime.now(UTC), by=BY)
    assert (await registry.get("ip/198.18.3.9"))[1]["handle"] == "NET-198.18.3.0-24"


async def test_a_customers_prefix_is_one_registration_however_he_cuts_it_up(registry: Registry) -> None:
    for asked in ("ip/198.18.2.200", "ip/198.18.2.128/25", "ip/198.18.2.0/24"):
        _, body, _ = await registry.get(asked)
        assert (body["handle"], body["parentHandle"]) == ("NET-198.18.2.0-24", "NET-198.18.0.0-22")
        assert body["entities"][0]["vcardArray"][1][1][3] == "Customer Ltd"


async def test_ipv6_and_frozen_space(registry: Registry) -> None:
    _, body, _ = await registry.get("ip/2001:db8::/48")
    assert (body["startAddress"], body["endAddress"]) == ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff")
    assert body["cidr0_cidrs"] == [{"v6prefix": "2001:db8::", "length": 32}] and "country" not in body
    assert (await registry.get("ip/2001%3Adb8%3A%3A1"))[1]["handle"] == body["handle"] == "NET-2001:db8::-32"
    async with registry.db.acquire() as conn:
        row = await conn.fetchval("SELECT id FROM prefix WHERE cidr = '2001:db8::/32'")
        await set_status(conn, row, "frozen")
    assert (await registry.get("ip/2001:db8::1"))[1]["status"] == ["active", "locked"]


async def test_what_is_not_ours_local_or_in_a_vrf_apart_is_not_found(registry: Registry) -> None:
    for asked in ("192.0.2.1", "198.18.0.0/15", "10.0.0.1", "10.0.0.0/24", "198.51.100.1", "fd00::1"):
        status, body, _ = await registry.get(f"ip/{asked}")
        assert (status, body["errorCode"], body["title"]) == (404, 404, "Not Found")


BAD = (
    "ip/198.18.0",
    "ip/198.18.0.0/33",
    "ip/198.18.0.1/24",
    "ip/198.18.0.0/x",
    "ip/198.18.0.0/24/1",
    "ip/fe80::1%25eth0",
    "ip/",
    "ip",
    "ip/%00",
    "autnum/",
    "autnum/AS64500",
    "autnum/1.10",
    "autnum/4294967296",
    "autnum/" + "9" * 5000,
    "help/me",
    "other/198.18.0.1",
    "",
)


async def test_what_is_no_query_is_a_bad_request(registry: Registry) -> None:
    for asked in BAD:
        status, body, _ = await registry.get(asked)
        assert (status, body["errorCode"]) == (400, 400) and body["description"]


async def test_kinds_that_are_not_served_are_not_implemented(registry: Registry) -> None:
    for asked in ("domain/example.net", "nameserver/ns1.example.net", "entity/X", "domains?name=x*", "entities?fn=x"):
        assert (await registry.get(asked))[0] == 501


async def test_methods(registry: Registry) -> None:
    status, body, headers = await registry.get("ip/198.18.0.7", method="HEAD")
    assert (status, body) == (200, None) and int(headers["Content-Length"]) > 100
    assert (await registry.get("ip/192.0.2.1", method="HEAD"))[0] == 404
    status, body, headers = await registry.get("ip/198.18.0.7", method="POST")
    assert (status, body["errorCode"], headers["Allow"]) == (405, 405, "GET, HEAD")
    # RFC 7480 §4.3: what a server does not know in the query's string, it ignores.
    assert (await registry.get("ip/198.18.0.7?jscard=1"))[0] == 200


async def test_help_tells_what_can_be_asked(registry: Registry) -> None:
    status, body, _ = await registry.get("help")
    assert status == 200 and "Example Hosting" in body["notices"][0]["description"][0]


async def test_autonomous_systems(registry: Registry) -> None:
    async with registry.db.acquire() as conn, conn.transaction():
        await add_pool(conn, "customers", 64496, 64511)
        await add_pool(conn, "private", 64512, 65534)
        taken = await take_asn(conn, "customers", registry.project, "asn", now=NOW, by=BY)
        device = await take_asn(conn, "customers", uuid4(), "asn", now=NOW, by=BY)
    _, body, _ = await registry.get(f"autnum/{taken.asn}")
    assert (body["handle"], body["startAutnum"], body["endAutnum"]) == ("AS64496", 64496, 64496)
    assert body["entities"][0]["vcardArray"][1][1][3] == "Customer Ltd"
    _, body, _ = await registry.get(f"autnum/{device.asn}")
    assert (body["handle"], body["startAutnum"], body["endAutnum"]) == ("AS64496-AS64511", 64496, 64511)
    assert body["entities"][0]["vcardArray"][1][1][3] == "Example Hosting"
    for absent in (64512, 1, 4294967295):
        assert (await registry.get(f"autnum/{absent}"))[0] == 404


async def test_a_database_that_is_away_is_an_error_in_rdaps_words(registry: Registry) -> None:
    registry.db.terminate()
    status, body, _ = await registry.get("ip/198.18.0.7")
    assert (status, body["errorCode"]) == (500, 500)
