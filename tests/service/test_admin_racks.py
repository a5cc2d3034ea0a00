"""Racks with what stands in them, and the ports of all leaves."""

from __future__ import annotations

from typing import Any

import pytest

from tests.service.api_world import World


async def rack(world: World, **more: object) -> dict[str, Any]:
    answer = await world.call("POST", "/admin/v1/racks", {"facility": "ewr1", "name": "r1", "units": 4} | more)
    assert answer.status == 201
    found: dict[str, Any] = answer.body
    return found


async def put(world: World, **wish: object) -> list[str]:
    answer = await world.call("POST", "/admin/v1/racks/r1/contents", wish)
    return answer.body["errors"] if answer.status != 200 else []


async def test_a_rack_shows_what_stands_in_it_from_the_top(world: World) -> None:
    await world.add_machines(2)
    assert (await rack(world))["contents"] == []
    assert await put(world, machine="m0", unit=1) == await put(world, machine="m1", unit=3) == []
    assert await put(world, leaf="leaf-ewr1", unit=4) == []
    found = (await world.call("GET", "/admin/v1/racks/r1")).body
    assert [(one["unit"], one["kind"], one["name"]) for one in found["contents"]] == [
        (4, "leaf", "leaf-ewr1"),
        (3, "machine", "m1"),
        (1, "machine", "m0"),
    ]
    (listed,) = (await world.call("GET", "/admin/v1/racks?facility=ewr1")).body["racks"]
    assert listed == found and (listed["machines"], listed["ready"], listed["leaves"]) == (2, 2, 1)
    assert (await world.call("GET", "/admin/v1/racks?facility=sjc1")).body["racks"] == []
    emptied = await world.call("DELETE", "/admin/v1/racks/r1")
    assert emptied.body["errors"] == ["r1 is not empty: leaf-ewr1, m1, m0"]
    renamed = await world.call("PATCH", "/admin/v1/racks/r1", {"name": "row1-r1", "units": 42})
    assert (renamed.body["name"], renamed.body["units"]) == ("row1-r1", 42)
    lowered = await world.call("PATCH", "/admin/v1/racks/row1-r1", {"units": 3})
    assert lowered.body["errors"] == ["Units is not valid: 3: something stands at unit 4"]


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"machine": "m0", "unit": 5}, "Unit is not valid: 5; r1 has 4"),
        ({"machine": "m9", "unit": 1}, "Machine is not valid: 'm9' is not in ewr1"),
        ({"leaf": "leaf-sjc1", "unit": 1}, "Leaf is not valid: 'leaf-sjc1' is not in ewr1"),
        ({"machine": "m0", "unit": 4}, "Unit is not valid: 4; leaf-ewr1 stands there"),
        ({"unit": 1}, "Machine or leaf can't be blank: one of them is put into the rack, not both"),
    ],
)
async def test_what_cannot_stand_there_is_refused(world: World, wish: dict[str, Any], said: str) -> None:
    await world.add_machines(1)
    await world.add_machines(1, facility="sjc1")
    await rack(world)
    await put(world, leaf="leaf-ewr1", unit=4)
    assert await put(world, **wish) == [said]


async def test_racks_of_one_name_are_told_apart_by_their_facility(world: World) -> None:
    await rack(world)
    other = await rack(world, facility="sjc1")
    assert (await world.call("POST", "/admin/v1/racks", {"facility": "ewr1", "name": "r1"})).status == 422
    both = await world.call("GET", "/admin/v1/racks/r1")
    assert both.body["errors"] == ["facility can't be blank: ewr1, sjc1 have a rack 'r1'"]
    assert (await world.call("GET", "/admin/v1/racks/r1?facility=sjc1")).body == other
    assert (await world.call("DELETE", f"/admin/v1/racks/{other['id']}")).status == 204
    assert (await world.call("GET", "/admin/v1/racks/r1")).body["facility"] == "ewr1"


async def test_ports_are_listed_and_narrowed(world: World) -> None:
    await world.add_machines(2)
    await world.db.execute("UPDATE leaf_port SET generation = 3, fault = 'refused' WHERE name = 'xe-0/0/1'")
    await world.db.execute("INSERT INTO leaf_port (leaf_id, name, applied) SELECT id, 'xe-0/0/9', 1 FROM leaf")

    async def ports(query: str) -> list[str]:
        answer = await world.call("GET", f"/admin/v1/ports?{query}")
        return [one["name"] for one in answer.body["ports"]]

    assert await ports("leaf=leaf-ewr1") == ["xe-0/0/0", "xe-0/0/1", "xe-0/0/9"]
    assert await ports("showing=faulty") == ["xe-0/0/1"] == await ports("port=xe-0/0/1")
    assert await ports("showing=free") == ["xe-0/0/9"] == await ports("profile=quarantine")
    assert await ports("showing=used") == ["xe-0/0/0", "xe-0/0/1"] == await ports("showing=pending")
    assert await ports("facility=sjc1") == []
    wrong = await world.call("GET", "/admin/v1/ports?showing=odd")
    assert wrong.body["errors"] == ["showing is not valid: 'odd' is not one of pending, faulty, free, used"]
