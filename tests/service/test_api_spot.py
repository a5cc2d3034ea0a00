"""Devices that end by themselves, and the spot market: prices, bids, notice, and requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import market
from service.due import end_devices
from service.parts import Parts
from service.settings import Settings
from service.store.spot import spot_price
from sql.loader import Q
from tests.service.api_world import World
from tests.service.parts import make_parts


@pytest.fixture
def parts(tmp_path: Any) -> Parts:
    return make_parts(Settings(state_dir=tmp_path))


def later(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


@given(
    st.decimals(min_value=Decimal("0.0001"), max_value=1000, places=4),
    st.integers(min_value=1, max_value=10_000),
    st.integers(min_value=0, max_value=10_000),
)
def test_the_price_rises_with_use_from_a_tenth_to_the_whole(plan: Decimal, machines: int, taken: int) -> None:
    price = spot_price(plan, machines, taken)
    assert spot_price(plan, machines, 0) <= price <= spot_price(plan, machines, machines)
    assert price <= spot_price(plan, machines, taken + 1)
    assert spot_price(plan, machines, machines) == plan
    assert abs(spot_price(plan, machines, 0) - plan / 10) <= Decimal("0.0001")


async def test_a_device_ends_when_its_time_has_come(world: World, parts: Parts) -> None:
    await world.add_machines(3)
    at = later(hours=1)
    device = (await world.order(termination_time=at)).body
    assert device["termination_time"] == at[:19] + "Z"
    stays = (await world.order(termination_time="")).body["id"]
    listed = (await world.call("GET", f"/projects/{world.project}/devices?has_termination_time=true")).body["devices"]
    assert [one["id"] for one in listed] == [device["id"]]
    changed = await world.call("PATCH", f"/devices/{stays}", {"termination_time": at})
    assert changed.body["termination_time"] == device["termination_time"]
    assert (await world.call("PUT", f"/devices/{stays}", {"termination_time": None})).body["termination_time"] is None
    past = await world.call("PUT", f"/devices/{stays}", {"termination_time": "2020-01-01T00:00:00Z"})
    assert past.status == 422 and past.body["errors"][0].startswith("Termination time is not valid")
    await end_devices(world.db, parts)
    assert (await world.call("GET", f"/devices/{device['id']}")).status == 200
    await world.db.execute(
        "UPDATE device SET termination_time = now(), locked = true WHERE id = $1", UUID(device["id"])
    )
    await end_devices(world.db, parts)
    assert (await world.call("GET", f"/devices/{device['id']}")).status == 200, "it is locked"
    await world.call("PATCH", f"/devices/{device['id']}", {"locked": False})
    await end_devices(world.db, parts)
    assert (await world.call("GET", f"/devices/{device['id']}")).status == 404
    assert (await world.call("GET", f"/devices/{stays}")).status == 200
    types = await world.db.fetch("SELECT type FROM event WHERE device_id = $1", UUID(device["id"]))
    assert {"instance.terminated", "instance.deleted"} <= {row["type"] for row in types}


async def test_prices_go_by_what_is_ordered_at_the_plans_own_price(world: World, parts: Parts) -> None:
    await world.add_machines(2)

    async def asked() -> float:
        found = (await world.call("GET", "//market/spot/prices?")).body["spot_market_prices"]
        return float(found["ewr1"]["c1.small.x86"]["price"])

    assert await asked() == 0.04  # a tenth of 0.40
    await market.write_prices(world.db, parts)
    assert (await world.order(spot_instance=True, spot_price_max=0.05)).status == 201
    assert await asked() == 0.04, "spot instances do not drive their own price"
    assert (await world.order()).status == 201
    assert await asked() == 0.13  # 0.4 · (0.1 + 0.9 / 4)
    await market.write_prices(world.db, parts)
    await market.write_prices(world.db, parts)
    path = "/market/spot/prices/history?facility=ewr1&plan=baremetal_1&from=1700000000&until=1999999999"
    history = (await world.call("GET", path)).body["prices_history"]["datapoints"]
    assert [point[0] for point in history] == [0.04, 0.13]
    assert all(isinstance(point[1], int) for point in history)
    by_metro = (await world.call("GET", "/market/spot/prices/metros")).body["spot_market_prices"]
    assert by_metro["ny"]["c1.small.x86"] == {"price": 0.13}
    for query in ("facility=ewr1&plan=x", "facility=xx&plan=c1.small.x86", "plan=c1.small.x86&from=soon&facility=ewr1"):
        assert (await world.call("GET", f"/market/spot/prices/history?{query}")).status == 422
    for query, missing in (("facility=ewr1", "Plan"), ("plan=c1.small.x86", "Facility")):
        refused = await world.call("GET", f"/market/spot/prices/history?{query}")
        assert (refused.status, refused.body["errors"]) == (422, [f"{missing} can't be blank"])


async def test_what_is_reserved_on_spot_failed_or_gone_takes_nothing_of_the_market(world: World) -> None:
    for machine in (await world.add_machines(12))[:2]:
        body = {"machine": str(machine), "project_id": str(world.project)}
        assert (await world.call("POST", "/admin/v1/hardware-reservations", body)).status == 201
    assert (await world.order(hardware_reservation_id="next-available")).status == 201
    assert (await world.order(spot_instance=True, spot_price_max=1)).status == 201
    plain = [(await world.order(hostname=f"web{number}")).body["id"] for number in range(5)]
    await world.db.execute("UPDATE device SET state = 'failed' WHERE id = $1", UUID(plain[0]))
    assert (await world.call("DELETE", f"/devices/{plain[1]}")).status == 204
    (row,) = await world.db.fetch(Q["spot_pools"])
    assert (row["machines"], row["devices"]) == (10, 3)


async def test_who_is_outbid_has_two_minutes(world: World, parts: Parts) -> None:
    await world.add_machines(3)
    low = (await world.order(spot_instance=True, spot_price_max="0.05", hostname="low")).body
    high = (await world.order(spot_instance="true", spot_price_max=0.5, hostname="high")).body
    assert low["spot_instance"] is True and low["spot_price_max"] == 0.05 and low["termination_time"] is None
    assert (await world.order()).status == 201
    before = datetime.now(UTC)
    await market.take_back(world.db, parts)
    await market.take_back(world.db, parts)
    seen = (await world.call("GET", f"/devices/{low['id']}")).body
    ends = datetime.fromisoformat(seen["termination_time"])
    assert timedelta(seconds=118) < ends - before < timedelta(seconds=150)
    assert (await world.call("GET", f"/devices/{high['id']}")).body["termination_time"] is None
    events = (await world.call("GET", f"/devices/{low['id']}/events")).body["events"]
    assert [one["type"] for one in events].count("instance.outbid") == 1
    later_on = await world.call("PATCH", f"/devices/{low['id']}", {"termination_time": later(days=3)})
    assert later_on.status == 422 and "outbid" in later_on.body["errors"][0]
    kept = await world.call("PATCH", f"/devices/{low['id']}", {"spot_instance": False})
    assert kept.status == 200 and not kept.body["spot_instance"] and kept.body["termination_time"] is None
    assert (await world.call("PATCH", f"/devices/{low['id']}", {"spot_instance": True})).status == 422


async def test_a_request_gets_machines_while_its_bid_is_enough(world: World, parts: Parts) -> None:
    await world.add_machines(3)
    path, wish = (
        f"/projects/{world.project}/spot-market-requests",
        {
            "devices_min": 2,
            "devices_max": 2,
            "max_bid_price": 0.05,
            "facilities": ["ewr1"],
            "end_at": later(hours=2),
            "instance_parameters": {
                "plan": "c1.small.x86",
                "operating_system": "debian_12",
                "hostnames": ["s1", "s2"],
                "tags": ["spot"],
            },
        },
    )
    made = await world.call("POST", path, wish, key="once")
    assert made.status == 201, made.body
    assert (await world.call("POST", path, wish, key="once")).body["id"] == made.body["id"]
    assert made.body["instances"] == [] and made.body["max_bid_price"] == 0.05
    await market.fill_requests(world.db, parts)
    await market.fill_requests(world.db, parts)
    found = (await world.call("GET", f"/spot-market-requests/{made.body['id']}?include=instances")).body
    assert sorted(one["hostname"] for one in found["instances"]) == ["s1", "s2"]
    assert all(one["spot_instance"] and one["termination_time"] == found["end_at"] for one in found["instances"])
    assert (await world.call("GET", path)).body["spot_market_requests"][0]["id"] == made.body["id"]
    await world.other_tenant()
    gone = f"/spot-market-requests/{made.body['id']}?force_termination=true"
    assert (await world.call("DELETE", gone, token="other-token")).status == 404
    assert (await world.call("DELETE", gone)).status == 204
    assert (await world.call("GET", f"/projects/{world.project}/devices")).body["devices"] == []
    assert (await world.call("GET", f"/spot-market-requests/{made.body['id']}")).status == 404


async def test_a_request_waits_for_its_price_and_its_least(world: World, parts: Parts) -> None:
    await world.add_machines(2)
    path = f"/projects/{world.project}/spot-market-requests"
    kind = {"plan": "c1.small.x86", "operating_system": "debian_12"}
    wish = {"devices_min": 3, "devices_max": 5, "max_bid_price": 0.05, "metro": "ny", "instance_parameters": kind}
    many = (await world.call("POST", path, wish)).body["id"]
    cheap = (await world.call("POST", path, wish | {"devices_min": 1, "max_bid_price": "0.01"})).body["id"]
    await market.fill_requests(world.db, parts)
    told = {one["id"]: one for one in (await world.call("GET", path)).body["spot_market_requests"]}
    assert told[many]["instances"] == [] and "2 c1.small.x86 are free" in told[many]["reason"]
    assert told[cheap]["instances"] == [] and "asked now: ewr1 0.04" in told[cheap]["reason"]
    await world.add_machines(1)
    await market.fill_requests(world.db, parts)
    assert len((await world.call("GET", f"/spot-market-requests/{many}")).body["instances"]) == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"devices_min": 3}, "Devices max is not valid: 2"),
        ({"devices_min": 0}, "Devices min is not valid: 0"),
        ({"max_bid_price": -1}, "Max bid price is not valid: -1"),
        ({"facilities": ["lhr9"]}, "Facilities is not valid: 'lhr9'"),
        ({"metro": "zz"}, "Metro is not valid: 'zz'"),
        ({"end_at": "2020-01-01T00:00:00Z"}, "End at is not valid"),
        ({"instance_parameters": {"plan": "x"}}, "Plan is not valid: 'x'"),
        ({"instance_parameters": None}, "Instance parameters can't be blank"),
    ],
)
async def test_a_bad_request_changes_nothing(world: World, fields: dict[str, Any], said: str) -> None:
    kind = {"plan": "c1.small.x86", "operating_system": "debian_12"}
    wish = {"devices_min": 1, "devices_max": 2, "max_bid_price": 0.1, "instance_parameters": kind} | fields
    answer = await world.call("POST", f"/projects/{world.project}/spot-market-requests", wish)
    assert answer.status == 422, answer.body
    assert any(error.startswith(said) for error in answer.body["errors"]), answer.body
    assert await world.db.fetchval("SELECT count(*) FROM spot_market_request") == 0
