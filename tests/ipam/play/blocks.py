"""Blocks are taken, held by name and given back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from ipam import ledger
from ipam.errors import BadBlock, BlockTaken, IpamError, NoTenure, PrefixClosed, PrefixExhausted
from ipam.ledger import Tenure, Want
from ipam.space import Network, inside
from tests.ipam.model import Node
from tests.ipam.play.player import COOL_DOWN, Errors, Player


class Blocks(Player):
    """Takes, holds and gives back."""

    async def take(self) -> None:
        """One block; often for somebody who has it already."""
        nodes, (owner, slot) = self._nodes(), self._device_slot()
        length = self._length(nodes[0])
        self.tell(f"take {[str(node.cidr) for node in nodes]} /{length} for {owner} {slot}")
        await self._take_one(nodes, Want(owner, slot, self._by(), None, {"port": str(self.below(3))}), length)

    async def take_many(self) -> None:
        """Several at once through the committer, some of them twice."""
        nodes, length = self._nodes(), None
        if self.one_in(4):
            length = self._length(nodes[0])
        asked = [self._device_slot() for _ in range(2 + self.below(14))]
        wants = [Want(owner, slot, "run:1") for owner, slot in asked]
        self.tell(f"take {len(wants)} of {[str(node.cidr) for node in nodes]} /{length}")
        prefixes = [node.the_prefix() for node in nodes]
        answers = await asyncio.gather(
            *(self._committer.take(prefixes, want, cool_down=COOL_DOWN, length=length) for want in wants),
            return_exceptions=True,
        )
        self.operations += len(wants) - 1
        first_answers: dict[tuple[UUID, str], Tenure | BaseException] = {}
        for key, answer in zip(asked, answers, strict=True):
            same = first_answers.setdefault(key, answer)
            alike = same == answer if isinstance(same, Tenure) else type(same) is type(answer)
            self.require(alike, "one owner and slot got {} and {}", same, answer)
        self._judge(nodes, {(want.owner, want.slot): want for want in wants}, first_answers, length)

    def _nodes(self) -> list[Node]:
        first = self.pick(self.world.leaves)
        same = [node for node in self.world.leaves if node.cidr.version == first.cidr.version and node is not first]
        return [first, self.pick(same)] if same and self.one_in(4) else [first]

    def _device_slot(self) -> tuple[UUID, str]:
        return self.pick(self._devices), self.pick(("public", "private", "ipv6", "boot"))

    def _length(self, node: Node) -> int | None:
        """What the prefix hands out, or any length, or one that it never hands out."""
        if self.one_in(2):
            return None
        return node.cidr.prefixlen - 1 + self.below(node.block_length - node.cidr.prefixlen + 3)

    async def _take_one(self, nodes: list[Node], want: Want, length: int | None) -> None:
        answer: Tenure | BaseException
        try:
            async with self.db.acquire() as conn, conn.transaction():
                answer = await ledger.take(
                    conn,
                    [node.the_prefix() for node in nodes],
                    want.owner,
                    want.slot,
                    now=self._now,
                    by=want.by,
                    cool_down=COOL_DOWN,
                    length=length,
                    project_id=want.project_id,
                    note=want.note,
                )
        except IpamError as err:
            answer = err
        key = (want.owner, want.slot)
        self._judge(nodes, {key: want}, {key: answer}, length)

    def _judge(
        self,
        nodes: Sequence[Node],
        wants: dict[tuple[UUID, str], Want],
        answers: dict[tuple[UUID, str], Tenure | BaseException],
        length: int | None,
    ) -> None:
        """Whether the answers are right: what was held stays, and nobody is refused while there is a block for him."""
        fresh: list[Tenure] = []
        refused: list[BaseException] = []
        for key, answer in answers.items():
            held = self.world.by_slot.get(key)
            if held is not None:
                self.require(
                    isinstance(answer, Tenure) and answer.id == held.id, "{} was asked for, got {}", held, answer
                )
            elif isinstance(answer, Tenure):
                fresh.append(answer)
            else:
                refused.append(answer)
        left, closed = len(fresh) + len(refused), 0
        for node in nodes:
            size, before = node.block_length if length is None else length, self._now - COOL_DOWN
            got = [tenure.block for tenure in fresh if tenure.prefix_id == node.the_prefix().id]
            if self.world.standing(node) != "active":
                closed += 1
                self.require(not got, "{} is closed and handed out {}", node.cidr, got)
                continue
            possible = {node.block_at(unit, size) for unit in node.available(size, before, surely=False)}
            self.require(len(set(got)) == len(got), "one block twice: {}", got)
            self.require(possible.issuperset(got), "{} of {} must not be handed out", set(got) - possible, node.cidr)
            # By a slower clock, what was joined may look as if it had not cooled down yet.
            surely = len(node.available(size, before, surely=True)) if self._now == self._clock else 0
            self.require(
                len(got) >= min(left, surely), "{} has {} free /{} and gave {}", node.cidr, surely, size, len(got)
            )
            left -= len(got)
        self.require(left == len(refused), "blocks of prefixes that were not asked: {}", fresh)
        right = PrefixClosed if closed == len(nodes) else PrefixExhausted
        self.require(all(type(err) is right for err in refused), "should be {}: {!r}", right.__name__, refused)
        for err in refused:
            self.ended(type(err).__name__)
        self.ended("held already", len(answers) - len(fresh) - len(refused))
        self.ended("done", len(fresh))
        places = {node.the_prefix().id: node for node in nodes}
        for tenure in fresh:
            self._opened(tenure, places[tenure.prefix_id], wants[tenure.owner, tenure.slot])

    def _opened(self, tenure: Tenure, node: Node, want: Want) -> None:
        said = (tenure.vrf_id, tenure.kind, tenure.since, tenure.until, tenure.project_id, tenure.opened_by)
        expected = (node.vrf_id, "held", self._now, None, want.project_id, want.by)
        self.require(said == expected and tenure.note == want.note, "{} is not {}", said, expected)
        self.world.open(
            node,
            tenure.id,
            tenure.block,
            owner=want.owner,
            slot=want.slot,
            since=self._now,
            by=want.by,
            note=want.note,
            project_id=want.project_id,
        )

    async def hold(self) -> None:
        """A block by its name."""
        node, (owner, slot) = self.pick(self.world.leaves), self._device_slot()
        await self._hold(node, self._block_in(node.cidr, min(node.unit + 1, node.cidr.max_prefixlen)), owner, slot)

    async def reserve_range(self) -> None:
        """The first or the last block of a prefix is kept by hand."""
        node, number = self.pick(self.world.leaves), self.below(3)
        block = node.block_at(self.pick((0, len(node.holders) - 1)), node.unit)
        owner = self.pick(self._ranges)
        await self._hold(node, block.supernet(new_prefix=node.block_length), owner, f"reserved {number}")

    async def _hold(self, node: Node, block: Network, owner: UUID, slot: str) -> None:
        self.tell(f"hold {block} of {node.cidr} for {owner} {slot}")
        want = Want(owner, slot, self._by(), None, {"why": "by hand"})
        held, touched = self.world.by_slot.get((owner, slot)), node.units(block)
        wrong: Errors = ()
        may: Errors = ()
        if held is not None:
            wrong = () if held.block == block else [BlockTaken]
        elif self.world.standing(node) != "active":
            wrong = [PrefixClosed]
        elif block.prefixlen > node.block_length:
            wrong = [BadBlock]
        elif any(node.holders[unit] or node.tags[unit] or node.freed[unit] > self._now for unit in touched):
            wrong = [BlockTaken]
        elif node.rests_from > self._now or any(
            inside(block, other) or inside(other, block) for other in node.came_back_tagged
        ):
            may = [BlockTaken]
        tenure = await self.attempt(
            wrong,
            lambda conn: ledger.hold(
                conn, node.the_prefix(), block, ledger.Want(owner, slot, want.by, note=want.note), now=self._now
            ),
            may=may,
        )
        if tenure is None:
            return
        if held is not None:
            self.require(tenure.id == held.id, "{} was asked for, got {}", held, tenure)
            return
        self.require(tenure.block == block and tenure.prefix_id == node.the_prefix().id, "got {}", tenure)
        self._opened(tenure, node, want)

    async def give_back(self) -> None:
        """All that an owner has."""
        owner, by = self.pick([*self._devices, *self._devices, *self._projects, *self._ranges]), self._by()
        rows = self.world.owned(owner)
        self.tell(f"give back {owner}: {[str(row.block) for row in rows]}")
        led = any(row.parts for row in rows)
        freed = await self.attempt(
            [BlockTaken] if led else (), lambda conn: ledger.give_back(conn, owner, now=self._now, by=by)
        )
        if freed is None:
            return
        held = sorted(str(row.block) for row in rows if row.kind == "held")
        self.require(sorted(map(str, freed)) == held, "freed {}, held {}", freed, held)
        for row in rows:
            self.world.close(row, self._now, by)

    async def give_back_one(self) -> None:
        """One tenure by its id."""
        row, by = self._row(), self._by()
        if row is None:
            return
        self.tell(f"give back one: {row}")
        wrong: Errors = ()
        if row.until is not None:
            wrong = [NoTenure]
        elif row.kind != "held":
            wrong = [BadBlock]
        elif row.parts:
            wrong = [BlockTaken]
        ended = await self.attempt(wrong, lambda conn: ledger.give_back_one(conn, row.id, now=self._now, by=by))
        if ended is not None:
            self.world.close(row, self._now, by)
