"""Lists, page by page: what is kept of their lengths is what is there, and the pages together are the whole list."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from service.store.events import add_event
from tests.service.api_world import World

SORTS = ("created_at", "updated_at", "hostname", "state")


async def _devices(world: World, count: int) -> list[str]:
    answers = [
        await world.order(
            hostname=f"web{number % 7}", facility=("ewr1", "sjc1")[number % 2], tags=["odd"] if number % 2 else []
        )
        for number in range(count)
    ]
    ids = [answer.body["id"] for answer in answers]
    await world.db.execute("UPDATE device SET state = 'active' WHERE id = ANY($1::uuid[])", ids[::3])
    return ids


async def _pages(world: World, path: str, size: int) -> list[list[str]]:
    found: list[list[str]] = []
    first: dict[str, Any] = (await world.call("GET", f"{path}per_page={size}")).body
    for number in range(1, first["meta"]["last_page"] + 1):
        answer = (await world.call("GET", f"{path}per_page={size}&page={number}")).body
        assert answer["meta"]["total"] == first["meta"]["total"]
        found.append([one["id"] for one in answer["devices"]])
    return found


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("by", SORTS)
async def test_the_pages_are_the_list(world: World, by: str, direction: str) -> None:
    await world.add_machines(12)
    await world.add_machines(11, facility="sjc1")
    ids = await _devices(world, 23)
    path = f"/projects/{world.project}/devices?sort_by={by}&sort_direction={direction}&"
    whole = (await world.call("GET", f"{path}per_page=100")).body["devices"]
    keys = [one[by] for one in whole]
    assert keys == sorted(keys, reverse=direction == "desc")
    assert {one["id"] for one in whole} == set(ids)
    for size in (5, 8, 23):
        assert [id_ for page in await _pages(world, path, size) for id_ in page] == [one["id"] for one in whole]
    assert (await world.call("GET", f"{path}per_page=5&page=9")).body["devices"] == []


async def _totals(world: World) -> dict[str, int]:
    filters = (
        "",
        "facility=ewr1",
        "facility=sjc1",
        "metro=ny&plan=c1.small.x86",
        "state=active",
        "tag=odd",
        "search=web3",
    )
    found = {}
    for filter_ in filters:
        answer = await world.call("GET", f"/projects/{world.project}/devices?per_page=100&{filter_}")
        assert answer.body["meta"]["total"] == len(answer.body["devices"])
        found[filter_] = answer.body["meta"]["total"]
    return found


async def test_totals_follow_what_happens(world: World) -> None:
    await world.add_machines(12)
    await world.add_machines(12, facility="sjc1")
    ids = await _devices(world, 21)
    assert await _totals(world) == {
        "": 21,
        "facility=ewr1": 11,
        "facility=sjc1": 10,
        "metro=ny&plan=c1.small.x86": 11,
        "state=active": 7,
        "tag=odd": 10,
        "search=web3": 3,
    }
    await asyncio.gather(*(world.call("DELETE", f"/devices/{id_}") for id_ in ids[:6]))
    assert list((await _totals(world)).values()) == [15, 8, 7, 8, 5, 7, 2]
    project = (await world.call("POST", "/projects", {"name": "empty"})).body["id"]
    assert (await world.call("GET", f"/projects/{project}/devices")).body["meta"]["total"] == 0
    assert (await world.call("GET", "/admin/v1/devices")).body["meta"]["total"] == 15
    theirs = await world.other_tenant()
    assert (await world.call("GET", f"/projects/{theirs}/devices", token="other-token")).body["meta"]["total"] == 0


async def test_what_is_kept_is_what_is_there_whoever_comes_at_once(world: World) -> None:
    await world.add_machines(40)
    await asyncio.gather(*(world.order(hostname=f"web{number}") for number in range(30)))
    ids = [row["id"] for row in await world.db.fetch("SELECT id FROM device")]
    await asyncio.gather(*(world.call("DELETE", f"/devices/{id_}") for id_ in ids[:9]))
    await asyncio.gather(
        *(add_event(world.db, "a.kind", "it happened", device_id=id_) for id_ in ids for _ in range(4))
    )
    kept = await world.db.fetchval("SELECT sum(devices) FROM device_tally")
    assert kept == await world.db.fetchval("SELECT count(*) FROM device WHERE deleted_at IS NULL") == 21
    events = await world.db.fetchval("SELECT sum(events) FROM event_tally WHERE project_id = $1", world.project)
    assert events == await world.db.fetchval("SELECT count(*) FROM event WHERE project_id = $1", world.project)


async def test_pages_of_events_are_the_list(world: World) -> None:
    token = await world.tenant_token()
    for number in range(23):
        await add_event(world.db, "a.kind", f"{number}", project_id=world.project, private=number % 4 == 0)
    for reader, count in ((token, 17), ("staff-token", 23)):
        found: list[str] = []
        for page in range(1, 7):
            answer = await world.call("GET", f"/projects/{world.project}/events?per_page=4&page={page}", token=reader)
            assert answer.body["meta"]["total"] == count
            found += [one["body"] for one in answer.body["events"]]
        bodies = [str(number) for number in range(22, -1, -1) if count == 23 or number % 4]
        assert found == bodies[:24]


async def test_a_search_finds_what_any_of_a_devices_words_begins_or_has(world: World) -> None:
    made = [
        ("db-master.example", "the one that matters", ["Production", "abc"]),
        ("DB-replica", "", ["production"]),
        ("cache", None, []),
        ("abc.example", "Ünïcode über alles", ["x"]),
        ("aaaaa", "ab c", ["bc", "#ab"]),
    ]
    await world.add_machines(len(made))
    ids = {}
    for hostname, description, tags in made:
        ids[hostname] = (await world.order(hostname=hostname, description=description, tags=tags)).body["id"]

    async def found(word: str) -> set[str]:
        path = f"/projects/{world.project}/devices?per_page=100&search={quote(word)}"
        body = (await world.call("GET", path)).body
        assert body["meta"]["total"] == len(body["devices"])
        return {one["hostname"] for one in body["devices"]}

    shared = await world.db.fetchval(
        """SELECT lower(concat_ws(' ', (SELECT string_agg(code || ' ' || name, ' ') FROM facility),
                                  (SELECT string_agg(slug || ' ' || name, ' ') FROM plan),
                                  (SELECT string_agg(slug, ' ') FROM operating_system)))"""
    )
    shared += " ".join(entry.name.lower() for entry in world.catalogue)
    for hostname, description, tags in made:
        text = f"{hostname} {description or ''}".lower()
        words = {text[first : first + size] for size in (2, 3, 5) for first in range(0, len(text), 2)}
        for word in sorted(word for word in words if word.strip() == word and word.isascii()):
            expected = {
                name
                for name, said, have in made
                if word in f"{name} {said or ''}".lower() or word in [tag.lower() for tag in have]
            }
            if word not in shared and not set(word) <= set("0123456789abcdef-"):
                assert await found(word) == expected, word
            else:
                assert await found(word) >= expected, word
        assert hostname in await found(hostname.upper())
        for tag in tags:
            assert hostname in await found(tag.upper())
        for size in (1, 8, 9, 14, 36):
            assert hostname in await found(ids[hostname][:size].upper())
        assert await found(ids[hostname]) == {hostname}
    assert await found("product") == await found("prod") == set()
    await world.call("PATCH", f"/devices/{ids['cache']}", {"hostname": "renamed", "tags": ["Productive"]})
    assert await found("cache") == set()
    assert await found("renam") == await found("productive") == {"renamed"}
