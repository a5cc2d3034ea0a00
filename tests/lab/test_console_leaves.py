"""The console's pages of a leaf: drift as a difference, cables, exemptions and plans, as a browser gets them."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from service.lab.up import LabSettings
from tests.lab.leaves import applied, drift, planned, typed_in
from tests.lab.world import TOKEN, lab

MTU = "<interfaces><interface><name>xe-0/0/{port}</name><mtu>1400</mtu></interface></interfaces>"
NAME = (
    "<interfaces><interface><name>xe-0/0/1</name><description>rh &lt;b&gt;mine</description></interface></interfaces>"
)


async def test_a_leaf_s_pages(database_url: str, tmp_path: Path) -> None:
    async with (
        lab(database_url, tmp_path, LabSettings(machines=2, leaves=1)) as (running, operator),
        aiohttp.ClientSession(running.api, cookie_jar=aiohttp.CookieJar(unsafe=True)) as browser,
    ):

        async def page(path: str) -> str:
            async with browser.get(f"/console{path}", allow_redirects=False) as answer:
                assert answer.status == 200, path
                return await answer.text()

        async with browser.get("/console/leaves/leaf1", allow_redirects=False) as answer:
            assert answer.status == 303  # to the door
        await browser.post("/console/login", data={"token": TOKEN})
        await drift(operator, "leaf1")
        assert "All that is ours runs as it should." in await page("/leaves/leaf1")
        await typed_in(running.rack, "leaf1", MTU.format(port=0))
        await drift(operator, "leaf1")
        await applied(operator, await planned(operator, "leaf1", "accept"))
        await typed_in(running.rack, "leaf1", NAME)
        running.rack.swap("m0001", "m0002")
        await drift(operator, "leaf1")
        text = await page("/leaves/leaf1")
        assert "1 drifted" in text and '<span class="added">+  description &#34;rh &lt;b&gt;mine&#34;;' in text
        assert "m0001 and m0002 are swapped: leaf1 xe-0/0/0 sees m0002, leaf1 xe-0/0/1 m0001" in text
        assert "roundhouse leaf revoke leaf1 'interfaces xe-0/0/0'" in text
        assert "roundhouse leaf repair leaf1" in text and "These pages only show." in text
        assert "1 drifted" in await page("/leaves")
        plan = await planned(operator, "leaf1", "repair")
        text = await page(f"/leaves/leaf1/plans/{plan['id']}")
        assert "What it would change" in text and f"roundhouse leaf apply {plan['id']}" in text and "m0002" in text
        await applied(operator, plan)
        assert "What it changed" in await page(f"/leaves/leaf1/plans/{plan['id']}")
        for unknown in ("/leaves/leaf9", "/leaves/leaf1/plans/x", f"/leaves/leaf2/plans/{plan['id']}"):
            async with browser.get(f"/console{unknown}") as answer:
                assert answer.status == 404, unknown
