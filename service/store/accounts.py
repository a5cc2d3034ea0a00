"""Who asks, and the users, organizations, projects and SSH keys that they may see."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.store.rows import Connection, Pool
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token speaks for: a user with all projects of his organization, or one project."""

    token_id: UUID
    read_only: bool
    user_id: UUID | None
    project_id: UUID | None
    organization_id: UUID
    staff: bool

    @property
    def actor(self) -> str:
        """Who did it, for whatever is written down."""
        return f"user:{self.user_id}" if self.user_id is not None else f"project:{self.project_id}"

    @property
    def scope(self) -> tuple[bool, UUID, UUID | None]:
        """The first three arguments of every query that shows only what the principal may see."""
        return self.staff, self.organization_id, self.project_id


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account."""

    id: UUID
    organization_id: UUID
    email: str
    first_name: str
    last_name: str
    staff: bool
    created_at: datetime
    updated_at: datetime
    default_project_id: UUID | None


@dataclass(frozen=True, slots=True)
class Organization:
    """A customer, with the projects that the principal may see."""

    id: UUID
    name: str
    created_at: datetime
    project_ids: list[UUID]
    member_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Project:
    """A project with what belongs to it."""

    id: UUID
    organization_id: UUID
    name: str
    tags: list[str]
    customdata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    device_ids: list[UUID]
    ssh_key_ids: list[UUID]
    member_ids: list[UUID]
    has_bgp_config: bool
    backend_transfer: (
        bool  # the customer's word for private traffic between facilities, which the fabric carries anyway
    )


@dataclass(frozen=True, slots=True)
class SshKey:
    """A public key of a user or a project."""

    id: UUID
    user_id: UUID | None
    project_id: UUID | None
    label: str
    key: str
    fingerprint: str
    tags: list[str]
    created_at: datetime
    updated_at: datetime


def token_digest(token: str) -> bytes:
    """What the database keeps of a token."""
    return hashlib.sha256(token.encode()).digest()


async def principal_of(db: Pool, token: str) -> Principal | None:
    """Who the token speaks for; None when nobody knows it."""
    row = await db.fetchrow(Q["principal_by_token"], token_digest(token))
    return None if row is None else Principal(**row)


async def users(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[User]:
    """Those of the users that the principal may see."""
    staff, organization_id, _ = principal.scope
    return [User(**row) for row in await db.fetch(Q["users_by_ids"], staff, organization_id, list(ids))]


async def organizations_page(db: Connection, principal: Principal, limit: int, offset: int) -> tuple[int, list[UUID]]:
    """How many organizations the principal may see, and the ids of one page."""
    row = await db.fetchrow(Q["organizations_matching"], principal.staff, principal.organization_id, limit, offset)
    return row["total"], row["ids"]


async def organizations(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Organization]:
    """Those of the organizations that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["organizations_by_ids"], *principal.scope, list(ids))
    return in_order([Organization(**row) for row in rows], ids)


async def projects_page(
    db: Connection, principal: Principal, limit: int, offset: int, *, organization_id: UUID | None, name: str | None
) -> tuple[int, list[UUID]]:
    """How many projects match, and the ids of one page, oldest first."""
    row = await db.fetchrow(Q["projects_matching"], *principal.scope, organization_id, name, limit, offset)
    return row["total"], row["ids"]


async def projects(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Project]:
    """Those of the projects that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["projects_by_ids"], *principal.scope, list(ids))
    return in_order([Project(**row) for row in rows], ids)


async def sees_project(db: Connection, principal: Principal, project_id: UUID) -> bool:
    """Whether the principal may see the project."""
    return bool(await db.fetchval(Q["sees_project"], *principal.scope, project_id))


async def ssh_keys_of(db: Connection, owner: UUID, search: str | None = None) -> list[SshKey]:
    """The keys of a user or a project."""
    return [SshKey(**row) for row in await db.fetch(Q["ssh_keys_of_owner"], owner, search)]


async def ssh_keys(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[SshKey]:
    """Those of the keys that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["ssh_keys_by_ids"], *principal.scope, list(ids))
    return in_order([SshKey(**row) for row in rows], ids)


def in_order(found: Sequence[Any], ids: Sequence[UUID]) -> list[Any]:
    """`found` in the order of `ids`, which the database does not promise."""
    by_id = {item.id: item for item in found}
    return [by_id[id_] for id_ in ids if id_ in by_id]
