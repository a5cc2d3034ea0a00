"""Erase certificates: what is good enough for one, and how operators see them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import ClientSession, CookieJar

from images.protocol import DiskErasure, EraseAttempt
from service.certificates import signature_of
from service.cli.main import main
from service.secrets import load_keys
from service.workflows.prepare import unclean
from sql.loader import Q
from tests.service.api_world import TOKEN, World

REFUSED = EraseAttempt(method="nvme-sanitize-block", outcome="refused", reason="not now", seconds=0.0)
DONE = EraseAttempt(method="nvme-format-erase", outcome="done", reason="", seconds=2.5)


def erasure(path: str = "/dev/nvme0n1", **changes: Any) -> dict[str, Any]:
    disk = DiskErasure(
        path=path,
        serial="S1",
        bytes=480 * 10**9,
        controller="nvme",
        model="m",
        firmware="f",
        method="nvme-format-erase",
        seconds=3.25,
        attempts=[REFUSED, DONE],
        hidden=[],
        samples_read=200,
        samples_clean=200,
        samples_old=64,
        verdict="zeros",
    )
    return {**disk, **changes}


INVENTORY = {"disks": [{"path": "/dev/nvme0n1"}]}


def test_evidence_of_every_disk_of_the_machine_is_good_enough() -> None:
    assert unclean({"disks": [erasure()]}, INVENTORY) is None
    assert unclean({"disks": [erasure(), erasure("/dev/sda", verdict="changed")]}, INVENTORY) is None


SPOILT: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "no disk": (lambda evidence: evidence["disks"].clear(), "the agent named no disk"),
    "no samples": (lambda evidence: evidence["disks"][0].update(samples_read=0, samples_clean=0), "0 of 0 samples"),
    "dirty samples": (lambda evidence: evidence["disks"][0].update(samples_clean=199), "199 of 200 samples"),
    "nothing served": (lambda evidence: evidence["disks"][0]["attempts"].pop(), "no method came to its end"),
    "nothing tried": (lambda evidence: evidence["disks"][0]["attempts"].clear(), "no method came to its end"),
    "unknown verdict": (lambda evidence: evidence["disks"][0].update(verdict="old"), "the samples showed 'old'"),
    "a field too few": (lambda evidence: evidence["disks"][0].pop("hidden"), "tells of a disk lacks hidden"),
    "another disk": (lambda evidence: evidence["disks"][0].update(path="/dev/sdb"), "/dev/nvme0n1: in the machine and"),
}


@pytest.mark.parametrize("name", SPOILT)
def test_evidence_that_lacks_anything_is_not(name: str) -> None:
    spoil, expected = SPOILT[name]
    evidence = {"disks": [erasure(attempts=[REFUSED, DONE])]}
    spoil(evidence)
    why = unclean(evidence, INVENTORY)
    assert why is not None and expected in why


async def test_operators_see_certificates_and_whether_they_are_as_they_were_signed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (machine,) = await world.add_machines(1)
    key = load_keys(tmp_path).first.secret  # the state folder of this world
    for serial in ("FIRST", "SECOND"):
        run, evidence = uuid4(), {"disks": [erasure(serial=serial)]}
        await world.db.execute(Q["certify_erase"], machine, run, evidence, signature_of(key, machine, run, evidence))
    found = (await world.call("GET", "/admin/v1/machines/m0/certificates")).body["certificates"]
    assert [(one["disks"][0]["serial"], one["valid"]) for one in found] == [("SECOND", True), ("FIRST", True)]
    assert found[0]["disks"] == [erasure(serial="SECOND")]
    await world.db.execute(
        "UPDATE erase_certificate SET evidence = jsonb_set(evidence, '{disks,0,serial}', '\"OTHER\"')"
        " WHERE run_id = $1::text::uuid",
        found[0]["run"],
    )
    found = (await world.call("GET", f"/admin/v1/machines/{machine}/certificates")).body["certificates"]
    assert [one["valid"] for one in found] == [False, True]
    tenant = await world.tenant_token()
    assert (await world.call("GET", "/admin/v1/machines/m0/certificates", token=tenant)).status == 403
    assert (await world.call("GET", "/admin/v1/machines/m9/certificates")).status == 404
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        await browser.post(f"{world.url}/console/login", data={"token": TOKEN})
        async with browser.get(f"{world.url}/console/machines/m0") as shown:
            text = await shown.text()
    assert "not as it was signed" in text and "200 of 200 samples clean (zeros)" in text
    assert "nvme-sanitize-block refused: not now" in text
    monkeypatch.setenv("ROUNDHOUSE_API", world.url)
    monkeypatch.setenv("ROUNDHOUSE_TOKEN", TOKEN)
    capsys.readouterr()
    assert await asyncio.to_thread(main, ["machine", "certificates", "m0"]) == 0
    title, first, second = capsys.readouterr().out.splitlines()
    assert title.split()[:3] == ["ERASED", "DISK", "SERIAL"]
    assert first.split()[1:3] == ["/dev/nvme0n1", "OTHER"] and first.endswith("no") and second.endswith("yes")
    assert "nvme-sanitize-block" in first
    assert await asyncio.to_thread(main, ["--json", "machine", "certificates", "m0"]) == 0
    assert [one["valid"] for one in json.loads(capsys.readouterr().out)] == [False, True]
