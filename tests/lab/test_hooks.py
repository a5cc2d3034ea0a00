"""Operators' hooks on the light rack: whatever a hook that is asked does, the machine's course is right."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from service.lab.up import Lab, LabSettings
from tests.lab.world import Customer, all_ready, lab, soon
from tests.service.receivers import receiver

ORDER = {"hostname": "one-too-many", "plan": "c1.small.x86", "facility": "ewr1", "operating_system": "debian_12"}


@asynccontextmanager
async def hooked_lab(
    database_url: str, folder: Path, *, machines: int = 2, **settings: Any
) -> AsyncIterator[tuple[Lab, Customer]]:
    """A rack whose operator may run the programs of a folder."""
    programs = folder / "hooks"
    programs.mkdir()
    async with lab(
        database_url,
        folder,
        LabSettings(machines=machines, leaves=1),
        hooks_dir=str(programs),
        hook_retry_s=0.1,
        **settings,
    ) as (running, operator):
        yield running, operator


def program(folder: Path, name: str, text: str) -> str:
    """A program of the operator's."""
    file = folder / "hooks" / name
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(file.stat().st_mode | stat.S_IXUSR)
    return str(file)


async def add(operator: Customer, name: str, kind: str, target: str, *follows: str, **more: Any) -> dict[str, Any]:
    body = {"name": name, "kind": kind, "target": target, "follows": list(follows), **more}
    status, made = await operator.call("POST", "/admin/v1/hooks", body)
    assert status == 201, made
    found: dict[str, Any] = made
    return found


async def machine(operator: Customer, name: str, **fields: Any) -> dict[str, Any]:
    """The machine, as soon as its fields are so."""
    async with asyncio.timeout(60):
        while True:
            _, found = await operator.call("GET", f"/admin/v1/machines/{name}")
            if all(found[field] == value for field, value in fields.items()):
                seen: dict[str, Any] = found
                return seen
            await asyncio.sleep(0.05)


async def questions(operator: Customer, **asked: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in asked.items())
    status, found = await operator.call("GET", f"/admin/v1/hook-questions?{query}")
    assert status == 200, found
    rows: list[dict[str, Any]] = found["questions"]
    return rows


async def events(operator: Customer, type_: str) -> list[str]:
    _, found = await operator.call("GET", f"/events?type={type_}&per_page=100")
    return [one["body"] for one in found["events"]]


async def test_a_veto_of_an_order_s_machine_holds_it_back_and_the_order_takes_another(
    database_url: str, tmp_path: Path
) -> None:
    async with hooked_lab(database_url, tmp_path) as (_, operator):
        veto = 'if grep -q m0001; then echo \'{"reason": "fan is loud"}\'; exit 1; fi'
        path = program(tmp_path, "fan", veto)
        await add(operator, "fan", "executable", path, "machine.place", mode="ask")
        devices = [await operator.order(number) for number in range(2)]
        held = await machine(operator, "m0001", held="hook fan vetoed it: fan is loud")
        assert held["state"] == "ready"
        assert (await machine(operator, "m0002", state="in_use"))["device"] is not None
        _, under_way = await operator.call("GET", "/admin/v1/runs")
        assert [run["step"] for run in under_way["runs"]] == ["place"]
        assert (await operator.call("POST", f"/projects/{operator.project}/devices", ORDER))[0] == 422
        assert "Hook fan: place of m0001 is vetoed: fan is loud" in await events(operator, "hook.vetoed")
        vetoed = (await questions(operator, machine="m0001"))[-1]
        assert (vetoed["state"], vetoed["decided_by"], vetoed["status"]) == ("vetoed", "hook", 1)
        # The reason has gone: the operator asks again, and the order that waits gets the machine.
        program(tmp_path, "fan", "exit 0")
        status, _ = await operator.call("POST", f"/admin/v1/hook-questions/{vetoed['id']}/replay")
        assert status == 200
        for device in devices:
            await operator.until(device, "active")
        assert (await machine(operator, "m0001", held=None))["state"] == "in_use"


async def test_a_veto_of_the_pool_is_quarantine_and_asking_again_prepares(database_url: str, tmp_path: Path) -> None:
    async with (
        hooked_lab(database_url, tmp_path, machines=1) as (running, operator),
        receiver(409, 200, text='{"reason": "not on the list"}') as at,
    ):
        await add(operator, "list", "webhook", at.url, "machine.prepared", mode="ask")
        assert (await operator.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        found = await machine(operator, "m0001", state="quarantined")
        assert "hook list vetoed it: not on the list" in found["reason"]
        assert found["profile"] == "quarantine"
        asked = at.heard[0].json
        assert (asked["type"], asked["data"]["machine"]["name"]) == ("machine.prepared", "m0001")
        (question,) = await questions(operator, hook="list")
        assert (await operator.call("POST", f"/admin/v1/hook-questions/{question['id']}/replay"))[0] == 200
        await machine(operator, "m0001", state="ready")
        await all_ready(running.service.db)
        assert len(at.heard) == 2


async def test_a_veto_of_the_erase_leaves_the_disks(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        device = await operator.until(await operator.order(), "active")
        path = program(tmp_path, "legal", 'cat > last; echo "evidence in a case"; exit 1')
        await add(operator, "legal", "executable", path, "machine.prepare", mode="ask")
        assert (await operator.call("DELETE", f"/devices/{device['id']}"))[0] == 204
        found = await machine(operator, "m0001", state="quarantined")
        assert "hook legal vetoed it: evidence in a case" in found["reason"]
        light = running.rack.machines["m0001"]
        assert light.disks[0].installed is not None
        assert '"machine.prepare"' in (tmp_path / "hooks" / "last").read_text()


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


@pytest.mark.parametrize("on_failure", ["refuse", "proceed"])
@pytest.mark.parametrize("how", ["hangs", "fails", "hangs over HTTP", "closes"])
async def test_one_that_does_not_answer(database_url: str, tmp_path: Path, how: str, on_failure: str) -> None:
    wrong = "hang" if how == "hangs over HTTP" else "close"
    async with hooked_lab(database_url, tmp_path, machines=1) as (_, operator), receiver(wrong) as at:
        kind, target = "webhook", at.url
        if how in ("hangs", "fails"):
            # A child that goes on is killed with it.
            text = "sleep 600 & echo $! > child; sleep 600" if how == "hangs" else "echo broken; exit 3"
            kind, target = "executable", program(tmp_path, "sick", text)
        limits = {"limit_s": 4.0 if how.startswith("hangs") else 60.0, "retries": 1, "on_failure": on_failure}
        await add(operator, "sick", kind, target, "machine.prepared", mode="ask", **limits)
        assert (await operator.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        goal = "quarantined" if on_failure == "refuse" else "ready"
        found = await machine(operator, "m0001", state=goal)
        (question,) = await questions(operator, machine="m0001")
        assert question["decided_by"] == "its failure"
        assert question["state"] == ("vetoed" if on_failure == "refuse" else "allowed")
        assert question["attempts"] == (1 if how.startswith("hangs") else 2)
        said = {
            "hangs": "not done within",
            "fails": "exit status 3: broken",
            "hangs over HTTP": "no answer within",
            "closes": "ServerDisconnectedError",
        }
        assert said[how] in question["reason"]
        if on_failure == "refuse":
            assert said[how] in found["reason"]
        else:
            assert any("did not answer" in body for body in await events(operator, "hook.allowed"))
        if how == "hangs":
            child = int((tmp_path / "hooks" / "child").read_text())
            await soon(lambda: _has_ended(child))


async def test_the_first_answer_counts(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (_, operator), receiver(202) as at:
        await add(operator, "ticket", "webhook", at.url, "machine.prepared", mode="ask", limit_s=60)
        assert (await operator.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        (heard,) = await at.until(1)
        path = f"/admin/v1/hook-questions/{heard.json['question']}"
        run = await machine(operator, "m0001", state="preparing")
        assert "asked hook ticket (until " in run["run"]["reason"]
        answers = await asyncio.gather(
            *(operator.call("POST", path, {"verdict": verdict}) for verdict in ("allow", "veto", "allow"))
        )
        assert sorted(status for status, _ in answers) == [200, 409, 409]
        (first,) = [body for status, body in answers if status == 200]
        goal = "ready" if first["state"] == "allowed" else "quarantined"
        await machine(operator, "m0001", state=goal)
        status, body = await operator.call("POST", path, {"verdict": "allow"})
        assert status == 409 and f"decided before: {first['state']}" in body["errors"][0]
        assert len(at.heard) == 1


async def test_transitions_are_told_in_order_with_the_machine(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator), receiver(500, 200) as at:
        await add(operator, "cmdb", "webhook", at.url, "machine.*", "device.*")
        path = program(tmp_path, "note", "cat >> told; echo >> told")
        await add(operator, "note", "executable", path, "device.*")
        device = await operator.until(await operator.order(), "active")
        assert (await operator.call("DELETE", f"/devices/{device['id']}"))[0] == 204
        await all_ready(running.service.db)
        wanted = ["machine.place", "device.placed", "machine.activate", "device.proved", "device.delete"]
        wanted += ["machine.prepare", "machine.prepared", "machine.pooled"]
        await at.until(len(wanted) + 1)
        assert at.types == [wanted[0], *wanted]
        first = at.heard[1].json["data"]
        assert first["machine"]["name"] == "m0001"
        assert first["event"]["data"] == {"machine": "m0001", "from": "ready", "to": "installing", "reason": None}
        async with asyncio.timeout(60):
            while (await operator.call("GET", "/admin/v1/hooks/note"))[1]["behind"]:
                await asyncio.sleep(0.05)
        told = (tmp_path / "hooks" / "told").read_text()
        assert [told.count(f'"type": "device.{event}", "timestamp"') for event in ("placed", "proved", "delete")] == [
            1,
            1,
            1,
        ]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"target": "/bin/true"}, "Target is not valid: '/bin/true': it must be a program in"),
        ({"target": "true"}, "it must be an absolute path"),
        ({"kind": "webhook", "target": "gopher://x"}, "it must be an https or http address"),
        ({"mode": "ask", "follows": ["machine.fail"]}, "a hook that is asked follows some of machine.prepare"),
        ({"name": "two words"}, "Name is not valid"),
        ({"limit_s": 0}, "Limit s is not valid"),
        ({"follows": []}, "Follows is not valid"),
    ],
    ids=["outside", "relative", "scheme", "not-askable", "name", "limit", "nothing"],
)
async def test_what_is_not_allowed_is_refused(
    database_url: str, tmp_path: Path, body: dict[str, Any], said: str
) -> None:
    async with hooked_lab(database_url, tmp_path, machines=0) as (_, operator):
        right = {"name": "x", "kind": "executable", "follows": ["machine.place"]}
        right["target"] = program(tmp_path, "x", "exit 0")
        status, answer = await operator.call("POST", "/admin/v1/hooks", right | body)
        assert status == 422 and said in "; ".join(answer["errors"])
        assert (await operator.call("GET", "/admin/v1/hooks"))[1] == {"hooks": []}


async def test_a_veto_of_maintenance_and_of_retirement(database_url: str, tmp_path: Path) -> None:
    async with hooked_lab(database_url, tmp_path, machines=1) as (running, operator):
        path = program(tmp_path, "change", "echo 'no change window'; exit 1")
        await add(operator, "change", "executable", path, "machine.maintain", "machine.retire", mode="ask")
        asked = "/admin/v1/machines/m0001"
        status, answer = await operator.call("POST", f"{asked}/maintain", {"reason": "its fan is loud"})
        assert (status, answer["errors"]) == (409, ["hook change vetoed it: no change window"])
        await machine(operator, "m0001", state="ready")
        assert (await operator.call("PATCH", "/admin/v1/hooks/change", {"follows": ["machine.retire"]}))[0] == 200
        status, answer = await operator.call("POST", f"{asked}/retire", {"reason": "it is old", "disks_gone": True})
        assert status == 202, answer
        async with asyncio.timeout(60):
            while not (told := await events(operator, "machine.not_retired")):
                await asyncio.sleep(0.05)
        assert "hook change vetoed it: no change window" in told[0]
        await machine(operator, "m0001", state="maintenance")
        assert (await operator.call("PATCH", "/admin/v1/hooks/change", {"enabled": False}))[0] == 200
        assert (await operator.call("POST", f"{asked}/retire", {"reason": "it is old", "disks_gone": True}))[0] == 202
        async with asyncio.timeout(60):
            while not await running.service.db.fetchval(
                "SELECT EXISTS (SELECT FROM event WHERE type='machine.retired')"
            ):
                await asyncio.sleep(0.05)
