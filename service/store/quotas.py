"""Quotas: how much an organization or a project may have, kept inside of the transactions that add to it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q

_WORDS = {
    "devices": "devices",
    "elastic_ipv4": "elastic IPv4 addresses",
    "elastic_ipv6": "elastic IPv6 networks of 64 bits",
    "projects": "projects",
    "members": "members",
}


class OverQuota(Exception):
    """What is asked for is more than the quota leaves; nothing was added."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quota:
    """Limits; None is without one. IPv4 in addresses, IPv6 in networks of 64 bits."""

    devices: int | None = None
    elastic_ipv4: int | None = None
    elastic_ipv6: int | None = None
    projects: int | None = None
    members: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How much there is, in the units of Quota."""

    devices: int = 0
    elastic_ipv4: int = 0
    elastic_ipv6: int = 0
    projects: int = 0
    members: int = 0


NAMES = tuple(field.name for field in fields(Quota))


async def quota_of(db: Connection, *, organization_id: UUID | None = None, project_id: UUID | None = None) -> Quota:
    """The limits of an organization, or of a project alone."""
    row = await db.fetchrow(Q["quota_of"], organization_id, project_id)
    return Quota() if row is None else Quota(**row)


async def use_of(db: Connection, *, organization_id: UUID | None = None, project_id: UUID | None = None) -> Use:
    """What an organization has in all of its projects, or what one project has."""
    return Use(**await db.fetchrow(Q["quota_use"], organization_id, project_id))


async def set_quota(
    db: Connection, quota: Quota, *, organization_id: UUID | None = None, project_id: UUID | None = None
) -> None:
    """Set all limits. What is there already stays, also when it is more."""
    await db.execute(Q["set_quota"], organization_id, project_id, *(getattr(quota, name) for name in NAMES))


async def limited(db: Connection, organization_id: UUID, project_id: UUID | None) -> bool:
    """Whether there is any quota to be kept."""
    projects = [] if project_id is None else [project_id]
    return bool(await db.fetchval(Q["any_quota"], [organization_id], projects))


async def keep_within(conn: Connection, organization_id: UUID, project_id: UUID | None, more: Use) -> None:
    """Return when so much may be added. Call it in the transaction that adds it: until that ends, nobody else adds.

    Raises OverQuota, which names the limit and the use.
    """
    for row in await conn.fetch(Q["lock_quotas"], organization_id, project_id):
        values = dict(row)
        owner = {name: values.pop(name) for name in ("organization_id", "project_id")}
        use = await use_of(conn, **owner)
        for name, added in asdict(more).items():
            limit, used = values[name], getattr(use, name)
            if limit is not None and added and used + added > limit:
                whose = "organization" if owner["project_id"] is None else "project"
                raise OverQuota(f"the {whose}'s quota is {limit} {_WORDS[name]}; {used} are in use, {added} more asked")
