"""Elastic blocks: reserved for a project, split and merged, and led to devices, whole or in parts.

A reservation is a held tenure of the project (slot `elastic <uuid>`); what of it leads to a device is a routed tenure
within it (anycast where the prefix is: then many devices have the same block at once). Each change is one moment in
the ledger: what ends and what begins share it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from ipam.errors import BadBlock, BlockTaken, NoTenure, PrefixClosed
from ipam.ledger import Tenure, give_back_one, tenure_of
from ipam.space import Network, inside
from sql.loader import Q

_ELASTIC = "elastic "
_HALVES_AT_MOST = 8  # a split makes 256 parts at most


def new_slot() -> str:
    """The slot of a reservation to come."""
    return f"{_ELASTIC}{uuid4()}"


def is_reservation(tenure: Tenure) -> bool:
    """Whether the tenure is a project's reservation."""
    return tenure.kind == "held" and tenure.slot.startswith(_ELASTIC)


async def _locked(conn: Any, ids: Sequence[UUID]) -> list[Tenure]:
    """The open tenures, their rows locked, in the order of `ids`, of prefixes where changes are allowed."""
    # The prefixes first: one change locks a reservation and then its parts, another a part and then its reservation.
    prefixes = await conn.fetch(Q["lock_prefixes_of_tenures"], list(ids))
    found = {row["id"]: tenure_of(row) for row in await conn.fetch(Q["lock_tenures"], list(ids))}
    for id_ in ids:
        if id_ not in found:
            raise NoTenure(f"there is no tenure {id_} now")
    for prefix in prefixes:
        if prefix["standing"] == "frozen":
            raise PrefixClosed(f"{prefix['cidr']} is frozen")
    return [found[id_] for id_ in ids]


async def _reservation(conn: Any, tenure_id: UUID) -> Tenure:
    (tenure,) = await _locked(conn, [tenure_id])
    if not is_reservation(tenure):
        raise BadBlock(f"{tenure.block} is no elastic reservation: it is {tenure.kind} as {tenure.slot}")
    return tenure


async def parts_of(conn: Any, tenure_ids: Sequence[UUID]) -> list[Tenure]:
    """What of these held tenures is led to devices now, in address order."""
    return [tenure_of(row) for row in await conn.fetch(Q["parts_routed"], list(tenure_ids))]


async def _close(conn: Any, tenure: Tenure, *, now: datetime, by: str) -> datetime:
    moment: datetime = await conn.fetchval(Q["close_tenure"], tenure.id, now, by)
    return moment


async def _open(
    conn: Any,
    like: Tenure,
    block: Network,
    *,
    kind: str,
    owner: UUID,
    slot: str,
    project_id: UUID | None,
    within: UUID | None,
    note: Mapping[str, Any],
    since: datetime,
    by: str,
) -> Tenure:
    row = await conn.fetchrow(
        Q["open_tenure"], like.prefix_id, block, kind, owner, slot, project_id, within, by, dict(note), since
    )
    return tenure_of(row)


async def split(conn: Any, tenure_id: UUID, length: int, *, now: datetime, by: str) -> list[Tenure]:
    """Cut a reservation into blocks of /`length`; what is led to devices stays so. In a transaction.

    No block becomes smaller than what its prefix hands out. Raises NoTenure, PrefixClosed, BadBlock, or BlockTaken
    where a part that leads to a device is larger than that.
    """
    whole = await _reservation(conn, tenure_id)
    smallest = await conn.fetchval(Q["block_length_of_prefix"], whole.prefix_id)
    shortest, longest = whole.block.prefixlen + 1, min(whole.block.prefixlen + _HALVES_AT_MOST, smallest)
    if not shortest <= length <= longest:
        raise BadBlock(f"{whole.block} cannot be split into /{length}; allowed are /{shortest} to /{longest}")
    for part in await parts_of(conn, [whole.id]):
        if part.block.prefixlen < length:
            raise BlockTaken(f"{part.block} is led to {part.owner} and is larger than /{length}")
    moment = await _close(conn, whole, now=now, by=by)
    made = []
    for block in whole.block.subnets(new_prefix=length):
        one = await _reserve_from(conn, whole, block, moment, by)
        await conn.execute(Q["move_parts"], whole.id, one.id, block)
        made.append(one)
    return made


async def _reserve_from(conn: Any, like: Tenure, block: Network, since: datetime, by: str) -> Tenure:
    return await _open(
        conn,
        like,
        block,
        kind="held",
        owner=like.owner,
        slot=new_slot(),
        project_id=like.project_id,
        within=None,
        note=like.note,
        since=since,
        by=by,
    )


async def merge(conn: Any, tenure_ids: Sequence[UUID], *, now: datetime, by: str) -> Tenure:
    """Make one reservation of several that together are one aligned block of one prefix and owner. In a transaction.

    Raises NoTenure, PrefixClosed or BadBlock.
    """
    ids = sorted(set(tenure_ids))
    if len(ids) < 2:
        raise BadBlock("a merge needs two reservations or more")
    parts = [await _reservation(conn, id_) for id_ in ids]
    first = parts[0]
    told = ", ".join(str(part.block) for part in sorted(parts, key=lambda part: int(part.block.network_address)))
    if any((part.owner, part.prefix_id) != (first.owner, first.prefix_id) for part in parts):
        raise BadBlock(f"{told} are not of one owner and one prefix")
    size = sum(part.block.num_addresses for part in parts)
    whole = max(parts, key=lambda part: part.block.prefixlen).block
    while whole.prefixlen and whole.num_addresses < size:
        whole = whole.supernet()
    if whole.num_addresses != size or not all(inside(part.block, whole) for part in parts):
        raise BadBlock(f"{told} do not make up one block")
    moment = max([await _close(conn, part, now=now, by=by) for part in parts])
    merged = await _reserve_from(conn, first, whole, moment, by)
    for part in parts:
        await conn.execute(Q["move_parts"], part.id, merged.id, whole)
    return merged


async def route(
    conn: Any,
    tenure_id: UUID,
    block: Network,
    owner: UUID,
    *,
    now: datetime,
    by: str,
    project_id: UUID | None,
    note: Mapping[str, Any],
    anycast: bool = False,
) -> Tenure:
    """Lead a block of a reservation to a device; the device that has it already keeps it. In a transaction.

    Raises NoTenure, PrefixClosed, BadBlock, or BlockTaken, which names who has it.
    """
    held = await _reservation(conn, tenure_id)
    if not inside(block, held.block):
        raise BadBlock(f"{block} does not lie inside the reservation {held.block}")
    kind = "anycast" if anycast else "routed"
    parts = await parts_of(conn, [held.id])
    for part in parts:
        if part.owner == owner and part.block == block:
            return part
    for part in parts:
        if inside(part.block, block) or inside(block, part.block):
            if part.kind == "anycast" == kind and part.block == block:
                continue
            raise BlockTaken(f"{block} overlaps {part.block}, which is led to {part.owner}")
    try:
        async with conn.transaction():
            return await _open(
                conn,
                held,
                block,
                kind=kind,
                owner=owner,
                slot=f"{_ELASTIC}{block}",
                project_id=project_id,
                within=held.id,
                note=note,
                since=max(now, held.since),
                by=by,
            )
    except asyncpg.UniqueViolationError:
        raise BlockTaken(f"{owner} has {block} of another VRF already") from None
    except asyncpg.ExclusionViolationError:
        # Led elsewhere until a moment that our clock has not reached: another process's clock is ahead of it.
        raise BlockTaken(f"{block} was led elsewhere until just now; try again") from None


async def _led_on(
    conn: Any,
    part: Tenure,
    owner: UUID,
    *,
    project_id: UUID | None,
    note: Mapping[str, Any],
    since: datetime,
    by: str,
) -> Tenure:
    """The same block from `since` on, led to `owner` or to another port of his."""
    return await _open(
        conn,
        part,
        part.block,
        kind=part.kind,
        owner=owner,
        slot=part.slot,
        project_id=project_id,
        within=part.within,
        note=note,
        since=since,
        by=by,
    )


async def move(
    conn: Any, tenure_id: UUID, owner: UUID, *, now: datetime, by: str, project_id: UUID | None, note: Mapping[str, Any]
) -> Tenure:
    """Lead a routed block to another device from one moment to the next. In a transaction.

    Raises NoTenure, PrefixClosed, BadBlock or BlockTaken.
    """
    (part,) = await _locked(conn, [tenure_id])
    if part.kind == "held":
        raise BadBlock(f"{part.block} is held as {part.slot} and leads to no device")
    if part.owner == owner:
        return part
    moment = await _close(conn, part, now=now, by=by)
    try:
        async with conn.transaction():
            return await _led_on(conn, part, owner, project_id=project_id, note=note, since=moment, by=by)
    except asyncpg.UniqueViolationError:
        raise BlockTaken(f"{owner} has {part.block} already, of here or of another VRF") from None


async def rehome(conn: Any, owner: UUID, note: Mapping[str, Any], *, now: datetime, by: str) -> list[Tenure]:
    """Write down that a device's routed blocks lead to another machine and port from now on. In a transaction."""
    moved = []
    ids = [row["id"] for row in await conn.fetch(Q["tenures_of_owner"], owner) if row["kind"] != "held"]
    await conn.fetch(Q["lock_prefixes_of_tenures"], ids)
    for row in sorted(await conn.fetch(Q["lock_tenures"], ids), key=lambda row: str(row["slot"])):
        part = tenure_of(row)
        if part.note == note:
            continue
        moment = await _close(conn, part, now=now, by=by)
        moved.append(await _led_on(conn, part, owner, project_id=part.project_id, note=note, since=moment, by=by))
    return moved


async def unroute(conn: Any, tenure_id: UUID, *, now: datetime, by: str) -> Tenure:
    """Lead a block to its device no longer; the reservation keeps it. Raises NoTenure, PrefixClosed or BadBlock."""
    (part,) = await _locked(conn, [tenure_id])
    if part.kind == "held":
        raise BadBlock(f"{part.block} is held as {part.slot} and leads to no device")
    await _close(conn, part, now=now, by=by)
    return part


async def release(conn: Any, tenure_id: UUID, *, now: datetime, by: str) -> Tenure:
    """Give a reservation back; its block cools down. In a transaction.

    Raises NoTenure, PrefixClosed, BadBlock, or BlockTaken while a part of it is led to a device.
    """
    await _reservation(conn, tenure_id)
    return await give_back_one(conn, tenure_id, now=now, by=by)
