"""The service is killed, with its database, at random moments of fifty orders; nothing is lost and nothing doubled."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import aiohttp
import asyncpg
import pytest

from images.catalogue import load_catalogue
from service.lab.board import LightSettings
from service.lab.first_stage import publish_light_images, write_first_stages
from service.lab.ports import free_port
from service.lab.rack import Rack, RackSettings
from service.lab.up import enrol_rack
from service.settings import read_settings
from service.store.rows import open_pool
from tests.lab.world import TOKEN, doubled, leaves_differ
from tests.service.parts import make_parts

ORDERS = 50
SPARE = 10  # a machine whose download broke as often as the service was killed is prepared again, and another one taken
KILLS = 10


class Process:
    """`roundhouse serve` as a process of its own."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "ignore", "-m", "service.cli.main", "serve"), env=os.environ | self._environment
        )

    async def end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        await self._process.wait()


@pytest.fixture
def state() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="roundhouse-kill-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def answered(api: str, method: str, path: str, body: object = None, key: str | None = None) -> object:
    """The JSON of a call that is repeated until the service is there to answer it."""
    headers = {"X-Auth-Token": TOKEN} | ({"Idempotency-Key": key} if key else {})
    while True:
        try:
            async with (
                aiohttp.ClientSession(headers=headers) as session,
                session.request(method, f"{api}{path}", json=body, timeout=aiohttp.ClientTimeout(5)) as answer,
            ):
                if answer.status < 500:
                    assert answer.status < 400, await answer.text()
                    return await answer.json()
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        await asyncio.sleep(0.1)


async def test_ten_kills_during_fifty_orders(state: Path) -> None:
    ports = {
        name: free_port(kind)
        for name, kind in (
            ("api_port", socket.SOCK_STREAM),
            ("boot_port", socket.SOCK_STREAM),
            ("ssh_port", socket.SOCK_STREAM),
            ("dhcp_port", socket.SOCK_DGRAM),
            ("dhcp_relay_port", socket.SOCK_DGRAM),
            ("tftp_port", socket.SOCK_DGRAM),
        )
    }
    values = {**ports, "state_dir": state, "lease_s": 2, "log_level": "error", "cool_down_s": 0}
    environment = {f"ROUNDHOUSE_{name.upper()}": str(value) for name, value in values.items()}
    write_first_stages(state / "first-stage")
    publish_light_images(state / "images", [entry.slug for entry in load_catalogue()], image_bytes=65536)
    light = LightSettings(
        dhcp_port=ports["dhcp_port"],
        relay_port=ports["dhcp_relay_port"],
        tftp_port=ports["tftp_port"],
        ssh_port=ports["ssh_port"],
        system_s=0.5,
        disk_bytes_per_s=50_000,
    )
    api, dice = f"http://127.0.0.1:{ports['api_port']}", random.Random(20261121)
    process = Process(environment | {"ROUNDHOUSE_TOKEN": TOKEN})
    await process.start()
    async with Rack(RackSettings(machines=ORDERS + SPARE, leaves=2, commit_s=0.3, light=light)) as rack:
        projects = await answered(api, "GET", "/projects")
        project = projects["projects"][0]["id"]  # type: ignore[index]
        await enrol_rack(api, TOKEN, rack)

        async def machines(wanted: str) -> int:
            answer = await answered(api, "GET", "/admin/v1/machines?per_page=1000")
            return sum(one["state"] == wanted for one in answer["machines"])  # type: ignore[index]

        while await machines("ready") < ORDERS + SPARE:
            await asyncio.sleep(0.3)

        async def order(number: int) -> str:
            body = {
                "hostname": f"host{number}",
                "plan": "c1.small.x86",
                "facility": "ewr1",
                "operating_system": "debian_12",
            }
            await asyncio.sleep(number * 0.1)
            device = await answered(api, "POST", f"/projects/{project}/devices", body, key=str(uuid4()))
            return str(device["id"])  # type: ignore[index]

        orders = [asyncio.create_task(order(number)) for number in range(ORDERS)]
        for _ in range(KILLS):
            await answered(api, "GET", "/user")
            await asyncio.sleep(dice.uniform(0.1, 1.5))
            await process.end(signal.SIGKILL)
            await process.start()
        devices = await asyncio.gather(*orders)
        while await machines("in_use") < ORDERS or await machines("ready") < SPARE:
            await asyncio.sleep(0.3)
        states = [await answered(api, "GET", f"/devices/{device}") for device in devices]
        assert {one["state"] for one in states} == {"active"}  # type: ignore[index]
        addresses = [one["address"] for device in states for one in device["ip_addresses"]]  # type: ignore[index]
        assert len(set(addresses)) == len(addresses) == 3 * ORDERS
        url = f"postgresql://postgres@/postgres?host={state}/postgresql"
        db = await open_pool(url, size=2)
        assert await doubled(db) == []
        parts = make_parts(read_settings({}, **values))
        async with asyncio.timeout(60):
            while await leaves_differ(db, parts, rack):
                await asyncio.sleep(0.3)
        assert await db.fetchval("SELECT count(DISTINCT device_id) FROM machine") == ORDERS
        db.terminate()
        await process.end(signal.SIGTERM)
    with pytest.raises((OSError, asyncpg.PostgresError)):
        await asyncpg.connect(url)
