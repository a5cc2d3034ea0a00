"""Metering: by the second, and the parts are together the whole, wherever time is cut."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.metering import Price, Use, all_lines, lines_of, money, month_of, second, switched, total_of
from tests.service.api_world import World

START = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=4)

moments = st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=400)).map(lambda ahead: START + ahead)
hourly = st.decimals(min_value=0, max_value=100, places=4)


@st.composite
def price_lists(draw: st.DrawFn) -> list[Price]:
    times = sorted(draw(st.lists(moments, min_size=1, max_size=6, unique=True)))
    return [Price(time, draw(hourly)) for time in times]


@st.composite
def uses(draw: st.DrawFn) -> Use:
    since = draw(moments)
    until = draw(st.none() | moments.filter(lambda moment: moment >= since))
    quantity = draw(st.integers(min_value=1, max_value=256))
    return Use("Instance", ID, ID, ID, "p", "web1", "c1", "ewr1", quantity, since, until, draw(price_lists()))


@given(uses(), st.lists(moments, min_size=2, max_size=12))
def test_any_partition_of_time_adds_up_to_the_whole(use: Use, cuts: list[datetime]) -> None:
    cuts = sorted(cuts)
    whole = list(lines_of(use, cuts[0], cuts[-1]))
    parts = [line for a, b in pairwise(cuts) for line in lines_of(use, a, b)]
    assert sum(line.seconds for line in parts) == sum(line.seconds for line in whole)
    assert total_of(parts) == total_of(whole)


@given(uses(), moments, moments)
def test_each_second_in_use_is_charged_once_at_the_price_of_its_time(use: Use, one: datetime, other: datetime) -> None:
    after, before = min(one, other), max(one, other)
    lines = list(lines_of(use, after, before))
    begin = max(second(use.since), second(after))
    end = min(second(use.until or before), second(before))
    assert sum(line.seconds for line in lines) == max(0, end - begin)
    for line, following in pairwise(lines):
        assert line.until == following.since
    for line in lines:
        begun = [price for price in use.prices if second(price.since) <= line.since]
        assert line.hourly == (begun[-1] if begun else use.prices[0]).hourly


@given(price_lists(), price_lists(), moments)
def test_from_a_switch_on_the_other_prices_hold(first: list[Price], then: list[Price], at: datetime) -> None:
    prices = switched(first, then, at)
    assert [one.since for one in prices] == sorted(one.since for one in prices)
    after = [one for one in prices if one.since >= at]
    begun = [one for one in then if one.since <= at]
    assert after[0] == Price(at, (begun[-1] if begun else then[0]).hourly)
    assert after[1:] == [one for one in then if one.since > at]


@given(st.fractions(min_value=-1000, max_value=1000))
def test_money_is_rounded_only_when_it_is_shown(amount: Fraction) -> None:
    assert abs(Fraction(money(amount)) - amount) <= Fraction(1, 2_000_000)


def test_months() -> None:
    assert month_of("2026-12") == (datetime(2026, 12, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    for text in ("2026", "2026-13", "soon", "2026-1-1"):
        with pytest.raises(ValueError, match=r"time data|unconverted"):
            month_of(text)


async def active(world: World, since: str, **columns: object) -> UUID:
    """A device that has been active since then."""
    await world.add_machines(1)
    answer = await world.order(hostname="web1")
    assert answer.status == 201, answer.body
    id_ = UUID(answer.body["id"])
    at = datetime.fromisoformat(since)
    await world.db.execute("UPDATE device SET state = 'active', active_at = $2 WHERE id = $1", id_, at)
    for name, value in columns.items():
        await world.db.execute(f"UPDATE device SET {name} = $2 WHERE id = $1", id_, value)
    return id_


SPAN = "created[after]=2026-03-01T00:00:00Z&created[before]=2026-03-02T00:00:00Z"


async def test_a_device_costs_from_active_to_deleted(world: World) -> None:
    gone = datetime(2026, 3, 1, 6, 0, 30, tzinfo=UTC)
    id_ = await active(world, "2026-03-01T04:00:00.900+00:00", deleted_at=gone, state="deleted")
    await active(world, "2026-02-27T00:00:00+00:00", failed_at=gone, state="failed")
    found = (await world.call("GET", f"/projects/{world.project}/usages?{SPAN}")).body
    line, failed = sorted(found["usages"], key=lambda one: one["seconds"])
    assert line["seconds"] == 7230 and line["price"] == "0.400000" and line["unit"] == "hour"
    assert line["quantity"] == "2.008333" and line["total"] == "0.803333"
    assert (line["from"], line["until"]) == ("2026-03-01T04:00:00Z", "2026-03-01T06:00:30Z")
    assert (line["type"], line["name"], line["plan"], line["facility"]) == ("Instance", "web1", "c1.small.x86", "ewr1")
    assert failed["seconds"] == 6 * 3600 + 30
    alone = (await world.call("GET", f"/devices/{id_}/usages?{SPAN}")).body
    assert alone["usages"] == [line] and alone["total"] == line["total"]
    assert found["total"] == money(Fraction(7230 + 21630, 3600) * Fraction("0.4"))
    await world.other_tenant()
    assert (await world.call("GET", f"/devices/{id_}/usages", token="other-token")).status == 404
    assert (await world.call("GET", f"/projects/{world.project}/usages", token="other-token")).status == 404


async def test_the_price_of_the_time_counts(world: World) -> None:
    await active(world, "2026-03-01T00:00:00+00:00")
    await world.db.execute("UPDATE plan_price SET since = '2026-01-01Z'")
    await world.db.execute("UPDATE plan SET price_hourly = 0.5 WHERE slug = 'c1.small.x86'")
    await world.db.execute("UPDATE plan SET price_hourly = 0.5 WHERE slug = 'c1.small.x86'")
    rows = await world.db.fetch(
        "SELECT h.price_hourly FROM plan_price AS h JOIN plan AS p ON p.id = h.plan_id"
        " WHERE p.slug = 'c1.small.x86' ORDER BY since"
    )
    assert [row["price_hourly"] for row in rows] == [Decimal("0.4"), Decimal("0.5")]
    await world.db.execute("UPDATE plan_price SET since = '2026-03-01T10:00Z' WHERE since > '2026-01-02Z'")
    lines = (await world.call("GET", f"/projects/{world.project}/usages?{SPAN}")).body["usages"]
    assert [(one["price"], one["seconds"]) for one in lines] == [("0.400000", 36000), ("0.500000", 50400)]


async def test_reserved_hardware_is_charged_and_the_device_on_it_is_not(world: World) -> None:
    (machine,) = await world.add_machines(1)
    body = {"machine": str(machine), "project_id": str(world.project), "custom_rate": 0.25}
    made = (await world.call("POST", "/admin/v1/hardware-reservations", body)).body
    device = (await world.order(hardware_reservation_id=made["id"])).body["id"]
    begun = datetime(2026, 2, 28, tzinfo=UTC)
    await world.db.execute("UPDATE device SET state = 'active', active_at = $2 WHERE id = $1", UUID(device), begun)
    await world.db.execute("UPDATE reservation_holding SET since = $1", begun)
    lines = (await world.call("GET", f"/projects/{world.project}/usages?{SPAN}")).body["usages"]
    told = {one["type"]: one for one in lines}
    assert told["Instance"]["total"] == "0.000000" and told["Instance"]["seconds"] == 86400
    assert told["Hardware reservation"]["total"] == "6.000000"


async def test_a_spot_instance_pays_the_market_until_it_leaves_it(world: World) -> None:
    id_ = await active(world, "2026-03-01T00:00:00+00:00", left_spot_at=datetime(2026, 3, 1, 12, tzinfo=UTC))
    await world.db.execute("UPDATE plan_price SET since = '2026-01-01Z'")
    for price, since in (("0.04", "2026-02-01T00:00+00:00"), ("0.1", "2026-03-01T06:00+00:00")):
        await world.db.execute(
            "INSERT INTO spot_price SELECT facility_id, plan_id, $2, $3 FROM device WHERE id = $1",
            *(id_, Decimal(price), datetime.fromisoformat(since)),
        )
    lines = (await world.call("GET", f"/devices/{id_}/usages?{SPAN}")).body["usages"]
    assert [(one["price"], one["seconds"]) for one in lines] == [
        ("0.040000", 21600),
        ("0.100000", 21600),
        ("0.400000", 43200),
    ]


async def test_elastic_addresses_cost_by_type_and_number(world: World) -> None:
    added = {"prefix": "192.0.2.0/24", "role": "elastic", "block_length": 32, "facility": "ewr1"}
    assert (await world.call("POST", "/ipam/v1/prefixes", added)).status == 201
    wish = {"type": "public_ipv4", "quantity": 4, "facility": "ewr1"}
    block = (await world.call("POST", f"/projects/{world.project}/ips", wish)).body
    await world.db.execute(
        "UPDATE tenure SET during = tstzrange('2026-03-01T12:00Z', NULL) WHERE id = $1", UUID(block["id"])
    )
    (line,) = (await world.call("GET", f"/projects/{world.project}/usages?{SPAN}")).body["usages"]
    assert line["seconds"] == 43200 and line["quantity"] == "48.000000" and line["total"] == "0.240000"
    assert line["name"].endswith("/30") and line["plan"] == "public_ipv4"
    set_ = await world.call("POST", "/admin/v1/address-prices", {"type": "public_ipv4", "hour": 0.01})
    hours = [one["hour"] for one in set_.body["address_prices"] if one["type"] == "public_ipv4"]
    assert set_.status == 201 and hours == [0.005, 0.01]
    (again,) = (await world.call("GET", f"/projects/{world.project}/usages?{SPAN}")).body["usages"]
    assert again == line, "what was used keeps its price"
    bad = await world.call("POST", "/admin/v1/address-prices", {"type": "x", "hour": -1})
    assert bad.status == 422 and len(bad.body["errors"]) == 2


async def test_the_export_of_a_month(world: World) -> None:
    await active(world, "2026-02-28T23:00:00+00:00", hostname="=cmd()")
    found = (await world.call("GET", "/admin/v1/usages?month=2026-03&organization=Roundhouse")).body
    (line,) = found["usages"]
    assert found["month"] == "2026-03" and line["seconds"] == 31 * 86400 and line["organization"] == "Roundhouse"
    answer = await world.call("GET", "/admin/v1/usages?month=2026-03&format=csv")
    assert answer.headers["Content-Type"].startswith("text/csv")
    (row,) = csv.DictReader(io.StringIO(answer.body.decode()))
    assert row["total"] == found["total"] and row["project"] == "default"
    assert row["name"] == "'=cmd()", "no formula for a spreadsheet"
    assert (await world.call("GET", "/admin/v1/usages?month=2025-01")).body["usages"] == []
    for query in ("month=soon", "format=xml", f"organization={uuid4()}"):
        assert (await world.call("GET", f"/admin/v1/usages?{query}")).status == 422
    tenant = await world.tenant_token()
    assert (await world.call("GET", "/admin/v1/usages", token=tenant)).status == 403


def test_lines_of_nothing() -> None:
    assert all_lines([], None, START) == []


@pytest.mark.parametrize("query", ["created[after]=soon", "created[after]=2026-03-02&created[before]=2026-03-01"])
async def test_bad_times_are_told(world: World, query: str) -> None:
    answer = await world.call("GET", f"/projects/{world.project}/usages?{query}")
    assert answer.status == 422 and answer.body["errors"][0].startswith("Created")
