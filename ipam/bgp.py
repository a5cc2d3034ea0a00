"""What a customer's device may announce over BGP, and by which numbers. Pure.

A device may announce what its project holds as elastic blocks at its facility, and what it holds of global (anycast)
space. Never a wider prefix: two blocks that lie side by side are two. Of a block that belongs to one facility any part
may be announced, down to a single address, for that is how addresses are moved between devices. A global block only as
it is: the same block is announced in many places, and a longer prefix at one of them would draw the traffic of all.
What the leaves lead to a device by a static route nobody announces: a block is led by the one or by the other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ipam.asn import LAST, is_private
from ipam.space import Network, left_of

PEER_AS = 65_530  # of the leaf, towards customers
LOCAL_AS = 65_000  # of a customer who names none
MAX_PREFIXES = 10  # that a leaf takes in one session

_RESERVED = (23_456, 65_535)  # RFC 6793 §9, RFC 7300


@dataclass(frozen=True, slots=True)
class Held:
    """An elastic block of a project; `facility` is None for a global one. `led` are its parts with static routes."""

    block: Network
    facility: str | None
    led: tuple[Network, ...] = ()


@dataclass(frozen=True, slots=True)
class Accepted:
    """A prefix that a leaf takes from a device; unless `exact`, also every longer one inside it."""

    prefix: Network
    exact: bool


def accepted(held: Iterable[Held], facility: str, version: int) -> list[Accepted]:
    """What a device at a facility may announce, in address order; `version` is 4 or 6."""
    found = [
        Accepted(block, exact=one.facility is None)
        for one in held
        if one.block.version == version and one.facility in (None, facility)
        for block in _left(one)
    ]
    return sorted(found, key=lambda one: (int(one.prefix.network_address), one.prefix.prefixlen))


def _left(held: Held) -> list[Network]:
    """What no static route leads anywhere; of a global block all or nothing."""
    left = [held.block]
    for part in held.led:
        if held.facility is None:
            return []
        left = left_of(left, part)
    return left


def why_not(asn: int, *, local: bool) -> str | None:
    """Why a customer may not use the number; None when he may. Local sessions take private numbers (RFC 6996)."""
    if not 1 <= asn <= LAST:
        return f"allowed are 1 to {LAST}"
    if local:
        return (
            None if is_private(asn) else f"a local one is private; allowed are 64512 to 65534 and 4200000000 to {LAST}"
        )
    if is_private(asn) or asn in _RESERVED:
        return "a global one is neither private nor reserved"
    return None
