"""The process that drives a leaf is killed at every call to it: the leaf, and what the database says of it, agree again
without anybody's help."""

from __future__ import annotations

import asyncio
import multiprocessing
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from ipam.ledger import take
from ipam.prefixes import add_prefix, add_vrf, prefixes_for
from service.lab.leaf import VirtualLeaf
from service.leaves.actor import LeafActor
from service.leaves.desired import desired_leaf
from service.parts import Parts
from service.secrets import seal
from service.seed import seed
from service.store.hardware import set_port
from service.store.leaves import LeafEnrolment, enrol_leaf
from service.store.notify import Hub
from service.store.rows import Pool, open_pool
from sql.loader import Q
from tests.lab.killed_actor import drive, parts_in
from tests.netconf.killed import Moment
from tests.netconf.lines import desired_lines
from tests.netconf.test_transaction import without_named_trials

_AT_ONCE = 8
_CALLS = range(1, 37)  # a transaction and a reading have fewer


@asynccontextmanager
async def leaf_of(db: Pool, parts: Parts, name: str, *, named: bool) -> AsyncIterator[tuple[VirtualLeaf, UUID]]:
    """A leaf with two ports as they should be, one of which is then wanted otherwise."""
    leaf = await VirtualLeaf.start(name, ["xe-0/0/0", "xe-0/0/1"], username="rh", password="secret")
    if not named:
        without_named_trials(leaf)
    try:
        async with db.acquire() as conn, conn.transaction():
            enrolment = LeafEnrolment(
                facility="ewr1",
                name=name,
                host=leaf.address,
                port=leaf.port,
                username="rh",
                secret=seal(parts.key, "secret"),
                host_key=leaf.host_key,
            )
            leaf_id = await enrol_leaf(conn, enrolment)
            assert leaf_id is not None
            boot = await prefixes_for(conn, "boot", "ewr1")
            for number in range(2):
                at = ("ewr1", [name], [f"xe-0/0/{number}"])
                await conn.execute(Q["enrol_ports"], *at)
                port = (await conn.fetchrow(Q["enrolled_ports"], *at))["id"]
                await take(conn, boot, port, "boot", now=parts.clock.now(), by="test")
        await driven(db, parts, leaf_id)
        port = await db.fetchval("SELECT id FROM leaf_port WHERE leaf_id = $1 AND name = 'xe-0/0/1'", leaf_id)
        await set_port(db, port, "maintenance", None, now=parts.clock.now())
        yield leaf, leaf_id
    finally:
        await leaf.stop()


async def driven(db: Pool, parts: Parts, leaf_id: UUID) -> None:
    """Have the leaf driven until nothing is pending there."""
    # As if the time of a lease had gone by since its holder died.
    await db.execute("UPDATE leaf SET held_until = now() WHERE id = $1", leaf_id)
    task = asyncio.create_task(LeafActor(db, parts, Hub("never listened to"), leaf_id, uuid4()).run())
    try:
        async with asyncio.timeout(60):
            while await pending(db, leaf_id):
                await asyncio.sleep(0.02)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pending(db: Pool, leaf_id: UUID) -> bool:
    found: bool = await db.fetchval(
        "SELECT state <> 'in_sync' OR applied < generation"
        " OR EXISTS (SELECT FROM leaf_port WHERE leaf_id = $1 AND applied < generation) FROM leaf WHERE id = $1",
        leaf_id,
    )
    return found


async def as_desired(db: Pool, parts: Parts, leaf: VirtualLeaf, leaf_id: UUID) -> bool:
    wanted, _ = await desired_leaf(db, leaf_id, leaf.name, parts)
    return leaf.set_lines() == desired_lines(wanted)


async def killed_at(db: Pool, parts: Parts, url: str, folder: Path, named: bool, moment: Moment, nth: int) -> bool:
    """Whether there was a call to be killed at."""
    style = "named" if named else "nameless"
    async with leaf_of(db, parts, f"{style}-{moment.name.lower()}-{nth}", named=named) as (leaf, leaf_id):
        before = leaf.set_lines()
        await db.execute("UPDATE leaf SET held_until = now(), running_at = NULL WHERE id = $1", leaf_id)
        process = multiprocessing.get_context("forkserver").Process(
            target=drive, args=(url, folder, leaf_id, nth, moment)
        )
        process.start()
        quiet = 0  # looks at a leaf on which all is done; there may be no more call to be struck at
        while process.is_alive() and quiet < 20:
            done = await db.fetchval("SELECT running_at IS NOT NULL FROM leaf WHERE id = $1", leaf_id)
            quiet = quiet + 1 if done and not await pending(db, leaf_id) else 0
            await asyncio.sleep(0.02)
        struck = quiet < 20
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL
        said_done = not await pending(db, leaf_id)
        if said_done:
            # What the database says was seen on the leaf is there, and not on trial.
            assert leaf.trial is None and await as_desired(db, parts, leaf, leaf_id)
        else:
            assert leaf.set_lines() == before or await as_desired(db, parts, leaf, leaf_id)
        await driven(db, parts, leaf_id)
        assert await as_desired(db, parts, leaf, leaf_id)
        assert (leaf.trial, leaf.lock_holder, leaf.dirty) == (None, None, False)
        return struck


@pytest.mark.parametrize("named", [True, False], ids=["named", "nameless"])
async def test_leaf_and_database_agree_wherever_its_driver_was_killed(
    database_url: str, tmp_path: Path, named: bool
) -> None:
    multiprocessing.get_context("forkserver").set_forkserver_preload(["tests.lab.killed_actor"])
    db: Any = await open_pool(database_url, size=12)
    parts = parts_in(tmp_path)
    try:
        async with db.acquire() as conn:
            await seed(conn, token="a token", operating_systems=[])
            vrf = await add_vrf(conn, "default")
            await add_prefix(conn, vrf, "10.96.0.0/16", "boot", block_length=31, facility="ewr1")
        places = asyncio.Semaphore(_AT_ONCE)

        async def placed(moment: Moment, nth: int) -> bool:
            async with places:
                return await killed_at(db, parts, database_url, tmp_path, named, moment, nth)

        # What differs between the styles lies in the leaf (tests/netconf/test_kill.py); here it is the database.
        for moment, calls in [(one, _CALLS) for one in Moment] if named else [(Moment.ANSWERED, _CALLS[1::3])]:
            struck = await asyncio.gather(*(placed(moment, nth) for nth in calls))
            assert all(struck[: len(calls) // 2]) and not struck[-1], struck
    finally:
        db.terminate()
