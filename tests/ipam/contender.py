"""A process that allocates and gives back beside others: `python -m tests.ipam.contender JSON`.

It prints a line of JSON for everything that was confirmed to it, and one for every error; it never stops at one.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from ipam.committer import Committer
from ipam.elastic import new_slot, route, unroute
from ipam.ledger import Want, give_back
from ipam.prefixes import Prefix, prefix_by_id
from service.clock import WallClock
from service.store.rows import Pool, open_pool

BY = "user:contender"


@dataclass(frozen=True, slots=True)
class Order:
    """What the process is to do: `tasks` loops of `rounds` rounds, each round for one of `owners`.

    `giving`: how many rounds in ten give back. An owner takes from the prefixes in one order or the other.
    """

    url: str
    seed: int
    prefix_ids: list[int]
    owners: list[str]
    tasks: int
    rounds: int
    giving: int = 0
    elastic_id: int | None = None


def _say(kind: str, **facts: Any) -> None:
    print(json.dumps({"kind": kind, **facts}), flush=True)


class Contender:
    """Many tasks with one committer."""

    def __init__(self, db: Pool, order: Order, prefixes: list[Prefix], elastic: Prefix | None) -> None:
        self._db, self._order, self._prefixes, self._elastic = db, order, prefixes, elastic
        self._clock = WallClock()
        self._committer = Committer(db, self._clock)
        self._random = random.Random(order.seed)

    async def run(self) -> None:
        """All rounds, each task's one after the other."""
        if not self._order.giving:
            owners = [UUID(owner) for owner in self._order.owners]
            self._random.shuffle(owners)
            await asyncio.gather(*(self._guarded(self._take(owner)) for owner in owners))
            return
        await asyncio.gather(*(self._loop() for _ in range(self._order.tasks)))

    async def _loop(self) -> None:
        for _ in range(self._order.rounds):
            owner = UUID(self._random.choice(self._order.owners))
            number = self._random.randrange(10)
            if number < self._order.giving:
                await self._guarded(self._give_back(owner))
            elif self._elastic is not None and number == 9:
                await self._guarded(self._lead(self._elastic, owner))
            else:
                await self._guarded(self._take(owner))

    async def _guarded(self, act: Any) -> None:
        try:
            await act
        except Exception as err:
            _say("error", what=f"{type(err).__name__}: {err}")

    async def _take(self, owner: UUID) -> None:
        tenure = await self._committer.take(self._prefixes, Want(owner, "public", BY))
        _say("taken", owner=str(owner), id=str(tenure.id), block=str(tenure.block))

    async def _give_back(self, owner: UUID) -> None:
        async with self._db.acquire() as conn, conn.transaction():
            freed = await give_back(conn, owner, now=self._clock.now(), by=BY)
        for block in freed:
            _say("freed", owner=str(owner), block=str(block))

    async def _lead(self, prefix: Prefix, owner: UUID) -> None:
        """A reservation, led to a device and away from it, given back again: all changes that lock differently."""
        project = UUID(int=owner.int ^ self._random.getrandbits(64))
        held = await self._committer.take([prefix], Want(project, new_slot(), BY))
        device = UUID(int=project.int ^ 1)
        lead: dict[str, Any] = {"by": BY, "project_id": project, "note": {}}
        async with self._db.acquire() as conn, conn.transaction():
            part = await route(conn, held.id, held.block, device, now=self._clock.now(), **lead)
        _say("taken", owner=str(device), id=str(part.id), block=str(part.block))
        async with self._db.acquire() as conn, conn.transaction():
            await unroute(conn, part.id, now=self._clock.now(), by=BY)
        async with self._db.acquire() as conn, conn.transaction():
            await give_back(conn, project, now=self._clock.now(), by=BY)


async def main(order: Order) -> None:
    """Connect, say that all is ready, wait for a line, and go."""
    db = await open_pool(order.url, size=6)
    async with db.acquire() as conn:
        prefixes = [await prefix_by_id(conn, id_) for id_ in order.prefix_ids]
        elastic = None if order.elastic_id is None else await prefix_by_id(conn, order.elastic_id)
    _say("ready")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    await Contender(db, order, prefixes, elastic).run()
    _say("through")
    db.terminate()


def as_argument(order: Order) -> str:
    """The order as the process reads it."""
    return json.dumps(asdict(order))


if __name__ == "__main__":
    asyncio.run(main(Order(**json.loads(sys.argv[1]))))
