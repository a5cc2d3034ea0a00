"""Pools of AS numbers, and the ledger of who has which: as with blocks, the same owner and slot get the same number."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from ipam.errors import BadPool, NoPool, PoolExhausted
from sql.loader import Q

LAST = 4_294_967_294  # RFC 7300 §2 reserves the one after it
PRIVATE = ((64_512, 65_534), (4_200_000_000, 4_294_967_294))  # RFC 6996 §5


@dataclass(frozen=True, slots=True)
class Pool:
    """A range of numbers, both ends included, with how many are taken now."""

    id: int
    name: str
    first: int
    last: int
    facility: str | None
    taken: int


@dataclass(frozen=True, slots=True)
class AsnTenure:
    """One owner's hold of one AS number. `until` is None while it lasts."""

    id: UUID
    pool_id: int
    asn: int
    owner: UUID
    slot: str
    since: datetime
    until: datetime | None
    opened_by: str
    closed_by: str | None
    note: Mapping[str, Any]


def is_private(asn: int) -> bool:
    """Whether the number is for private use (RFC 6996)."""
    return any(first <= asn <= last for first, last in PRIVATE)


async def add_pool(conn: Any, name: str, first: int, last: int, *, facility: str | None = None) -> Pool:
    """Add a pool; the same pool again is answered with the one that exists. Raises BadPool."""
    if not 1 <= first <= last <= LAST:
        raise BadPool(f"{first} to {last} is no range of AS numbers; allowed are 1 to {LAST}")
    for pool in await pools(conn, name):
        if (pool.first, pool.last, pool.facility) != (first, last, facility):
            raise BadPool(f"{name} exists already with {pool.first} to {pool.last}")
        return pool
    try:
        async with conn.transaction():
            await conn.execute(Q["add_asn_pool"], name, first, last, facility)
    except asyncpg.ExclusionViolationError:
        raise BadPool(f"{first} to {last} overlaps a pool that exists") from None
    except asyncpg.CheckViolationError:
        raise BadPool(f"{name!r} is no name of a pool: letters a to z, digits and hyphens, 63 at most") from None
    (made,) = await pools(conn, name)
    return made


async def pools(conn: Any, name: str | None = None) -> list[Pool]:
    """All pools, or the one of that name, by number."""
    return [Pool(**row) for row in await conn.fetch(Q["asn_pools"], name)]


async def take_asn(
    conn: Any,
    pool: str,
    owner: UUID,
    slot: str,
    *,
    now: datetime,
    by: str,
    cool_down: timedelta = timedelta(0),
    note: Mapping[str, Any] | None = None,
) -> AsnTenure:
    """A number for `owner` and `slot`, in a transaction. Raises NoPool or PoolExhausted."""
    locked = await conn.fetchrow(Q["lock_asn_pool"], pool)
    if locked is None:
        raise NoPool(f"there is no pool {pool!r} of AS numbers")
    if (held := await conn.fetchrow(Q["asn_of_slot"], owner, slot)) is not None:
        return AsnTenure(**held)
    asn = await conn.fetchval(Q["take_free_asn"], locked["id"], now - cool_down)
    if asn is None:
        asn = locked["cursor"]
        if asn > locked["last"]:
            raise PoolExhausted(f"{pool} ({locked['first']} to {locked['last']}) has no free number for {slot}")
        await conn.execute(Q["advance_asn_cursor"], locked["id"])
    span = (locked["id"], locked["first"], locked["last"])
    return AsnTenure(**await conn.fetchrow(Q["open_asn_tenure"], *span, asn, owner, slot, by, dict(note or {}), now))


async def give_back_asns(conn: Any, owner: UUID, *, now: datetime, by: str) -> list[int]:
    """End all of the owner's holds of AS numbers, in a transaction; returns the numbers that became free."""
    return [row["asn"] for row in await conn.fetch(Q["close_asn_tenures"], owner, now, by, None)]


async def give_back_asn(conn: Any, asn: int, *, now: datetime, by: str) -> bool:
    """End the hold of one AS number, in a transaction; False when nobody holds it."""
    return bool(await conn.fetch(Q["close_asn_tenures"], None, now, by, asn))


async def asns_at(conn: Any, at: datetime, *, pool: str | None = None, asn: int | None = None) -> list[AsnTenure]:
    """Who held which numbers at that time, by number."""
    return [AsnTenure(**row) for row in await conn.fetch(Q["asn_tenures"], pool, asn, at)]
