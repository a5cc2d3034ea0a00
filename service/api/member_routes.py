"""Members of organizations and projects, and invitations to become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from service.api import account_schemas
from service.api import tenancy_objects as objects
from service.api.call import Body, Call, Route
from service.api.door import Place, check
from service.api.idempotency import made_before
from service.api.models import read
from service.api.parameters import SEARCH
from service.api.problems import Invalid, not_found, shown
from service.api.tenancy_models import ChangeMembership, Invite
from service.policy import Right, Role
from service.settings import Settings
from service.store.accounts import organizations
from service.store.events import add_event
from service.store.members import Invitation, Membership, end_membership, invitations, memberships
from service.store.quotas import OverQuota, Use, keep_within
from service.store.rows import Connection
from sql.loader import Q

_LAST_OWNER = "Cannot leave an organization without an owner: make another member an owner first"


async def _owner(call: Call) -> tuple[UUID | None, UUID | None]:
    """The organization, or the project, that the path names. Raises Refused (404): staff pass the door anywhere."""
    if "project" in call.ids:
        return None, await call.project()
    if not await organizations(call.db, call.caller, [call.id("organization")]):
        raise not_found()
    return call.id("organization"), None


async def list_memberships(call: Call) -> Body:
    """GET /projects/{project}/memberships, GET /organizations/{organization}/memberships: who is a member, as what

    Of a project these are its own members and those of its organization.
    """
    organization_id, project_id = await _owner(call)
    found = await memberships(
        call.db, organization_id=organization_id, project_id=project_id, search=call.word("search")
    )
    if not call.caller.staff:  # a member of one project alone sees nothing of its organization
        found = [one for one in found if one.organization_id in (None, *call.caller.in_organizations)]
    return {"memberships": [objects.membership(one, call.links) for one in found]}


async def _membership(call: Call, name: str, db: Connection | None = None) -> Membership:
    found = await memberships(call.db if db is None else db, ids=[call.id(name)])
    if not found:
        raise not_found()
    return found[0]


async def get_membership(call: Call) -> Body:
    """GET /memberships/{membership}: one member of an organization or a project, and what he is there"""
    return objects.membership(await _membership(call, "membership"), call.links)


def _may_make(call: Call, organization_id: UUID, roles: Sequence[str]) -> None:
    """Raises Refused (403): owners are made, changed and sent away by owners alone."""
    if Role.OWNER in roles:
        check(call.caller, Right.OWN, Place(organization_id, None, None))


async def _keep_an_owner(conn: Connection, one: Membership) -> None:
    if one.organization_id is not None and Role.OWNER in one.roles:
        await conn.execute(Q["lock_organization"], one.organization_id)
        if not await conn.fetchval(Q["owners_besides"], one.organization_id, one.id):
            raise Invalid(_LAST_OWNER)


def _fit(roles: Sequence[str], project_id: UUID | None) -> None:
    if project_id is not None and Role.OWNER in roles:
        raise Invalid("Roles is not valid: 'owner' is for organizations; a project's are admin, collaborator, viewer")


async def change_membership(call: Call) -> Body:
    """PUT /memberships/{membership}: what the member is from now on; it takes effect at once"""
    wish = read(ChangeMembership, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        one = await _membership(call, "membership", conn)
        _fit(wish.roles, one.project_id)
        if one.organization_id is not None:
            _may_make(call, one.organization_id, [*one.roles, *wish.roles])
            if Role.OWNER not in wish.roles:
                await _keep_an_owner(conn, one)
        await conn.execute(Q["change_membership"], one.id, wish.roles, call.api.clock.now())
        return objects.membership(await _membership(call, "membership", conn), call.links)


async def delete_membership(call: Call) -> None:
    """DELETE /memberships/{own_membership}: send a member away, or leave; the last owner of an organization cannot"""
    async with call.db.acquire() as conn, conn.transaction():
        one = await _membership(call, "own_membership", conn)
        if one.organization_id is not None and one.user_id != call.caller.user_id:
            _may_make(call, one.organization_id, one.roles)
        await _keep_an_owner(conn, one)
        if not await end_membership(conn, one.id):
            raise not_found()


async def list_invitations(call: Call) -> Body:
    """GET /projects/{project}/invitations, GET /organizations/{organization}/invitations: who is invited and has not
    answered"""
    organization_id, project_id = await _owner(call)
    found = await invitations(call.db, organization_id=organization_id, project_id=project_id)
    return {"invitations": [objects.invitation(one, call.links) for one in found]}


async def list_own_invitations(call: Call) -> Body:
    """GET /invitations: those for the caller's e-mail address; staff see all"""
    found = await invitations(call.db, invited=None if call.caller.staff else call.caller.user_id)
    return {"invitations": [objects.invitation(one, call.links) for one in found]}


async def invite(call: Call) -> Body:
    """POST /projects/{project}/invitations, POST /organizations/{organization}/invitations: offer a membership

    Whoever has an account with the address finds the invitation under /invitations. A mail is sent by a hook of the
    operator's, which is told all that the mail needs (docs/hooks.md).
    """
    wish, id_ = read(Invite, call.body), uuid4()
    project_id = call.id("project") if "project" in call.ids else None
    async with call.db.acquire() as conn, conn.transaction():
        if project_id is None:
            organization_id = call.id("organization")
            await _check_projects(conn, organization_id, wish.projects_ids)
            _fit(wish.roles, next(iter(wish.projects_ids), None))
        else:
            organization_id = await conn.fetchval(Q["organization_of_project"], project_id)
            _fit(wish.roles, project_id)
        _may_make(call, organization_id, wish.roles)
        if (earlier := await made_before(conn, call, id_, 201)) is None:
            await _keep_members(conn, organization_id, project_id)
            owner = (None, project_id) if project_id is not None else (organization_id, None)
            row = (wish.invitee, wish.roles, wish.projects_ids, wish.message, call.caller.user_id, call.api.clock.now())
            try:
                await conn.execute(Q["add_invitation"], id_, *owner, *row)
            except asyncpg.UniqueViolationError:
                raise Invalid(f"Invitee is not valid: {shown(wish.invitee)} is invited already") from None
            words = await _in_words(conn, id_, call.api.settings)
            await _tell(conn, "invitation.created", f"{wish.invitee} was invited", id_, owner, **words)
        return objects.invitation(await _invitation(conn, earlier or id_), call.links)


async def _check_projects(conn: Connection, organization_id: UUID, ids: Sequence[UUID]) -> None:
    known = {row["id"] for row in await conn.fetch(Q["projects_of_organization"], organization_id)}
    if strangers := [id_ for id_ in ids if id_ not in known]:
        raise Invalid(f"Projects ids is not valid: {shown(str(strangers[0]))} is no project of the organization")


async def _keep_members(conn: Connection, organization_id: UUID, project_id: UUID | None) -> None:
    try:
        await keep_within(conn, organization_id, project_id, Use(members=1))
    except OverQuota as err:
        raise Invalid(f"Members are not valid: {err}") from None


async def _in_words(conn: Connection, id_: UUID, settings: Settings) -> dict[str, Any]:
    """What whoever writes to the invited has to say. The URL comes from the settings and never from the request, whose
    Host anybody can make up.
    """
    one, words = await _invitation(conn, id_), await conn.fetchrow(Q["invitation_in_words"], id_)
    base = settings.api_url.rstrip("/") or f"http://{settings.api_host}:{settings.api_port}"
    told = {"email": one.email, "roles": one.roles, "message": one.message, "url": f"{base}/invitations/{id_}"}
    return told | dict(words)


async def _tell(
    conn: Connection, type_: str, text: str, id_: UUID, owner: tuple[UUID | None, UUID | None], **words: Any
) -> None:
    organization_id, project_id = owner
    data = {"invitation": str(id_), **words}
    if organization_id is not None:
        data["organization"] = str(organization_id)
    await add_event(conn, type_, text, project_id=project_id, private=project_id is None, data=data)


async def _invitation(conn: Connection, id_: UUID) -> Invitation:
    found = await invitations(conn, ids=[id_])
    if not found:
        raise not_found()
    return found[0]


async def get_invitation(call: Call) -> Body:
    """GET /invitations/{invitation}: one that the caller got, or that was sent for what he is a member of"""
    return objects.invitation(await _invitation(call.db, call.id("invitation")), call.links)


async def accept_invitation(call: Call) -> Body:
    """PUT /invitations/{invitation}: accept it; answers with the membership, the first where there are several"""
    user_id = call.caller.user_id
    assert user_id is not None  # the door asks for a user's token
    async with call.db.acquire() as conn, conn.transaction():
        row = await conn.fetchrow(Q["lock_invitation"], call.id("invitation"), user_id)
        if row is None:
            raise not_found()
        one = Invitation(**row)
        projects = [one.project_id] if one.project_id is not None else one.project_ids
        places: list[tuple[UUID | None, UUID | None]] = [(None, id_) for id_ in projects] or [
            (one.organization_id, None)
        ]
        made = []
        for organization_id, project_id in places:
            home = organization_id or await conn.fetchval(Q["organization_of_project"], project_id)
            if home is None:
                raise Invalid(f"Invitation is not valid: project {project_id} is gone")
            await _keep_members(conn, home, project_id)
            values = (user_id, organization_id, project_id, one.roles, call.api.clock.now())
            made.append(await conn.fetchval(Q["add_membership"], *values))
        await conn.execute(Q["delete_invitation"], one.id)
        owner = (one.organization_id, one.project_id)
        await _tell(conn, "invitation.accepted", f"{one.email} accepted the invitation", one.id, owner)
        await conn.execute(Q["rehome_users"], [user_id])
        return objects.membership((await memberships(conn, ids=made[:1]))[0], call.links)


async def delete_invitation(call: Call) -> None:
    """DELETE /invitations/{invitation}: take it back, or decline it"""
    async with call.db.acquire() as conn, conn.transaction():
        one = await _invitation(conn, call.id("invitation"))
        if not await conn.fetchval(Q["delete_invitation"], one.id):
            raise not_found()
        owner = (one.organization_id, one.project_id)
        await _tell(conn, "invitation.deleted", f"The invitation of {one.email} ended", one.id, owner)


def _routes(owner: str) -> tuple[Route, ...]:
    members, invited = f"{owner}/memberships", f"{owner}/invitations"
    return (
        Route(
            "GET",
            members,
            list_memberships,
            right=Right.VIEW,
            objects="memberships",
            query=(SEARCH,),
            answer=account_schemas.Membership,
        ),
        Route(
            "GET", invited, list_invitations, right=Right.VIEW, objects="invitations", answer=account_schemas.Invitation
        ),
        Route("POST", invited, invite, right=Right.MANAGE, status=201, body=Invite, answer=account_schemas.Invitation),
    )


ROUTES = (
    *_routes("/projects/{project}"),
    *_routes("/organizations/{organization}"),
    Route("GET", "/memberships/{membership}", get_membership, right=Right.VIEW, answer=account_schemas.Membership),
    Route(
        "PUT PATCH",
        "/memberships/{membership}",
        change_membership,
        right=Right.MANAGE,
        body=ChangeMembership,
        answer=account_schemas.Membership,
    ),
    Route("DELETE", "/memberships/{own_membership}", delete_membership, right=Right.MANAGE, status=204),
    Route(
        "GET",
        "/invitations",
        list_own_invitations,
        right=Right.SELF,
        objects="invitations",
        answer=account_schemas.Invitation,
    ),
    Route("GET", "/invitations/{invitation}", get_invitation, right=Right.VIEW, answer=account_schemas.Invitation),
    Route("PUT", "/invitations/{invitation}", accept_invitation, right=Right.SELF, answer=account_schemas.Membership),
    Route("DELETE", "/invitations/{invitation}", delete_invitation, right=Right.MANAGE, status=204),
)
