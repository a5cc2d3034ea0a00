"""Hooks are asked before a machine goes to maintenance and before it comes out, whatever leads there."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.admin.facility_telling import until_it_stays
from service.api.problems import Refused
from service.hooks.asking import MachineMoved
from service.lab.up import Lab
from tests.lab.leaves import planned
from tests.lab.test_hooks import add, hooked_lab, machine, program, questions
from tests.lab.world import Customer, all_ready
from tests.service.api_world import ED25519
from tests.service.receivers import receiver

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


SLOW = "while [ ! -e answer ]; do sleep 0.05; done"  # a hook that thinks until it may answer
MOVED = "m0001 has moved while hooks were asked: it is "


async def asked_of(operator: Customer, count: int) -> None:
    """Return when so many questions were put about the machine."""
    async with asyncio.timeout(100):
        while len(await questions(operator, machine="m0001")) < count:
            await asyncio.sleep(0.05)


async def prepared_again(running: Lab, operator: Customer) -> None:
    """The machine leaves the pool and comes back to it."""
    assert (await operator.call("POST", f"{MACHINE}/prepare"))[0] == 202
    await all_ready(running.service.db)


async def test_an_answer_about_a_machine_that_has_moved_since_is_worth_nothing(
    database_url: str, tmp_path: Path
) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        path = program(tmp_path, "window", SLOW)
        await add(operator, "window", "executable", path, "machine.maintain", mode="ask", limit_s=120)
        ways = (("maintain", REASON), ("rma", REASON), ("retire", REASON), ("ssh-on", SSH))
        async with asyncio.TaskGroup() as tasks:
            calls = [tasks.create_task(operator.call("POST", f"{MACHINE}/{way}", body)) for way, body in ways]
            await asked_of(operator, len(ways))
            await prepared_again(running, operator)
            (tmp_path / "hooks" / "answer").touch()
        for call in calls:
            status, answer = call.result()
            assert status == 409 and answer["errors"][0].startswith(f"{MOVED}ready since "), answer
        found = await machine(operator, "m0001", state="ready")
        assert (found["leaving"], found["profile"]) == (None, "provisioning")

        # In the pool when they were asked, a customer's when they answered: it is not even marked to leave.
        (tmp_path / "hooks" / "answer").unlink()
        async with asyncio.TaskGroup() as tasks:
            call = tasks.create_task(operator.call("POST", f"{MACHINE}/maintain", REASON))
            await asked_of(operator, len(ways) + 1)
            await operator.until(await operator.order(), "active")
            (tmp_path / "hooks" / "answer").touch()
        status, answer = call.result()
        assert status == 409 and answer["errors"][0].startswith(f"{MOVED}in_use since "), answer
        assert (await machine(operator, "m0001", state="in_use"))["leaving"] is None
        # Asked about the machine as it is, they allow it.
        assert (await operator.call("POST", f"{MACHINE}/maintain", REASON))[0] == 202
        assert (await machine(operator, "m0001", state="in_use"))["leaving"] == REASON["reason"]


async def test_what_a_facility_tells_is_asked_again_when_the_machine_has_moved(
    database_url: str, tmp_path: Path
) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        path = program(tmp_path, "window", SLOW)
        await add(operator, "window", "executable", path, "machine.maintain", mode="ask", limit_s=120)
        async with asyncio.TaskGroup() as tasks:
            telling = tasks.create_task(facility(operator, "f1", "retired", 60))
            await asked_of(operator, 1)
            await prepared_again(running, operator)
            (tmp_path / "hooks" / "answer").touch()
        told = telling.result()
        assert (told["state"], told["outcome"]) == ("applied", "m0001 is retired as soon as it is erased")
        assert await asked_about(operator) == [("machine.maintain", "allowed")] * 2


async def test_a_machine_that_never_stays_is_to_be_told_of_again() -> None:
    tries = 0

    async def once() -> None:
        nonlocal tries
        tries += 1
        raise MachineMoved("m0001 has moved")

    with pytest.raises(Refused, match="send it again") as refused:
        await until_it_stays(once)
    assert (refused.value.status, tries) == (503, 5)


async def test_an_rma_whose_bmc_is_slow_asks_about_a_machine_that_came_back_meanwhile(
    database_url: str, tmp_path: Path
) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        assert (await operator.call("POST", f"{MACHINE}/maintain", REASON))[0] == 202
        await machine(operator, "m0001", profile="maintenance", state="maintenance")
        path = program(tmp_path, "window", "echo 'no change window'; exit 1")
        await add(operator, "window", "executable", path, "machine.maintain", mode="ask")
        async with asyncio.TaskGroup() as tasks, receiver("hang") as slow:
            await running.service.db.execute("UPDATE machine SET bmc_url = $1", slow.url)
            call = tasks.create_task(operator.call("POST", f"{MACHINE}/rma", REASON))
            await slow.until(1, limit=60)
            # By itself it would come back by an erase, which may take longer than a BMC is listened to.
            await running.service.db.execute("UPDATE machine SET state = 'ready', state_since = now()")
        status, answer = call.result()
        assert status == 409 and answer["errors"][0].startswith(f"{MOVED}ready since "), answer
        assert (await operator.call("GET", f"{MACHINE}/rmas"))[1]["rmas"] == []


async def test_a_plan_for_a_machine_that_has_moved_since_is_spent(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        db = running.service.db
        # Its port is closed, and so it stays, whatever it is: in quarantine, later in maintenance.
        await db.execute("UPDATE machine SET state = 'quarantined'")
        await db.execute("UPDATE leaf_port SET profile = 'quarantine' WHERE id IN (SELECT port_id FROM machine)")
        path = await by_profile(running, operator, "provisioning")
        await db.execute("UPDATE machine SET state = 'maintenance'")
        status, answer = await operator.call("POST", path)
        assert status == 409 and "has changed since it was planned" in answer["errors"][0], answer
        assert (await machine(operator, "m0001"))["state"] == "maintenance"


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
