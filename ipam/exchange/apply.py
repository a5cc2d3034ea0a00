"""An import: what it would do, and doing exactly that."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ipam.asn import add_pool, give_back_asn
from ipam.errors import IpamError
from ipam.exchange.bulk import hold_all
from ipam.exchange.diff import Change, compare, place
from ipam.exchange.read import now_of, prefixes
from ipam.exchange.rows import AddressRow, AsnRow, LeftOut, PoolRow, PrefixRow, Source, VrfRow
from ipam.exchange.tree import Tree
from ipam.ledger import Want, give_back_one
from ipam.prefixes import add_prefix, add_vrf, describe, prefix_by_id, set_status, vrfs
from ipam.space import Network
from sql.loader import Q


class ImportConflicts(IpamError):
    """Some of the rows cannot be; nothing was changed."""

    def __init__(self, conflicts: Sequence[Change], of: int) -> None:
        self.conflicts = list(conflicts)
        super().__init__(f"of {of} rows, {len(self.conflicts)} in conflict; nothing was changed")


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of each row, in the order in which it is done, and what cannot be carried over."""

    changes: Sequence[Change]
    left_out: Sequence[LeftOut]


async def plan(conn: Any, source: Source) -> Plan:
    """What an import would do now. Call it in a transaction that sees one moment (repeatable read)."""
    there = await prefixes(conn)
    placed = await asyncio.to_thread(place, source, list(there.values()))
    now = await now_of(conn, placed, there)
    changes, left_out = await asyncio.to_thread(compare, placed, now)
    return Plan(changes, left_out)


async def apply(conn: Any, source: Source, *, by: str, now: datetime) -> Plan:
    """Do what `plan` says, all of it or nothing; doing it again does nothing more. Call it in a transaction.

    Raises ImportConflicts, or another IpamError when something changed meanwhile; roll back then.
    """
    await conn.execute(Q["lock_exchange"])
    for vrf_id in sorted((await vrfs(conn)).values()):
        await conn.execute(Q["lock_tree"], vrf_id)
    made = await plan(conn, source)
    if conflicts := [change for change in made.changes if change.action == "conflict"]:
        raise ImportConflicts(conflicts, len(made.changes))
    todo = [change for change in made.changes if change.action != "same"]
    await _Import(conn, by, now).carry_out(todo)
    return made


@dataclass(frozen=True, slots=True)
class _Node:
    """A prefix with its id, for the tree."""

    vrf: str
    cidr: Network
    id: int


class _Import:
    """One import under way. What closes a prefix comes last: nothing is held in a closed one."""

    def __init__(self, conn: Any, by: str, now: datetime) -> None:
        self._conn = conn
        self._by = by
        self._now = now
        self._vrfs: dict[str, int] = {}
        self._nodes: Tree[_Node] = Tree()

    async def carry_out(self, todo: Sequence[Change]) -> None:
        """Do all of it."""
        for change in todo:
            if isinstance(change.row, VrfRow):
                await add_vrf(self._conn, change.row.name)
        self._vrfs = await vrfs(self._conn)
        for change in todo:
            if isinstance(change.row, PrefixRow) and change.action == "add":
                await self._add_prefix(change.row)
        there = await prefixes(self._conn)
        self._nodes = Tree(_Node(row.vrf, row.cidr, prefix_id) for prefix_id, row in there.items())
        await self._say(todo, opening=True)
        for change in todo:
            if isinstance(change.row, AddressRow) and change.action == "change":
                tenure_id = await self._conn.fetchval(Q["exchange_held_slots"], [change.row.owner], [change.row.slot])
                await give_back_one(self._conn, tenure_id, now=self._now, by=self._by)
        await self._hold_all([change.row for change in todo if isinstance(change.row, AddressRow)])
        for change in todo:
            if isinstance(change.row, PoolRow):
                row = change.row
                await add_pool(self._conn, row.name, row.first, row.last, facility=row.facility)
            elif isinstance(change.row, AsnRow):
                if change.action == "change":
                    await give_back_asn(self._conn, change.row.asn, now=self._now, by=self._by)
                await self._hold_asn(change.row)
        await self._say(todo, opening=False)

    async def _add_prefix(self, row: PrefixRow) -> None:
        await add_prefix(
            self._conn,
            self._vrfs[row.vrf],
            str(row.cidr),
            row.role,
            block_length=row.block_length,
            facility=row.facility,
            description=row.description,
            organization_id=row.owner.id if row.owner and row.owner.kind == "organization" else None,
            project_id=row.owner.id if row.owner and row.owner.kind == "project" else None,
        )

    async def _say(self, todo: Sequence[Change], *, opening: bool) -> None:
        """Set statuses, the opening or the closing ones, and with the former what prefixes say of themselves."""
        for change in todo:
            row, before = change.row, change.before
            if not isinstance(row, PrefixRow):
                continue
            node = self._nodes.get(row.vrf, row.cidr)
            assert node is not None
            if opening and {"description", "facility"} & set(change.fields):
                await describe(self._conn, node.id, description=row.description, facility=row.facility)
            was = before.status if isinstance(before, PrefixRow) else "active"
            if row.status != was and (row.status == "active") is opening:
                await set_status(self._conn, node.id, row.status)

    async def _hold_all(self, rows: Sequence[AddressRow]) -> None:
        leaves: dict[int, list[tuple[Network, Want]]] = {}
        for row in rows:
            node = next(self._nodes.around(row.vrf, row.block, itself=True))
            want = Want(row.owner, row.slot, self._by, row.project_id, row.note)
            leaves.setdefault(node.id, []).append((row.block, want))
        for prefix_id in sorted(leaves):
            await hold_all(self._conn, await prefix_by_id(self._conn, prefix_id), leaves[prefix_id], now=self._now)

    async def _hold_asn(self, row: AsnRow) -> None:
        pools = await self._conn.fetch(Q["exchange_pools"])
        pool = next(pool for pool in pools if pool["first"] <= row.asn <= pool["last"])
        await self._conn.fetchrow(Q["lock_asn_pool"], pool["name"])
        await self._conn.execute(Q["take_named_asn"], pool["id"], row.asn)
        span = (pool["id"], pool["first"], pool["last"])
        await self._conn.fetchrow(
            Q["open_asn_tenure"], *span, row.asn, row.owner, row.slot, self._by, dict(row.note), self._now
        )
