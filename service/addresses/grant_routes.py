"""Rights on prefixes: who has been granted what, and who may do what and why."""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from ipam.permissions import (
    GRANTEES,
    Grant,
    GranteeKind,
    Subject,
    explain,
    grant,
    grants_on,
    revoke,
    subject_named,
)
from service.addresses import schemas
from service.addresses.policy import allowed_prefix, answered, prefix_id_of, subject_of
from service.api import parameters
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import Maybe, Request, read
from service.api.parameters import Parameter
from service.api.problems import Invalid, shown
from service.policy import Right
from service.store.rows import Connection


class CreateGrant(Request):
    """A right for one of three."""

    right: Literal["view", "assign", "manage"]
    organization: Maybe[UUID] = None
    project: Maybe[UUID] = None
    user: Maybe[UUID] = None


def _grant(one: Grant) -> Body:
    return {
        "id": str(one.id),
        "prefix": one.prefix_id,
        "right": one.right,
        "grantee": {"kind": one.kind, "id": str(one.grantee_id), "name": one.name},
        "granted_by": one.granted_by,
        "granted_at": stamp(one.granted_at),
        "revoked_by": one.revoked_by,
        "revoked_at": None if one.revoked_at is None else stamp(one.revoked_at),
    }


async def list_grants(call: Call) -> Body:
    """GET /ipam/v1/prefixes/{prefix}/grants: those on this node that hold; with `history=true` also the revoked"""
    with answered():
        found = await grants_on(
            call.db, subject_of(call.caller, "manage"), prefix_id_of(call), revoked_too=bool(call.flag("history"))
        )
    return {"grants": [_grant(one) for one in found]}


async def add_grant(call: Call) -> Body:
    """POST /ipam/v1/prefixes/{prefix}/grants: a right for an organization, a project or a user; again is the same"""
    wish, prefix_id = read(CreateGrant, call.body), prefix_id_of(call)
    named: list[tuple[GranteeKind, UUID]] = [
        (kind, id_) for kind in GRANTEES if (id_ := getattr(wish, kind)) is not None
    ]
    if len(named) != 1:
        raise Invalid(f"Grantee is not valid: name exactly one of {', '.join(GRANTEES)}; {len(named)} are named")
    (kind, id_) = named[0]
    with answered():
        async with call.db.acquire() as conn, conn.transaction():
            made = await grant(
                conn,
                subject_of(call.caller, "manage"),
                prefix_id,
                wish.right,
                kind,
                id_,
                by=call.caller.actor,
                now=call.api.clock.now(),
            )
    return _grant(made)


async def remove_grant(call: Call) -> None:
    """DELETE /ipam/v1/prefixes/{prefix}/grants/{grant}: revoke it; it stays in the history"""
    prefix_id, grant_id = prefix_id_of(call), call.id("grant")
    with answered():
        async with call.db.acquire() as conn, conn.transaction():
            await revoke(
                conn,
                subject_of(call.caller, "manage"),
                prefix_id,
                grant_id,
                by=call.caller.actor,
                now=call.api.clock.now(),
            )


async def show_permissions(call: Call) -> Body:
    """GET /ipam/v1/prefixes/{prefix}/permissions: the caller's right with its reasons, or user's, project's,
    organization's; a customer may ask about himself alone"""
    asked = [(kind, value) for kind in GRANTEES if (value := call.word(kind)) is not None]
    if len(asked) > 1:
        raise Invalid(f"Subject is not valid: name one of {', '.join(GRANTEES)}; {len(asked)} are named")
    caller = subject_of(call.caller)
    async with call.db.acquire() as conn, conn.transaction():
        prefix_id = await allowed_prefix(call, conn, "view")
        subject = await _asked_about(conn, caller, *asked[0]) if asked else caller
        found = await explain(conn, subject, prefix_id)
    return {
        "prefix": prefix_id,
        "subject": {
            "user": _text(subject.user_id),
            "projects": sorted(map(str, subject.project_ids)),
            "organizations": sorted(map(str, subject.organization_ids)),
            "staff": subject.staff,
        },
        "right": found.right,
        "reasons": found.sentences(),
    }


async def _asked_about(conn: Connection, caller: Subject, kind: GranteeKind, text: str) -> Subject:
    try:
        id_ = UUID(text)
    except ValueError:
        raise Invalid(f"{kind.capitalize()} is not valid: {shown(text)} is no id") from None
    with answered():
        return await subject_named(conn, caller, kind, id_)


def _text(id_: UUID | None) -> str | None:
    return None if id_ is None else str(id_)


_HISTORY = (parameters.flag("history", "Also those that were revoked."),)
_SUBJECTS = tuple(Parameter(kind, f"Ask about this {kind} instead of the caller.", format="uuid") for kind in GRANTEES)

ROUTES = (
    Route(
        "GET",
        "/ipam/v1/prefixes/{prefix}/grants",
        list_grants,
        right=Right.VIEW,
        objects="grants",
        query=_HISTORY,
        answer=schemas.Grant,
    ),
    Route(
        "POST",
        "/ipam/v1/prefixes/{prefix}/grants",
        add_grant,
        right=Right.USE,
        status=201,
        body=CreateGrant,
        answer=schemas.Grant,
    ),
    Route("DELETE", "/ipam/v1/prefixes/{prefix}/grants/{grant}", remove_grant, right=Right.USE, status=204),
    Route(
        "GET",
        "/ipam/v1/prefixes/{prefix}/permissions",
        show_permissions,
        right=Right.VIEW,
        query=_SUBJECTS,
        answer=schemas.Permissions,
    ),
)
