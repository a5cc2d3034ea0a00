"""Hooks are asked before a machine goes to maintenance and before it comes out, whatever leads there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from service.lab.up import Lab
from tests.lab.leaves import planned
from tests.lab.test_hooks import add, hooked_lab, machine, program, questions
from tests.lab.world import Customer
from tests.service.api_world import ED25519

VETO = "hook window vetoed it: no change window"
MACHINE = "/admin/v1/machines/m0001"
REASON = {"reason": "its fan is loud"}
SSH = {"keys": [ED25519]}


async def facility(operator: Customer, id_: str, kind: str, ago_s: float) -> dict[str, Any]:
    at = (datetime.now(UTC) - timedelta(seconds=ago_s)).isoformat()
    body = {"id": id_, "kind": kind, "machine": "m0001", "at": at, "reason": "a light blinks", "minutes": 1}
    status, found = await operator.call("POST", "/admin/v1/facility-events", body)
    assert status == 200, found
    told: dict[str, Any] = found
    return told


async def refused(operator: Customer, path: str, body: dict[str, Any]) -> None:
    status, answer = await operator.call("POST", path, body)
    assert (status, answer["errors"]) == (409, [VETO]), path


async def by_profile(running: Lab, operator: Customer, profile: str) -> str:
    port = await running.service.db.fetchval("SELECT p.name FROM machine AS m JOIN leaf_port AS p ON p.id = m.port_id")
    plan = await planned(operator, "leaf1", "profile", ports=[port], profile=profile)
    return f"/admin/v1/leaf-plans/{plan['id']}/apply"


async def asked_about(operator: Customer) -> list[tuple[str, str]]:
    return [(one["transition"], one["state"]) for one in await questions(operator, machine="m0001")]


async def test_no_way_to_maintenance_and_back_goes_past_the_hooks(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        path = program(tmp_path, "window", "echo 'no change window'; exit 1")
        await add(operator, "window", "executable", path, "machine.maintain", "machine.give_back", mode="ask")

        # In the pool: four ways out of it. It goes nowhere.
        for way, body in (("maintain", REASON), ("rma", REASON), ("retire", REASON), ("ssh-on", SSH)):
            await refused(operator, f"{MACHINE}/{way}", body)
        await refused(operator, await by_profile(running, operator, "maintenance"), {})
        told = await facility(operator, "f1", "retired", 60)
        assert (told["state"], told["outcome"]) == ("refused", VETO)
        found = await machine(operator, "m0001", state="ready")
        assert (found["leaving"], found["flag"], found["profile"]) == (None, None, "provisioning")
        assert await asked_about(operator) == [("machine.maintain", "vetoed")] * 6

        # Enrolled, and failed as the facility tells: what was refused is carried out again when the hook lets it.
        await running.service.db.execute("UPDATE machine SET state = 'enrolled'")
        told = await facility(operator, "f2", "failed", 50)
        assert (told["state"], told["outcome"]) == ("refused", VETO)
        program(tmp_path, "window", "exit 0")
        status, again = await operator.call("POST", f"/admin/v1/facility-events/{told['id']}/replay")
        assert (status, again["state"]) == (200, "applied")
        await machine(operator, "m0001", state="maintenance")

        # In maintenance: all ways back. It stays.
        program(tmp_path, "window", "echo 'no change window'; exit 1")
        for way, body in (("give-back", {}), ("ssh-off", {})):
            await refused(operator, f"{MACHINE}/{way}", body)
        await refused(operator, await by_profile(running, operator, "provisioning"), {})
        told = await facility(operator, "f3", "part_replaced", 40)
        assert (told["state"], told["outcome"]) == ("refused", VETO)
        await machine(operator, "m0001", state="maintenance")
        program(tmp_path, "window", "exit 0")
        status, answer = await operator.call("POST", f"{MACHINE}/give-back", {})
        assert status == 202, answer
        assert (await asked_about(operator))[0] == ("machine.give_back", "allowed")
        await machine(operator, "m0001", state="ready")


async def test_what_is_refused_anyway_asks_nobody(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (_running, operator):
        path = program(tmp_path, "window", "echo 'no change window'; exit 1")
        await add(operator, "window", "executable", path, "machine.maintain", "machine.give_back", mode="ask")
        device = await operator.until(await operator.order(), "active")
        for way, body in (("ssh-on", SSH), ("rma", REASON), ("retire", REASON), ("give-back", {})):
            status, answer = await operator.call("POST", f"{MACHINE}/{way}", body)
            assert status == 422, answer
        assert await asked_about(operator) == []
        # Marked to leave when its device is gone: asked about now.
        await refused(operator, f"{MACHINE}/maintain", REASON)
        told = await facility(operator, "f1", "failed", 30)
        assert (told["state"], told["outcome"]) == ("refused", VETO)
        found = await machine(operator, "m0001", state="in_use")
        assert (found["leaving"], found["flag"]) == (None, None)
        assert (await operator.call("GET", f"/devices/{device['id']}"))[1]["state"] == "active"
