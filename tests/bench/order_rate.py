"""Orders a second through the control plane alone: machines and leaves answer at once, everything else is real.

API, worker, agents' and metadata's routes, hooks' loop and PostgreSQL with durable commits; what the leaf's actor
would write when the leaf has taken a port is written without one. Customers and machines are another process
(`order_peers`), whose cost is not counted.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aiohttp
import asyncssh

from service.cli.serve import seeded
from service.due import run_due
from service.hooks.running import run_hooks
from service.lab.first_stage import publish_light_images, write_first_stages
from service.lab.rack import LOOPBACK_PLAN, PORTS_PER_LEAF, mac_of
from service.lab.up import lab_settings
from service.store.embedded import embedded_postgres
from service.store.runs import signal_all
from service.wiring import Service, listening, service
from tests.bench.result import Result

_LEAVES, _CLIENTS, _TOKEN = 10, 16, "a token for benches"
_MACHINES = _LEAVES * PORTS_PER_LEAF
_LEAF_S = 0.02  # how often it is looked for ports that have changed
_PLACED = """
    UPDATE leaf_port AS o SET applied = o.generation FROM device AS d
    WHERE o.applied < o.generation AND d.id = o.device_id RETURNING d.id
"""
_POOLED = """
    WITH pooled AS (UPDATE machine SET state = 'ready'), ended AS (
        UPDATE run SET state = 'superseded', finished_at = now(), epoch = epoch + 1)
    UPDATE leaf_port SET profile = 'provisioning', generation = generation + 1, applied = generation + 1
"""
_SESSION = """
    INSERT INTO agent_session (machine_id, token, session, started_at, seen_at) VALUES ($1, $2, $3, now(), now())
"""
_MACHINES_AT = """
    SELECT m.id, host(t.block::inet + 1) AS address FROM machine AS m
    JOIN tenure AS t ON t.owner = m.port_id AND t.slot = 'boot' AND upper_inf(t.during)
"""


def rate() -> list[Result]:
    """As many orders as there are machines, sixteen at a time; the first third is not counted."""
    with TemporaryDirectory(prefix="roundhouse-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        with embedded_postgres(folder / "pg") as url:
            return asyncio.run(_rate(folder, url))


async def _rate(folder: Path, url: str) -> list[Result]:
    api_socket = listening("127.0.0.1", 0)
    settings = lab_settings(folder, api_port=api_socket.getsockname()[1], database_url=url, log_level="warning")
    write_first_stages(folder / "first-stage")
    await seeded(url, _TOKEN)
    async with service(settings, url, api_sockets=[api_socket], roles=("api", "boot")) as running:
        publish_light_images(running.parts.images.root, ["debian_12"], image_bytes=1 << 20)
        told = await _enrolled(running) | {"database": url, "ssh_port": settings.ssh_port}
        db, parts = running.db, running.parts
        work = (
            running.worker.run(),
            run_hooks(db, parts, running.hub),
            run_due(db, parts, running.hub),
            _leaves(running),
        )
        tasks = [asyncio.create_task(one) for one in work]
        try:
            return await _measured(running, told)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _enrolled(running: Service) -> dict[str, Any]:
    """Enrol the machines over the API, and pool them as a preparation would have; what the peers need to know."""
    api, host_key = f"http://127.0.0.1:{running.api_port}", asyncssh.generate_private_key("ssh-ed25519")
    leaf = {
        "host": "127.0.0.1",
        "port": 1,
        "username": "roundhouse",
        "password": "none",
        "host_key": host_key.export_public_key().decode().strip(),
    }
    bmc = {"bmc_url": "http://127.0.0.1:1/redfish/v1/Systems/1", "bmc_username": "admin", "bmc_password": "none"}
    inventory = {
        "facility": "ewr1",
        "prefixes": LOOPBACK_PLAN.prefixes(),
        "leaves": [{"name": f"leaf{number}", **leaf} for number in range(_LEAVES)],
        "machines": [
            {
                "name": f"m{number:04}",
                "plan": "c1.small.x86",
                "mac": mac_of(number + 1),
                "arch": "amd64",
                "leaf": f"leaf{number % _LEAVES}",
                "port": f"xe-0/0/{number // _LEAVES}",
                **bmc,
            }
            for number in range(_MACHINES)
        ],
    }
    headers = {"X-Auth-Token": _TOKEN}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{api}/admin/v1/inventory", json=inventory) as answer,
    ):
        if answer.status != 200:
            raise RuntimeError(await answer.text())
    await running.db.execute(_POOLED)
    machines = []
    for row in await running.db.fetch(_MACHINES_AT):
        session_key = secrets.token_hex(16)
        digests = [hashlib.sha256(key.encode()).digest() for key in (f"token of {session_key}", session_key)]
        await running.db.execute(_SESSION, row["id"], *digests)
        machines.append({"address": row["address"], "session": session_key})
    await running.db.execute("VACUUM ANALYZE")
    project = await running.db.fetchval("SELECT id::text FROM project ORDER BY created_at LIMIT 1")
    more = {"machines": machines, "first": len(machines) // 3, "clients": _CLIENTS}
    return {"api": api, "boot": running.parts.boot_url, "token": _TOKEN, "project": project, **more}


async def _leaves(running: Service) -> None:
    """Leaves that take at once whatever their ports are to be."""
    while True:
        rows = await running.db.fetch(_PLACED)
        await signal_all(running.db, [row["id"] for row in rows], now=running.parts.clock.now())
        await asyncio.sleep(_LEAF_S)


async def _measured(running: Service, told: dict[str, Any]) -> list[Result]:
    program = [sys.executable, "-m", "tests.bench.order_peers"]
    pipe = asyncio.subprocess.PIPE
    peers = await asyncio.create_subprocess_exec(*program, stdin=pipe, stdout=pipe, limit=1 << 24)
    assert peers.stdin is not None and peers.stdout is not None
    peers.stdin.write(json.dumps(told).encode() + b"\n")
    await peers.stdout.readline()
    own, database = _own_cpu_s(), await _database_cpu_s(running)
    commits = await _commits(running)
    peers.stdin.write(b"go\n")
    found = json.loads(await peers.stdout.readline())
    own, database = _own_cpu_s() - own, await _database_cpu_s(running) - database
    commits = await _commits(running) - commits
    await peers.wait()
    took, count = sorted(found["took"]), len(found["took"])
    cpu = 1000 * (own + database) / count
    note = f"{count} orders; {1000 * own / count:.1f} ms of CPU each in the service"
    note += f", {1000 * database / count:.1f} in PostgreSQL"
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Result(
            "order.rate", count / found["whole"], "1/s", _CLIENTS, note, "bar: 35 a second", count / found["whole"] / 35
        ),
        Result("order.rate.cpu", cpu, "ms", _CLIENTS, "of an order, service and database", "bar: 40 ms", cpu / 40),
        Result("order.rate.transactions", commits / count, "an order", _CLIENTS),
        Result("order.rate.p50", 1000 * took[count // 2], "ms", _CLIENTS),
        Result("order.rate.p99", 1000 * took[count * 99 // 100], "ms", _CLIENTS),
        Result("order.rate.memory", memory, "MiB", _CLIENTS, "the service's, with the bench's share"),
    ]


def _own_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


async def _commits(running: Service) -> int:
    async with running.db.acquire() as conn:
        return int(await conn.fetchval("SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"))


async def _database_cpu_s(running: Service) -> float:
    """Of the whole server, with what of it has ended."""
    backend = await running.db.fetchval("SELECT pg_backend_pid()")
    server = _stat(backend)[0]
    ticks = sum(_stat(server)[1])
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and (found := _stat(int(entry.name)))[0] == server:
                ticks += sum(found[1][:2])
        except (FileNotFoundError, ProcessLookupError):
            continue  # ended meanwhile
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> tuple[int, list[int]]:
    """A process's parent, and its ticks of CPU: in user mode, in the kernel, and the same of ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1]), [int(field) for field in fields[11:15]]


PARTS: dict[str, Callable[[], list[Result]]] = {"order.rate": rate}
