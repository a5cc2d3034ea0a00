"""What operators, and boot services of old, tell in a machine's stead."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.service.api_world import World


async def test_a_device_is_told_of(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    path = f"/devices/{device}"
    made = await world.call("POST", f"{path}/events", {"type": "provisioning.104.50", "body": "image retrieved"})
    assert made.status == 201
    event = (await world.call("GET", f"/events/{made.body['id']}")).body
    assert (event["type"], event["body"]) == ("provisioning.104.50", "image retrieved")
    assert (await world.call("POST", f"{path}/fail", {"reason": "Error during disk"})).status == 200
    assert (await world.call("POST", f"{path}/phone-home", {"type": "provisioning.105"})).status == 200
    assert (await world.call("POST", f"{path}/phone-home")).status == 200
    assert await world.db.fetchval("SELECT phoned_home_at FROM device") is None  # nothing is installed yet
    await world.db.execute("UPDATE device SET state = 'provisioning'")
    assert (await world.call("POST", f"{path}/phone-home")).status == 200
    assert await world.db.fetchval("SELECT phoned_home_at FROM device") is not None
    assert (await world.call("POST", f"{path}/password", {"password": "another one"})).status == 200
    assert (await world.call("GET", path)).body["root_password"] == "another one"
    private = await world.db.fetchval("SELECT private FROM event WHERE type = 'failure'")
    assert private is True


async def test_hardware_is_told_of_by_id_or_name(world: World) -> None:
    (machine,) = await world.add_machines(1)
    for name in (str(machine), "m0"):
        path = f"/metal/v1/hardware/{name}"
        made = await world.call("POST", f"{path}/problems", {"problem": "missing_drive"})
        assert made.status == 201
        assert (await world.call("GET", f"/events/{made.body['id']}")).body["type"] == "machine.problem"
        assert (await world.call("POST", f"{path}/events", {"type": "preinstall.1"})).status == 201
        for what in ("phone-home", "fail", "components"):
            body = {"phone-home": {}, "fail": {"reason": "r"}, "components": {"components": [{"name": "cpu"}]}}[what]
            assert (await world.call("POST", f"{path}/{what}", body)).status == 200, what
    assert await world.db.fetchval("SELECT inventory -> 'components' FROM machine") == [{"name": "cpu"}]
    assert await world.db.fetchval("SELECT count(*) FROM event WHERE machine_id = $1 AND private", machine) == 8


@pytest.mark.parametrize(
    ("path", "body", "why"),
    [
        ("devices/{device}/events", {}, "type"),
        ("devices/{device}/events", {"type": "A B"}, "type"),
        ("devices/{device}/fail", {"reason": ""}, "reason"),
        ("devices/{device}/password", {"password": "short"}, "password"),
        ("devices/{device}/phone-home", {"type": "machine.retired"}, "type is not valid"),
        ("devices/{device}/phone-home", {"password": "AAAA"}, "password is not valid here"),
        ("hardware/m0/problems", {}, "problem"),
        ("hardware/m0/components", {"components": "x"}, "components"),
    ],
    ids=range(8),
)
async def test_what_is_not_allowed_is_named(world: World, path: str, body: dict[str, object], why: str) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    answer = await world.call("POST", "/" + path.format(device=device), body)
    assert answer.status == 422
    assert why in answer.body["errors"][0].lower()


async def test_it_is_for_staff(world: World) -> None:
    await world.add_machines(1)
    device = (await world.order()).body["id"]
    token = await world.tenant_token()
    for what in ("phone-home", "events", "fail", "password"):
        assert (await world.call("POST", f"/devices/{device}/{what}", {}, token=token)).status in (403, 404)
        assert (await world.call("POST", f"/devices/{uuid4()}/{what}", {"type": "a"})).status == 404
    for what in ("phone-home", "events", "fail", "problems", "components"):
        assert (await world.call("POST", f"/hardware/m0/{what}", {}, token=token)).status in (403, 404)
        assert (await world.call("POST", f"/hardware/m9/{what}", {"type": "a"})).status == 404
    assert (await world.call("PATCH", f"/devices/{device}", {"allow_pxe": False}, token=token)).status == 403
    assert (await world.call("PATCH", f"/devices/{device}", {"allow_pxe": False})).status == 200
    refused = await world.call("PATCH", f"/devices/{device}", {"allow_pxe": True})
    assert (refused.status, "starts from its disk" in refused.body["errors"][0]) == (422, True)
