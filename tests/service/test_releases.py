"""Releases and rollouts over the API, in the console, on the command line, and what the controller decides by rows."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from aiohttp import ClientSession, CookieJar

from images import store
from images.catalogue import load_catalogue
from service.artefacts import Artefacts
from service.releases.choice import bucket, choose_release
from service.releases.rollouts import look
from service.settings import Settings
from service.store.course import Device, device_by_id
from service.store.releases import Install, begin_install, end_install, releases_referred_to, rollout_under_way
from service.store.rows import Connection
from tests.images.test_store import made
from tests.service.api_world import TOKEN, Answer, World
from tests.service.parts import make_parts

SLUG = "debian_12"
NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def two_releases(root: Path) -> tuple[str, str]:
    """The current release and a newer one."""
    old = store.publish(root, made(root, "old"))
    new = store.publish(root, made(root, "new"), current=False)
    return old.id, new.id


@pytest.fixture
def ids(tmp_path: Path) -> tuple[str, str]:
    """The ids of two releases in the world's store."""
    return two_releases(tmp_path / "images")


async def begin(world: World, release: str, **more: Any) -> Answer:
    """Begin a rollout."""
    return await world.call("POST", "/admin/v1/rollouts", {"slug": SLUG, "release": release} | more)


async def installs(
    world: World, release: str, *, well: int = 0, failed: int = 0, seconds: float = 30.0, failure: str = "first_boot"
) -> None:
    """Rows as so many installs leave them."""
    if not (machine := await world.db.fetchval("SELECT id FROM machine LIMIT 1")):
        (machine,) = await world.add_machines(1)
    device = await world.db.fetchval("SELECT id FROM device LIMIT 1")
    if device is None:
        device = (await world.order()).body["id"]
    for number in range(well + failed):
        run = await world.db.fetchval(
            "INSERT INTO run (workflow, subject, step, state, deadline, finished_at)"
            " VALUES ('provision', $1, 'activate', 'done', now(), now()) RETURNING id",
            uuid4(),
        )
        await world.db.execute(
            "INSERT INTO image_install (run_id, attempt, device_id, machine_id, slug, release, plan, state, failure,"
            " reason, started_at, ended_at, seconds, order_s)"
            " VALUES ($1, 1, $2, $3, $4, $5, 'c1.small.x86', $6, $7, $8, now(), now(), $9, $9)",
            run,
            device,
            machine,
            SLUG,
            release,
            "active" if number < well else "failed",
            None if number < well else failure,
            None if number < well else "the installed system has not phoned home",
            seconds,
        )


async def test_a_rollout_is_begun_listed_and_stopped(world: World, ids: tuple[str, str]) -> None:
    old, new = ids
    begun = await begin(world, new, plans=["c1.small.x86"], percent=10, enough=3)
    assert begun.status == 201, begun.body
    assert {name: begun.body[name] for name in ("release", "baseline", "percent", "enough", "plans", "state")} == {
        "release": new,
        "baseline": old,
        "percent": 10,
        "enough": 3,
        "plans": ["c1.small.x86"],
        "state": "running",
    }
    listed = (await world.call("GET", f"/admin/v1/rollouts?slug={SLUG}")).body["rollouts"]
    assert [one["id"] for one in listed] == [begun.body["id"]]
    path = f"/admin/v1/rollouts/{begun.body['id']}/stop"
    stopped = await world.call("POST", path, {"reason": "second thoughts"})
    assert (stopped.body["state"], stopped.body["reason"]) == ("aborted", "second thoughts")
    again = await world.call("POST", path, {})
    assert again.status == 409
    assert "aborted" in again.body["errors"][0]
    assert (await world.call("POST", f"/admin/v1/rollouts/{uuid4()}/stop", {})).status == 404


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"release": "OLD"}, "is the current one already"),
        ({"release": "abc"}, "release abc is not in"),
        ({"slug": "plan9"}, "plan9 is not in"),
        ({"plans": ["c9.huge"]}, "plans: there is no c9.huge; there are c1"),
        ({"percent": 0}, "Percent is not valid: 0"),
        ({"percent": 101}, "Percent is not valid: 101"),
        ({"enough": 0}, "Enough is not valid: 0"),
        ({"per_cent": 5}, "Per cent is not valid"),
        ({"release": None}, "Release can't be blank"),
    ],
    ids=["current", "release", "slug", "plan", "none", "too-much", "enough", "unknown", "blank"],
)
async def test_what_cannot_be_rolled_out_is_refused_by_name(
    world: World, ids: tuple[str, str], given: dict[str, Any], why: str
) -> None:
    old, new = ids
    answer = await world.call(
        "POST",
        "/admin/v1/rollouts",
        {"slug": SLUG, "release": new} | given | ({"release": old} if given.get("release") == "OLD" else {}),
    )
    assert answer.status == 422
    assert why in answer.body["errors"][0]


async def test_an_image_that_nobody_can_order_is_not_rolled_out(world: World, tmp_path: Path) -> None:
    root = tmp_path / "images"
    store.publish(root, made(root, "old", "my_own"))
    new = store.publish(root, made(root, "new", "my_own"), current=False)
    answer = await world.call("POST", "/admin/v1/rollouts", {"slug": "my_own", "release": new.id})
    assert answer.status == 422
    assert "my_own is no operating system that can be ordered" in answer.body["errors"][0]


async def test_one_rollout_of_a_slug_runs_at_a_time(world: World, ids: tuple[str, str]) -> None:
    _, new = ids
    assert (await begin(world, new)).status == 201
    second = await begin(world, new)
    assert second.status == 422
    assert "is running; stop it first" in second.body["errors"][0]


async def test_only_staff_may_look_and_act(world: World, ids: tuple[str, str]) -> None:
    token = await world.tenant_token()
    for method, path in [("GET", "/admin/v1/releases"), ("GET", "/admin/v1/rollouts"), ("POST", "/admin/v1/rollouts")]:
        assert (await world.call(method, path, token=token)).status == 403


async def test_releases_are_listed_with_how_their_installs_went(world: World, ids: tuple[str, str]) -> None:
    old, new = ids
    await installs(world, old, well=3, failed=1)
    await installs(world, new, well=1, seconds=50)
    await installs(world, new, failed=2, failure="network")
    (found,) = (await world.call("GET", "/admin/v1/releases")).body["slugs"]
    by_id = {one["id"]: one for one in found["releases"]}
    assert [one["id"] for one in found["releases"]] == [new, old]
    assert [by_id[one]["current"] for one in (old, new)] == [True, False]
    assert by_id[old]["installs"] == {
        "plan": None,
        "active": 3,
        "failed": 1,
        "not_begun": 0,
        "running": 0,
        "p50_s": 30.0,
        "p99_s": 30.0,
        "order_p99_s": 30.0,
    }
    assert (by_id[new]["installs"]["failed"], by_id[new]["installs"]["not_begun"]) == (0, 2)
    assert [tally["plan"] for tally in by_id[old]["by_plan"]] == ["c1.small.x86"]
    assert [(one["release"], one["stage"]) for one in found["failures"]] == [(old, "first_boot")]


async def test_the_console_shows_releases_and_the_rollout(world: World, ids: tuple[str, str]) -> None:
    old, new = ids
    await installs(world, old, well=3, failed=1)
    assert (await begin(world, new)).status == 201
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as browser:
        await browser.post(f"{world.url}/console/login", data={"token": TOKEN})
        async with browser.get(f"{world.url}/console/images") as answer:
            page = await answer.text()
    assert answer.status == 200
    for words in (old, new, "current", "goes to <b>5 %</b> of orders", "first boot on", "has not phoned home"):
        assert words in page


async def decide(world: World, root: Path) -> None:
    """One look of the controller's."""
    await look(world.db, make_parts(Settings(state_dir=root)))


async def state_of(world: World) -> tuple[str, int]:
    """State and percentage of the rollout that began last."""
    (one, *_) = (await world.call("GET", "/admin/v1/rollouts")).body["rollouts"]
    return one["state"], one["percent"]


async def test_a_rollout_goes_up_by_steps_and_is_complete_at_the_end(
    world: World, ids: tuple[str, str], tmp_path: Path
) -> None:
    _, new = ids
    await begin(world, new, enough=2)
    for percent in (25, 50, 100):
        await installs(world, new, well=1)
        await decide(world, tmp_path)
        await installs(world, new, well=1)
        await decide(world, tmp_path)
        assert await state_of(world) == ("running", percent)
    await installs(world, new, well=2)
    await decide(world, tmp_path)
    assert await state_of(world) == ("complete", 100)
    assert store.release(tmp_path / "images", SLUG).id == new
    events = await world.db.fetch("SELECT type, body FROM event WHERE type LIKE 'rollout.%' ORDER BY seq")
    assert [row["type"] for row in events] == ["rollout.started", *["rollout.raised"] * 3, "rollout.complete"]
    assert all(row["body"].startswith(f"{SLUG}: release {new} ") for row in events)


async def test_a_slow_release_goes_back(world: World, ids: tuple[str, str], tmp_path: Path) -> None:
    old, new = ids
    await installs(world, old, well=30)
    await begin(world, new, enough=100)
    await installs(world, new, well=10, seconds=60)
    await decide(world, tmp_path)
    (one,) = (await world.call("GET", "/admin/v1/rollouts")).body["rollouts"]
    assert one["state"] == "rolled_back"
    assert "10 of 10 installs took longer than 30.0 s" in one["reason"]
    assert store.release(tmp_path / "images", SLUG).id == old


async def test_what_fails_before_the_image_had_a_say_does_not_count(
    world: World, ids: tuple[str, str], tmp_path: Path
) -> None:
    _, new = ids
    await begin(world, new)
    await installs(world, new, failed=20, failure="start")
    await installs(world, new, failed=20, failure="network")
    await decide(world, tmp_path)
    assert await state_of(world) == ("running", 5)


async def test_who_promotes_by_hand_ends_the_rollout(world: World, ids: tuple[str, str], tmp_path: Path) -> None:
    old, new = ids
    root = tmp_path / "images"
    await begin(world, new)
    store.promote(root, SLUG, new)
    await decide(world, tmp_path)
    assert (await state_of(world))[0] == "complete"
    store.promote(root, SLUG, old)
    await begin(world, new)
    third = store.publish(root, made(root, "third"))
    await decide(world, tmp_path)
    (one, *_) = (await world.call("GET", "/admin/v1/rollouts")).body["rollouts"]
    assert one["state"] == "aborted"
    assert third.id in one["reason"]


async def test_a_release_that_is_out_of_service_waits(world: World, ids: tuple[str, str], tmp_path: Path) -> None:
    _, new = ids
    root = tmp_path / "images"
    await begin(world, new)
    image = store.release(root, SLUG, new).image
    assert image is not None
    (root / image.file).unlink()
    await decide(world, tmp_path)
    rollout = await rollout_under_way(world.db, SLUG)
    assert rollout is not None
    assert "out of service" in rollout.reason
    (seen,) = (await world.call("GET", "/admin/v1/releases")).body["slugs"]
    assert "out of service" in next(one["fault"] for one in seen["releases"] if one["id"] == new)


async def ordered(world: World) -> Device:
    """A device that has been ordered."""
    return await device_by_id(world.db, UUID((await world.order()).body["id"]))


async def test_an_order_gets_one_release_and_keeps_it(world: World, ids: tuple[str, str], tmp_path: Path) -> None:
    old, new = ids
    await world.add_machines(40)
    images = Artefacts(tmp_path / "images")
    await begin(world, new, percent=50)
    devices = [await ordered(world) for _ in range(30)]
    first = [await choose_release(world.db, images, device, avoid=None) for device in devices]
    assert first == [new if bucket(device.id) < 50 else old for device in devices]
    await world.db.execute("UPDATE rollout SET percent = 100")
    devices = [await device_by_id(world.db, device.id) for device in devices]
    assert [device.image_release for device in devices] == first
    assert [await choose_release(world.db, images, device, avoid=None) for device in devices] == first
    assert [await choose_release(world.db, images, device, avoid=new) for device in devices] == [old] * 30
    referred = await releases_referred_to(world.db)
    assert set(referred[SLUG]) == {old, new}


def test_buckets_are_even() -> None:
    counts = [0] * 100
    for number in range(20_000):
        counts[bucket(UUID(int=number))] += 1
    assert min(counts) > 130
    assert max(counts) < 270


async def test_only_the_plans_of_a_rollout_take_part(world: World, ids: tuple[str, str], tmp_path: Path) -> None:
    old, new = ids
    await world.add_machines(1)
    plan = await world.db.fetchval("SELECT slug FROM plan WHERE slug <> 'c1.small.x86' LIMIT 1")
    assert (await begin(world, new, percent=100, plans=[plan])).status == 201
    device = await ordered(world)
    images = Artefacts(tmp_path / "images")
    assert await choose_release(world.db, images, device, avoid=None) == old
    assert await choose_release(world.db, images, replace(device, plan=plan, image_release=None), avoid=None) == new


async def _run(conn: Connection, device: UUID) -> UUID:
    found: UUID = await conn.fetchval("SELECT id FROM run WHERE subject = $1", device)
    return found


@pytest.mark.parametrize(
    ("phoned", "installed", "taken", "stage"),
    [
        (True, True, True, "prove"),
        (False, True, True, "first_boot"),
        (False, False, True, "install"),
        (False, False, False, "start"),
    ],
    ids=["prove", "first-boot", "install", "start"],
)
async def test_how_far_a_failed_install_came_is_written_down(
    world: World, phoned: bool, installed: bool, taken: bool, stage: str
) -> None:
    (machine,) = await world.add_machines(1)
    device = await ordered(world)
    run = await _run(world.db, device.id)
    install = Install(device_id=device.id, machine_id=machine, plan="c1.small.x86", slug=SLUG, release="abc")
    await begin_install(world.db, run, install, now=NOW)
    await begin_install(world.db, run, install, now=NOW)
    if phoned:
        await world.db.execute("UPDATE device SET phoned_home_at = $1", NOW)
    await world.db.execute("UPDATE machine SET installed = $1", installed)
    if taken:
        await world.db.execute(
            "INSERT INTO agent_work (machine_id, run_id, slot, kind, spec, taken_at)"
            " VALUES ($1, $2, 'install.0', 'install', '{}', $3)",
            machine,
            run,
            NOW,
        )
    assert await end_install(world.db, run, now=NOW + timedelta(seconds=5), failed="it broke") == "abc"
    assert await end_install(world.db, run, now=NOW, failed="again") is None
    (row,) = await world.db.fetch("SELECT failure, reason, seconds, attempt FROM image_install")
    assert tuple(row) == (stage, "it broke", 5.0, 1)


def test_the_catalogue_s_slugs_are_names_that_the_store_takes(tmp_path: Path) -> None:
    for entry in load_catalogue():
        store.publish(tmp_path, made(tmp_path, "one", entry.slug))
    assert len(store.load(tmp_path)) == len(list(load_catalogue()))
