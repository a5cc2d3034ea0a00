"""Customers and machines that answer at once, in a process of their own: `python -m tests.bench.order_peers`.

Standard input is what `tests.bench.order_rate` says of the service as one JSON line, standard output the answer: how
long the orders took, each and together. A machine is its agent's long poll, its phone-home and its SSH host key; it
writes no disk.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import asyncpg
import asyncssh
from aiohttp import ClientSession, ClientTimeout, TCPConnector

_LOOK_S = 0.02  # how often customers look whether their device is active: in the database, which costs the API nothing
_LIMIT_S = 120.0


async def _machine(told: dict[str, Any], boot_url: str, host_key: str) -> None:
    """One machine's agent, and then its system, until the order is through."""
    timeout, auth = ClientTimeout(total=_LIMIT_S), {"Authorization": f"Bearer {told['session']}"}
    async with ClientSession(connector=TCPConnector(local_addr=(told["address"], 0)), timeout=timeout) as agent:
        while True:
            async with agent.get(f"{boot_url}/agent/v1/work?wait=20", headers=auth) as answer:
                if answer.status == 200:
                    work = await answer.json()
                    break
                assert answer.status == 204, await answer.text()
        done = {"result": {"host_keys": [host_key]}}
        async with agent.post(f"{boot_url}/agent/v1/work/{work['id']}/done", headers=auth, json=done) as answer:
            assert answer.status == 204, await answer.text()
    spec = work["spec"]
    links = [one["address"].split("/")[0] for one in spec["network"]["addresses"] if one["public"]]
    own = next(link for link in links if ":" not in link)
    async with (
        ClientSession(connector=TCPConnector(local_addr=(own, 0))) as system,
        system.post(spec["phone_home_url"], json={"instance_id": spec["instance_id"]}) as answer,
    ):
        assert answer.status == 200, await answer.text()


class _Active:
    """Wakes whoever waits for a device that has become active."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._waiting: dict[str, asyncio.Event] = {}

    async def run(self) -> None:
        """Look for ever. Raises RuntimeError when a device has failed."""
        db = await asyncpg.connect(self._url)
        look = await db.prepare("SELECT id::text, state, failure FROM device WHERE id = ANY($1::uuid[])")
        while True:
            await asyncio.sleep(_LOOK_S)
            for row in await look.fetch(list(self._waiting)) if self._waiting else []:
                if row["state"] == "failed":
                    raise RuntimeError(row["failure"])
                if row["state"] == "active":
                    self._waiting.pop(row["id"]).set()

    async def until(self, device: str) -> None:
        """Return when that device is active."""
        event = self._waiting[device] = asyncio.Event()
        await event.wait()


async def _customer(told: dict[str, Any], numbers: Iterator[int], active: _Active, took: list[float]) -> None:
    headers = {"X-Auth-Token": told["token"]}
    async with ClientSession(told["api"], headers=headers) as session:
        for number in numbers:
            body = {
                "hostname": f"host{number}",
                "plan": "c1.small.x86",
                "facility": "ewr1",
                "operating_system": "debian_12",
            }
            began = time.perf_counter()
            path, key = f"/projects/{told['project']}/devices", {"Idempotency-Key": str(uuid4())}
            async with session.post(path, json=body, headers=key) as answer:
                assert answer.status == 201, await answer.text()
                device = (await answer.json())["id"]
            async with asyncio.timeout(_LIMIT_S):
                await active.until(device)
            took.append(time.perf_counter() - began)


async def _orders(told: dict[str, Any], numbers: Iterator[int], active: _Active) -> list[float]:
    """Place these orders, so many at a time; seconds of each."""
    took: list[float] = []
    await asyncio.gather(*(_customer(told, numbers, active, took) for _ in range(told["clients"])))
    return took


async def main(told: dict[str, Any]) -> dict[str, Any]:
    """An order for each machine; seconds of each, and of all."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    public = key.export_public_key().decode().strip()
    active = _Active(told["database"])
    async with (
        asyncssh.listen("0.0.0.0", told["ssh_port"], server_host_keys=[key]),
        asyncio.TaskGroup() as tasks,
    ):
        machines = [tasks.create_task(_machine(one, told["boot"], public)) for one in told["machines"]]
        looking = tasks.create_task(active.run())
        await asyncio.sleep(2)  # until all of them hang on their long polls
        await _orders(told, iter(range(told["first"])), active)  # they are not counted
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        began = time.perf_counter()
        took = await _orders(told, iter(range(told["first"], len(told["machines"]))), active)
        whole = time.perf_counter() - began
        for task in (looking, *machines):
            task.cancel()
    return {"took": took, "whole": whole}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(json.loads(sys.stdin.readline())))), flush=True)
