"""Real answers about reservations, batches, the spot market, usage and traffic are as the document has them.

`World.call` asks that of each.
"""

from __future__ import annotations

from typing import Any

from service.batches import place_waiting
from service.market import fill_requests
from service.settings import Settings
from tests.service.api_world import World
from tests.service.parts import make_parts


async def test_answers_are_as_the_document_has_them(world: World, tmp_path: Any) -> None:
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
