"""What systems of the facility tell of machines, on the light rack: once, in order, and never at a customer's cost."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.lab.up import LabSettings
from tests.lab.leaves import drift
from tests.lab.test_hooks import machine
from tests.lab.world import Customer, lab

NOW = datetime.now(UTC)
PATH = "/admin/v1/facility-events"


async def tell(operator: Customer, id_: str, kind: str, name: str, *, ago_s: float = 60, **more: Any) -> dict[str, Any]:
    at = (NOW - timedelta(seconds=ago_s)).isoformat()
    status, found = await operator.call("POST", PATH, {"id": id_, "kind": kind, "machine": name, "at": at, **more})
    assert status == 200, found
    known: dict[str, Any] = found
    return known


async def test_the_hardware_s_word(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=3, leaves=1)) as (running, operator):
        device = await operator.until(await operator.order(), "active")
        _, machines = await operator.call("GET", "/admin/v1/machines?state=ready")
        first, second = (one["name"] for one in machines["machines"])
        used = await running.service.db.fetchval("SELECT name FROM machine WHERE device_id = $1", device["id"])

        # Failed: out of the pool; told twice it happened once; what was before changes nothing.
        answers = await asyncio.gather(
            *(tell(operator, "e1", "failed", first, ago_s=50, reason="smells") for _ in range(3))
        )
        assert len({one["id"] for one in answers}) == 1 and answers[0]["state"] == "applied"
        found = await machine(operator, first, state="quarantined")
        assert found["reason"] == "failed, as the facility tells: smells" and found["profile"] == "quarantine"
        late = await tell(operator, "e2", "part_replaced", first, ago_s=55)
        assert late["state"] == "late" and "it was failed at" in late["outcome"]
        await machine(operator, first, state="quarantined")

        # A new part, by the MAC address: burnt in, erased, back in the pool.
        replaced = await tell(operator, "e3", "part_replaced", found["mac"].upper(), ago_s=40, minutes=1)
        assert replaced["state"] == "applied" and "is burnt in for 1 min" in replaced["outcome"]
        await machine(operator, first, state="ready")

        # A customer's machine is flagged, and goes on.
        for number, kind in enumerate(("failed", "part_replaced", "retired")):
            flagged = await tell(operator, f"u{number}", kind, used, ago_s=30 - number, reason="a light blinks")
            assert flagged["state"] == "flagged"
        seen = await machine(operator, used, state="in_use")
        assert seen["flag"].startswith("retired: a light blinks")
        assert (await operator.call("GET", f"/devices/{device['id']}"))[1]["state"] == "active"

        # Racked.
        await running.service.db.execute(
            "INSERT INTO rack (facility_id, name, units) SELECT id, 'r1', 42 FROM facility"
        )
        for id_, name, more, said in (
            ("r1", second, {"rack": "r1", "unit": 7}, "stands in rack r1 unit 7"),
            ("r2", used, {"rack": "r1", "unit": 7}, f"unit 7 of rack r1 is {second}'s"),
            ("r3", used, {"rack": "r9"}, "there is no rack r9"),
            ("r4", used, {"rack": "r1", "unit": 50}, "has 42 units"),
            ("r5", used, {}, "rack can't be blank"),
        ):
            assert said in (await tell(operator, id_, "racked", name, ago_s=10, **more))["outcome"], id_

        # Unknown first, carried out again when it is known.
        unknown = await tell(operator, "x1", "failed", "SERIAL-7", ago_s=5)
        assert unknown["state"] == "unknown"
        await running.service.db.execute(
            "UPDATE machine SET inventory = jsonb_set(inventory, '{system}', '{\"product_serial\": \"SERIAL-7\"}')"
            " WHERE name = $1",
            second,
        )
        status, again = await operator.call("POST", f"{PATH}/{unknown['id']}/replay")
        assert (status, again["state"]) == (200, "applied")
        await machine(operator, second, state="quarantined")
        assert (await operator.call("POST", f"{PATH}/{unknown['id']}/replay"))[0] == 422
        _, listed = await operator.call("GET", f"{PATH}?state=applied&machine={second}")
        assert [one["kind"] for one in listed["facility_events"]] == ["failed", "racked"]

        # The same id for something else, a time to come, a kind that is none.
        at = NOW.isoformat()
        for body in (
            {"id": "e1", "kind": "retired", "machine": first, "at": at},
            {"id": "new", "kind": "failed", "machine": first, "at": (NOW + timedelta(days=1)).isoformat()},
            {"id": "new", "kind": "exploded", "machine": first, "at": at},
            {"id": "new", "kind": "failed", "machine": first, "at": "yesterday"},
            {"kind": "failed", "machine": first, "at": at},
        ):
            assert (await operator.call("POST", PATH, body))[0] == 422


async def test_a_cable_that_was_moved_is_a_plan_that_the_leaf_bears_out(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator):
        where = {"leaf": "leaf1", "port": "xe-0/0/1"}
        same = await tell(operator, "c0", "cabled", "m0002", ago_s=50, **where)
        assert same["outcome"] == "m0002 is recorded at leaf1 xe-0/0/1 already"
        wrong = await tell(operator, "c1", "moved", "m0001", ago_s=40, **where)
        assert wrong["state"] == "refused" and "is not seen at another port" in wrong["outcome"]
        running.rack.swap("m0001", "m0002")
        await drift(operator, "leaf1")
        status, moved = await operator.call("POST", f"{PATH}/{wrong['id']}/replay")
        assert (status, moved["state"]) == (200, "applied")
        assert "m0001: leaf1 xe-0/0/0 → leaf1 xe-0/0/1; to be done by: roundhouse leaf apply " in moved["outcome"]
        plan = moved["outcome"].rpartition(" ")[2]
        assert (await operator.call("POST", f"/admin/v1/leaf-plans/{plan}/apply"))[0] in (200, 202)
        await machine(operator, "m0001", port="xe-0/0/1")
