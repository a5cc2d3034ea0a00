"""Rollouts on a light rack: a release that never phones home goes back by itself, a good one becomes current."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from pathlib import Path

from images import store
from service.lab.first_stage import light_image
from service.lab.up import Lab, LabSettings
from service.releases.rollouts import start_rollout
from service.store.releases import Rollout, rollout_by_id
from service.store.rows import Pool
from tests.lab.world import all_ready, lab, over_budget

SLUG = "debian_12"


def second_release(running: Lab) -> store.Artefact:
    """Another release of the system, not current."""
    root = running.service.parts.images.root
    image = light_image(root, "second", 1 << 20)
    return store.publish(root, replace(store.release(root, SLUG), image=image), current=False)


async def begin(running: Lab, release: store.Artefact, *, percent: int, enough: int) -> Rollout:
    """Roll it out."""
    parts = running.service.parts
    async with running.service.db.acquire() as conn, conn.transaction():
        return await start_rollout(
            conn,
            parts.images,
            SLUG,
            release.id,
            percent=percent,
            enough=enough,
            now=parts.clock.now(),
            by="a test",
        )


async def ended(running: Lab, rollout: Rollout, limit: float = 60) -> Rollout:
    """The rollout, as soon as it is over."""
    async with asyncio.timeout(limit):
        while True:
            found = await rollout_by_id(running.service.db, rollout.id)
            assert found is not None
            if found.state != "running":
                return found
            await asyncio.sleep(0.1)


async def all_over_budget(db: Pool, release: str) -> None:
    """As if a day went by for each system of that release which does not phone home, until none is left."""
    left = "SELECT EXISTS (SELECT FROM image_install WHERE state = 'running' AND release = $1)"
    late = """UPDATE run SET step_since = now() - interval '1 d', wake_at = now() FROM image_install AS i
        WHERE i.run_id = run.id AND i.state = 'running' AND i.release = $1 AND run.step = 'await_phone_home'
        AND leased_until IS NULL AND finished_at IS NULL"""
    async with asyncio.timeout(60):
        while await db.fetchval(left, release):
            await db.execute(late, release)
            await asyncio.sleep(0.1)


async def releases_of(running: Lab, devices: list[str]) -> list[str]:
    """The releases that the devices have."""
    rows = await running.service.db.fetch(
        "SELECT image_release FROM device WHERE id = ANY($1::uuid[]) ORDER BY id", devices
    )
    return [row["image_release"] for row in rows]


async def told(running: Lab) -> list[str]:
    """Types of the events about rollouts."""
    rows = await running.service.db.fetch("SELECT type FROM event WHERE type LIKE 'rollout.%' ORDER BY seq")
    return [row["type"] for row in rows]


async def test_a_release_that_never_phones_home_goes_back_by_itself(database_url: str, tmp_path: Path) -> None:
    asked = LabSettings(machines=12, leaves=2)
    async with lab(database_url, tmp_path, asked) as (running, customer):
        db, root = running.service.db, running.service.parts.images.root
        good, bad = store.release(root, SLUG), second_release(running)
        assert bad.image is not None
        for machine in running.rack.machines.values():
            machine.faults.mute_images.add(bad.image.sha256)
        before = [await customer.order(number) for number in range(4)]
        for device in before:
            await customer.until(device, "active")
        rollout = await begin(running, bad, percent=100, enough=3)
        after = [await customer.order(number) for number in range(4, 8)]
        await over_budget(db, "await_phone_home", len(after))
        over = await ended(running, rollout)
        assert over.state == "rolled_back"
        # The first to fail may have been installed anew by then.
        assert re.search("[2-4] of [2-4] installs failed, 0 of [4-8] of the release before", over.reason)
        await all_over_budget(db, bad.id)
        for device in after:
            await customer.until(device, "active")
        assert await releases_of(running, before + after) == [good.id] * 8
        assert store.release(root, SLUG).id == good.id
        assert await told(running) == ["rollout.started", "rollout.rolled_back"]
        failures = await db.fetch("SELECT failure, release FROM image_install WHERE state = 'failed'")
        assert {tuple(row) for row in failures} == {("first_boot", bad.id)}
        assert await db.fetchval("SELECT count(*) FROM image_install WHERE state = 'active'") == 8
        last = await customer.order(9)
        await customer.until(last, "active")
        assert await releases_of(running, [last]) == [good.id]


async def test_a_good_release_goes_to_all_and_becomes_current(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=6, leaves=1)) as (running, customer):
        root = running.service.parts.images.root
        old, new = store.release(root, SLUG), second_release(running)
        rollout = await begin(running, new, percent=50, enough=1)
        devices: list[str] = []
        async with asyncio.timeout(240):
            while (found := await rollout_by_id(running.service.db, rollout.id)) and found.state == "running":
                devices.append(await customer.order(len(devices)))
                await customer.until(devices[-1], "active")
                if len(devices) % 4 == 0:
                    for device in devices[-4:]:
                        assert (await customer.call("DELETE", f"/devices/{device}"))[0] == 204
                    await all_ready(running.service.db)
        assert found is not None
        assert found.state == "complete"
        assert store.release(root, SLUG).id == new.id
        assert await told(running) == ["rollout.started", "rollout.raised", "rollout.complete"]
        got = set(await releases_of(running, devices))
        assert new.id in got <= {old.id, new.id}
        stages = await running.service.db.fetchval(
            "SELECT stages FROM image_install WHERE state = 'active' AND release = $1 LIMIT 1", new.id
        )
        assert {"start", "install", "await_network", "await_phone_home", "prove"} <= stages.keys()


async def test_a_reinstall_keeps_the_release_that_the_device_has(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=1, leaves=1)) as (running, customer):
        root = running.service.parts.images.root
        first, second = store.release(root, SLUG), second_release(running)
        device = await customer.order()
        await customer.until(device, "active")
        store.promote(root, SLUG, second.id)
        body = {"type": "reinstall", "operating_system": SLUG}
        assert (await customer.call("POST", f"/devices/{device}/actions", body))[0] == 202
        await customer.until(device, "reinstalling")
        await customer.until(device, "active")
        assert await releases_of(running, [device]) == [first.id]
        body["operating_system"] = "ubuntu_24_04"
        assert (await customer.call("POST", f"/devices/{device}/actions", body))[0] == 202
        await customer.until(device, "reinstalling")
        await customer.until(device, "active")
        assert await releases_of(running, [device]) == [store.release(root, "ubuntu_24_04").id]


async def test_an_order_that_fails_its_proof_on_a_new_release_gets_the_one_before(
    database_url: str, tmp_path: Path
) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, customer):
        root = running.service.parts.images.root
        good, strange = store.release(root, SLUG), second_release(running)
        assert strange.image is not None
        for machine in running.rack.machines.values():
            machine.faults.strange_images.add(strange.image.sha256)
        rollout = await begin(running, strange, percent=100, enough=3)
        device = await customer.order()
        await customer.until(device, "active")
        assert await releases_of(running, [device]) == [good.id]
        rows = await running.service.db.fetch("SELECT release, state, failure FROM image_install ORDER BY attempt")
        assert [tuple(row) for row in rows] == [(strange.id, "failed", "prove"), (good.id, "active", None)]
        found = await rollout_by_id(running.service.db, rollout.id)
        assert found is not None
        assert found.state == "running"  # one failure of one tells too little
