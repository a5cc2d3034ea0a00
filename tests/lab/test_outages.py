"""A database that goes away and comes back, again and again, at any moment of an order's course."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import aiohttp

from service.lab.up import LabSettings
from tests.lab.world import all_over, away, doubled, lab, leaves_differ


async def test_a_service_outlives_a_database_that_comes_and_goes(database_url: str, tmp_path: Path) -> None:
    async with lab(database_url, tmp_path, LabSettings(machines=6, leaves=2), lease_s=2) as (running, customer):
        db = running.service.db
        for number in range(6):
            with suppress(AssertionError, aiohttp.ClientError):  # an order that nobody could take
                await customer.order(number)
            async with away(database_url):
                await asyncio.sleep(0.1 + 0.15 * (number % 4))
            await asyncio.sleep(0.5)
        await db.expire_connections()  # not all of them may have seen their end yet
        await all_over(db, 100)
        assert await doubled(db) == [] and await leaves_differ(db, running.service.parts, running.rack) == []
        for device in await db.fetch("SELECT id FROM device WHERE state <> 'deleted'"):
            assert (await customer.call("DELETE", f"/devices/{device['id']}"))[0] in (204, 404, 422)
        await all_over(db, 100)
        await customer.until(await customer.order(), "active")
