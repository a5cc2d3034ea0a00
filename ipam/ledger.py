"""Who holds which block, and who held it when. A tenure is opened by `take` or `hold` and closed by `give_back`.

Allocation never scans: free space is kept as aligned blocks, and taking some is a look at the smallest that fit, the
longest free first, under the lock of the prefix's row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_network
from typing import Any
from uuid import UUID

from ipam.errors import BadBlock, BlockTaken, NoTenure, PrefixClosed, PrefixExhausted
from ipam.prefixes import Prefix
from ipam.space import Carved, Network, carve, cut_out, inside, joined
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Tenure:
    """One owner's hold of one block. `until` is None while it lasts.

    kind `held`: taken out of a prefix. `routed`: a part of the held tenure `within`, led to one device. `anycast`: the
    same, led to many devices at once. `note` is what the ledger says beside: machine, leaf, port, mac, hostname.
    """

    id: UUID
    vrf_id: int
    prefix_id: int
    block: Network
    kind: str
    owner: UUID
    slot: str
    project_id: UUID | None
    within: UUID | None
    since: datetime
    until: datetime | None
    opened_by: str
    closed_by: str | None
    note: Mapping[str, Any]

    @property
    def leaf(self) -> IPv4Interface | IPv6Interface:
        """The leaf's side of a host link: the block's first address, which is even."""
        return self._side(0)

    @property
    def host(self) -> IPv4Interface | IPv6Interface:
        """The host's side of a host link: the odd address after the leaf's."""
        return self._side(1)

    def _side(self, offset: int) -> IPv4Interface | IPv6Interface:
        # A host that owns a whole /64 still has a /127 towards its leaf (RFC 6164).
        length = 127 if self.block.version == 6 else self.block.prefixlen
        address = int(self.block.network_address) + offset
        if self.block.version == 4:
            return IPv4Interface((address, length))
        return IPv6Interface((address, length))


@dataclass(frozen=True, slots=True)
class Want:
    """A block that somebody wants: the same owner and slot always get the same one while they hold it.

    `by` is who asks, for the ledger: "user:<uuid>", "run:<uuid>".
    """

    owner: UUID
    slot: str
    by: str
    project_id: UUID | None = None
    note: Mapping[str, Any] = field(default_factory=dict)


def tenure_of(row: Any) -> Tenure:
    """A tenure from a row that has its columns."""
    return Tenure(**row)


async def take_all(
    conn: Any,
    prefixes: Sequence[Prefix],
    wants: Sequence[Want],
    *,
    now: datetime,
    cool_down: timedelta,
    length: int | None = None,
) -> list[Tenure | None]:
    """A block for each want, from the first prefix that has one; None for those that found none.

    Call it in a transaction. `length` is the mask length of the blocks, by default what the prefixes hand out. Blocks
    that came back less than `cool_down` ago are left alone. Owner and slot are different for each want.
    """
    rows, found = await _locked(conn, prefixes, wants)
    missing = [want for want in wants if (want.owner, want.slot) not in found]
    for tenure in await _take_from(conn, rows, prefixes, missing, length, now, cool_down):
        found[tenure.owner, tenure.slot] = tenure
    return [found.get((want.owner, want.slot)) for want in wants]


async def take_each(
    conn: Any, asked: Sequence[tuple[Want, Sequence[Prefix]]], *, now: datetime, cool_down: timedelta
) -> list[Tenure]:
    """A block for each want from the first of its own prefixes that has one, or none at all.

    Call it late in a transaction: others who take from these prefixes wait until that ends. Otherwise as `take_all`.
    Raises PrefixExhausted, which says what is free, or PrefixClosed.
    """
    every = [prefix for _, prefixes in asked for prefix in prefixes]
    rows, found = await _locked(conn, every, [want for want, _ in asked])
    for want, prefixes in asked:
        if (want.owner, want.slot) not in found:
            taken = await _take_from(conn, rows, prefixes, [want], None, now, cool_down)
            if not taken:
                raise await no_block(conn, prefixes, want.slot, now=now, cool_down=cool_down, length=None)
            found[want.owner, want.slot] = taken[0]
    return [found[want.owner, want.slot] for want, _ in asked]


async def _locked(
    conn: Any, prefixes: Sequence[Prefix], wants: Sequence[Want]
) -> tuple[Mapping[int, Any], dict[tuple[UUID, str], Tenure]]:
    """The prefixes' rows, locked, and what the owners of the wants hold already."""
    # All of them first, in one order whatever the caller's is: who takes crosswise waits, and nobody is thrown out. And
    # in a statement of its own: the next ones then see what the former holders of the locks did.
    rows = {row["id"]: row for row in await conn.fetch(Q["lock_prefixes"], [prefix.id for prefix in prefixes])}
    return rows, await _held_already(conn, wants)


async def _take_from(
    conn: Any,
    rows: Mapping[int, Any],
    prefixes: Sequence[Prefix],
    wants: Sequence[Want],
    length: int | None,
    now: datetime,
    cool_down: timedelta,
) -> list[Tenure]:
    """Blocks of the first prefixes that have any, for as many of the wants as there are."""
    taken: list[Tenure] = []
    for prefix in prefixes:
        locked, missing = rows[prefix.id], wants[len(taken) :]
        if not missing:
            break
        if locked["standing"] != "active":
            continue
        size = prefix.block_length if length is None else length
        carved = await _find(conn, locked, size, len(missing), now - cool_down)
        taken += await open_held(conn, locked, carved, missing, now)
    return taken


async def _held_already(conn: Any, wants: Sequence[Want]) -> dict[tuple[UUID, str], Tenure]:
    owners, slots = [want.owner for want in wants], [want.slot for want in wants]
    rows = await conn.fetch(Q["open_tenures_of_slots"], owners, slots)
    return {(row["owner"], row["slot"]): tenure_of(row) for row in rows}


async def _find(conn: Any, locked: Any, length: int, count: int, free_before: datetime) -> Carved:
    shortest = locked["cidr"].prefixlen
    if not shortest <= length <= locked["block_length"]:
        return Carved([], [], [])
    rows = await conn.fetch(Q["next_free_blocks"], locked["id"], length, shortest, free_before, count)
    carved = carve((row["block"] for row in rows), length, count)
    if len(carved.taken) < count and length < locked["block_length"] and await _join(conn, locked, free_before):
        rows = await conn.fetch(Q["next_free_blocks"], locked["id"], length, shortest, free_before, count)
        carved = carve((row["block"] for row in rows), length, count)
    return carved


async def _join(conn: Any, locked: Any, free_before: datetime) -> bool:
    """Join neighbours that have cooled down; False when no more have since the last time, or none fit together."""
    if not await conn.fetchval(Q["cooled_since"], locked["id"], free_before):
        return False
    rows = await conn.fetch(Q["cooled_blocks"], locked["id"], free_before)
    made = joined([row["block"] for row in rows])
    parts = [(part, whole) for whole, pieces in made.items() for part in pieces]
    await conn.execute(Q["join_blocks"], locked["id"], [part for part, _ in parts], [whole for _, whole in parts])
    await conn.execute(Q["mark_joined"], locked["id"], free_before)
    return bool(parts)


async def open_held(conn: Any, locked: Any, carved: Carved, wants: Sequence[Want], now: datetime) -> list[Tenure]:
    """Write down what was carved out of a prefix whose row is locked, for as many wants as there are blocks."""
    given = list(zip(carved.taken, wants, strict=False))
    if not given:
        return []
    rows = await conn.fetch(
        Q["open_tenures"],
        locked["id"],
        carved.used_up,
        [piece for piece, _ in carved.left],
        [source for _, source in carved.left],
        locked["vrf_id"],
        locked["cidr"],
        now,
        [block for block, _ in given],
        [want.owner for _, want in given],
        [want.slot for _, want in given],
        [want.project_id for _, want in given],
        [want.by for _, want in given],
        [dict(want.note) for _, want in given],
    )
    # Blocks come back in the order in which they went, but only the block itself says so for certain.
    ids = {row["block"]: row["id"] for row in rows}
    return [
        Tenure(
            id=ids[block],
            vrf_id=locked["vrf_id"],
            prefix_id=locked["id"],
            block=block,
            kind="held",
            owner=want.owner,
            slot=want.slot,
            project_id=want.project_id,
            within=None,
            since=now,
            until=None,
            opened_by=want.by,
            closed_by=None,
            note=want.note,
        )
        for block, want in given
    ]


async def take(
    conn: Any,
    prefixes: Sequence[Prefix],
    owner: UUID,
    slot: str,
    *,
    now: datetime,
    by: str,
    cool_down: timedelta = timedelta(0),
    length: int | None = None,
    project_id: UUID | None = None,
    note: Mapping[str, Any] | None = None,
) -> Tenure:
    """One block of mask length `length`, or of the prefix's own, as `take_all` takes them.

    Raises PrefixExhausted, which says what is free, or PrefixClosed.
    """
    want = Want(owner, slot, by, project_id, note or {})
    (found,) = await take_all(conn, prefixes, [want], now=now, cool_down=cool_down, length=length)
    if found is None:
        raise await no_block(conn, prefixes, slot, now=now, cool_down=cool_down, length=length)
    return found


async def no_block(
    conn: Any, prefixes: Sequence[Prefix], slot: str, *, now: datetime, cool_down: timedelta, length: int | None
) -> PrefixExhausted | PrefixClosed:
    """Why `take` found nothing: which prefix, what was asked, what is free."""
    told, closed = [], 0
    for prefix in prefixes:
        size = prefix.block_length if length is None else length
        locked = await conn.fetchrow(Q["share_prefix"], prefix.id)
        if locked["standing"] != "active":
            closed += 1
            told.append(f"{prefix.cidr} is {locked['standing']}")
            continue
        if not prefix.cidr.prefixlen <= size <= prefix.block_length:
            told.append(f"{prefix.cidr} hands out /{prefix.cidr.prefixlen} to /{prefix.block_length}, not /{size}")
            continue
        row = await conn.fetchrow(Q["why_no_block"], prefix.id, now - cool_down, size)
        largest = "nothing" if row["largest"] is None else f"a /{row['largest']} at most"
        text = f"{prefix.cidr} has no free /{size}: {largest} is free"
        if row["cooling"]:
            text += f", {row['cooling']} blocks cool down"
        if row["next"] is not None:
            text += f" (the next until {row['next'] + cool_down:%Y-%m-%d %H:%M:%S} UTC)"
        if row["tagged"]:
            text += f", {row['tagged']} are tagged for abuse"
        told.append(text)
    kind = PrefixClosed if closed == len(told) else PrefixExhausted
    return kind(f"{'; '.join(told)} (asked for: {slot})")


async def hold(conn: Any, prefix: Prefix, block: Network, want: Want, *, now: datetime) -> Tenure:
    """A block that the caller names, whether it has cooled down or not; in a transaction.

    The same owner and slot get what they hold already. Raises BadBlock, BlockTaken (which names the holder) or
    PrefixClosed.
    """
    locked = await conn.fetchrow(Q["lock_prefix"], prefix.id)
    held = await _held_already(conn, [want])
    if (tenure := held.get((want.owner, want.slot))) is not None:
        if tenure.block != block:
            raise BlockTaken(f"{want.owner} holds {tenure.block} as {want.slot} already, and asked for {block}")
        return tenure
    if locked["standing"] != "active":
        raise PrefixClosed(f"{prefix.cidr} is {locked['standing']}")
    if prefix.role == "container" or not inside(block, locked["cidr"]) or block.prefixlen > prefix.block_length:
        raise BadBlock(
            f"{block} is no block of {prefix.cidr}, which hands out /{prefix.cidr.prefixlen} to /{prefix.block_length}"
            f" as {prefix.role}"
        )
    rows = await conn.fetch(Q["free_blocks_touching"], prefix.id, block)
    carved = cut_out([row["block"] for row in rows], block)
    if carved is None:
        holders = await holding(conn, block, now, vrf_ids=[prefix.vrf_id])
        told = ", ".join(f"{tenure.block} by {tenure.owner} as {tenure.slot}" for tenure in holders[:3])
        raise BlockTaken(f"{block} of {prefix.cidr} is not free: {told or 'given out this moment'}")
    if any(row["tagged"] for row in rows):
        raise BlockTaken(f"{block} of {prefix.cidr} is tagged for abuse; it is free when the tag is cleared")
    # By another process whose clock is ahead of ours, or by a correction: the ledger has it held until then.
    until = max((row["held_until"] for row in rows if row["held_until"] is not None), default=now)
    if until > now:
        raise BlockTaken(f"{block} of {prefix.cidr} was held until {until.isoformat()}, which is yet to come")
    return (await open_held(conn, locked, carved, [want], now))[0]


async def with_room(conn: Any, prefixes: Sequence[Prefix], *, now: datetime, cool_down: timedelta) -> set[int]:
    """The ids of those prefixes in which `take` would find a block now; a look only, it reserves nothing."""
    rows = await conn.fetch(Q["prefixes_with_room"], [prefix.id for prefix in prefixes], now - cool_down)
    return {row["id"] for row in rows}


async def give_back(conn: Any, owner: UUID, *, now: datetime, by: str) -> list[Network]:
    """End all tenures of `owner`, in a transaction; doing it again ends nothing more. Returns what became free.

    Raises BlockTaken while a part of what the owner holds is led to a device.
    """
    await conn.fetch(Q["lock_tenures_of_owner"], owner)
    if (part := await conn.fetchrow(Q["parts_of_owner"], owner)) is not None:
        raise BlockTaken(f"{part['block']} is led to {part['owner']}; take it away from there first")
    return [row["block"] for row in await conn.fetch(Q["close_tenures"], owner, now, by)]


async def give_back_one(conn: Any, tenure_id: UUID, *, now: datetime, by: str) -> Tenure:
    """End one held tenure, in a transaction; its block cools down. Returns it as it was.

    Raises NoTenure, BadBlock, or BlockTaken while a part of it is led to a device.
    """
    await conn.fetchrow(Q["share_prefix_of_tenure"], tenure_id)
    rows = await conn.fetch(Q["lock_tenures"], [tenure_id])
    if not rows:
        raise NoTenure(f"there is no tenure {tenure_id} now")
    held = tenure_of(rows[0])
    if held.kind != "held":
        raise BadBlock(f"{held.block} is {held.kind}, a part of what another tenure holds")
    for part in await conn.fetch(Q["parts_routed"], [tenure_id]):
        raise BlockTaken(f"{part['block']} of {held.block} is led to {part['owner']}; take it away from there first")
    moment = await conn.fetchval(Q["close_tenure"], tenure_id, now, by)
    await conn.execute(Q["free_again"], held.prefix_id, held.block, moment)
    return held


async def tenure_by_id(conn: Any, tenure_id: UUID) -> Tenure | None:
    """A tenure, open or ended."""
    row = await conn.fetchrow(Q["tenure_by_id"], tenure_id)
    return None if row is None else tenure_of(row)


async def tenures_in(
    conn: Any, prefix_id: int, *, offset: int, limit: int | None, slot: str = "%"
) -> tuple[int, list[Tenure]]:
    """How many tenures live in a prefix and below it now, and some of them in address order; `slot` is as in LIKE."""
    ids = [row["id"] for row in await conn.fetch(Q["prefix_and_below"], prefix_id)]
    total = await conn.fetchval(Q["count_tenures_of_prefix"], ids, slot)
    rows = await conn.fetch(Q["tenures_of_prefix"], ids, offset, limit, slot)
    return total, [tenure_of(row) for row in rows]


async def held_by(conn: Any, owner: UUID) -> list[Tenure]:
    """What `owner` holds now, by slot."""
    return [tenure_of(row) for row in await conn.fetch(Q["tenures_of_owner"], owner)]


async def held_by_all(conn: Any, owners: Sequence[UUID]) -> dict[UUID, list[Tenure]]:
    """What each of `owners` holds now; an owner without blocks has an empty list."""
    found: dict[UUID, list[Tenure]] = {owner: [] for owner in owners}
    for row in await conn.fetch(Q["tenures_of_owners"], list(owners)):
        found[row["owner"]].append(tenure_of(row))
    return found


def spans_of(block: Network) -> tuple[list[Network], list[Network]]:
    """Firsts and lasts, in the order of blocks: all that `block` lies in, each by itself, and it with all its parts."""
    around = [block.supernet(new_prefix=length) for length in range(block.prefixlen)]
    last = IPv4Network(block.broadcast_address) if block.version == 4 else IPv6Network(block.broadcast_address)
    return [*around, block], [*around, last]


async def holding(conn: Any, block: Network, at: datetime, *, vrf_ids: Sequence[int]) -> list[Tenure]:
    """The tenures that `block` or a part of it belonged to at that time, the widest first and holders before routes."""
    planes = [vrf_id * 2 + routed for vrf_id in vrf_ids for routed in (0, 1)]
    query = Q["tenures_at4" if block.version == 4 else "tenures_at6"]
    rows = await conn.fetch(query, planes, list(vrf_ids), block, at, *spans_of(block))
    found = [tenure_of(row) for row in rows]
    return sorted(found, key=lambda tenure: (tenure.kind != "held", tenure.block.prefixlen, tenure.block))


async def holder(conn: Any, address: str, at: datetime, *, vrf_ids: Sequence[int]) -> Tenure | None:
    """The innermost tenure that `address` was part of at that time: whom it was led to, or who held it."""
    found = await holding(conn, ip_network(address), at, vrf_ids=vrf_ids)
    return found[-1] if found else None
