"""What operators see: machines, leaves with ports, runs, prefixes with their use, everyone's devices."""

from __future__ import annotations

import pytest

from tests.service.api_world import World

PATHS = ("machines", "machines/m0", "leaves", "leaves/leaf-ewr1", "runs", "prefixes", "devices", "summary")


@pytest.mark.parametrize("path", PATHS)
async def test_only_staff_may_look(world: World, path: str) -> None:
    await world.add_machines(1)
    tenant = await world.tenant_token()
    assert (await world.call("GET", f"/admin/v1/{path}", token=tenant)).status == 403
    assert (await world.call("GET", f"/metal/v1/admin/v1/{path}", token=tenant)).status == 403
    assert (await world.call("GET", f"//admin/v1/{path}", token=tenant)).status == 403
    assert (await world.call("GET", f"/admin/v1/{path}")).status == 200


async def test_operators_see_machines_leaves_runs_and_devices(world: World) -> None:
    await world.add_machines(2)
    await world.add_machines(1, state="quarantined")
    device = (await world.order()).body
    await world.db.execute("UPDATE machine SET device_id = $1 WHERE name = 'm1'", device["id"])
    await world.db.execute("UPDATE leaf_port SET generation = 3, fault = 'refused' WHERE name = 'xe-0/0/1'")
    machines = (await world.call("GET", "/admin/v1/machines")).body["machines"]
    assert [(one["name"], one["state"], one["port"]) for one in machines] == [
        ("m0", "ready", "xe-0/0/0"),
        ("m1", "ready", "xe-0/0/1"),
        ("m2", "quarantined", "xe-0/0/2"),
    ]
    assert machines[1]["device"]["hostname"] == "web1" and machines[1]["port_applied"] is False
    assert len((await world.call("GET", "/admin/v1/machines?state=quarantined")).body["machines"]) == 1
    one = (await world.call("GET", "/admin/v1/machines/m1")).body
    assert (one["id"], one["runs"], one["inventory"]) == (machines[1]["id"], [], {})
    assert (await world.call("GET", f"/admin/v1/machines/{one['id']}")).body["name"] == "m1"
    assert (await world.call("GET", "/admin/v1/machines/m99")).status == 404
    (leaf,) = (await world.call("GET", "/admin/v1/leaves")).body["leaves"]
    assert (leaf["name"], len(leaf["ports"]), leaf["pending"], leaf["faulty"]) == ("leaf-ewr1", 3, 3, 1)
    assert leaf["ports"][1]["machine"] == "m1" and leaf["ports"][1]["fault"] == "refused"
    (run,) = (await world.call("GET", "/admin/v1/runs")).body["runs"]
    assert (run["workflow"], run["about"], run["state"]) == ("provision", "web1", "running")
    assert (await world.call("GET", "/admin/v1/runs?workflow=prepare")).body["runs"] == []
    found = (await world.call("GET", "/admin/v1/devices?search=web")).body
    assert [one["id"] for one in found["devices"]] == [device["id"]]
    summary = (await world.call("GET", "/admin/v1/summary")).body
    assert (summary["devices"], summary["machines"], summary["ready"], summary["runs"]) == (1, 3, 2, 1)


async def test_prefixes_show_their_use(world: World) -> None:
    prefixes = (await world.call("GET", "/admin/v1/prefixes")).body["prefixes"]
    public = next(one for one in prefixes if one["prefix"] == "203.0.113.0/24")
    assert (public["blocks"], public["taken"], public["utilization"], public["role"]) == (128, 0, 0.0, "public")
    assert next(one for one in prefixes if one["role"] == "ipv6")["blocks"] == 65536


async def test_a_machine_that_was_retired_hangs_on_no_port(world: World) -> None:
    await world.add_machines(1)
    await world.db.execute("UPDATE machine SET state = 'retired', port_id = NULL")
    (listed,) = (await world.call("GET", "/admin/v1/machines?state=retired")).body["machines"]
    shown = (await world.call("GET", "/admin/v1/machines/m0")).body
    for found in (listed, shown):
        assert (found["leaf"], found["port"], found["profile"], found["port_applied"]) == ("", "", None, True)
