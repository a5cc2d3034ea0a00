"""Abuse tags: a block whose name is bad is handed out to nobody until somebody clears it.

Whoever holds it keeps it; the tag counts from when it comes back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from ipam.errors import BadBlock
from ipam.space import Network, inside, without
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class AbuseTag:
    """One tag on one block, with who set and who cleared it."""

    id: UUID
    vrf_id: int
    block: Network
    tag: str
    reason: str
    set_by: str
    set_at: datetime
    cleared_by: str | None
    cleared_at: datetime | None


async def tag(conn: Any, vrf_id: int, block: Network, name: str, reason: str, *, now: datetime, by: str) -> None:
    """Tag a block, in a transaction; the same tag again changes nothing. Raises BadBlock."""
    prefixes = await conn.fetch(Q["lock_prefixes_touching"], vrf_id, block)
    if not prefixes:
        raise BadBlock(f"{block} lies in no prefix that hands out")
    try:
        async with conn.transaction():
            await conn.execute(Q["set_abuse_tag"], vrf_id, block, name, reason, by, now)
    except asyncpg.CheckViolationError:
        raise BadBlock(f"{name!r} is no tag: letters a to z, digits and hyphens, 63 at most") from None
    for prefix in prefixes:
        await hold_back(conn, prefix["id"], block, prefix["block_length"])


async def hold_back(conn: Any, prefix_id: int, tagged: Network, block_length: int) -> None:
    """Cut what of a tagged block is free out of the free space of a locked prefix, and mark it.

    No piece becomes smaller than what the prefix hands out (`block_length`): it would be lost to it.
    """
    block = tagged.supernet(new_prefix=min(tagged.prefixlen, block_length))
    used: list[Network] = []
    left: list[tuple[Network, Network]] = []
    marked: list[tuple[Network, Network]] = []
    for row in await conn.fetch(Q["free_blocks_touching"], prefix_id, block):
        free = row["block"]
        used.append(free)
        if inside(free, block):
            marked.append((free, free))
        else:
            marked.append((block, free))
            left.extend((piece, free) for piece in without(free, block))
    await conn.execute(
        Q["set_tagged"],
        prefix_id,
        used,
        [piece for piece, _ in left],
        [source for _, source in left],
        [part for part, _ in marked],
        [source for _, source in marked],
    )


async def clear(conn: Any, vrf_id: int, block: Network, name: str, *, now: datetime, by: str) -> None:
    """Clear a tag, in a transaction. Raises BadBlock when the block has no such tag."""
    prefixes = await conn.fetch(Q["lock_prefixes_touching"], vrf_id, block)
    if not await conn.fetchval(Q["clear_abuse_tag"], vrf_id, block, name, by, now):
        raise BadBlock(f"{block} has no tag {name!r}")
    for prefix in prefixes:
        await conn.execute(Q["untag_free_blocks"], prefix["id"], block)


async def tags(
    conn: Any, *, vrf_id: int | None = None, block: Network | None = None, cleared_too: bool = False
) -> list[AbuseTag]:
    """The tags on a block, on parts of it and on what it lies in; all tags without a block."""
    return [AbuseTag(**row) for row in await conn.fetch(Q["abuse_tags"], vrf_id, block, cleared_too)]
