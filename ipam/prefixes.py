"""The prefix tree: VRFs, which prefix serves which role at which facility, and whose it is.

The database keeps the promises (constraints in sql/migrations): a prefix lies inside its parent and beside its
siblings, and only a container has children. Here the constraints' names become errors that say what was asked.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg
from netaddr import AddrFormatError, IPNetwork

from ipam.abuse import hold_back
from ipam.errors import BadPrefix, NoPrefix, PrefixInUse, PrefixOutsideParent, PrefixOverlaps
from sql.loader import Q

ROLES = (
    "container",
    "boot",
    "boot6",
    "public",
    "private",
    "ipv6",
    "elastic",
    "anycast",
    "loopback",
    "uplink",
    "management",
    "infrastructure",
)
STATUSES = ("active", "draining", "frozen", "retired")


@dataclass(frozen=True, slots=True)
class Prefix:
    """One node of the tree. `block_length` is the mask length of the smallest block that it hands out: 31, 64, 32 …

    `status` is what was said of this node, `standing` the strictest of it and of the nodes above: `active` hands out;
    `draining` and `frozen` hand out nothing, and of a frozen one nothing is split, merged or moved either.
    """

    id: int
    vrf_id: int
    parent_id: int | None
    cidr: IPNetwork
    role: str
    facility: str | None
    block_length: int
    description: str
    status: str
    standing: str
    organization_id: UUID | None
    project_id: UUID | None

    @property
    def blocks(self) -> int:
        """How many blocks of `block_length` the prefix holds in all."""
        return int(2 ** (self.block_length - self.cidr.prefixlen))


@dataclass(frozen=True, slots=True)
class Usage:
    """A prefix with how many tenures are open in it now, and how many of its blocks they take."""

    prefix: Prefix
    tenures: int
    taken: int


def _prefix(row: Any) -> Prefix:
    values = dict(row)
    for counted in ("tenures", "taken"):
        values.pop(counted, None)
    return Prefix(**(values | {"cidr": IPNetwork(str(row["cidr"]))}))


async def add_vrf(conn: Any, name: str) -> int:
    """The id of the VRF with that name, made if there is none."""
    return int(await conn.fetchval(Q["add_vrf"], name))


async def vrfs(conn: Any) -> dict[str, int]:
    """The ids of all VRFs by name, in the order in which they were made."""
    return {row["name"]: row["id"] for row in await conn.fetch(Q["vrfs"])}


def parse_cidr(cidr: str) -> IPNetwork:
    """A prefix from text. Raises BadPrefix, which names the value and what is wrong with it."""
    try:
        network = IPNetwork(cidr)
    except (AddrFormatError, ValueError) as err:
        raise BadPrefix(f"{cidr!r} is no prefix: {err}") from None
    if network.ip != network.network:
        raise BadPrefix(f"{cidr} has host bits set; the prefix is {network.cidr}")
    return network


async def add_prefix(
    conn: Any,
    vrf_id: int,
    cidr: str,
    role: str,
    *,
    block_length: int | None = None,
    facility: str | None = None,
    description: str = "",
    organization_id: UUID | None = None,
    project_id: UUID | None = None,
) -> Prefix:
    """Add a prefix to the tree; the same prefix again is answered with the one that exists.

    Its parent is the smallest prefix around it, which must be a container; a container takes over what lies in it.
    Raises BadPrefix, PrefixOverlaps or PrefixOutsideParent; nothing is changed then.
    """
    network = parse_cidr(cidr)
    if role not in ROLES:
        raise BadPrefix(f"{role!r} is no role; allowed are {', '.join(ROLES)}")
    length = network.prefixlen if block_length is None else block_length
    if not network.prefixlen <= length <= (32 if network.version == 4 else 128):
        raise BadPrefix(f"{cidr} cannot be cut into blocks of /{length}")
    if organization_id is not None and project_id is not None:
        raise BadPrefix(f"{cidr} has one owner at most: an organization or a project")
    try:
        async with conn.transaction():
            await conn.execute(Q["lock_tree"], vrf_id)
            if (row := await conn.fetchrow(Q["find_prefix"], vrf_id, str(network))) is not None:
                return _same(_prefix(row), role, length, facility)
            around = await conn.fetchrow(Q["prefix_around"], vrf_id, str(network))
            if around is not None and around["role"] != "container":
                raise PrefixOverlaps(f"{cidr} lies inside {around['cidr']}, which hands out as {around['role']}")
            parent = None if around is None else around["id"]
            if role == "container":
                await conn.execute(Q["overlaps_may_wait"])
            row = await conn.fetchrow(
                Q["add_prefix"],
                vrf_id,
                parent,
                str(network),
                role,
                facility,
                length,
                description,
                organization_id,
                project_id,
            )
            if role == "container":
                await conn.execute(Q["take_children_over"], row["id"], str(network), vrf_id, parent)
                await conn.execute(Q["overlaps_must_not_wait"])
                await conn.execute(Q["spread_standing"], row["id"])
            else:
                await _free_all(conn, row["id"], vrf_id, str(network), length)
            return _prefix(row)
    except asyncpg.ExclusionViolationError:
        raise PrefixOverlaps(f"{cidr} overlaps a prefix beside it") from None
    except asyncpg.ForeignKeyViolationError as err:
        raise BadPrefix(f"{cidr}: its owner does not exist ({err.constraint_name})") from None
    except asyncpg.CheckViolationError as err:
        if err.constraint_name == "prefix_inside_parent":
            raise PrefixOutsideParent(f"{cidr} does not lie inside its parent") from None
        raise


async def _free_all(conn: Any, prefix_id: int, vrf_id: int, cidr: str, block_length: int) -> None:
    """Make all of a new prefix free, but for what the space brings along when it had another shape before.

    It rests as a whole since the last of it came back, and what is tagged for abuse stays so.
    """
    query = Q["last_held4" if ":" not in cidr else "last_held6"]
    await conn.execute(Q["free_all"], prefix_id, cidr, await conn.fetchval(query, vrf_id, cidr))
    for row in await conn.fetch(Q["tags_touching"], vrf_id, cidr):
        await hold_back(conn, prefix_id, row["block"], block_length)


def _same(found: Prefix, role: str, length: int, facility: str | None) -> Prefix:
    if (found.role, found.block_length, found.facility) != (role, length, facility):
        raise PrefixOverlaps(
            f"{found.cidr} exists already as {found.role} of {found.facility or 'all facilities'}"
            f" with blocks of /{found.block_length}"
        )
    return found


async def prefix_by_id(conn: Any, prefix_id: int) -> Prefix:
    """One node. Raises NoPrefix."""
    row = await conn.fetchrow(Q["prefix_by_id"], prefix_id)
    if row is None:
        raise NoPrefix(f"there is no prefix {prefix_id}")
    return _prefix(row)


async def prefixes_for(
    conn: Any, role: str, facility: str, *, organization_id: UUID | None = None, project_id: UUID | None = None
) -> list[Prefix]:
    """The prefixes that serve a role at a facility: the customer's own first, and then the facility's own before those
    of all facilities. Another owner's prefix is never among them. Raises NoPrefix.
    """
    whose = {"organization_id": organization_id, "project_id": project_id}
    return served((await prefixes_for_each(conn, [role], facility, **whose))[role], role, facility)


async def prefixes_for_each(
    conn: Any,
    roles: Sequence[str],
    facility: str,
    *,
    organization_id: UUID | None = None,
    project_id: UUID | None = None,
) -> dict[str, list[Prefix]]:
    """`prefixes_for` of several roles at once, by role in their order; none where nothing serves a role."""
    found: dict[str, list[Prefix]] = {role: [] for role in roles}
    for row in await conn.fetch(Q["prefixes_with_roles"], list(roles), facility, organization_id, project_id):
        found[row["role"]].append(_prefix(row))
    return found


def served(prefixes: list[Prefix], role: str, facility: str) -> list[Prefix]:
    """The prefixes that were found for a role at a facility. Raises NoPrefix where there is none."""
    if not prefixes:
        raise NoPrefix(f"{facility} has no prefix with the role {role} that is active")
    return prefixes


async def set_status(conn: Any, prefix_id: int, status: str) -> Prefix:
    """Say what a prefix, and with it all below, is to do from now on; whoever is taking a block waits, or has it.

    `retired` takes the prefix out of the tree, so that its space can be given another shape: nothing may live in it.
    Raises NoPrefix, BadPrefix or PrefixInUse.
    """
    if status not in STATUSES:
        raise BadPrefix(f"{status!r} is no status; allowed are {', '.join(STATUSES)}")
    async with conn.transaction():
        prefix = await prefix_by_id(conn, prefix_id)
        await conn.execute(Q["lock_tree"], prefix.vrf_id)
        await conn.fetch(Q["prefixes_below"], prefix_id)
        prefix = await prefix_by_id(conn, prefix_id)
        if prefix.status == "retired" and status != "retired":
            raise BadPrefix(f"{prefix.cidr} is retired; add it again instead")
        if status == "retired":
            life = await conn.fetchrow(Q["prefix_has_life"], prefix_id)
            if life["children"] or life["tenures"]:
                raise PrefixInUse(
                    f"{prefix.cidr} cannot be retired: {life['children']} prefixes and {life['tenures']} tenures"
                    " live in it"
                )
            await conn.execute(Q["forget_free_blocks"], prefix_id)
        await conn.execute(Q["set_prefix_status"], prefix_id, status)
        await conn.execute(Q["spread_standing"], prefix_id)
        return await prefix_by_id(conn, prefix_id)


async def smallest_around(conn: Any, vrf_id: int, cidr: str) -> Prefix | None:
    """The smallest prefix that `cidr` lies in, itself left out."""
    row = await conn.fetchrow(Q["prefix_around"], vrf_id, cidr)
    return None if row is None else await prefix_by_id(conn, row["id"])


async def describe(conn: Any, prefix_id: int, *, description: str | None, facility: str | None) -> Prefix:
    """Change what a prefix says of itself; None leaves a field as it is. Raises NoPrefix."""
    await conn.execute(Q["describe_prefix"], prefix_id, description, facility)
    return await prefix_by_id(conn, prefix_id)


async def usage(
    conn: Any,
    *,
    ids: Collection[int] | None = None,
    vrf_id: int | None = None,
    role: str | None = None,
    facility: str | None = None,
    standing: str | None = None,
    inside: str | None = None,
) -> list[Usage]:
    """The prefixes with what is taken of them now, in address order; retired ones only when asked for by standing."""
    wanted = None if ids is None else list(ids)
    rows = await conn.fetch(Q["prefixes_matching"], wanted, vrf_id, role, facility, standing, inside)
    return [Usage(_prefix(row), row["tenures"], int(row["taken"])) for row in rows]
