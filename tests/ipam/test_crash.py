"""A session that dies between any two statements leaves the ledger sound, and doing it again completes it.

The session is ended by the server, as it is when a machine goes away: nothing here stands in for ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from itertools import count
from typing import Any, TypeAlias
from uuid import UUID, uuid4

import asyncpg
import pytest

from ipam import abuse, elastic, history, ledger, prefixes
from ipam.committer import Committer
from ipam.errors import NoTenure
from ipam.ledger import Tenure, Want
from ipam.prefixes import Prefix
from service.store.rows import Pool
from tests.ipam.checks import assert_sound
from tests.ipam.statements import Watched

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = START + timedelta(hours=3)
BY = "user:test"
NO_COOL_DOWN = timedelta(0)

# What a session that was ended under its statement fails with; the last where asyncpg rolls back at that moment.
GONE = (
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.OperatorInterventionError,
    ConnectionError,
    asyncpg.InternalClientError,
)

_worlds = count(1)


class Doomed(Watched):
    """A connection whose session the server ends before its n-th statement; BEGIN, SAVEPOINT and COMMIT are some."""

    def __init__(self, conn: Any, killer: Any, fatal: int | None) -> None:
        super().__init__(conn)
        self._killer, self._fatal = killer, fatal

    @classmethod
    @asynccontextmanager
    async def acquired(cls, db: Pool, fatal: int | None) -> AsyncIterator[Doomed]:
        """One of a pool's connections with that fate."""
        async with db.acquire() as killer, db.acquire() as conn:
            yield cls(conn, killer, fatal)

    async def before(self) -> None:
        if self.statements == self._fatal:
            await self._killer.execute("SELECT pg_terminate_backend($1)", self._conn.get_server_pid())
            async with asyncio.timeout(60):
                while not self._conn.is_closed():
                    await asyncio.sleep(0.001)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        await self.statement()
        async with self._conn.transaction():
            yield
            await self.statement()


@dataclass(frozen=True, slots=True)
class Scene:
    """What the acts find: links, and an elastic prefix of which parts are reserved and led to devices."""

    vrf_id: int
    root: Prefix
    links: Prefix
    elastic: Prefix
    device: UUID
    other_device: UUID
    project: UUID
    other_project: UUID  # whose reservation is the spare
    held: Tenure  # by the device
    ended: Tenure
    whole: Tenure  # a reservation, of which a part leads to the device
    halves: list[Tenure]  # of another reservation
    spare: Tenure  # a reservation that leads nowhere
    part: Tenure


async def make_scene(db: Pool) -> Scene:
    device, project, other_project, gone = uuid4(), uuid4(), uuid4(), uuid4()
    common: dict[str, Any] = {"now": START, "by": BY}
    async with db.acquire() as conn, conn.transaction():
        vrf_id = await prefixes.add_vrf(conn, f"crash {next(_worlds)}")
        root = await prefixes.add_prefix(conn, vrf_id, "10.0.0.0/8", "container")
        links = await prefixes.add_prefix(conn, vrf_id, "10.0.0.0/28", "public", block_length=31)
        space = await prefixes.add_prefix(conn, vrf_id, "10.1.0.0/27", "elastic", block_length=32)
        held = await ledger.take(conn, [links], device, "public", **common)
        ended = await ledger.take(conn, [links], gone, "public", **common)
        for number in range(8, 16, 2):
            want = ledger.Want(gone, f"{number}", BY)
            await ledger.hold(conn, links, ip_network(f"10.0.0.{number}/31"), want, now=START)
        await ledger.give_back(conn, gone, now=START + timedelta(hours=1), by=BY)

        async def reserve(length: int, owner: UUID = project) -> Tenure:
            return await ledger.take(conn, [space], owner, elastic.new_slot(), length=length, **common)

        whole = await reserve(30)
        halves = await elastic.split(conn, (await reserve(31)).id, 32, now=START + timedelta(minutes=1), by=BY)
        spare = await reserve(31, other_project)
        lead: dict[str, Any] = {"project_id": project, "note": {"device": "a"}, **common}
        part = await elastic.route(conn, whole.id, ip_network(whole.block.network_address), device, **lead)
    return Scene(
        vrf_id, root, links, space, device, uuid4(), project, other_project, held, ended, whole, halves, spare, part
    )


Act: TypeAlias = Callable[[Any, Scene], Awaitable[Any]]


async def _take_all(conn: Any, scene: Scene) -> Any:
    wants = [Want(scene.device, f"slot {number}", BY) for number in range(3)]
    return await ledger.take_all(conn, [scene.links, scene.elastic], wants, now=NOW, cool_down=NO_COOL_DOWN)


async def _take_elsewhere_first(conn: Any, scene: Scene) -> Any:
    wants = [Want(scene.device, f"slot {number}", BY) for number in range(30)]
    return await ledger.take_all(conn, [scene.elastic, scene.links], wants, now=NOW, cool_down=NO_COOL_DOWN)


async def _take_joined(conn: Any, scene: Scene) -> Any:
    return await ledger.take(conn, [scene.links], scene.device, "joined", now=NOW, by=BY, length=29)


async def _hold(conn: Any, scene: Scene) -> Any:
    return await ledger.hold(conn, scene.links, ip_network("10.0.0.6/31"), ledger.Want(scene.device, "x", BY), now=NOW)


async def _give_back(conn: Any, scene: Scene) -> Any:
    return await ledger.give_back(conn, scene.device, now=NOW, by=BY)


async def _give_back_one(conn: Any, scene: Scene) -> Any:
    return await ledger.give_back_one(conn, scene.held.id, now=NOW, by=BY)


async def _give_back_project(conn: Any, scene: Scene) -> Any:
    return await ledger.give_back(conn, scene.other_project, now=NOW, by=BY)


async def _reserve(conn: Any, scene: Scene) -> Any:
    return await ledger.take(conn, [scene.elastic], scene.project, "elastic once", now=NOW, by=BY, length=30)


async def _split(conn: Any, scene: Scene) -> Any:
    return await elastic.split(conn, scene.whole.id, 32, now=NOW, by=BY)


async def _merge(conn: Any, scene: Scene) -> Any:
    return await elastic.merge(conn, [half.id for half in scene.halves], now=NOW, by=BY)


async def _route(conn: Any, scene: Scene) -> Any:
    lead: dict[str, Any] = {"project_id": scene.project, "note": {}, "now": NOW, "by": BY}
    return await elastic.route(conn, scene.spare.id, scene.spare.block, scene.device, **lead)


async def _move(conn: Any, scene: Scene) -> Any:
    lead: dict[str, Any] = {"project_id": scene.project, "note": {}, "now": NOW, "by": BY}
    return await elastic.move(conn, scene.part.id, scene.other_device, **lead)


async def _rehome(conn: Any, scene: Scene) -> Any:
    return await elastic.rehome(conn, scene.device, {"machine": "b"}, now=NOW, by=BY)


async def _unroute(conn: Any, scene: Scene) -> Any:
    return await elastic.unroute(conn, scene.part.id, now=NOW, by=BY)


async def _release(conn: Any, scene: Scene) -> Any:
    return await elastic.release(conn, scene.spare.id, now=NOW, by=BY)


async def _set_status(conn: Any, scene: Scene) -> Any:
    return await prefixes.set_status(conn, scene.root.id, "draining")


async def _add_container(conn: Any, scene: Scene) -> Any:
    return await prefixes.add_prefix(conn, scene.vrf_id, "10.0.0.0/15", "container")


async def _tag(conn: Any, scene: Scene) -> Any:
    return await abuse.tag(conn, scene.vrf_id, ip_network("10.0.0.9/32"), "spam", "", now=NOW, by=BY)


async def _tag_widely(conn: Any, scene: Scene) -> Any:
    return await abuse.tag(conn, scene.vrf_id, ip_network("10.0.0.0/8"), "spam", "", now=NOW, by=BY)


async def _correct(conn: Any, scene: Scene) -> Any:
    until = START + timedelta(hours=2)
    return await history.correct(conn, scene.ended.id, "it ended later", by=BY, until=until, note={"port": "x"})


# The acts; whether doing one again that is done already changes nothing, or is refused because of what it was done to.
ACTS: dict[str, tuple[Act, type[Exception] | None]] = {
    "take_all": (_take_all, None),
    "take_elsewhere_first": (_take_elsewhere_first, None),
    "take_joined": (_take_joined, None),
    "hold": (_hold, None),
    "give_back": (_give_back, None),
    "give_back_one": (_give_back_one, NoTenure),
    "give_back_project": (_give_back_project, None),
    "reserve": (_reserve, None),
    "split": (_split, NoTenure),
    "merge": (_merge, NoTenure),
    "route": (_route, None),
    "move": (_move, NoTenure),
    "rehome": (_rehome, None),
    "unroute": (_unroute, NoTenure),
    "release": (_release, NoTenure),
    "set_status": (_set_status, None),
    "add_container": (_add_container, None),
    "tag": (_tag, None),
    "tag_widely": (_tag_widely, None),
    "correct": (_correct, None),
}


async def _ledger_of(db: Pool, scene: Scene) -> tuple[Any, ...]:
    """All that the tables say of the scene, but for names that the database makes up and for its clock."""
    async with db.acquire() as conn:
        rows = await assert_sound(conn, [scene.vrf_id], whole_ledger=True)
        free = await conn.fetch(
            "SELECT f.block, f.free_since, f.tagged FROM free_block AS f JOIN prefix AS p ON p.id = f.prefix_id"
            " WHERE p.vrf_id = $1 ORDER BY f.block",
            scene.vrf_id,
        )
        tree = await conn.fetch(
            "SELECT p.cidr, p.status, p.standing, o.cidr AS parent, p.joined_at FROM prefix AS p"
            " LEFT JOIN prefix AS o ON o.id = p.parent_id WHERE p.vrf_id = $1 ORDER BY p.cidr",
            scene.vrf_id,
        )
        tags = await conn.fetch("SELECT block, tag, cleared_at FROM abuse_tag WHERE vrf_id = $1", scene.vrf_id)
    names = ("block", "kind", "since", "until", "opened_by", "closed_by")
    told = [(*(row[name] for name in names), sorted(row["note"]), row["corrected_at"] is None) for row in rows]
    owned = [(row["block"], {scene.device: "a", scene.other_device: "b"}.get(row["owner"])) for row in rows]
    return (
        sorted(map(str, told)),
        sorted(map(str, owned)),
        *([tuple(row) for row in rows] for rows in (free, tree, tags)),
    )


@pytest.mark.parametrize("name", ACTS)
async def test_a_session_may_die_between_any_two_statements(crowded: Pool, name: str) -> None:
    act, again = ACTS[name]

    async def doomed(scene: Scene, fatal: int | None) -> int:
        async with Doomed.acquired(crowded, fatal) as conn:
            async with conn.transaction():
                await act(conn, scene)
            return conn.statements

    whole = await make_scene(crowded)
    statements = await doomed(whole, None)
    done = await _ledger_of(crowded, whole)
    assert statements > 2
    before = await _ledger_of(crowded, await make_scene(crowded))
    assert before != done
    for fatal in range(statements):
        scene = await make_scene(crowded)
        with pytest.raises(GONE):
            await doomed(scene, fatal)
        assert await _ledger_of(crowded, scene) == before, f"statement {fatal} of {statements}"
        async with crowded.acquire() as conn, conn.transaction():
            await act(conn, scene)
        assert await _ledger_of(crowded, scene) == done, f"statement {fatal} of {statements}"
    # The answer of the COMMIT was lost: whoever asks again finds it done.
    async with crowded.acquire() as conn, conn.transaction():
        if again is None:
            await act(conn, whole)
        else:
            with pytest.raises(again):
                await act(conn, whole)
    if name != "correct":
        assert await _ledger_of(crowded, whole) == done


class DoomedPool:
    """A pool of which the first connection dies before its n-th statement."""

    def __init__(self, db: Pool, fatal: int | None) -> None:
        self._db, self._fatal = db, fatal
        self.statements = 0

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Doomed]:
        fatal, self._fatal = self._fatal, None
        async with Doomed.acquired(self._db, fatal) as conn:
            yield conn
            self.statements = max(self.statements, conn.statements)


class Clock:
    """A clock that stands still."""

    def now(self) -> datetime:
        return NOW


async def test_whoever_waited_for_a_session_that_died_is_told_and_asks_again(crowded: Pool) -> None:
    async def take(pool: DoomedPool, scene: Scene, owners: list[UUID]) -> list[Tenure | BaseException]:
        committer = Committer(pool, Clock())
        wants = [Want(owner, "public", BY) for owner in owners]
        async with asyncio.timeout(60):
            return await asyncio.gather(
                *(committer.take([scene.links], want) for want in wants), return_exceptions=True
            )

    scene, counted = await make_scene(crowded), DoomedPool(crowded, None)
    assert all(isinstance(answer, Tenure) for answer in await take(counted, scene, [uuid4() for _ in range(3)]))
    assert counted.statements > 2
    for fatal in range(counted.statements):
        scene, owners = await make_scene(crowded), [uuid4() for _ in range(3)]
        pool = DoomedPool(crowded, fatal)
        assert all(isinstance(answer, GONE) for answer in await take(pool, scene, owners))
        answers = await take(pool, scene, owners)
        blocks = [answer.block for answer in answers if isinstance(answer, Tenure)]
        assert len(set(blocks)) == 3
        async with crowded.acquire() as conn:
            rows = await assert_sound(conn, [scene.vrf_id], whole_ledger=True)
        assert sorted(str(row["block"]) for row in rows if row["owner"] in owners) == sorted(map(str, blocks))
