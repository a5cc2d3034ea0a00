"""The leaves under load: a rack's worth of orders with a poisoned one among them, and a thousand port changes at once.

The virtual leaf takes `_COMMIT_S` for a commit and half of that for the confirmation.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from ipam.ledger import Want, take_all
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from netconf.session import LeafAddress, open_session
from netconf.transaction import apply_all
from service.cli.serve import seeded
from service.lab.leaf import PortRefusal
from service.lab.up import Lab, LabSettings, lab_settings, running_lab
from service.leaves.actor import run_leaf_actors
from service.leaves.desired import desired_leaf
from service.secrets import seal
from service.settings import read_settings
from service.store.embedded import embedded_postgres
from service.store.hardware import set_port
from service.store.leaves import LeafEnrolment, enrol_leaf
from service.store.notify import Hub
from service.store.rows import Pool, open_pool
from service.wiring import listening, make_parts, migrate_database
from sql.loader import Q
from tests.bench.result import Result
from tests.bench.virtual_leaves import PASSWORD, USERNAME, Running, virtual_leaves
from tests.lab.world import customer_of

_COMMIT_S = 8.0
_ORDERS = 48
_REASON = "mgd: xe-0/0/7: this port is poisoned"
_LEAVES, _CHANGES = 50, 1000
_SLOTS = {"public": "198.18.0.0/16", "private": "10.64.0.0/16", "ipv6": "2001:db8:64::/48"}
_BOOT = "10.96.0.0/16"
_DEVICE = """
    INSERT INTO device (project_id, facility_id, plan_id, operating_system, hostname, root_password, password_hash,
                        deadline)
    SELECT (SELECT id FROM project LIMIT 1), f.id, (SELECT id FROM plan LIMIT 1), 'debian_12', $1, $2, '', now()
    FROM facility AS f WHERE f.code = 'ewr1' RETURNING id
"""


@contextmanager
def _place() -> Iterator[tuple[Path, str]]:
    """A state folder, and an embedded PostgreSQL in it."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="roundhouse-bench-")))
        folder.chmod(0o755)
        yield folder, stack.enter_context(embedded_postgres(folder / "pg"))


def _share(values: Sequence[float], part: float) -> float:
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def orders() -> list[Result]:
    """48 orders on one leaf, one of them on a port that the leaf refuses without naming it."""
    with _place() as (folder, url):
        return asyncio.run(_orders(folder, url))


async def _orders(folder: Path, url: str) -> list[Result]:
    token, api_socket = "a token for benches", listening("127.0.0.1", 0)
    settings = lab_settings(folder, api_port=api_socket.getsockname()[1], database_url=url, log_level="error")
    asked = LabSettings(machines=_ORDERS, leaves=1)
    async with running_lab(asked, replace(settings, cool_down_s=0), url, token, [api_socket]) as lab:
        (leaf,) = lab.rack.leaves.values()
        leaf.commit_seconds = _COMMIT_S
        # A leaf does not change its pace from one commit to the next: its actor knows it.
        await lab.service.db.execute("UPDATE leaf SET commit_s = $1", _COMMIT_S)
        await asyncio.sleep(6)
        leaf.faults.refuse_ports = PortRefusal({"xe-0/0/7": _REASON}, "validate", named=False)
        commits, validates = leaf.commits, leaf.calls["validate"]
        async with customer_of(lab.api, lab.project, token) as customer:
            ids = await asyncio.gather(*(customer.order(number) for number in range(_ORDERS)))
            took, failure = await _network_ready(lab, [UUID(id_) for id_ in ids])
        assert failure is not None and _REASON in failure, failure
        told = f"{len(took)} of {_ORDERS}, {leaf.commits - commits} commits of {_COMMIT_S:g} s"
        told += f", {leaf.calls['validate'] - validates} validates; the other one: {failure}"
        limit = 3 * _COMMIT_S * 1.5
        name = f"leaf.orders.{_ORDERS}"
        return [
            Result(f"{name}.p50", _share(took, 0.5), "s", _ORDERS, "order to network-ready"),
            Result(f"{name}.max", max(took), "s", _ORDERS, told, "three commits, confirmed", max(took) / limit),
        ]


async def _network_ready(lab: Lab, devices: Sequence[UUID]) -> tuple[list[float], str | None]:
    """Seconds from each order to its port, seen as it should be; and why the one that never came there failed."""
    db, came = lab.service.db, dict[UUID, float]()
    while True:
        rows = await db.fetch(
            "SELECT d.id, extract(epoch FROM clock_timestamp() - d.created_at) AS age, d.failure, d.state,"
            " coalesce(o.applied >= o.generation, false) AS ready"
            " FROM device AS d LEFT JOIN leaf_port AS o ON o.device_id = d.id WHERE d.id = ANY($1::uuid[])",
            devices,
        )
        for row in rows:
            if row["ready"]:
                came.setdefault(row["id"], float(row["age"]))
        failed = [row for row in rows if row["state"] == "failed"]
        if len(came) + len(failed) == len(devices):
            return list(came.values()), failed[0]["failure"] if failed else None
        await asyncio.sleep(0.05)


def changes() -> list[Result]:
    """1,000 ports on 50 leaves become those of orders at once; beside it, the same with a commit for each."""
    with _place() as (folder, url), virtual_leaves(_LEAVES, ports=24, commit_s=_COMMIT_S) as leaves:
        grouped = asyncio.run(_changes(folder, url, leaves, _by_actors))
    with _place() as (folder, url), virtual_leaves(_LEAVES, ports=24, commit_s=_COMMIT_S) as leaves:
        single = asyncio.run(_changes(folder, url, leaves, _one_by_one))
    limit = 3 * _COMMIT_S + 1
    name, note = f"leaf.changes.{_CHANGES}", f"{_LEAVES} leaves, {_COMMIT_S:g} s a commit; limit of p99 {limit:g} s"
    return [
        Result(f"{name}.p50", _share(grouped, 0.5), "s", _CHANGES, note, *_beside(grouped, single, 0.5)),
        Result(f"{name}.p99", _share(grouped, 0.99), "s", _CHANGES, note, *_beside(grouped, single, 0.99)),
        Result(f"{name}.single.p50", _share(single, 0.5), "s", _CHANGES, "one commit a change"),
        Result(f"{name}.single.p99", _share(single, 0.99), "s", _CHANGES, "one commit a change"),
    ]


def _beside(values: Sequence[float], peer: Sequence[float], part: float) -> tuple[str, float]:
    return "one commit a change", _share(values, part) / _share(peer, part)


@dataclass(frozen=True, slots=True)
class _Bed:
    """Leaves with ports whose machines are in the pool, and the devices that are to be placed on them."""

    db: Pool
    hub: Hub
    parts: Any
    leaves: Sequence[Running]
    devices: dict[UUID, UUID]  # by port


_Work = Callable[[_Bed], Coroutine[Any, Any, list[float]]]


async def _changes(folder: Path, url: str, leaves: Sequence[Running], work: _Work) -> list[float]:
    await migrate_database(url)
    await seeded(url, "a token for benches")
    db = await open_pool(url, size=16)
    try:
        bed = await _made(db, make_parts(read_settings({}, state_dir=folder), boot_port=0), Hub(url), leaves)
        return await work(bed)
    finally:
        db.terminate()


async def _made(db: Pool, parts: Any, hub: Hub, leaves: Sequence[Running]) -> _Bed:
    async with db.acquire() as conn, conn.transaction():
        vrf = await add_vrf(conn, "default")
        for role, cidr in (*_SLOTS.items(), ("boot", _BOOT)):
            length = 64 if role == "ipv6" else 31
            await add_prefix(conn, vrf, cidr, role, block_length=length, facility="ewr1")
        ports = [await _enrolled(conn, parts, leaf, number) for leaf in leaves for number in range(_CHANGES // _LEAVES)]
    devices = {port: await db.fetchval(_DEVICE, str(port), b"") for port in ports}
    for slot in ("boot", *_SLOTS):
        owners = ports if slot == "boot" else list(devices.values())
        wants = [Want(owner, slot, "bench") for owner in owners]
        async with db.acquire() as conn, conn.transaction():
            prefixes = await prefixes_for(conn, slot, "ewr1")
            await take_all(conn, prefixes, wants, now=parts.clock.now(), cool_down=timedelta(0))
    return _Bed(db, hub, parts, leaves, devices)


async def _enrolled(conn: Any, parts: Any, leaf: Running, number: int) -> UUID:
    enrolment = LeafEnrolment(
        facility="ewr1",
        name=leaf.name,
        host=leaf.host,
        port=leaf.port,
        username=USERNAME,
        secret=seal(parts.key, PASSWORD),
        host_key=leaf.host_key,
    )
    await enrol_leaf(conn, enrolment)
    at = ("ewr1", [leaf.name], [f"xe-0/0/{number}"])
    await conn.execute(Q["enrol_ports"], *at)
    port: UUID = (await conn.fetchrow(Q["enrolled_ports"], *at))["id"]
    await set_port(conn, port, "provisioning", None, now=parts.clock.now())
    return port


async def _by_actors(bed: _Bed) -> list[float]:
    """As in service: the actors of all leaves, each change an order's transaction of its own."""
    db, tasks = bed.db, [asyncio.create_task(bed.hub.run())]
    tasks.append(asyncio.create_task(run_leaf_actors(db, bed.parts, bed.hub)))
    try:
        while await db.fetchval("SELECT EXISTS (SELECT FROM leaf_port WHERE applied < generation)"):
            await asyncio.sleep(0.2)
        ordered: dict[UUID, float] = {}
        gate = asyncio.Semaphore(14)

        async def order(port: UUID, device: UUID) -> None:
            async with gate:
                await set_port(db, port, "active", device, now=bed.parts.clock.now())
                ordered[port] = time.monotonic()

        await asyncio.gather(*(order(port, device) for port, device in bed.devices.items()))
        came: dict[UUID, float] = {}
        while len(came) < len(bed.devices):
            rows = await db.fetch("SELECT id FROM leaf_port WHERE profile = 'active' AND applied >= generation")
            for row in rows:
                if row["id"] in ordered:
                    came.setdefault(row["id"], time.monotonic() - ordered[row["id"]])
            _show(len(came))
            await asyncio.sleep(0.05)
        return list(came.values())
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _one_by_one(bed: _Bed) -> list[float]:
    """What most systems do: each change is a transaction of its own, one after the other on each leaf."""
    db, took = bed.db, list[float]()
    ids = {row["name"]: row["id"] for row in await db.fetch("SELECT id, name FROM leaf")}
    prepared = asyncio.Barrier(len(bed.leaves))

    async def on_leaf(leaf: Running) -> None:
        async with open_session(LeafAddress(leaf.host, leaf.port, USERNAME, PASSWORD, leaf.host_key)) as session:
            first, rows = await desired_leaf(db, ids[leaf.name], leaf.name, bed.parts)
            await apply_all(session, first)
            await prepared.wait()
            began = time.monotonic()
            for row in rows:
                await set_port(db, row["id"], "active", bed.devices[row["id"]], now=bed.parts.clock.now())
                wanted, _ = await desired_leaf(db, ids[leaf.name], leaf.name, bed.parts)
                await apply_all(session, wanted, only=[row["name"]])
                took.append(time.monotonic() - began)
                _show(len(took))

    await asyncio.gather(*(on_leaf(leaf) for leaf in bed.leaves))
    return took


def _show(done: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {_CHANGES} ports", end="", file=sys.stderr, flush=True)


PARTS: dict[str, Callable[[], list[Result]]] = {"leaf.orders": orders, "leaf.changes": changes}
