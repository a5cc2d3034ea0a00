"""Who may do what on which node of the tree: the one place where it is decided.

A right is `view`, `assign` (take and give back blocks) or `manage` (change nodes, and grant); the later includes the
earlier. It comes from a grant or from being the owner, who manages his space, and holds for the node and all below.

A grant to a user, or to an organization that he is a member of, or any project of it serves the user; a grant to a
project also serves those who are members of it alone, and its tokens: these have nothing of its organization's. Staff
may do everything. Nobody learns of a node that he has no right on, nor of the nodes above it.

Who may grant: whoever manages the node, staff always. A customer grants, sees and revokes what concerns his own
organizations, their projects and their users, a project's token what concerns its project. What leads out of an
organization is the provider's to give, since he answers for the assignment to the registry and to those who report
abuse: handing a delegated prefix on to another organization goes through staff.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias, get_args
from uuid import UUID, uuid4

from ipam.errors import IpamError
from sql.loader import Q

Right: TypeAlias = Literal["view", "assign", "manage"]
GranteeKind: TypeAlias = Literal["organization", "project", "user"]
RIGHTS: tuple[Right, ...] = get_args(Right)  # the weakest first
GRANTEES: tuple[GranteeKind, ...] = get_args(GranteeKind)


class NotAllowed(IpamError):
    """The right on the prefix is missing."""

    def __init__(self, message: str, *, visible: bool) -> None:
        super().__init__(message)
        # Whether the subject may know that the prefix is there.
        self.visible = visible


class NoGrantee(IpamError):
    """There is no such organization, project or user."""


class NoGrant(IpamError):
    """There is no such grant on the prefix."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who wants to do something: a user, or nobody in particular, for organizations with all of their projects and
    for single projects."""

    user_id: UUID | None
    project_ids: frozenset[UUID]
    organization_ids: frozenset[UUID]
    staff: bool


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a subject has a right: a grant, or, when `grant_id` is None, being the owner."""

    right: Right
    cidr: str
    kind: GranteeKind
    name: str
    grant_id: UUID | None
    granted_by: str | None
    granted_at: datetime | None

    def __str__(self) -> str:
        if self.granted_by is None or self.granted_at is None:
            return f"{self.right}: {self.kind} {self.name} is the owner of {self.cidr}"
        by, at = self.granted_by.replace(":", " ", 1), self.granted_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"{self.right}: allowed by a grant to {self.kind} {self.name} on {self.cidr} (granted by {by} at {at})"


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a subject may do on a prefix, the strongest right first and why; `cidr` is None when there is no prefix."""

    cidr: str | None
    staff: bool
    reasons: tuple[Reason, ...]

    @property
    def right(self) -> Right | None:
        """The strongest right; None when the subject may not even view."""
        if self.cidr is None:
            return None
        if self.staff:
            return "manage"
        return self.reasons[0].right if self.reasons else None

    def sentences(self) -> list[str]:
        """The reasons as an operator reads them; there is always one."""
        return list(self._sentences())

    def _sentences(self) -> Iterator[str]:
        if self.cidr is None:
            yield "nothing: there is no such prefix"
            return
        if self.staff:
            yield "manage: staff may do everything"
        yield from map(str, self.reasons)
        if not self.staff and not self.reasons:
            yield f"nothing: no grant on {self.cidr} or above"


@dataclass(frozen=True, slots=True)
class Grant:
    """A right on a node that was given to somebody. `revoked_at` is None while it holds."""

    id: UUID
    prefix_id: int
    right: Right
    kind: GranteeKind
    grantee_id: UUID
    name: str
    granted_by: str
    granted_at: datetime
    revoked_by: str | None
    revoked_at: datetime | None


async def explain(conn: Any, subject: Subject, prefix_id: int) -> Explanation:
    """What the subject may do on the prefix, and by which grants and ownerships on it and above."""
    places = list(subject.project_ids), list(subject.organization_ids)
    rows = await conn.fetch(Q["claims_on_prefix"], prefix_id, subject.user_id, *places)
    if not rows:
        return Explanation(None, subject.staff, ())
    reasons = tuple(
        Reason(
            right=row["right"],
            cidr=str(row["cidr"]),
            kind=row["kind"],
            name=row["name"],
            grant_id=row["grant_id"],
            granted_by=row["granted_by"],
            granted_at=row["granted_at"],
        )
        for row in rows
        if row["right"] is not None
    )
    return Explanation(str(rows[0]["asked"]), subject.staff, reasons)


async def require(conn: Any, subject: Subject, prefix_id: int, right: Right) -> None:
    """Return when the subject has the right on the prefix. Raises NotAllowed, also when there is no such prefix."""
    found = await explain(conn, subject, prefix_id)
    if found.right is None:
        raise NotAllowed(f"there is no prefix {prefix_id}", visible=False)
    if RIGHTS.index(found.right) < RIGHTS.index(right):
        raise NotAllowed(f"{right} is needed on {found.cidr}, and you may only {found.right}", visible=True)


async def visible(conn: Any, subject: Subject) -> set[int] | None:
    """The ids of the prefixes that the subject may view; None means all (staff).

    A prefix may be in it whose parent is not: show it as a root then, the parent is none of the subject's business.
    """
    if subject.staff:
        return None
    places = list(subject.project_ids), list(subject.organization_ids)
    rows = await conn.fetch(Q["prefixes_visible"], subject.user_id, *places)
    return {row["id"] for row in rows}


async def grant(
    conn: Any,
    subject: Subject,
    prefix_id: int,
    right: Right,
    kind: GranteeKind,
    grantee_id: UUID,
    *,
    by: str,
    now: datetime,
) -> Grant:
    """Give a right on a prefix and all below it; granting what is granted changes nothing and answers with it.

    `subject` must manage the prefix. Call it in a transaction. Raises NotAllowed; NoGrantee for one that is not
    there or outside of the subject's organizations, which is told apart for staff only.
    """
    await require(conn, subject, prefix_id, "manage")
    found = await conn.fetchrow(Q["grantee"], kind, grantee_id)
    if found is None or not _reaches(subject, kind, grantee_id, found["organization_ids"]):
        raise NoGrantee(f"{kind} {grantee_id} {'is not there' if subject.staff else 'is none of yours'}")
    grant_id = await conn.fetchval(Q["add_grant"], uuid4(), prefix_id, right, kind, grantee_id, by, now)
    return (await _grants(conn, subject, prefix_id, grant_id=grant_id, revoked_too=False))[0]


async def revoke(conn: Any, subject: Subject, prefix_id: int, grant_id: UUID, *, by: str, now: datetime) -> Grant:
    """End a grant; ending it again changes nothing. `subject` must manage the prefix.

    Call it in a transaction. Raises NotAllowed; NoGrant when there is none that the subject could have given.
    """
    await require(conn, subject, prefix_id, "manage")
    if not await _grants(conn, subject, prefix_id, grant_id=grant_id, revoked_too=True):
        raise NoGrant(f"prefix {prefix_id} has no grant {grant_id}")
    await conn.execute(Q["revoke_grant"], prefix_id, grant_id, by, now)
    return (await _grants(conn, subject, prefix_id, grant_id=grant_id, revoked_too=True))[0]


async def grants_on(conn: Any, subject: Subject, prefix_id: int, *, revoked_too: bool) -> list[Grant]:
    """The grants on this very node, oldest first, as far as the subject could have given them. Raises NotAllowed."""
    await require(conn, subject, prefix_id, "manage")
    return await _grants(conn, subject, prefix_id, grant_id=None, revoked_too=revoked_too)


async def subject_named(conn: Any, subject: Subject, kind: GranteeKind, id_: UUID) -> Subject:
    """The user, project or organization that `subject` wants to know the rights of.

    Staff may ask about everybody, a customer about himself: a user also about his organizations and their projects, a
    project's token about its project. Raises NotAllowed; NoGrantee, for staff.
    """
    found = await conn.fetchrow(Q["grantee"], kind, id_)
    himself = kind != "user" or id_ == subject.user_id
    if not subject.staff and not (found and himself and _reaches(subject, kind, id_, found["organization_ids"])):
        raise NotAllowed(f"you may ask about yourself only, and not about {kind} {id_}", visible=True)
    if found is None:
        raise NoGrantee(f"{kind} {id_} is not there")
    return Subject(
        user_id=id_ if kind == "user" else None,
        project_ids=frozenset(found["project_ids"]),
        organization_ids=frozenset() if kind == "project" else frozenset(found["organization_ids"]),
        staff=found["staff"],
    )


def _reaches(subject: Subject, kind: GranteeKind, id_: UUID, organization_ids: Iterable[UUID]) -> bool:
    """Whether a grant to that one, which belongs to these organizations, is the subject's business."""
    if subject.staff or not subject.organization_ids.isdisjoint(organization_ids):
        return True
    return (kind == "project" and id_ in subject.project_ids) or (kind == "user" and id_ == subject.user_id)


async def _grants(
    conn: Any, subject: Subject, prefix_id: int, *, grant_id: UUID | None, revoked_too: bool
) -> list[Grant]:
    found = []
    for row in await conn.fetch(Q["grants_on_prefix"], prefix_id, grant_id, revoked_too):
        values = dict(row)
        organization_ids = values.pop("organization_ids")
        if _reaches(subject, values["kind"], values["grantee_id"], organization_ids):
            found.append(Grant(**values))
    return found
