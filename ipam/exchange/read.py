"""What there is, as rows: all of it for an export, and what a source touches for a comparison."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from ipaddress import collapse_addresses
from typing import Any, Protocol
from uuid import UUID

from ipam.exchange.diff import Held, Now, PoolNow
from ipam.exchange.rows import AddressRow, AsnRow, Owner, PoolRow, PrefixRow, Row, Source, VrfRow, span
from ipam.exchange.tree import Tree
from ipam.space import Network
from sql.loader import Q

_BATCH = 1000  # rows of an export that are in memory at a time


class Printer(Protocol):
    """Writes rows in a format; the rows of a kind come together, in the order of `rows.KINDS`."""

    def begin(self) -> str:
        """What stands before the first row."""

    def row(self, row: Row) -> str:
        """A row."""

    def end(self) -> str:
        """What stands after the last row."""


async def organizations(conn: Any) -> dict[UUID, str]:
    """The names of all organizations."""
    return {row["id"]: row["name"] for row in await conn.fetch(Q["exchange_organizations"])}


async def organizations_by_name(conn: Any) -> dict[str, UUID]:
    """The organizations that no other has the name of."""
    return {row["name"]: row["id"] for row in await conn.fetch(Q["exchange_organizations"]) if row["alone"]}


async def export(conn: Any, printer: Printer) -> AsyncIterator[str]:
    """All VRFs, prefixes that are not retired, held blocks, pools and held AS numbers, as text in pieces.

    Call it in a transaction that sees one moment (repeatable read). What is routed or anycast is a part of what is
    held, and what was held before is the ledger's; neither is exported, nor are grants and tags.
    """
    yield printer.begin()
    yield "".join([printer.row(VrfRow(row["name"])) for row in await conn.fetch(Q["exchange_vrfs"])])
    yield "".join([printer.row(prefix) for prefix in (await prefixes(conn)).values()])
    pieces: list[str] = []
    async for row in conn.cursor(Q["exchange_tenures"], prefetch=_BATCH):
        pieces.append(printer.row(AddressRow(**row)))
        if len(pieces) == _BATCH:
            yield "".join(pieces)
            pieces.clear()
    yield "".join(pieces)
    yield "".join([printer.row(pool.row) for pool in await _pools(conn)])
    yield "".join([printer.row(row) for row in await _asns(conn)])
    yield printer.end()


async def prefixes(conn: Any) -> dict[int, PrefixRow]:
    """The tree by its nodes' ids, without what is retired."""
    return {row["id"]: _prefix(row) for row in await conn.fetch(Q["exchange_prefixes"])}


def _prefix(row: Any) -> PrefixRow:
    values = dict(row)
    organization_id, project_id = values.pop("organization_id"), values.pop("project_id")
    del values["id"]
    owner = None if organization_id is None else Owner("organization", organization_id)
    return PrefixRow(**values, owner=owner if project_id is None else Owner("project", project_id))


async def _pools(conn: Any) -> list[PoolNow]:
    return [
        PoolNow(PoolRow(row["name"], row["first"], row["last"], row["facility"]), row["cursor"])
        for row in await conn.fetch(Q["exchange_pools"])
    ]


async def _asns(conn: Any) -> list[AsnRow]:
    return [AsnRow(**row) for row in await conn.fetch(Q["exchange_asns"])]


async def now_of(conn: Any, source: Source, there: Mapping[int, PrefixRow]) -> Now:
    """What a source that was placed touches; `there` is the tree, from `prefixes`."""
    addresses = [wish.row for wish in source.wishes if isinstance(wish.row, AddressRow)]
    owners = {wish.row.owner for wish in source.wishes if isinstance(wish.row, PrefixRow) and wish.row.owner}
    known = await conn.fetch(Q["exchange_owners"], [owner.id for owner in owners])
    touches_asns = any(isinstance(wish.row, AsnRow | PoolRow) for wish in source.wishes)
    return Now(
        vrfs=frozenset(row["name"] for row in await conn.fetch(Q["exchange_vrfs"])),
        prefixes=list(there.values()),
        owners=frozenset(Owner(row["kind"], row["id"]) for row in known),
        held=list((await held_like(conn, addresses, there)).values()),
        tagged=list(_disjoint((row["vrf"], row["block"]) for row in await conn.fetch(Q["exchange_tagged"]))),
        pools=await _pools(conn) if touches_asns else [],
        asns=await _asns(conn) if touches_asns else [],
    )


async def held_like(conn: Any, addresses: Sequence[AddressRow], there: Mapping[int, PrefixRow]) -> dict[UUID, Held]:
    """What is held where the addresses are, and what their owners hold as their slots, by the tenures' ids."""
    ids = {(row.vrf, row.cidr): prefix_id for prefix_id, row in there.items()}
    tree = Tree(there.values())
    touched: dict[int, list[Network]] = {}
    for row in addresses:
        if (leaf := next(tree.around(row.vrf, row.block, itself=True), None)) is not None:
            touched.setdefault(ids[leaf.vrf, leaf.cidr], []).append(row.block)
    rows = await conn.fetch(
        Q["exchange_held"],
        list(touched),
        [min(block.network_address for block in blocks) for blocks in touched.values()],
        [max(blocks, key=lambda block: span(block)[1]).broadcast_address for blocks in touched.values()],
    )
    known = {(row["owner"], row["slot"]) for row in rows}
    others = [(row.owner, row.slot) for row in addresses if (row.owner, row.slot) not in known]
    rows += await conn.fetch(Q["exchange_held_slots"], [owner for owner, _ in others], [slot for _, slot in others])
    found = {}
    for row in rows:
        values = dict(row)
        tenure_id, since = values.pop("id"), values.pop("since")
        found[tenure_id] = Held(AddressRow(**values), since)
    return found


def _disjoint(blocks: Iterable[tuple[str, Network]]) -> Iterable[tuple[str, Network]]:
    lines: dict[tuple[str, int], list[Any]] = {}
    for vrf, block in blocks:
        lines.setdefault((vrf, block.version), []).append(block)
    for (vrf, _), line in lines.items():
        for block in collapse_addresses(line):
            yield vrf, block
