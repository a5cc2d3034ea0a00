"""The arithmetic of free space: whatever is carved, cut and joined, nothing is lost and nothing is there twice."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ipam.space import Network, carve, cut_out, inside, joined, without


def block_of(version: int, address: int, length: int) -> Network:
    """The block of /`length` around an address."""
    width = 32 if version == 4 else 128
    address = address >> (width - length) << (width - length)
    return IPv4Network((address, length)) if version == 4 else IPv6Network((address, length))


@st.composite
def blocks(draw: st.DrawFn, version: int | None = None) -> Network:
    chosen = draw(st.sampled_from([4, 6])) if version is None else version
    width = 32 if chosen == 4 else 128
    return block_of(chosen, draw(st.integers(0, 2**width - 1)), draw(st.integers(0, width)))


@st.composite
def blocks_within(draw: st.DrawFn, whole: Network, at_most: int = 10) -> Network:
    """A block that lies in another, at most 2^`at_most` times smaller."""
    length = draw(st.integers(whole.prefixlen, min(whole.max_prefixlen, whole.prefixlen + at_most)))
    address = int(whole.network_address) + draw(st.integers(0, whole.num_addresses - 1))
    return block_of(whole.version, address, length)


@st.composite
def free_spaces(draw: st.DrawFn) -> tuple[Network, list[Network]]:
    """A prefix, and disjoint aligned blocks of it in any order: some of the pieces that random cuts make."""
    whole = draw(blocks())
    pieces = [whole]
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(pieces) - 1))
        part = draw(blocks_within(pieces[at], 5))
        pieces[at : at + 1] = [part, *without(pieces[at], part)]
    kept = [piece for piece in pieces if draw(st.integers(0, 3))]
    return whole, draw(st.permutations(kept))


def addresses(space: Sequence[Network]) -> int:
    return sum(block.num_addresses for block in space)


def assert_disjoint(space: Sequence[Network]) -> None:
    ordered = sorted(space, key=lambda block: int(block.network_address))
    for before, after in pairwise(ordered):
        assert int(before.broadcast_address) < int(after.network_address), f"{before} and {after} overlap"


@given(data=st.data(), whole=blocks())
def test_without_leaves_all_but_the_part(data: st.DataObject, whole: Network) -> None:
    part = data.draw(blocks_within(whole, 64))
    rest = without(whole, part)
    assert_disjoint([part, *rest])
    assert all(inside(piece, whole) for piece in rest)
    assert addresses([part, *rest]) == whole.num_addresses
    assert len(rest) == part.prefixlen - whole.prefixlen  # aligned pieces, and as few as can be


@given(first=blocks(), second=blocks())
def test_inside_is_what_the_addresses_say(first: Network, second: Network) -> None:
    lies = (
        first.version == second.version
        and int(second.network_address) <= int(first.network_address)
        and int(first.broadcast_address) <= int(second.broadcast_address)
    )
    assert inside(first, second) == lies


@given(data=st.data(), space=free_spaces(), count=st.integers(0, 40))
def test_carving_takes_in_the_order_of_preference_and_loses_nothing(
    data: st.DataObject, space: tuple[Network, list[Network]], count: int
) -> None:
    whole, pieces = space
    longest = max((piece.prefixlen for piece in pieces), default=whole.prefixlen)
    length = data.draw(st.integers(longest, min(whole.max_prefixlen, longest + 4)))
    carved = carve(pieces, length, count)

    assert len(carved.taken) == min(count, addresses(pieces) >> (whole.max_prefixlen - length))
    assert all(block.prefixlen == length for block in carved.taken)
    # What is preferred goes first and is used up before the next; within one, from its beginning.
    assert carved.used_up == pieces[: len(carved.used_up)]
    preference = [
        (next(at for at, piece in enumerate(pieces) if inside(block, piece)), int(block.network_address))
        for block in carved.taken
    ]
    assert preference == sorted(preference)
    left = [piece for piece, _ in carved.left]
    for piece, source in carved.left:
        assert source == carved.used_up[-1]
        assert inside(piece, source)
    assert_disjoint([*carved.taken, *left])
    assert addresses([*carved.taken, *left]) == addresses(carved.used_up)


@given(data=st.data(), space=free_spaces())
def test_cutting_out_a_named_block_loses_nothing(data: st.DataObject, space: tuple[Network, list[Network]]) -> None:
    whole, pieces = space
    wanted = data.draw(blocks_within(whole))
    carved = cut_out([piece for piece in pieces if piece.overlaps(wanted)], wanted)

    free_of_it = sum(min(piece.num_addresses, wanted.num_addresses) for piece in pieces if piece.overlaps(wanted))
    assert (carved is None) == (free_of_it < wanted.num_addresses)
    if carved is None:
        return
    assert carved.taken == [wanted]
    assert set(carved.used_up) <= set(pieces)
    left = [piece for piece, _ in carved.left]
    assert all(source in carved.used_up and inside(piece, source) for piece, source in carved.left)
    assert_disjoint([wanted, *left])
    assert addresses([wanted, *left]) == addresses(carved.used_up)


@given(space=free_spaces())
def test_joining_makes_the_largest_blocks_and_loses_nothing(space: tuple[Network, list[Network]]) -> None:
    _, pieces = space
    made = joined(pieces)
    for bigger, parts in made.items():
        assert len(parts) > 1
        assert all(inside(part, bigger) for part in parts)
        assert_disjoint(parts)
        assert addresses(parts) == bigger.num_addresses
    used = [part for parts in made.values() for part in parts]
    assert len(set(used)) == len(used)
    after = [*made, *(piece for piece in pieces if piece not in set(used))]
    assert_disjoint(after)
    assert addresses(after) == addresses(pieces)
    for block in after:
        if block.prefixlen:
            (twin,) = without(block.supernet(), block)
            assert twin not in after, f"{block} and {twin} are neighbours and were left apart"


@given(space=free_spaces(), length=st.integers(0, 4))
def test_what_was_carved_comes_back_as_the_whole(space: tuple[Network, list[Network]], length: int) -> None:
    whole, pieces = space
    longest = min(whole.max_prefixlen, max((piece.prefixlen for piece in pieces), default=whole.prefixlen) + length)
    carved = carve(pieces, longest, 64)
    back = [*carved.taken, *(piece for piece, _ in carved.left), *pieces[len(carved.used_up) :]]
    made = joined(back)
    assert addresses(back) == addresses(pieces)
    for piece in pieces:
        assert piece in back or any(inside(piece, bigger) for bigger in made)
