"""The console's pages of hooks as a browser gets them, and their forms, which no other site can send."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import aiohttp

from tests.lab.test_hooks import add, hooked_lab, machine
from tests.lab.world import TOKEN
from tests.service.receivers import receiver


async def test_what_was_vetoed_and_what_did_not_arrive_is_seen_and_done_again(
    database_url: str, tmp_path: Path
) -> None:
    async with (
        hooked_lab(database_url, tmp_path, machines=1) as (running, operator),
        receiver(500, text="<b>broken</b>") as at,
        receiver(409, 200, text="not now") as list_,
        aiohttp.ClientSession(running.api, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):
        await browser.post("/console/login", data={"token": TOKEN})

        async def page(path: str) -> str:
            async with browser.get(f"/console{path}", allow_redirects=False) as answer:
                assert answer.status == 200, path
                return await answer.text()

        assert "There are none." in await page("/hooks")
        await add(operator, "cmdb", "webhook", at.url, "machine.prepare", retries=0)
        await add(operator, "list", "webhook", list_.url, "machine.prepared", mode="ask")
        assert (await operator.call("POST", "/admin/v1/machines/m0001/prepare"))[0] == 202
        await machine(operator, "m0001", state="quarantined")
        async with asyncio.timeout(60):
            while "Tell again" not in (text := await page("/hooks")):
                await asyncio.sleep(0.1)
        assert "not now" in text and "&lt;b&gt;broken" in text and "Ask again" in text
        token = re.search(r'name="token" value="([0-9a-f]{64})"', text)
        assert token is not None
        fields = [dict(re.findall(r'name="(\w+)" value="([^"]*)"', form)) for form in text.split("<form")[2:]]
        ask_again = next(form for form in fields if form["act"] == "ask-again")
        tell_again = next(form for form in fields if form["act"] == "redeliver")

        # Without the token, or from elsewhere, nothing is done.
        for form, headers in (
            (ask_again | {"token": "0" * 64}, {}),
            (ask_again, {"Origin": "https://elsewhere.example"}),
            ({"act": "ask-again", "question": ask_again["question"]}, {}),
        ):
            async with browser.post("/console/acts", data=form, headers=headers) as answer:
                assert answer.status == 403
        async with (
            aiohttp.ClientSession(running.api) as stranger,
            stranger.post("/console/acts", data=ask_again, allow_redirects=False) as answer,
        ):
            assert answer.headers["Location"] == "/console/login"
        async with browser.post("/console/acts", data=ask_again | {"back": "//elsewhere.example"}) as answer:
            assert answer.status == 400
        assert len(list_.heard) == 1

        at.answers[:] = [200]
        at.text = "thanks"
        async with browser.post("/console/acts", data=tell_again) as answer:
            assert answer.status == 200 and "It arrived: 200 thanks" in await answer.text()
        async with browser.post("/console/acts", data=ask_again) as answer:
            assert "The hooks are asked about m0001 again." in await answer.text()
        await machine(operator, "m0001", state="ready")
        assert "HTTP" not in await page("/hooks/list")
        text = await page("/hooks/cmdb")
        assert "Send a test" in text and "Replay" in text
        _, found = await operator.call("GET", "/admin/v1/audit?limit=20")
        assert "/console/acts" in [row["path"] for row in found["audit"]]
        async with browser.get("/console/hooks/none") as answer:
            assert answer.status == 404
