"""Elastic blocks are reserved, split and merged, and led to devices."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from ipam import elastic
from ipam.errors import BadBlock, BlockTaken, IpamError, NoTenure, PrefixClosed
from ipam.ledger import Tenure, Want
from ipam.space import Network, inside
from tests.ipam.model import Row
from tests.ipam.play.blocks import Blocks
from tests.ipam.play.player import Errors


class Elastic(Blocks):
    """Reserves for projects, and leads to devices."""

    async def reserve(self) -> None:
        """An elastic block for a project."""
        nodes = [node for node in self.world.leaves if node.role in ("elastic", "anycast")]
        node, project = self.pick(nodes), self.pick(self._projects)
        length = self._length(node)
        want = Want(project, elastic.new_slot(), self._by(), project, {"tags": ["a"]})
        self.tell(f"reserve /{length} of {node.cidr} for {project}")
        await self._take_one([node], want, length)

    def _changeable(self, row: Row) -> list[type[IpamError]]:
        if row.until is not None:
            return [NoTenure]
        return [PrefixClosed] if self.world.standing(row.node) == "frozen" else []

    async def split(self) -> None:
        row, by = self._reservation(), self._by()
        if row is None:
            return
        length = row.block.prefixlen + self.below(4)
        self.tell(f"split {row} into /{length}")
        wrong: Errors = self._changeable(row)
        if not wrong and not (row.is_reservation() and row.block.prefixlen < length <= row.node.block_length):
            wrong = [BadBlock]
        elif not wrong and any(part.block.prefixlen < length for part in row.parts):
            wrong = [BlockTaken]
        made = await self.attempt(wrong, lambda conn: elastic.split(conn, row.id, length, now=self._now, by=by))
        if made is None:
            return
        self.require([one.block for one in made] == list(row.block.subnets(new_prefix=length)), "made {}", made)
        parts = list(row.parts)
        moment = self.world.close(row, self._now, by)
        for one in made:
            self._replaces(one, row, [part for part in parts if inside(part.block, one.block)], moment, by)

    def _replaces(self, tenure: Tenure, like: Row, parts: Sequence[Row], moment: datetime, by: str) -> None:
        """A reservation that takes another's place, with what is led to devices of it."""
        new = self.world.open(
            like.node,
            tenure.id,
            tenure.block,
            owner=like.owner,
            slot=tenure.slot,
            since=moment,
            by=by,
            note=like.note,
            project_id=like.project_id,
        )
        self.require(new.is_reservation(), "{} is no reservation", new)
        for part in parts:
            part.within = new
            new.parts.append(part)

    async def merge(self) -> None:
        row, by = self._reservation(), self._by()
        if row is None:
            return
        around = row.block.supernet(min(1 + self.below(2), row.block.prefixlen))
        rows = [other for other in self.world.reservations if other.owner == row.owner and inside(other.block, around)]
        if self.one_in(8) or row not in rows:
            rows = [row, *([other] if (other := self._reservation()) is not None and other is not row else [])]
        self.tell(f"merge {[str(one) for one in rows]}")
        wrong: set[type[IpamError]] = set()
        if len(rows) < 2:
            wrong = {BadBlock}
        else:
            first = min(rows, key=lambda one: one.id)
            alike = all(one.is_reservation() and (one.owner, one.node) == (first.owner, first.node) for one in rows)
            wrong = {kind for one in rows for kind in self._changeable(one)}
            if not (alike and _whole([one.block for one in rows])):
                wrong.add(BadBlock)
        merged = await self.attempt(
            wrong, lambda conn: elastic.merge(conn, [one.id for one in rows], now=self._now, by=by)
        )
        if merged is None:
            return
        self.require(merged.block == _whole([one.block for one in rows]), "merged to {}", merged)
        parts = [part for one in rows for part in one.parts]
        moment = max([self.world.close(one, self._now, by) for one in rows])
        self._replaces(merged, first, parts, moment, by)

    async def route(self) -> None:
        """Lead a part to a device; of an anycast prefix to several."""
        row, device, by = self._reservation(), self.pick(self._devices), self._by()
        if row is None:
            return
        longest = min(row.block.prefixlen + 3, row.block.max_prefixlen)
        block = self._block_in(row.block, longest)
        if row.parts and self.one_in(3):
            block = self.pick(row.parts).block
        if self.one_in(20) and block.prefixlen:
            block = block.supernet()
        anycast = (row.node.role == "anycast") != self.one_in(20)
        note = {"device": str(self.below(3))}
        self.tell(f"route {block} of {row} to {device}{' anycast' if anycast else ''}")
        kind, since = "anycast" if anycast else "routed", max(self._now, row.since)
        same = next((part for part in row.parts if part.owner == device and part.block == block), None)
        wrong: Errors = self._changeable(row)
        if not wrong and not (row.is_reservation() and inside(block, row.block)):
            wrong = [BadBlock]
        elif not wrong and same is None:
            overlapping = [part for part in row.parts if inside(part.block, block) or inside(block, part.block)]
            if (
                any(not (part.kind == kind == "anycast" and part.block == block) for part in overlapping)
                or (device, f"elastic {block}") in self.world.by_slot
                or (not anycast and self.world.clashes(_like(row, kind), block, since, None))
            ):
                wrong = [BlockTaken]
        tenure = await self.attempt(
            wrong,
            lambda conn: elastic.route(
                conn, row.id, block, device, now=self._now, by=by, project_id=row.project_id, note=note, anycast=anycast
            ),
        )
        if tenure is None:
            return
        if same is not None:
            self.require(tenure.id == same.id, "{} was asked for, got {}", same, tenure)
            return
        self._led(tenure, row, block, device, kind, since, by, note, row.project_id)

    def _led(
        self,
        tenure: Tenure,
        within: Row,
        block: Network,
        device: UUID,
        kind: str,
        since: datetime,
        by: str,
        note: dict[str, str],
        project_id: UUID | None,
    ) -> None:
        said = (tenure.block, tenure.owner, tenure.kind, tenure.within, tenure.since, tenure.until)
        expected = (block, device, kind, within.id, since, None)
        self.require(said == expected, "{} is not {}", said, expected)
        self.world.open(
            within.node,
            tenure.id,
            block,
            owner=device,
            slot=f"elastic {block}",
            since=since,
            by=by,
            note=note,
            project_id=project_id,
            kind=kind,
            within=within,
        )

    async def move(self) -> None:
        row, device, by = self._route(), self.pick(self._devices), self._by()
        if row is None:
            return
        self.tell(f"move {row} to {device}")
        note = {"device": str(self.below(3))}
        wrong: Errors = self._changeable(row)
        if not wrong and row.within is None:
            wrong = [BadBlock]
        elif not wrong and row.owner != device and (device, row.slot) in self.world.by_slot:
            wrong = [BlockTaken]
        tenure = await self.attempt(
            wrong,
            lambda conn: elastic.move(conn, row.id, device, now=self._now, by=by, project_id=row.project_id, note=note),
        )
        if tenure is None or row.within is None:
            return
        if row.owner == device:
            self.require(tenure.id == row.id, "{} leads there already, got {}", row, tenure)
            return
        within = row.within
        moment = self.world.close(row, self._now, by)
        self._led(tenure, within, row.block, device, row.kind, moment, by, note, row.project_id)

    async def rehome(self) -> None:
        """A device's blocks lead to another machine."""
        device, by, note = self.pick(self._devices), self._by(), {"machine": str(self.below(3))}
        rows = [row for row in self.world.owned(device) if row.within is not None and row.note != note]
        self.tell(f"rehome {device}: {[str(row.block) for row in rows]}")
        moved = await self.attempt((), lambda conn: elastic.rehome(conn, device, note, now=self._now, by=by))
        by_block = {(tenure.vrf_id, tenure.block): tenure for tenure in moved or []}
        self.require(len(by_block) == len(rows), "moved {}", moved)
        for row in rows:
            within = row.within
            if within is None:
                continue
            moment = self.world.close(row, self._now, by)
            tenure = by_block[row.node.vrf_id, row.block]
            self._led(tenure, within, row.block, device, row.kind, moment, by, note, row.project_id)

    async def unroute(self) -> None:
        row, by = self._route(), self._by()
        if row is None:
            return
        self.tell(f"unroute {row}")
        wrong: Errors = self._changeable(row) or ([BadBlock] if row.within is None else [])
        if await self.attempt(wrong, lambda conn: elastic.unroute(conn, row.id, now=self._now, by=by)) is not None:
            self.world.close(row, self._now, by)

    async def release(self) -> None:
        row, by = self._reservation(), self._by()
        if row is None:
            return
        self.tell(f"release {row}")
        wrong: Errors = self._changeable(row)
        if not wrong and not row.is_reservation():
            wrong = [BadBlock]
        elif not wrong and row.parts:
            wrong = [BlockTaken]
        if await self.attempt(wrong, lambda conn: elastic.release(conn, row.id, now=self._now, by=by)) is not None:
            self.world.close(row, self._now, by)


def _like(row: Row, kind: str) -> Row:
    """A route to come, for the question whether it clashes."""
    return Row(row.id, row.node, row.block, kind, row.owner, row.slot, None, row, row.since, row.by, {})


def _whole(blocks: Sequence[Network]) -> Network | None:
    """The block that disjoint blocks are exactly, if there is one."""
    around = blocks[0]
    while around.prefixlen and not all(inside(block, around) for block in blocks):
        around = around.supernet()
    return around if sum(block.num_addresses for block in blocks) == around.num_addresses else None
