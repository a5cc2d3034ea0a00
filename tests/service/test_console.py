"""The console: who gets in, what the pages show, and that what customers write stays text."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from aiohttp import ClientSession, CookieJar

from tests.service.api_world import TOKEN, World

PAGES = ("/", "/devices", "/machines", "/leaves", "/images", "/prefixes", "/addresses", "/audit")


@pytest.fixture
async def browser() -> AsyncIterator[ClientSession]:
    """A browser that keeps its cookies."""
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


async def sign_in(world: World, browser: ClientSession, token: str = TOKEN) -> int:
    async with browser.post(f"{world.url}/console/login", data={"token": token}, allow_redirects=False) as answer:
        return answer.status


async def page(world: World, browser: ClientSession, path: str, **headers: str) -> tuple[int, str]:
    async with browser.get(f"{world.url}/console{path}", headers=headers, allow_redirects=False) as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("path", [*PAGES, "/devices/x", "/machines/x", "/prefixes/1"])
async def test_strangers_are_sent_to_the_door(world: World, browser: ClientSession, path: str) -> None:
    assert (await page(world, browser, path))[0] == 303
    assert (await page(world, browser, path, **{"X-Fragment": "1"}))[0] == 401


async def test_only_staff_get_in_and_only_as_long_as_their_token_lives(world: World, browser: ClientSession) -> None:
    tenant = await world.tenant_token()
    for wrong in ("", "nonsense", tenant):
        assert await sign_in(world, browser, wrong) == 403
        assert (await page(world, browser, "/"))[0] == 303
    assert await sign_in(world, browser) == 303
    assert (await page(world, browser, "/"))[0] == 200
    await world.db.execute("DELETE FROM api_token")
    assert (await page(world, browser, "/"))[0] == 303


async def test_the_cookie_is_out_of_reach_and_does_not_show_the_token(world: World, browser: ClientSession) -> None:
    async with browser.post(f"{world.url}/console/login", data={"token": TOKEN}, allow_redirects=False) as answer:
        cookie = answer.headers["Set-Cookie"]
    assert "HttpOnly" in cookie and "SameSite=Strict" in cookie and "Path=/console" in cookie
    assert TOKEN not in cookie
    for forged in ("", "AAAA", "!!", cookie.split("=", 1)[1].split(";")[0][:-6] + "AAAA=="):
        headers = {"Cookie": f"roundhouse_console={forged}"}
        async with (
            ClientSession() as other,
            other.get(f"{world.url}/console/", headers=headers, allow_redirects=False) as refused,
        ):
            assert refused.status == 303


async def test_signing_out_ends_the_session(world: World, browser: ClientSession) -> None:
    await sign_in(world, browser)
    async with browser.post(f"{world.url}/console/logout", allow_redirects=False) as answer:
        assert answer.status == 303
    assert (await page(world, browser, "/"))[0] == 303


async def sessions(world: World) -> list[tuple[str, str, int]]:
    rows = await world.db.fetch("SELECT actor, action, status FROM audit WHERE kind = 'session' ORDER BY seq")
    return [(row["actor"], row["action"], row["status"]) for row in rows]


async def test_who_comes_and_goes_is_in_the_audit_log(world: World, browser: ClientSession) -> None:
    tenant = await world.tenant_token()
    stranger = await world.db.fetchval("SELECT id FROM user_account WHERE email = 'tenant-token@example.org'")
    for token in ("", "nonsense", tenant, TOKEN):
        await sign_in(world, browser, token)
    await browser.post(f"{world.url}/console/logout", allow_redirects=False)
    await browser.post(f"{world.url}/console/logout", allow_redirects=False)  # nobody is there any more
    assert await sessions(world) == [
        ("nobody", "sign_in", 403),
        ("nobody", "sign_in", 403),
        (f"user:{stranger}", "sign_in", 403),
        (f"user:{world.user}", "sign_in", 303),
        (f"user:{world.user}", "sign_out", 303),
    ]
    (latest, *_) = (await world.call("GET", "/admin/v1/audit?kind=session")).body["audit"]
    assert (latest["source"], latest["method"], latest["path"]) == ("127.0.0.1", "POST", "/console/logout")
    await sign_in(world, browser)
    text = (await page(world, browser, "/audit"))[1]
    assert "sign-out of the console" in text and "127.0.0.1" in text and "nonsense" not in text


async def test_a_flood_of_refused_sign_ins_is_told_once_and_keeps_nobody_out(
    world: World, browser: ClientSession
) -> None:
    answers = [await sign_in(world, browser, f"nonsense-{number}") for number in range(14)]
    assert answers == [403] * 10 + [429] * 4
    assert await sessions(world) == [("nobody", "sign_in", 403)] * 10 + [("nobody", "sign_in", 429)]
    assert await sign_in(world, browser) == 303
    assert (await sessions(world))[-1] == (f"user:{world.user}", "sign_in", 303)


async def test_pages_show_the_house_and_fragments_only_their_inside(world: World, browser: ClientSession) -> None:
    await world.add_machines(2)
    await world.add_machines(1, state="quarantined")
    device = (await world.order()).body["id"]
    await world.db.execute("UPDATE machine SET device_id = $1, state = 'installing' WHERE name = 'm1'", UUID(device))
    await sign_in(world, browser)
    seen = {}
    for path in (*PAGES, f"/devices/{device}", "/machines/m2", "/devices?state=queued&search=web"):
        status, text = await page(world, browser, path)
        assert status == 200 and text.startswith("<!doctype html>"), path
        status, seen[path] = await page(world, browser, path, **{"X-Fragment": "1"})
        assert status == 200 and "<html" not in seen[path] and seen[path].strip()[:60] in text, path
    assert "s-installing" in seen["/"] and "web1" in seen["/"] and "leaf-ewr1" in seen["/"]
    assert "await addresses" in seen[f"/devices/{device}"]
    assert "203.0.113.0/24" in seen["/prefixes"] and "xe-0/0/2" in seen["/leaves"]
    assert (await page(world, browser, "/devices/nonsense"))[0] == 404
    assert (await page(world, browser, "/machines/nobody%00"))[0] == 404
    for asset, kind in (("console.css", "text/css"), ("console.js", "text/javascript")):
        async with browser.get(f"{world.url}/console/{asset}") as answer:
            assert answer.status == 200 and answer.content_type == kind


async def test_what_others_write_is_shown_as_text(world: World, browser: ClientSession) -> None:
    await world.add_machines(1)
    device = (await world.order(tags=["<b>bold</b>"])).body["id"]
    await world.db.execute(
        "INSERT INTO event (device_id, type, body) VALUES ($1, 'user.1000', '<script>alert(1)</script>')", UUID(device)
    )
    await sign_in(world, browser)
    for path in ("/", f"/devices/{device}"):
        _, text = await page(world, browser, path, **{"X-Fragment": "1"})
        assert "<script>" not in text and "<b>bold" not in text and "&lt;script&gt;" in text
    async with browser.get(f"{world.url}/console/") as answer:
        assert "script-src 'self'" in answer.headers["Content-Security-Policy"]


async def test_address_space_and_ledger_are_shown(world: World, browser: ClientSession) -> None:
    made = await world.call(
        "POST",
        "/ipam/v1/prefixes",
        {"prefix": "192.0.2.0/24", "role": "elastic", "block_length": 32, "description": "<b>rack 4</b>"},
    )
    path = f"/ipam/v1/prefixes/{made.body['id']}/tenures"
    note = {"machine": "m7", "mac": "02:00:00:00:00:07", "hostname": "<i>web</i>"}
    taken = await world.call("POST", path, {"project": str(world.project), "length": 25, "note": note})
    await world.call("POST", "/ipam/v1/abuse-tags", {"block": "192.0.2.200/32", "tag": "spam", "reason": "<u>"})
    fix = {"why": "the <s>cable</s> list was wrong", "note": {"machine": "m8"}}
    await world.call("POST", f"/ipam/v1/tenures/{taken.body['id']}/correct", fix)
    await sign_in(world, browser)
    _, tree = await page(world, browser, "/prefixes")
    assert "192.0.2.0/24" in tree and "&lt;b&gt;rack 4" in tree and "50.0 %" in tree
    status, one = await page(world, browser, f"/prefixes/{made.body['id']}")
    assert status == 200 and one.count('<i class="held"') == 129  # 128 cells, and the legend
    assert '<i class="tagged" style="--part: 1.00" title="192.0.2.200/32' in one
    _, ledger = await page(world, browser, "/addresses?ip=192.0.2.7")
    assert "m8" in ledger and "02:00:00:00:00:07" in ledger and "&lt;s&gt;cable" in ledger
    _, before = await page(world, browser, "/addresses?ip=192.0.2.7&at=2020-01-01")
    assert "Nobody held it then." in before
    _, wrong = await page(world, browser, "/addresses?ip=ten")
    assert "&#39;ten&#39; does not appear to be an IPv4 or IPv6 address" in wrong
    for unknown in ("/prefixes/999999", "/prefixes/ten", "/prefixes/99999999999999999999"):
        assert (await page(world, browser, unknown))[0] == 404


async def test_the_audit_page_tells_who_changed_what(world: World, browser: ClientSession) -> None:
    await sign_in(world, browser)
    assert "Nothing is written down of that" in (await page(world, browser, "/audit?kind=project"))[1]
    await world.call("PATCH", f"/projects/{world.project}", {"name": "<b>bold</b>"})
    await world.call("POST", "/admin/v1/machines/nothing/prepare", {})
    _, text = await page(world, browser, "/audit")
    assert "<ins>&lt;b&gt;bold&lt;/b&gt;</ins>" in text and "<b>bold" not in text
    assert f"PATCH /projects/{world.project}" in text
    _, text = await page(world, browser, "/audit?kind=project")
    assert "update project" in text and "prepare" not in text
    assert "Nothing is written down of that" in (await page(world, browser, "/audit?actor=nobody"))[1]
    await world.call("PATCH", "/admin/v1/plans/c1.small.x86", {"price_hourly": 9, "dry_run": True})
    _, text = await page(world, browser, "/audit?kind=request")
    assert "dry run: shown, and nothing changed" in text
