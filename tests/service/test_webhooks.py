"""Customers' webhooks: signed, at least once, in order, whatever the receiver does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any

import pytest

from service.hooks.running import run_hooks
from service.hooks.signature import BadSignature, verify
from service.hooks.targets import NotAllowed, PublicResolver
from service.settings import Settings
from service.store.events import add_event
from service.store.notify import Hub
from service.store.rows import Pool
from tests.service.api_world import World, open_world
from tests.service.parts import make_parts
from tests.service.receivers import Receiver, receiver

LOOPBACK: Mapping[str, Any] = {"webhook_networks": "127.0.0.0/8", "hook_retry_s": 0.05, "webhook_limit_s": 30.0}


@asynccontextmanager
async def hooks_run(db: Pool, url: str, folder: Path, **settings: Any) -> AsyncIterator[None]:
    """A worker's part of it, while the block runs."""
    parts = make_parts(Settings(state_dir=folder, **{**LOOPBACK, **settings}))
    hub = Hub(url)
    tasks = [asyncio.create_task(hub.run()), asyncio.create_task(run_hooks(db, parts, hub))]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await task


@pytest.fixture
async def hooked(db: Pool, database_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """The API, with webhooks that may lead to loopback addresses, and a worker that tells them."""
    async with open_world(db, database_url, tmp_path, **LOOPBACK) as opened, hooks_run(db, database_url, tmp_path):
        yield opened


async def happen(world: World, count: int = 1, *, type_: str = "user.1000", private: bool = False) -> None:
    """Things that happen in the project."""
    for number in range(count):
        async with world.db.acquire() as conn, conn.transaction():
            await add_event(conn, type_, f"thing {number}", project_id=world.project, private=private)


async def webhook(world: World, at: Receiver, **more: Any) -> dict[str, Any]:
    answer = await world.call("POST", f"/projects/{world.project}/webhooks", {"url": at.url, **more})
    assert answer.status == 201, answer.body
    made: dict[str, Any] = answer.body
    return made


async def until(world: World, path: str, **fields: Any) -> dict[str, Any]:
    """The object, as soon as its fields are so."""
    async with asyncio.timeout(60):
        while True:
            answer = await world.call("GET", path)
            if all(answer.body[name] == value for name, value in fields.items()):
                found: dict[str, Any] = answer.body
                return found
            await asyncio.sleep(0.02)


async def test_deliveries_are_signed_and_in_order(hooked: World) -> None:
    async with receiver() as at:
        made = await webhook(hooked, at)
        assert made["secret"].startswith("whsec_")
        await happen(hooked, 20)
        await happen(hooked, private=True)
        await happen(hooked)
        heard = await at.until(21)
        assert [one.json["data"]["event"]["body"] for one in heard] == [f"thing {n}" for n in range(20)] + ["thing 0"]
        cursors = [int(one.json["cursor"]) for one in heard]
        assert cursors == sorted(set(cursors))
        for one in heard:
            verify(one.headers, one.body, made["secret"], now=time())
            assert "private" not in one.json["data"]["event"]
        with pytest.raises(BadSignature):
            verify(heard[0].headers, heard[0].body + b" ", made["secret"], now=time())
        with pytest.raises(BadSignature):
            verify(heard[0].headers, heard[0].body, made["secret"], now=time() + 3600)
        seen = await until(hooked, made["href"], behind=False)
        assert "secret" not in seen and seen["fault"] is None
        deliveries = (await hooked.call("GET", f"{made['href']}/deliveries?per_page=50")).body
        assert deliveries["meta"]["total"] == 21
        assert {one["state"] for one in deliveries["deliveries"]} == {"delivered"}


@pytest.mark.parametrize("wrong", [500, 404, 302, "hang", "close"], ids=str)
async def test_what_fails_is_sent_again_with_the_same_id(hooked: World, wrong: int | str) -> None:
    async with receiver(wrong, 200) as at:
        made = await webhook(hooked, at)
        if wrong == "hang":
            await hooked.db.execute("UPDATE hook SET limit_s = 3")
        await happen(hooked, 2)
        heard = await at.until(3)
        assert [one.json["data"]["event"]["body"] for one in heard] == ["thing 0", "thing 0", "thing 1"]
        assert heard[0].headers["webhook-id"] == heard[1].headers["webhook-id"] != heard[2].headers["webhook-id"]
        await until(hooked, made["href"], behind=False, fault=None)
        states = (await hooked.call("GET", f"{made['href']}/deliveries")).body["deliveries"]
        assert sorted((one["attempts"], one["state"]) for one in states) == [(1, "delivered"), (2, "delivered")]


async def test_a_dead_letter_lets_the_next_through_and_can_be_sent_again(
    db: Pool, database_url: str, tmp_path: Path
) -> None:
    async with (
        open_world(db, database_url, tmp_path, **LOOPBACK, webhook_retries=1) as world,
        hooks_run(db, database_url, tmp_path),
        receiver(400, 400, 200, text="I do not like it") as at,
    ):
        made = await webhook(world, at)
        await happen(world, 2)
        await at.until(3)
        await until(world, made["href"], behind=False)
        dead = (await world.call("GET", f"{made['href']}/deliveries?state=dead")).body["deliveries"]
        assert [(one["status"], one["answer"], one["attempts"]) for one in dead] == [(400, "I do not like it", 2)]
        again = await world.call("POST", f"{made['href']}/deliveries/{dead[0]['id']}/replay")
        assert (again.status, again.body["state"]) == (200, "delivered")
        assert at.heard[-1].json["data"]["event"]["body"] == "thing 0"


async def test_replay_from_a_cursor_and_a_filter(hooked: World) -> None:
    async with receiver() as at:
        made = await webhook(hooked, at, events=["provisioning.*", "instance.deleted"])
        for type_ in ("user.1000", "provisioning.101", "provisioning_x", "instance.deleted", "instance.reboot"):
            await happen(hooked, type_=type_)
        first = await at.until(2)
        assert at.types == ["provisioning.101", "instance.deleted"]
        await until(hooked, made["href"], behind=False)
        cursor = int(first[0].json["cursor"])
        assert (await hooked.call("POST", f"{made['href']}/replay", {"from": cursor})).status == 200
        heard = await at.until(3)
        assert heard[2].json == heard[1].json
        assert heard[2].headers["webhook-id"] == heard[1].headers["webhook-id"]
        await hooked.call("POST", f"{made['href']}/replay", {"from": 0})
        await at.until(5)
        assert at.types[3:] == ["provisioning.101", "instance.deleted"]


async def test_a_new_secret_and_the_old_one_are_good_for_a_while(hooked: World) -> None:
    async with receiver() as at:
        made = await webhook(hooked, at)
        rotated = (await hooked.call("POST", f"{made['href']}/secret", {"overlap_s": 60})).body
        await happen(hooked)
        (one,) = await at.until(1)
        for secret in (made["secret"], rotated["secret"]):
            verify(one.headers, one.body, secret, now=time())
        again = (await hooked.call("POST", f"{made['href']}/secret", {"overlap_s": 0})).body
        await happen(hooked)
        one = (await at.until(2))[1]
        verify(one.headers, one.body, again["secret"], now=time())
        with pytest.raises(BadSignature):
            verify(one.headers, one.body, rotated["secret"], now=time())


async def test_one_that_nothing_reaches_is_disabled_and_told_the_rest_later(
    db: Pool, database_url: str, tmp_path: Path
) -> None:
    async with (
        open_world(db, database_url, tmp_path, **LOOPBACK) as world,
        hooks_run(db, database_url, tmp_path, webhook_disable_s=0),
        receiver(500) as at,
    ):
        made = await webhook(world, at)
        await happen(world)
        seen = await until(world, made["href"], enabled=False)
        assert "nothing has arrived since" in seen["fault"] and "HTTP status 500" in seen["fault"]
        events = (await world.call("GET", f"/projects/{world.project}/events?type=webhook.disabled")).body["events"]
        assert len(events) == 1
        await happen(world)
        at.answers[:] = [200]
        at.heard.clear()
        assert (await world.call("PATCH", made["href"], {"enabled": True})).body["fault"] is None
        await at.until(3)
        assert at.types == ["user.1000", "webhook.disabled", "user.1000"]


async def test_gone_means_no_more(hooked: World) -> None:
    async with receiver(410) as at:
        made = await webhook(hooked, at)
        await happen(hooked)
        await until(hooked, made["href"], enabled=False)
        assert len(at.heard) == 1


async def test_an_organization_hears_of_all_its_projects_and_nobody_else_s(hooked: World) -> None:
    other = await hooked.other_tenant()
    async with receiver() as at:
        answer = await hooked.call("POST", f"/organizations/{hooked.organization}/webhooks", {"url": at.url})
        assert answer.status == 201
        async with hooked.db.acquire() as conn, conn.transaction():
            await add_event(conn, "user.1000", "theirs", project_id=other)
        second = (await hooked.call("POST", "/projects", {"name": "second"})).body["id"]
        async with hooked.db.acquire() as conn, conn.transaction():
            await add_event(conn, "user.1000", "ours", project_id=second)
        await happen(hooked)
        heard = await at.until(2)
        assert [one.json["data"]["event"]["body"] for one in heard] == ["ours", "thing 0"]


async def test_events_of_transactions_that_end_out_of_order_are_all_told(hooked: World) -> None:
    """The later number commits first; a reader behind it still gets the earlier one."""
    async with receiver() as at:
        await webhook(hooked, at)
        async with hooked.db.acquire() as slow:
            transaction = slow.transaction()
            await transaction.start()
            await add_event(slow, "user.1000", "slow", project_id=hooked.project)
            await happen(hooked)
            await at.until(1)
            await transaction.commit()
        heard = await at.until(2)
        assert [one.json["data"]["event"]["body"] for one in heard] == ["thing 0", "slow"]
        path = f"/projects/{hooked.project}/events"
        log = (await hooked.call("GET", f"{path}?after=0")).body
        assert [one["body"] for one in log["events"]] == ["thing 0", "slow"]
        rest = (await hooked.call("GET", f"{path}?after={log['events'][0]['cursor']}")).body
        assert [one["body"] for one in rest["events"]] == ["slow"] and rest["more"] is False
        assert (await hooked.call("GET", f"{path}?after={rest['cursor']}")).body["events"] == []


async def test_two_workers_tell_once_and_one_that_is_killed_is_followed(
    db: Pool, database_url: str, tmp_path: Path
) -> None:
    async with (
        open_world(db, database_url, tmp_path, **LOOPBACK) as world,
        receiver() as at,
    ):
        made = await webhook(world, at)
        async with hooks_run(db, database_url, tmp_path), hooks_run(db, database_url, tmp_path):
            await happen(world, 40)
            await until(world, made["href"], behind=False)
            await at.until(40)
            assert len(at.heard) == 40
        at.answers[:] = ["hang"]
        await db.execute("UPDATE hook SET limit_s = 60, held_until = now()")  # the last one may have died holding it
        async with hooks_run(db, database_url, tmp_path):
            await happen(world)
            await at.until(41)
        # Its worker has died with the delivery under way; nobody lets go of the hook but time.
        assert await db.fetchval("SELECT held_until > now() FROM hook")
        await db.execute("UPDATE hook SET held_until = now()")
        at.answers[:] = [200]
        async with hooks_run(db, database_url, tmp_path):
            heard = await at.until(42)
            assert heard[40].headers["webhook-id"] == heard[41].headers["webhook-id"]
            await until(world, made["href"], behind=False)


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://localhost:8080/",
        "http://127.1/",
        "http://0x7f000001/",
        "http://[::1]/",
        "http://[::ffff:10.0.0.1]/",
        "http://[64:ff9b::a00:1]/",
        "http://169.254.169.254/latest",
        "http://10.1.2.3/",
        "http://user:pass@example.org/",
        "ftp://example.org/",
        "http:///x",
        "not a url",
    ],
)
async def test_a_webhook_leads_to_the_public(world: World, url: str) -> None:
    answer = await world.call("POST", f"/projects/{world.project}/webhooks", {"url": url})
    assert answer.status == 422
    assert answer.body["errors"][0].startswith("Url is not valid: ")
    assert (await world.call("GET", f"/projects/{world.project}/webhooks")).body == {"webhooks": []}


async def test_what_leads_inside_later_is_refused_when_it_is_connected_to(
    db: Pool, database_url: str, tmp_path: Path
) -> None:
    """A name that is public when the webhook is made may lead elsewhere when something is delivered."""
    resolver = PublicResolver(())
    with pytest.raises(NotAllowed, match="localhost has no public address"):
        await resolver.resolve("localhost", 80)
    await resolver.close()
    async with open_world(db, database_url, tmp_path) as world, receiver() as at:
        made = await webhook(world, replace(at, url="http://example.org/"))
        await db.execute("UPDATE hook SET target = $1", at.url)
        answer = (await world.call("POST", f"{made['href']}/test")).body
        assert answer["state"] == "dead" and "is no public address" in answer["answer"]
        assert at.heard == []


async def test_a_test_is_answered_at_once(hooked: World) -> None:
    async with receiver(202, text="thanks") as at:
        made = await webhook(hooked, at)
        answer = (await hooked.call("POST", f"{made['href']}/test")).body
        assert (answer["state"], answer["status"], answer["answer"]) == ("delivered", 202, "thanks")
        assert at.heard[0].json["type"] == "hook.test"
        verify(at.heard[0].headers, at.heard[0].body, made["secret"], now=time())


async def test_webhooks_are_their_owner_s(hooked: World) -> None:
    await hooked.other_tenant("theirs")
    async with receiver() as at:
        made = await webhook(hooked, at)
        for method, path in (
            ("GET", made["href"]),
            ("PATCH", made["href"]),
            ("DELETE", made["href"]),
            ("GET", f"{made['href']}/deliveries"),
            ("POST", f"{made['href']}/secret"),
            ("POST", f"{made['href']}/test"),
            ("GET", f"/projects/{hooked.project}/webhooks"),
            ("GET", f"/projects/{hooked.project}/events/stream"),
        ):
            answer = await hooked.call(method, path, {} if method != "GET" else None, token="theirs")
            assert answer.status == 404, path
        assert (await hooked.call("DELETE", made["href"])).status == 204
        assert (await hooked.call("GET", made["href"])).status == 404


async def test_the_same_key_makes_one_webhook(hooked: World) -> None:
    path, body = f"/projects/{hooked.project}/webhooks", {"url": "https://example.org/"}
    answers = await asyncio.gather(*(hooked.call("POST", path, body, key="one") for _ in range(3)))
    assert len({(one.body["id"], one.body["secret"]) for one in answers}) == 1
    assert len((await hooked.call("GET", path)).body["webhooks"]) == 1
