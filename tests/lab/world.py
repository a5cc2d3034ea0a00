"""A lab for a test: service and rack in this process, orders over the real API, and a look at what was left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import aiohttp
import asyncpg
import asyncssh

from service.lab.rack import Rack
from service.lab.up import Lab, LabSettings, lab_settings, running_lab
from service.leaves.desired import desired_leaf
from service.parts import Parts
from service.store.rows import Pool
from service.wiring import listening
from tests.netconf.lines import desired_lines
from tests.service.documented import fault_of

TOKEN = "a token for tests"
KEY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()


class Customer:
    """Somebody with a token, at the API."""

    def __init__(self, session: aiohttp.ClientSession, project: str) -> None:
        self._session = session
        self.project = project

    async def call(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON body of one call."""
        async with self._session.request(method, path, json=body, headers=headers) as answer:
            text = await answer.text()
            fault = fault_of(method, path, answer.status, answer.content_type, text.encode())
            assert fault is None, fault
            return answer.status, await answer.json() if text else None

    async def order(self, number: int = 0, **more: Any) -> str:
        """Place an order; the device's id."""
        body = {
            "hostname": f"host{number}",
            "plan": "c1.small.x86",
            "facility": "ewr1",
            "operating_system": "debian_12",
            "ssh_keys": [{"label": "test", "key": KEY}],
        }
        key = {"Idempotency-Key": str(uuid4())}
        status, device = await self.call("POST", f"/projects/{self.project}/devices", body | more, **key)
        assert status == 201, device
        return str(device["id"])

    async def until(self, device_id: str, *states: str, limit: float = 60) -> dict[str, Any]:
        """The device, as soon as it is in one of the states."""
        async with asyncio.timeout(limit):
            while True:
                status, device = await self.call("GET", f"/devices/{device_id}")
                assert status == 200, device
                if device["state"] in states:
                    return dict(device)
                assert device["state"] != "failed", device["failure"]
                await asyncio.sleep(0.05)


@asynccontextmanager
async def customer_of(api: str, project: str, token: str = TOKEN) -> AsyncIterator[Customer]:
    """A customer while the block runs."""
    async with aiohttp.ClientSession(api, headers={"X-Auth-Token": token}) as session:
        yield Customer(session, project)


@asynccontextmanager
async def lab(
    database_url: str, folder: Path, asked: LabSettings, **settings: Any
) -> AsyncIterator[tuple[Lab, Customer]]:
    """Service and rack with every machine in the pool, and a customer."""
    api_socket = listening("127.0.0.1", 0)
    made = lab_settings(folder, api_port=api_socket.getsockname()[1], database_url=database_url, log_level="warning")
    made = replace(made, cool_down_s=0, **settings)
    async with (
        running_lab(asked, made, database_url, TOKEN, [api_socket]) as running,
        customer_of(running.api, running.project) as customer,
    ):
        yield running, customer


async def soon(true: Callable[[], bool], limit: float = 60) -> None:
    """Wait until it is true."""
    async with asyncio.timeout(limit):
        while not true():
            await asyncio.sleep(0.05)


async def all_over(db: Pool, limit: float = 60) -> None:
    """Wait until nothing is under way."""
    async with asyncio.timeout(limit):
        while await db.fetchval("SELECT EXISTS (SELECT FROM run WHERE finished_at IS NULL)"):
            await asyncio.sleep(0.05)


async def all_ready(db: Pool, limit: float = 60) -> None:
    """Wait until every machine is in the pool and nothing is under way."""
    async with asyncio.timeout(limit):
        while await db.fetchval(
            "SELECT EXISTS (SELECT FROM machine WHERE state <> 'ready')"
            " OR EXISTS (SELECT FROM run WHERE finished_at IS NULL)"
        ):
            await asyncio.sleep(0.05)


async def over_budget(db: Pool, step: str, count: int = 1, limit: float = 60) -> None:
    """Once so many runs wait in this step: as if they had waited there for a day, and their machines' agents, too.

    A limit that is short enough for a test to wait for is too short for what is in order, on a busy machine.
    """
    waiting = """SELECT id FROM run WHERE step = $1 AND finished_at IS NULL AND leased_until IS NULL
        AND step_since > now() - interval '1 h' FOR UPDATE"""
    late = """UPDATE run SET step_since = now() - interval '1 d', wake_at = now() WHERE id = ANY($1)
        RETURNING data->>'machine' AS machine"""
    silent = "UPDATE agent_session SET seen_at = now() - interval '1 d' WHERE machine_id::text = ANY($1)"
    async with asyncio.timeout(limit):
        while True:
            async with db.acquire() as conn, conn.transaction():
                runs = await conn.fetch(waiting, step)
                if len(runs) >= count:
                    rows = await conn.fetch(late, [row["id"] for row in runs])
                    await conn.execute(silent, [row["machine"] for row in rows])
                    return
            await asyncio.sleep(0.05)


async def leaves_differ(db: Pool, parts: Parts, rack: Rack) -> list[str]:
    """Lines in which a leaf's running configuration is not what the database says."""
    different: list[str] = []
    for name, leaf in rack.leaves.items():
        leaf_id: UUID = await db.fetchval("SELECT id FROM leaf WHERE name = $1", name)
        wanted, _ = await desired_leaf(db, leaf_id, name, parts)
        expected, found = set(desired_lines(wanted)), set(leaf.set_lines())
        different += [f"{name} lacks {line}" for line in expected - found]
        different += [f"{name} has left {line}" for line in found - expected]
    return different


async def left_behind(db: Pool) -> list[str]:
    """What a released or failed order must not leave: tenures, ports, machines that somebody still holds."""
    found: Sequence[Any] = await db.fetch(
        """
        SELECT 'tenure ' || slot || ' of ' || owner AS what FROM tenure WHERE upper_inf(during) AND slot <> 'boot'
        UNION ALL SELECT 'port ' || name || ' is ' || profile FROM leaf_port
            WHERE profile <> 'provisioning' OR device_id IS NOT NULL OR applied < generation
        UNION ALL SELECT 'machine ' || name || ' has a device' FROM machine WHERE device_id IS NOT NULL OR installed
        UNION ALL SELECT 'work ' || kind || ' is open' FROM agent_work WHERE state IN ('offered', 'taken')
        """
    )
    return [row["what"] for row in found]


async def doubled(db: Pool) -> list[str]:
    """Blocks that two tenures hold now."""
    rows = await db.fetch(
        "SELECT a.block::text FROM tenure a JOIN tenure b ON a.block && b.block AND a.id < b.id"
        " WHERE upper_inf(a.during) AND upper_inf(b.during) AND a.vrf_id = b.vrf_id"
    )
    return [row["block"] for row in rows]


@asynccontextmanager
async def away(database_url: str) -> AsyncIterator[None]:
    """The database lets nobody in while the block runs, and has thrown everybody out."""
    parts = urlsplit(database_url)
    name = parts.path[1:]
    conn = await asyncpg.connect(urlunsplit(parts._replace(path="/postgres")))
    try:
        await conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        yield
    finally:
        await conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        await conn.close()
