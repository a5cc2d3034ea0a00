"""Traffic: what counters say, counters that begin again, and what is asked of it over the wire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.due import forget_traffic
from service.settings import Settings
from service.traffic import Sample, flows, steps, through
from tests.service.api_world import World
from tests.service.parts import make_parts

START = datetime(2026, 1, 1, tzinfo=UTC)
PORT = UUID(int=1)
octets = st.integers(min_value=0, max_value=10**12)


@st.composite
def courses(draw: st.DrawFn) -> tuple[list[Sample], int, int]:
    """Samples of counters that begin again now and then, with what went through between them."""
    at, inbound, outbound, total_in, total_out = START, draw(octets), draw(octets), 0, 0
    samples = [Sample(at, PORT, inbound, outbound)]
    for _ in range(draw(st.integers(min_value=0, max_value=8))):
        more_in, more_out = draw(octets), draw(octets)
        if draw(st.booleans()) and inbound > more_in:
            inbound = outbound = 0  # restarted right after the last sample
        inbound, outbound, total_in, total_out = (
            inbound + more_in,
            outbound + more_out,
            total_in + more_in,
            total_out + more_out,
        )
        at += timedelta(seconds=draw(st.integers(min_value=1, max_value=100_000)))
        samples.append(Sample(at, PORT, inbound, outbound))
    return samples, total_in, total_out


@given(courses())
def test_what_went_through_is_what_was_counted(course: tuple[list[Sample], int, int]) -> None:
    samples, total_in, total_out = course
    found = list(flows(samples))
    assert sum(flow.inbound for flow in found) == total_in
    assert sum(flow.outbound for flow in found) == total_out


@given(courses(), st.lists(st.integers(min_value=0, max_value=900_000), min_size=1, max_size=8))
def test_any_partition_adds_up(course: tuple[list[Sample], int, int], cuts: list[int]) -> None:
    found = list(flows(course[0]))
    moments = sorted({START + timedelta(seconds=cut) for cut in cuts} | {START, START + timedelta(days=30)})
    parts = [through(found, a, b) for a, b in pairwise(moments)]
    whole = through(found, moments[0], moments[-1])
    assert (sum(part[0] for part in parts), sum(part[1] for part in parts)) == whole
    assert whole[0] == course[1] and whole[1] == course[2]


def test_another_port_begins_anew() -> None:
    here, there = PORT, UUID(int=2)
    samples = [
        Sample(START, here, 100, 100),
        Sample(START + timedelta(minutes=5), here, 150, 170),
        Sample(START + timedelta(minutes=10), there, 9_000, 9_000),
        Sample(START + timedelta(minutes=15), there, 9_010, 9_020),
    ]
    assert [(flow.inbound, flow.outbound) for flow in flows(samples)] == [(50, 70), (10, 20)]


@given(
    st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2090, 1, 1), timezones=st.just(UTC)),
    st.timedeltas(min_value=timedelta(0), max_value=timedelta(hours=40)),
    st.sampled_from(["minute", "hour", "day", "week", "month", "year"]),
)
def test_steps_follow_one_another_without_a_gap(after: datetime, length: timedelta, interval: Any) -> None:
    found = steps(after, after + length, interval)
    assert all(a[1] == b[0] and a[0] < a[1] for a, b in pairwise(found))
    assert [found[0][0], found[-1][1]] == [after, after + length] if found else length == timedelta(0)


async def sampled(world: World, *rows: tuple[str, int, int]) -> UUID:
    """A device with samples at these times of 2026-03-01."""
    await world.add_machines(1)
    device = UUID((await world.order()).body["id"])
    for at, inbound, outbound in rows:
        await world.db.execute(
            "INSERT INTO traffic_sample SELECT $1, $2, (SELECT id FROM leaf_port LIMIT 1), $3, $4",
            *(device, datetime.fromisoformat(f"2026-03-01T{at}:00+00:00"), inbound, outbound),
        )
    return device


async def test_bandwidth_is_octets_a_second(world: World) -> None:
    device = await sampled(world, ("10:00", 1000, 500), ("10:05", 4000, 500), ("10:10", 600, 300), ("11:00", 600, 3300))
    at = int(datetime(2026, 3, 1, 10, tzinfo=UTC).timestamp())
    found = (await world.call("GET", f"/devices/{device}/bandwidth?from={at}&until={at + 3600}")).body["bandwidth"]
    assert [one["target"] for one in found] == ["inbound", "outbound"]
    assert found[0]["tags"] == {"aggregatedBy": "average", "name": "inbound"}
    assert found[0]["datapoints"] == [[10.0, at + 300], [2.0, at + 600], [0.0, at + 3600]]
    assert found[1]["datapoints"] == [[0.0, at + 300], [1.0, at + 600], [1.0, at + 3600]]
    nothing = (await world.call("GET", f"/devices/{device}/bandwidth")).body["bandwidth"]
    assert [one["datapoints"] for one in nothing] == [[], []]
    await world.other_tenant()
    assert (await world.call("GET", f"/devices/{device}/bandwidth", token="other-token")).status == 404
    assert (await world.call("GET", f"/devices/{uuid4()}/traffic?direction=inbound")).status == 404


async def test_traffic_in_all_and_by_parts(world: World) -> None:
    device = await sampled(world, ("10:00", 0, 0), ("12:00", 7200, 0), ("13:00", 7200, 36))
    frame = "timeframe[started_at]=2026-03-01T11:00:00Z&timeframe[ended_at]=2026-03-01T13:00:00Z"
    path = f"/devices/{device}/traffic?{frame}"
    found = (await world.call("GET", f"{path}&direction=inbound&interval=hour")).body["traffic"]
    begin = int(datetime(2026, 3, 1, 11, tzinfo=UTC).timestamp())
    assert (found["total"], found["datapoints"]) == (3600, [[3600, begin], [0, begin + 3600]])
    assert (await world.call("GET", f"{path}&direction=outbound")).body["traffic"]["total"] == 36
    for query, field in (
        ("direction=up", "direction"),
        ("direction=inbound&interval=hour_of_day", "interval"),
        ("direction=inbound&bucket=internal", "bucket"),
        ("direction=inbound&interval=minute&timeframe[started_at]=1980-01-01", "interval"),
        ("direction=inbound&timeframe[started_at]=0001-01-01", "Timeframe[started_at]"),
    ):
        refused = await world.call("GET", f"/devices/{device}/traffic?{query}")
        assert refused.status == 422 and refused.body["errors"][0].startswith(f"{field} is not valid")
    refused = await world.call("GET", f"/devices/{device}/traffic")
    assert (refused.status, refused.body["errors"]) == (422, ["direction can't be blank"])


async def test_old_samples_go(world: World, tmp_path: Any) -> None:
    device = await sampled(world, ("10:00", 0, 0))
    await world.db.execute("INSERT INTO traffic_sample SELECT device_id, now(), port_id, 1, 1 FROM traffic_sample")
    await forget_traffic(world.db, make_parts(Settings(state_dir=tmp_path)))
    rows = await world.db.fetch("SELECT at FROM traffic_sample WHERE device_id = $1", device)
    assert len(rows) == 1 and rows[0]["at"] > datetime.now(UTC) - timedelta(minutes=5)


@pytest.mark.parametrize("value", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+14:00"])
async def test_times_at_the_end_of_the_calendar_are_refused(world: World, value: str) -> None:
    answer = await world.order(termination_time=value)
    assert answer.status == 422 and answer.body["errors"][0].startswith("Termination time is not valid")
