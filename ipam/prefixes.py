"""The prefix tree: VRFs, and which prefix serves which role at which facility.

The database keeps the promises (constraints in sql/migrations/0001_foundation.sql): a prefix lies inside its parent
and beside its siblings. Here the constraints' names become errors that say what was asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg
from netaddr import AddrFormatError, IPNetwork

from ipam.errors import BadPrefix, NoPrefix, PrefixOutsideParent, PrefixOverlaps
from sql.loader import Q

ROLES = (
    "container",
    "boot",
    "public",
    "private",
    "ipv6",
    "elastic",
    "loopback",
    "uplink",
    "management",
    "infrastructure",
)


@dataclass(frozen=True, slots=True)
class Prefix:
    """One node of the tree. `block_length` is the mask length of what it hands out: 31, 127, 64, 32 …"""

    id: int
    vrf_id: int
    parent_id: int | None
    cidr: IPNetwork
    role: str
    facility: str | None
    block_length: int
    cursor: int

    @property
    def blocks(self) -> int:
        """How many blocks the prefix holds in all."""
        return int(2 ** (self.block_length - self.cidr.prefixlen))


@dataclass(frozen=True, slots=True)
class Usage:
    """A prefix with the number of its blocks that are taken now."""

    prefix: Prefix
    taken: int


def _prefix(row: Any) -> Prefix:
    values = dict(row)
    values.pop("taken", None)
    return Prefix(**(values | {"cidr": IPNetwork(str(row["cidr"]))}))


async def add_vrf(conn: Any, name: str) -> int:
    """The id of the VRF with that name, made if there is none."""
    return int(await conn.fetchval(Q["add_vrf"], name))


async def add_prefix(
    conn: Any,
    vrf_id: int,
    cidr: str,
    role: str,
    *,
    block_length: int | None = None,
    parent_id: int | None = None,
    facility: str | None = None,
) -> Prefix:
    """Add a prefix to the tree; the same prefix again is answered with the one that exists.

    Raises BadPrefix, PrefixOverlaps or PrefixOutsideParent; nothing is changed then.
    """
    try:
        network = IPNetwork(cidr)
    except (AddrFormatError, ValueError) as err:
        raise BadPrefix(f"{cidr!r} is no prefix: {err}") from None
    if network.ip != network.network:
        raise BadPrefix(f"{cidr} has host bits set; the prefix is {network.cidr}")
    if role not in ROLES:
        raise BadPrefix(f"{role!r} is no role; allowed are {', '.join(ROLES)}")
    length = network.prefixlen if block_length is None else block_length
    if not network.prefixlen <= length <= (32 if network.version == 4 else 128):
        raise BadPrefix(f"{cidr} cannot be cut into blocks of /{length}")
    if (row := await conn.fetchrow(Q["find_prefix"], vrf_id, str(network))) is not None:
        found = _prefix(row)
        if (found.role, found.block_length, found.facility) != (role, length, facility):
            raise PrefixOverlaps(f"{cidr} exists already as {found.role} with blocks of /{found.block_length}")
        return found
    try:
        async with conn.transaction():
            return _prefix(
                await conn.fetchrow(Q["add_prefix"], vrf_id, parent_id, str(network), role, facility, length)
            )
    except asyncpg.ExclusionViolationError:
        raise PrefixOverlaps(f"{cidr} overlaps a prefix beside it") from None
    except asyncpg.CheckViolationError as err:
        if err.constraint_name == "prefix_inside_parent":
            raise PrefixOutsideParent(f"{cidr} does not lie inside prefix {parent_id}") from None
        raise


async def prefixes_for(conn: Any, role: str, facility: str) -> list[Prefix]:
    """The prefixes that serve a role at a facility, its own before the ones that serve all. Raises NoPrefix."""
    found = [_prefix(row) for row in await conn.fetch(Q["prefix_with_role"], role, facility)]
    if not found:
        raise NoPrefix(f"{facility} has no prefix with the role {role}")
    return found


async def usage(conn: Any) -> list[Usage]:
    """All prefixes with what is taken of them now, in address order."""
    return [Usage(_prefix(row), row["taken"]) for row in await conn.fetch(Q["prefixes_with_use"])]
