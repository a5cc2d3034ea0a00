"""Hardware reservations: made by staff, ordered on by their project alone, moved, activated and ended."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from service.due import end_reservations
from service.parts import Parts
from service.settings import Settings
from service.store.hardware import pick_machine
from tests.service.api_world import World
from tests.service.parts import make_parts


@pytest.fixture
def parts(tmp_path: Any) -> Parts:
    return make_parts(Settings(state_dir=tmp_path))


async def reserve(world: World, machine: UUID, **fields: object) -> dict[str, Any]:
    body = {"machine": str(machine), "project_id": str(world.project)} | fields
    answer = await world.call("POST", "/admin/v1/hardware-reservations", body)
    assert answer.status == 201, answer.body
    return dict(answer.body)


async def picked(world: World, reservation: str | None = None) -> Any:
    async with world.db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow("SELECT facility_id, plan_id FROM machine LIMIT 1")
        found = await pick_machine(
            conn,
            row["facility_id"],
            row["plan_id"],
            tried=[],
            now=datetime.now(UTC),
            reservation_id=None if reservation is None else UUID(reservation),
        )
        return None if found is None else found.id


async def test_a_reserved_machine_is_its_projects_alone(world: World) -> None:
    (machine,) = await world.add_machines(1)
    assert await picked(world) == machine
    made = await reserve(world, machine, custom_rate=0.3, description="for the launch")
    assert made["provisionable"] and not made["spare"] and made["custom_rate"] == 0.3 and made["device"] is None
    assert made["plan"]["slug"] == "c1.small.x86" and made["project"] == {"href": f"/projects/{world.project}"}
    assert await picked(world) is None
    assert await picked(world, made["id"]) == machine
    # Nobody else finds it free, and it is not counted as capacity.
    refused = await world.order()
    assert refused.status == 422 and refused.body["errors"][0].startswith("There aren't available servers")
    capacity = (await world.call("GET", "/capacity")).body["capacity"]
    assert capacity["ewr1"]["c1.small.x86"]["level"] == "unavailable"
    theirs = await world.other_tenant()
    foreign = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
    for named in (made["id"], "next-available"):
        answer = await world.call(
            "POST", f"/projects/{theirs}/devices", foreign | {"hardware_reservation_id": named}, token="other-token"
        )
        assert answer.status == 422 and answer.body["errors"][0].startswith("Hardware reservation is not valid")
    assert (await world.call("GET", f"/hardware-reservations/{made['id']}", token="other-token")).status == 404
    path = f"/projects/{world.project}/hardware-reservations"
    assert (await world.call("GET", path, token="other-token")).status == 404


@pytest.mark.parametrize("named", ["id", "next-available"])
async def test_an_order_takes_the_reserved_machine(world: World, named: str) -> None:
    first, second = await world.add_machines(2)
    made = await reserve(world, second)
    wanted = made["id"] if named == "id" else named
    answer = await world.order(hardware_reservation_id=wanted, facility=None if named == "id" else "ewr1")
    assert answer.status == 201, answer.body
    device = answer.body
    assert device["hardware_reservation"] == {"href": f"/hardware-reservations/{made['id']}"}
    whole = await world.call("GET", f"/devices/{device['id']}?include=hardware_reservation")
    assert whole.body["hardware_reservation"]["id"] == made["id"]
    seen = (await world.call("GET", f"/projects/{world.project}/hardware-reservations?")).body
    assert seen["meta"]["total"] == 1
    assert seen["hardware_reservations"][0]["device"] == {"href": f"/devices/{device['id']}"}
    assert not seen["hardware_reservations"][0]["provisionable"]
    again = await world.order(hardware_reservation_id=wanted)
    assert again.status == 422 and again.body["errors"][0].startswith("Hardware reservation is not valid")
    # The other machine is still free for whoever comes.
    assert (await world.order()).status == 201
    for flag, ids in (("true", [device["id"]]), ("false", None)):
        listed = (await world.call("GET", f"/projects/{world.project}/devices?reserved={flag}")).body["devices"]
        assert len(listed) == 1 and (ids is None or [one["id"] for one in listed] == ids)
    refused = await world.call("DELETE", f"/admin/v1/hardware-reservations/{made['id']}")
    assert refused.status == 422 and device["id"] in refused.body["errors"][0]
    # After the device is gone the machine is the reservation's again.
    assert (await world.call("DELETE", f"/devices/{device['id']}")).status == 204
    assert (await world.order(hardware_reservation_id=made["id"])).status == 201
    assert first != second


async def test_two_orders_at_once_do_not_share_a_reservation(world: World) -> None:
    await reserve(world, (await world.add_machines(1))[0])
    answers = await asyncio.gather(*(world.order(hardware_reservation_id="next-available") for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [201, 422, 422, 422]


async def test_what_does_not_fit_is_told(world: World) -> None:
    (machine,) = await world.add_machines(1)
    made = await reserve(world, machine)
    for fields, said in (
        ({"plan": "c3.small.x86"}, "is no c3.small.x86"),
        ({"facility": "sjc1"}, "at none of the places"),
        ({"hardware_reservation_id": str(uuid4())}, "not one of the project's"),
    ):
        answer = await world.order(**({"hardware_reservation_id": made["id"]} | fields))
        assert answer.status == 422 and said in answer.body["errors"][0], answer.body
    await world.db.execute("UPDATE machine SET state = 'preparing'")
    answer = await world.order(hardware_reservation_id=made["id"])
    assert "its machine is preparing and not ready" in answer.body["errors"][0]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"machine": "m99"}, "there is no 'm99'"),
        ({"machine": "m0"}, "is reserved already"),
        ({"machine": "m1"}, "belongs to device"),
        ({"machine": "m2"}, "is retired"),
        ({"machine": "m3", "project_id": str(UUID(int=4))}, "project: there is no"),
        ({"machine": "m3", "custom_rate": -1}, "Custom rate is not valid"),
        ({"machine": "m3", "termination_time": "2001-01-01T00:00:00Z"}, "is over"),
    ],
)
async def test_what_cannot_be_reserved_is_refused(world: World, fields: dict[str, object], said: str) -> None:
    m0, m1, m2, _ = await world.add_machines(4)
    await reserve(world, m0)
    device = (await world.order()).body["id"]
    await world.db.execute("UPDATE machine SET device_id = $2, state = 'in_use' WHERE id = $1", m1, UUID(device))
    await world.db.execute("UPDATE machine SET state = 'retired' WHERE id = $1", m2)
    body = {"project_id": str(world.project)} | fields
    answer = await world.call("POST", "/admin/v1/hardware-reservations", body)
    assert answer.status == 422 and said in answer.body["errors"][0], answer.body
    assert await world.db.fetchval("SELECT count(*) FROM hardware_reservation") == 1


async def test_moving_goes_to_projects_of_the_caller_and_keeps_the_rate(world: World) -> None:
    (machine,) = await world.add_machines(1)
    made = await reserve(world, machine, custom_rate=0.25)
    other = (await world.call("POST", "/projects", {"name": "second"})).body["id"]
    path = f"/hardware-reservations/{made['id']}/move"
    tenant, theirs = await world.tenant_token(), await world.other_tenant()
    answer = await world.call("POST", path, {"project_id": str(theirs)}, token=tenant)
    assert answer.status in (403, 422)
    moved = await world.call("POST", path, {"project_id": other})
    assert moved.status == 201 and moved.body["project"] == {"href": f"/projects/{other}"}
    assert moved.body["custom_rate"] == 0.25
    assert (await world.order(hardware_reservation_id=made["id"])).status == 422
    refused = await world.call("DELETE", f"/projects/{other}")
    assert refused.status == 422 and "reserved hardware" in refused.body["errors"][0]
    held = await world.db.fetch("SELECT project_id, since, until FROM reservation_holding ORDER BY since")
    assert [row["project_id"] for row in held] == [world.project, UUID(other)]
    assert held[0]["until"] is not None and held[0]["until"] <= held[1]["since"] and held[1]["until"] is None


async def test_a_spare_waits_for_its_activation(world: World) -> None:
    (machine,) = await world.add_machines(1)
    made = await reserve(world, machine, spare=True)
    assert made["spare"] and not made["provisionable"]
    assert "it is a spare" in (await world.order(hardware_reservation_id=made["id"])).body["errors"][0]
    path = f"/hardware-reservations/{made['id']}/activate"
    activated = await world.call("POST", path, {"description": "m7 burned"})
    assert activated.status == 201 and activated.body["provisionable"] and activated.body["description"] == "m7 burned"
    assert (await world.call("POST", path)).status == 422
    assert (await world.order(hardware_reservation_id=made["id"])).status == 201


async def test_a_reservation_ends_with_its_time_but_not_under_a_device(world: World, parts: Parts) -> None:
    (machine,) = await world.add_machines(1)
    soon = datetime.now(UTC) + timedelta(hours=1)
    made = await reserve(world, machine, termination_time=soon.isoformat())
    device = (await world.order(hardware_reservation_id=made["id"])).body["id"]
    past = "UPDATE hardware_reservation SET created_at = now() - interval '2 h', ends_at = now() - interval '1 h'"
    await world.db.execute(past)
    await end_reservations(world.db, parts)
    assert (await world.call("GET", f"/hardware-reservations/{made['id']}")).status == 200
    await world.call("DELETE", f"/devices/{device}")
    await end_reservations(world.db, parts)
    assert (await world.call("GET", f"/hardware-reservations/{made['id']}")).status == 404
    assert await world.db.fetchval("SELECT reservation_id FROM machine WHERE id = $1", machine) is None
    ended = (await world.call("GET", "/admin/v1/hardware-reservations?all=true")).body["hardware_reservations"]
    assert [one["id"] for one in ended] == [made["id"]] and ended[0]["ended_at"] is not None
    assert (await world.call("GET", "/admin/v1/hardware-reservations")).body["hardware_reservations"] == []
    assert (await world.order()).status == 201


async def test_the_machine_that_waits_longest_with_its_agent_is_picked_first(world: World) -> None:
    ids = await world.add_machines(5)
    await world.db.execute("UPDATE machine SET state_since = now() - make_interval(secs => 100 - substr(name, 2)::int)")
    now = datetime.now(UTC)
    for number, (machine, heard) in enumerate(zip(ids, (None, 5, 100, 5, 5), strict=True)):
        if heard is not None:
            await world.db.execute(
                "INSERT INTO agent_session (machine_id, token, session, started_at, seen_at)"
                " VALUES ($1, $2, $2, $3, $3)",
                machine,
                bytes([number]) * 32,
                now - timedelta(seconds=heard),
            )
    place, plan = await world.db.fetchrow("SELECT facility_id, plan_id FROM machine LIMIT 1")
    chosen: list[UUID] = []
    async with AsyncExitStack() as stack:
        for _ in ids:
            conn = await stack.enter_async_context(world.db.acquire())
            await stack.enter_async_context(conn.transaction())
            found = await pick_machine(conn, place, plan, tried=ids[3:4], now=now)
            assert found is not None
            chosen.append(found.id)
        assert await pick_machine(world.db, place, plan, tried=[], now=now) is None
    # Those whose agents were heard, then those that must be started, and last the one that failed this order.
    assert chosen == [ids[1], ids[4], ids[0], ids[2], ids[3]]
