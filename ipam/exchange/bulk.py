"""Many named blocks of a prefix at once: one look at what is free, and one statement that takes them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from ipam.ledger import Want, hold, open_held
from ipam.prefixes import Prefix
from ipam.space import Carved, Network
from sql.loader import Q


def cut_out_all(free: Iterable[Network], wanted: Iterable[Network]) -> Carved:
    """Those of the wanted blocks that lie in one of the free ones, cut out of these; all are disjoint. Pure."""
    carved, ordered = Carved([], [], []), sorted(wanted)
    for source in free:
        begin = bisect_left(ordered, source.network_address, key=_address)
        inside = ordered[begin : bisect_right(ordered, source.broadcast_address, key=_address)]
        if inside and inside[0].prefixlen >= source.prefixlen:
            carved.used_up.append(source)
            carved.taken.extend(inside)
            carved.left.extend((piece, source) for piece in _rest(source, inside))
    return carved


def _address(block: Network) -> Any:
    return block.network_address


def _rest(source: Network, taken: Sequence[Network]) -> Iterator[Network]:
    """What of a block is left when these sorted parts are gone, as few aligned blocks."""
    if not taken:
        yield source
    elif taken[0] != source:
        low, high = source.subnets()
        middle = bisect_left(taken, high.network_address, key=_address)
        yield from _rest(low, taken[:middle])
        yield from _rest(high, taken[middle:])


async def hold_all(conn: Any, prefix: Prefix, wanted: Sequence[tuple[Network, Want]], *, now: datetime) -> None:
    """As `ledger.hold`, for many disjoint blocks of a prefix; in a transaction, which is rolled back when it raises.

    Raises BadBlock, BlockTaken (which names the holder) or PrefixClosed.
    """
    wants = dict(wanted)
    locked = await conn.fetchrow(Q["lock_prefix"], prefix.id)
    sound = locked["standing"] == "active" and prefix.role != "container"
    rows = await conn.fetch(Q["exchange_free"], prefix.id, now) if sound else []
    fitting = [block for block in wants if block.prefixlen <= prefix.block_length]
    carved = cut_out_all([row["block"] for row in rows], fitting)
    await open_held(conn, locked, carved, [wants.pop(block) for block in carved.taken], now)
    # What is left lies in several free blocks, or cannot be: one by one, each with its own answer.
    for block, want in wants.items():
        await hold(conn, prefix, block, want, now=now)
