"""Arithmetic of free space: aligned blocks that are carved, cut out and joined. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_address, summarize_address_range
from itertools import islice
from typing import TypeAlias

from ipam.errors import BadBlock

Network: TypeAlias = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class Carved:
    """What a carving takes out of free space, and what it leaves there."""

    taken: list[Network]
    used_up: list[Network]  # free blocks that are free no more, as a whole
    left: list[tuple[Network, Network]]  # what stays free of them: the piece, and the block that it is a piece of


def _piece(whole: Network, number: int, length: int) -> Network:
    """The block of /`length` at place `number` of `whole`."""
    address = int(whole.network_address) + (number << (whole.max_prefixlen - length))
    return IPv4Network((address, length)) if whole.version == 4 else IPv6Network((address, length))


def _rest(whole: Network, used: int, length: int) -> Iterator[Network]:
    """What is left of `whole` behind its first `used` blocks of /`length`, as few aligned blocks."""
    end = 1 << (length - whole.prefixlen)
    while used < end:
        size = used & -used
        shorter = size.bit_length() - 1
        yield _piece(whole, used >> shorter, length - shorter)
        used += size


def carve(free: Iterable[Network], length: int, count: int) -> Carved:
    """Up to `count` blocks of /`length` out of `free`, whose order is the order of preference; none is smaller."""
    carved = Carved([], [], [])
    for source in free:
        wanted = count - len(carved.taken)
        if wanted <= 0:
            break
        used = min(wanted, 1 << (length - source.prefixlen))
        carved.used_up.append(source)
        carved.taken.extend(_piece(source, number, length) for number in range(used))
        carved.left.extend((piece, source) for piece in _rest(source, used, length))
    return carved


def cut_out(free: Sequence[Network], wanted: Network) -> Carved | None:
    """`wanted` out of the free blocks that it lies in or that lie in it; None when not all of it is free."""
    for source in free:
        if inside(wanted, source):
            return Carved([wanted], [source], [(piece, source) for piece in without(source, wanted)])
    parts = [block for block in free if inside(block, wanted)]
    if sum(block.num_addresses for block in parts) != wanted.num_addresses:
        return None
    return Carved([wanted], parts, [])


def without(whole: Network, part: Network) -> list[Network]:
    """What is left of `whole` when `part`, which lies in it, is gone."""
    return [] if part == whole else list(whole.address_exclude(part))  # type: ignore[arg-type]


def left_of(blocks: Iterable[Network], part: Network) -> list[Network]:
    """What is left of the blocks when all of them that `part` covers, or that covers it, is gone."""
    return [
        piece
        for block in blocks
        if not inside(block, part)
        for piece in (without(block, part) if inside(part, block) else [block])
    ]


def free_within(whole: Network, used: Iterable[Network], length: int, limit: int) -> list[Network]:
    """The first `limit` blocks of /`length` inside `whole` that touch none of the used ones, in address order."""
    free = [whole]
    for part in used:
        free = left_of(free, part)
    fitting = sorted(block for block in free if block.prefixlen <= length)
    return list(islice((piece for block in fitting for piece in block.subnets(new_prefix=length)), limit))


def inside(inner: Network, outer: Network) -> bool:
    """Whether one block lies in another, or is it."""
    return inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]


def blocks_between(first: str, last: str) -> list[Network]:
    """The fewest aligned blocks that make up the addresses from `first` to `last`. Raises BadBlock."""
    try:
        return list(summarize_address_range(ip_address(first), ip_address(last)))
    except (ValueError, TypeError) as err:
        raise BadBlock(f"{first} to {last} is no range of addresses: {err}") from None


def joined(free: Sequence[Network]) -> dict[Network, list[Network]]:
    """The blocks that disjoint free blocks of one family make together, each with what it was made of."""
    made: dict[Network, list[Network]] = {}
    pieces = iter(sorted(free))
    piece = next(pieces, None)
    for whole in collapse_addresses(free):  # type: ignore[type-var]
        parts: list[Network] = []
        while piece is not None and inside(piece, whole):
            parts.append(piece)
            piece = next(pieces, None)
        if len(parts) > 1:
            made[whole] = parts
    return made
