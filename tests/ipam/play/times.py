"""The ledger is asked about the past and put right, and asked what it said before it was put right."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from ipam import history, ledger
from ipam.errors import BadCorrection, NoTenure
from ipam.ledger import Tenure
from ipam.space import Network
from tests.ipam.model import Row
from tests.ipam.play.player import COOL_DOWN, START, Errors, Player

_MEMORIES_AT_MOST = 40

_Told: TypeAlias = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """What was true, as far as anybody knew at `as_of` (the database's time), of a block at `at`."""

    as_of: datetime
    vrf_id: int
    block: Network
    at: datetime
    told: frozenset[_Told]


def _told(tenures: Iterable[Tenure | Row]) -> frozenset[_Told]:
    return frozenset(
        (
            *(tenure.block, tenure.kind, tenure.owner, tenure.slot, tenure.project_id, tenure.since, tenure.until),
            tuple(sorted((name, str(value)) for name, value in tenure.note.items())),
        )
        for tenure in tenures
    )


class Times(Player):
    """Asks about other times, and corrects."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._memories: list[Memory] = []

    def _some_time(self) -> datetime:
        span = (self._clock - START) // timedelta(milliseconds=1) + 2000
        return START - timedelta(seconds=1) + timedelta(milliseconds=self.below(span))

    def _some_block(self) -> tuple[int, Network]:
        node = self.pick(self.world.leaves)
        if self.one_in(8):
            return node.vrf_id, node.cidr.supernet(self.below(4))
        return node.vrf_id, self._block_in(node.cidr, min(node.unit + 1, node.cidr.max_prefixlen))

    async def look_back(self) -> None:
        """Who held a block at some time, in one VRF or in all."""
        (vrf_id, block), at = self._some_block(), self._some_time()
        vrf_ids = self.world.vrf_ids if self.one_in(4) else [vrf_id]
        self.tell(f"who held {block} at {at} in {vrf_ids}?")
        async with self.db.acquire() as conn:
            found = await ledger.holding(conn, block, at, vrf_ids=vrf_ids)
        right = self.world.at(vrf_ids, block, at)
        self.require(
            {tenure.id for tenure in found} == {row.id for row in right} and len(found) == len(right),
            "answered {}, it was {}",
            found,
            [str(row) for row in right],
        )
        self.require(_told(found) == _told(right), "answered {}, it was {}", found, [str(row) for row in right])
        self.ended("found" if right else "nobody")

    async def look_now(self) -> None:
        """What an owner has, and whether there is room."""
        owner, node = self.pick([*self._devices, *self._projects]), self.pick(self.world.leaves)
        self.tell(f"what has {owner}, has {node.cidr} room?")
        async with self.db.acquire() as conn:
            found = await ledger.held_by(conn, owner)
            room = bool(await ledger.with_room(conn, [node.the_prefix()], now=self._now, cool_down=COOL_DOWN))
        rows = self.world.owned(owner)
        self.require({tenure.id for tenure in found} == {row.id for row in rows}, "has {}, answered {}", rows, found)
        active, before = self.world.standing(node) == "active", self._now - COOL_DOWN
        if room:
            possible = node.available(node.block_length, before, surely=False)
            self.require(active and bool(possible), "{} has no room", node.cidr)
            self.ended("room")
        elif active and self._now == self._clock:
            self.require(not node.available(node.block_length, before, surely=True), "{} has room", node.cidr)
            self.ended("no room")

    async def correct(self) -> None:
        row, by = self._row(), self._by()
        if self.one_in(2) and self.world.rows:
            row = self.pick(self.world.rows[-200:])
        if row is None:
            return
        id_: UUID = row.id
        since, until, project_id = None, None, None
        note = {"corrected": str(self.below(3))} if self.one_in(2) else None
        if self.one_in(2):
            since = min(row.since + self._while(), self._clock)
        if self.one_in(2):
            project_id = self.pick(self._projects)
        if (row.until is not None and not self.one_in(3)) or self.one_in(10):
            until = (row.until or self._now) + self._while()
            if row.kind != "held":
                until = min(until, self._clock - timedelta(seconds=3))
        why = "" if self.one_in(20) else "it was otherwise"
        self.tell(f"correct {row}: since {since}, until {until}, {note}, {project_id}, {why!r}")
        begin, end = since or row.since, until or row.until
        wrong: Errors = ()
        if self.one_in(25):
            id_, wrong = self._uuid(), [NoTenure]
        if not why or (
            not wrong
            and (
                (until is not None and row.until is None)
                or (end is not None and end <= begin)
                or (row.kind != "anycast" and self.world.clashes(row, row.block, begin, end))
            )
        ):
            wrong = [BadCorrection]
        right = await self.attempt(
            wrong,
            lambda conn: history.correct(
                conn, id_, why, by=by, since=since, until=until, project_id=project_id, note=note
            ),
        )
        if right is None:
            return
        self.world.correct(row, since=begin, until=end, project_id=project_id or row.project_id, note=note or {})
        said = (right.id, *next(iter(_told([right]))))
        expected = (row.id, *next(iter(_told([row]))))
        self.require(said == expected, "{} is not {}", said, expected)

    def _while(self) -> timedelta:
        """A while, forth or back."""
        return timedelta(milliseconds=self.below(1_200_000) - 600_000)

    async def remember(self) -> None:
        """Keep in mind what is believed now of some time, to ask for it later."""
        (vrf_id, block), at = self._some_block(), self._some_time()
        self.tell(f"remember who held {block} at {at}")
        async with self.db.acquire() as conn:
            as_of = await conn.fetchval("SELECT clock_timestamp()")
        if len(self._memories) >= _MEMORIES_AT_MOST:
            del self._memories[self.below(len(self._memories))]
        self._memories.append(Memory(as_of, vrf_id, block, at, _told(self.world.at([vrf_id], block, at))))
        self.ended("done")

    async def recall(self) -> None:
        """What was believed then is still to be had, whatever was corrected since."""
        if not self._memories:
            return
        memory = self.pick(self._memories)
        self.tell(f"recall {memory.block} at {memory.at} as of {memory.as_of}")
        async with self.db.acquire() as conn:
            entries = await history.history(conn, memory.block, vrf_ids=[memory.vrf_id])
        told = _told(history.known_at(entries, memory.at, memory.as_of))
        self.require(told == memory.told, "answered {}, believed was {}", told, memory.told)
        self.ended("found" if told else "nobody")
        beliefs = sum(entry.corrected_at is None for entry in entries)
        self.require(
            beliefs == len(self.world.ever(memory.vrf_id, memory.block)), "{} entries of {}", beliefs, memory.block
        )
