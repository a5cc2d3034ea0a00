"""Who asks, and the users, organizations, projects and SSH keys that they may see."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from service.policy import NO_RIGHTS, OF_NOBODY, OF_USERS, PROJECT_KEY, RIGHTS, Right, Role, rights_of
from service.store.rows import Connection, Pool
from sql.loader import Q

Scope = tuple[bool, list[UUID], list[UUID]]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a token speaks for: a user with what he is a member of, or one project.

    `organization_id` is where a new project belongs that names no other. A project is in `in_projects` only when the
    membership is of that project alone; what holds in an organization holds in its projects.
    """

    token_id: UUID
    read_only: bool
    user_id: UUID | None
    project_id: UUID | None
    organization_id: UUID
    staff_role: Role | None
    in_organizations: Mapping[UUID, frozenset[Right]]
    in_projects: Mapping[UUID, frozenset[Right]]

    @property
    def staff(self) -> bool:
        """Whether he sees everything."""
        return self.staff_role is not None

    @property
    def rights(self) -> frozenset[Right]:
        """What he may everywhere: of staff, what the role says; of others, what needs no membership."""
        mine = OF_NOBODY if self.user_id is None else OF_USERS
        return mine if self.staff_role is None else mine | RIGHTS[self.staff_role]

    def rights_in(self, organization_id: UUID | None, project_id: UUID | None) -> frozenset[Right]:
        """What he may in an organization, or in a project of it."""
        found = self.rights
        if organization_id is not None:
            found |= self.in_organizations.get(organization_id, NO_RIGHTS)
        return found if project_id is None else found | self.in_projects.get(project_id, NO_RIGHTS)

    def anywhere(self, right: Right) -> bool:
        """Whether there is a place where he has the right."""
        return right in self.rights.union(*self.in_organizations.values(), *self.in_projects.values())

    def where(self, right: Right) -> tuple[list[UUID], list[UUID]]:
        """The organizations, and the single projects beside them, in which he has the right."""
        return (
            [id_ for id_, rights in self.in_organizations.items() if right in rights],
            [id_ for id_, rights in self.in_projects.items() if right in rights],
        )

    @property
    def actor(self) -> str:
        """Who did it, for whatever is written down."""
        return f"user:{self.user_id}" if self.user_id is not None else f"project:{self.project_id}"

    @property
    def scope(self) -> Scope:
        """The first three arguments of every query that shows only what the principal may see: whether that is
        everything, else the organizations and the single projects.
        """
        return self.staff, list(self.in_organizations), list(self.in_projects)


@dataclass(frozen=True, slots=True)
class User:
    """A person with an account."""

    id: UUID
    organization_id: UUID
    email: str
    first_name: str
    last_name: str
    staff_role: Role | None
    created_at: datetime
    updated_at: datetime
    disabled_at: datetime | None
    default_project_id: UUID | None
    max_projects: int | None  # of the organization; None is without a limit


@dataclass(frozen=True, slots=True)
class Organization:
    """A customer, with the projects that the principal may see."""

    id: UUID
    name: str
    description: str | None
    customdata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    project_ids: list[UUID]
    member_ids: list[UUID]
    membership_ids: list[UUID]


@dataclass(frozen=True, slots=True)
class Project:
    """A project with what belongs to it. Members are also those of its organization."""

    id: UUID
    organization_id: UUID
    name: str
    tags: list[str]
    customdata: dict[str, Any]
    created_at: datetime
    updated_at: datetime
    device_ids: list[UUID]  # the newest 250: clients look through the list of devices, which has pages
    ssh_key_ids: list[UUID]
    member_ids: list[UUID]
    membership_ids: list[UUID]
    invitation_ids: list[UUID]
    max_devices: int | None  # None is without a limit
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
    return await _principal(db, token_digest(token))


async def _principal(db: Pool, digest: bytes) -> Principal | None:
    rows = await db.fetch(Q["principal_by_token"], digest)
    if not rows:
        return None
    first = rows[0]
    in_projects = {row["of_project"]: rights_of(row["roles"]) for row in rows if row["of_project"] is not None}
    if first["project_id"] is not None:
        in_projects[first["project_id"]] = PROJECT_KEY
    return Principal(
        token_id=first["token_id"],
        read_only=first["read_only"],
        user_id=first["user_id"],
        project_id=first["project_id"],
        organization_id=first["organization_id"],
        staff_role=None if first["staff_role"] is None else Role(first["staff_role"]),
        in_organizations={
            row["of_organization"]: rights_of(row["roles"]) for row in rows if row["of_organization"] is not None
        },
        in_projects=in_projects,
    )


async def principal_again(db: Pool, principal: Principal) -> Principal | None:
    """The same caller as he is now; None when his token is good for nothing any more."""
    return (
        None
        if (digest := await db.fetchval(Q["digest_of_token"], principal.token_id)) is None
        else await _principal(db, digest)
    )


async def users(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[User]:
    """Those of the users that the principal may see."""
    rows = await db.fetch(Q["users_by_ids"], *principal.scope, principal.user_id, list(ids))
    return in_order([User(**row) for row in rows], ids)


async def organizations_page(db: Connection, principal: Principal, limit: int, offset: int) -> tuple[int, list[UUID]]:
    """How many organizations the principal may see, and the ids of one page."""
    staff, organization_ids, _ = principal.scope
    row = await db.fetchrow(Q["organizations_matching"], staff, organization_ids, limit, offset)
    return row["total"], row["ids"]


async def organizations(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[Organization]:
    """Those of the organizations that the principal may see, in the order of `ids`."""
    staff, organization_ids, _ = principal.scope
    rows = await db.fetch(Q["organizations_by_ids"], staff, organization_ids, list(ids))
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


async def uses_project(db: Connection, principal: Principal, project_id: UUID) -> bool:
    """Whether the principal may use what the project has."""
    organization_ids, project_ids = principal.where(Right.USE)
    everywhere = Right.USE in principal.rights
    return bool(await db.fetchval(Q["sees_project"], everywhere, organization_ids, project_ids, project_id))


async def ssh_keys_of(db: Connection, owner: UUID, search: str | None = None) -> list[SshKey]:
    """The keys of a user or a project."""
    return [SshKey(**row) for row in await db.fetch(Q["ssh_keys_of_owner"], owner, search)]


async def ssh_keys(db: Connection, principal: Principal, ids: Sequence[UUID]) -> list[SshKey]:
    """Those of the keys that the principal may see, in the order of `ids`."""
    rows = await db.fetch(Q["ssh_keys_by_ids"], *principal.scope, principal.user_id, list(ids))
    return in_order([SshKey(**row) for row in rows], ids)


def in_order(found: Sequence[Any], ids: Sequence[UUID]) -> list[Any]:
    """`found` in the order of `ids`, which the database does not promise."""
    by_id = {item.id: item for item in found}
    return [by_id[id_] for id_ in ids if id_ in by_id]
