"""Who is a member of what, who is invited, and the tokens of users and projects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from service.store.rows import Connection
from sql.loader import Q


@dataclass(frozen=True, slots=True)
class Membership:
    """What a user is in an organization, with all its projects, or in one project."""

    id: UUID
    user_id: UUID
    organization_id: UUID | None
    project_id: UUID | None
    roles: list[str]
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Invitation:
    """A membership that is offered to whoever has the e-mail address. With `project_ids` it is of these projects."""

    id: UUID
    organization_id: UUID | None
    project_id: UUID | None
    email: str
    roles: list[str]
    project_ids: list[UUID]
    message: str
    invited_by: UUID | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """A token, as far as the database knows it."""

    id: UUID
    user_id: UUID | None
    project_id: UUID | None
    read_only: bool
    description: str
    created_at: datetime


async def memberships(
    db: Connection,
    *,
    ids: Sequence[UUID] | None = None,
    organization_id: UUID | None = None,
    project_id: UUID | None = None,
    search: str | None = None,
) -> list[Membership]:
    """Memberships, oldest first. Those that hold in a project are its own and its organization's."""
    rows = await db.fetch(Q["memberships"], ids, organization_id, project_id, search)
    return [Membership(**row) for row in rows]


async def invitations(
    db: Connection,
    *,
    ids: Sequence[UUID] | None = None,
    organization_id: UUID | None = None,
    project_id: UUID | None = None,
    invited: UUID | None = None,
) -> list[Invitation]:
    """Invitations, oldest first; `invited` is a user who has the address."""
    rows = await db.fetch(Q["invitations"], ids, organization_id, project_id, invited)
    return [Invitation(**row) for row in rows]


async def end_membership(conn: Connection, id_: UUID) -> bool:
    """End it at once; whether it was there. His organization is another from now on, if he is a member of one."""
    user_id = await conn.fetchval(Q["delete_membership"], id_)
    if user_id is not None:
        await conn.execute(Q["rehome_users"], [user_id])
    return user_id is not None


async def tokens(
    db: Connection,
    *,
    user_id: UUID | None = None,
    project_id: UUID | None = None,
    search: str | None = None,
    id_: UUID | None = None,
) -> list[Token]:
    """Tokens, oldest first."""
    return [Token(**row) for row in await db.fetch(Q["tokens"], user_id, project_id, search, id_)]
