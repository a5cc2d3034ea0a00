"""Real answers that no other test of the API gets are as the document has them: `World.call` asks that of each."""

from __future__ import annotations

from typing import Any

from service.batches import place_waiting
from service.market import fill_requests
from service.settings import Settings
from tests.service.api_world import World
from tests.service.parts import make_parts


async def test_orders_of_all_kinds_and_what_they_cost(world: World, tmp_path: Any) -> None:
    parts = make_parts(Settings(state_dir=tmp_path))
    machines = await world.add_machines(5)
    wish = {"plan": "c1.small.x86", "operating_system": "debian_12", "facility": "ewr1"}
    project = f"/projects/{world.project}"
    reserved = {"machine": str(machines[0]), "project_id": str(world.project), "custom_rate": 0.2}
    made = (await world.call("POST", "/admin/v1/hardware-reservations", reserved)).body
    device = (await world.order(hardware_reservation_id=made["id"])).body
    await world.db.execute("UPDATE device SET state = 'active', active_at = now() - interval '2 hours'")
    (batch,) = (await world.call("POST", f"{project}/devices/batch", {"batches": [wish]})).body["batches"]
    await place_waiting(world.db, parts)
    bid = {"devices_min": 1, "devices_max": 1, "max_bid_price": 0.4, "instance_parameters": wish, "metro": "ny"}
    request = (await world.call("POST", f"{project}/spot-market-requests", bid)).body
    await fill_requests(world.db, parts)
    for path in (
        f"/hardware-reservations/{made['id']}",
        f"/batches/{batch['id']}",
        "/market/spot/prices",
        "/market/spot/prices/history?plan=c1.small.x86&facility=ewr1",
        f"/spot-market-requests/{request['id']}",
        f"{project}/usages",
        "/admin/v1/usages",
        f"/devices/{device['id']}/bandwidth",
        f"/devices/{device['id']}/traffic?direction=inbound&interval=minute",
        f"/ports/{device['network_ports'][0]['id']}",
    ):
        answer = await world.call("GET", path)
        assert answer.status == 200, answer.body


async def test_accounts_and_members(world: World) -> None:
    await world.add_machines(1)
    await world.order()
    user, organization = await world.add_user("somebody@example.org"), f"/organizations/{world.organization}"
    admin = f"/admin/v1{organization}"
    member = (await world.call("PUT", f"{admin}/members/{user}")).body
    asked: tuple[tuple[str, str, object], ...] = (
        ("PATCH", organization, {"description": "ours"}),
        ("PATCH", "/user", {"first_name": "Ada"}),
        ("PATCH", f"/memberships/{member['id']}", {"roles": ["viewer"]}),
        ("POST", f"{organization}/invitations", {"invitee": "guest@example.org"}),
        ("PUT", f"{admin}/quota", {"devices": 7}),
        ("POST", f"/projects/{world.project}/invitations", {"invitee": "guest@example.org"}),
        ("POST", f"/admin/v1/users/{user}/api-keys", {"description": "one"}),
        *(
            ("GET", path, None)
            for path in (
                *(organization, f"{organization}/projects", f"{organization}/devices", f"{organization}/memberships"),
                *(f"{organization}/invitations", f"/projects/{world.project}/invitations", "/admin/v1/organizations"),
                *(
                    "/users",
                    f"/users/{user}",
                    f"/emails/{user}",
                    f"/admin/v1/users/{user}",
                    "/projects?include=members",
                ),
            )
        ),
    )
    for method, path, body in asked:
        answer = await world.call(method, path, body)
        assert answer.status in (200, 201), (path, answer.body)


async def test_places_and_hardware(world: World) -> None:
    await world.add_machines(3)
    access = {
        "facility": "ewr1",
        "url": "https://{address}",
        "search": "192.0.2.0/30",
        "username": "a",
        "password": "b",
    }
    rma = (await world.call("POST", "/admin/v1/machines/m0/rma", {"reason": "a fan is loud"})).body
    asked: tuple[tuple[str, str, object], ...] = (
        ("PUT", "/admin/v1/bmc-access", access),
        ("POST", "/admin/v1/discoveries/check", {}),
        ("PATCH", "/admin/v1/plans/c1.small.x86/hardware", {"bom": {"cpu": {"cores": 8}}, "rack_units": 2}),
        ("POST", "/admin/v1/machines/m1/maintain", {"reason": "a fan is loud"}),
        ("POST", "/admin/v1/machines/m1/give-back", {}),
        ("POST", "/admin/v1/address-prices", {"type": "public_ipv4", "hour": 0.01}),
        ("POST", "/admin/v1/inventory", {"facility": "ewr1"}),
        *(
            ("GET", path, None)
            for path in (
                *("/admin/v1/facilities", "/admin/v1/plans", "/admin/v1/bmc-access", "/admin/v1/address-prices"),
                *("/admin/v1/plans/c1.small.x86/hardware", "/admin/v1/plans/c1.large.arm/hardware"),
                *("/admin/v1/plans/c1.small.x86/burn-in", "/admin/v1/machines/m0", "/admin/v1/machines/m0/events"),
                *("/admin/v1/machines/m0/rmas", f"/admin/v1/rmas/{rma['id']}"),
            )
        ),
    )
    for method, path, body in asked:
        answer = await world.call(method, path, body)
        assert answer.status in (200, 201, 202), (path, answer.body)


async def test_hooks_and_their_deliveries(world: World) -> None:
    wish = {"name": "told", "kind": "webhook", "target": "http://127.0.0.1:9/", "follows": ["*"], "limit_s": 1}
    assert (await world.call("POST", "/admin/v1/hooks", wish)).status == 201
    delivery = (await world.call("POST", "/admin/v1/hooks/told/test")).body
    webhook = {"url": "https://hooks.example.org/", "events": ["device.*"], "enabled": False}
    every = f"/organizations/{world.organization}/webhooks"
    made = (await world.call("POST", every, webhook)).body
    asked: tuple[tuple[str, str, object], ...] = (
        ("POST", f"/admin/v1/hooks/told/deliveries/{delivery['id']}/replay", None),
        ("POST", "/admin/v1/hooks/told/secret", {"overlap_s": 60}),
        ("POST", "/admin/v1/hooks/told/replay", {"from": 0}),
        ("GET", "/admin/v1/hooks/told/deliveries", None),
        ("PATCH", f"{every}/{made['id']}", {"description": "theirs"}),
        ("POST", f"{every}/{made['id']}/secret", {}),
        ("POST", f"{every}/{made['id']}/replay", {"from": 0}),
        ("GET", every, None),
        ("GET", f"{every}/{made['id']}", None),
        ("GET", f"{every}/{made['id']}/deliveries", None),
    )
    for method, path, body in asked:
        answer = await world.call(method, path, body)
        assert answer.status == 200, (path, answer.body)
