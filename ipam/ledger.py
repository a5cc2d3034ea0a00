"""Who holds which block, and who held it when. A tenure is opened by `take`, closed by `give_back`, never changed.

Allocation never scans: a prefix remembers how far it was ever used (its cursor) and which blocks came back; taking
one is a row from either, under the lock of that prefix's row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_interface, ip_network
from typing import Any
from uuid import UUID

from ipam.errors import PrefixExhausted
from ipam.prefixes import Prefix
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Tenure:
    """One owner's hold of one block. `until` is None while it lasts."""

    id: UUID
    prefix_id: int
    block: IPv4Network | IPv6Network
    owner: UUID
    slot: str
    since: datetime
    until: datetime | None
    note: dict[str, Any]

    @property
    def leaf(self) -> IPv4Interface | IPv6Interface:
        """The leaf's side of a host link: the block's first address, which is even (junos.md §6)."""
        return self._side(0)

    @property
    def host(self) -> IPv4Interface | IPv6Interface:
        """The host's side of a host link: the odd address after the leaf's."""
        return self._side(1)

    def _side(self, offset: int) -> IPv4Interface | IPv6Interface:
        # A host that owns a whole /64 still has a /127 towards its leaf (RFC 6164).
        length = 127 if self.block.version == 6 else self.block.prefixlen
        return ip_interface(f"{self.block.network_address + offset}/{length}")


def _tenure(row: Any) -> Tenure:
    return Tenure(**(dict(row) | {"block": ip_network(str(row["block"]))}))


def _nth(prefix: Any, number: int) -> IPv4Network | IPv6Network:
    whole = ip_network(str(prefix["cidr"]))
    step = 2 ** (whole.max_prefixlen - prefix["block_length"])
    return ip_network((int(whole.network_address) + number * step, prefix["block_length"]))


async def take(
    conn: Any,
    prefixes: Sequence[Prefix],
    owner: UUID,
    slot: str,
    *,
    now: datetime,
    cool_down: timedelta = timedelta(0),
    note: dict[str, Any] | None = None,
) -> Tenure:
    """A block for `owner` and `slot` from the first prefix that has one; the same owner and slot get the same block.

    Call it in a transaction. Blocks that came back less than `cool_down` ago are left alone. Raises PrefixExhausted.
    """
    if (held := await conn.fetchrow(Q["tenure_of_slot"], owner, slot)) is not None:
        return _tenure(held)
    for prefix in prefixes:
        # A statement of its own: the next ones then see what the former holder of the lock did.
        locked = await conn.fetchrow(Q["lock_prefix"], prefix.id)
        if (held := await conn.fetchrow(Q["tenure_of_slot"], owner, slot)) is not None:
            return _tenure(held)
        block = await _free_block(conn, locked, now - cool_down)
        if block is not None:
            row = await conn.fetchrow(
                Q["open_tenure"], locked["vrf_id"], prefix.id, block, owner, slot, note or {}, now
            )
            return _tenure(row)
    asked = ", ".join(str(prefix.cidr) for prefix in prefixes)
    lengths = ", ".join(sorted({f"/{prefix.block_length}" for prefix in prefixes}))
    raise PrefixExhausted(f"{asked} has no free {lengths} for {slot}")


async def _free_block(conn: Any, locked: Any, free_before: datetime) -> IPv4Network | IPv6Network | None:
    if (back := await conn.fetchval(Q["take_free_block"], locked["id"], free_before)) is not None:
        return ip_network(str(back))
    whole = ip_network(str(locked["cidr"]))
    if locked["cursor"] >= 2 ** (locked["block_length"] - whole.prefixlen):
        return None
    await conn.execute(Q["advance_cursor"], locked["id"])
    return _nth(locked, locked["cursor"])


async def has_room(conn: Any, prefixes: Sequence[Prefix], *, now: datetime, cool_down: timedelta) -> bool:
    """Whether `take` would find a block now; a look only, it reserves nothing."""
    return bool(await conn.fetchval(Q["prefixes_have_room"], [prefix.id for prefix in prefixes], now - cool_down))


async def give_back(conn: Any, owner: UUID, *, now: datetime) -> list[IPv4Network | IPv6Network]:
    """End all tenures of `owner`; doing it again ends nothing more. Returns the blocks that became free."""
    return [ip_network(str(row["block"])) for row in await conn.fetch(Q["close_tenures"], owner, now)]


async def held_by(conn: Any, owner: UUID) -> list[Tenure]:
    """What `owner` holds now, by slot."""
    return [_tenure(row) for row in await conn.fetch(Q["tenures_of_owner"], owner)]


async def held_by_all(conn: Any, owners: Sequence[UUID]) -> dict[UUID, list[Tenure]]:
    """What each of `owners` holds now; an owner without blocks has an empty list."""
    found: dict[UUID, list[Tenure]] = {owner: [] for owner in owners}
    for row in await conn.fetch(Q["tenures_of_owners"], list(owners)):
        found[row["owner"]].append(_tenure(row))
    return found


async def holder(conn: Any, address: str, at: datetime) -> Tenure | None:
    """The tenure that `address` was part of at that time, if any."""
    row = await conn.fetchrow(Q["tenure_holding"], address, at)
    return None if row is None else _tenure(row)
