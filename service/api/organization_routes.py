"""Organizations as their owners change them, and the users whom somebody sees."""

from __future__ import annotations

from uuid import UUID, uuid4

from service.api import account_schemas, objects
from service.api.call import Body, Call, Route
from service.api.idempotency import made_before
from service.api.models import read
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, SEARCH
from service.api.problems import Invalid, not_found
from service.api.tenancy_models import ChangeOrganization, ChangeUser, CreateOrganization
from service.policy import Right, Role
from service.store.accounts import organizations, principal_again, users
from service.store.rows import Connection
from sql.loader import Q


async def create_organization(call: Call) -> Body:
    """POST /organizations: an organization that the caller owns

    Whoever is a member of something that has a quota cannot make one; staff makes it for him.
    """
    wish, id_, user_id = read(CreateOrganization, call.body), uuid4(), call.caller.user_id
    assert user_id is not None  # the door asks for a user's token
    now = call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if (earlier := await made_before(conn, call, id_, 201)) is None:
            _, organization_ids, project_ids = call.caller.scope
            if await conn.fetchval(Q["any_quota"], organization_ids, project_ids):
                raise Invalid("Organization is not valid: you have a quota, and so staff makes your organizations")
            await conn.execute(Q["add_organization"], id_, wish.name, wish.description, wish.customdata, now)
            await conn.execute(Q["add_membership"], user_id, id_, None, [Role.OWNER], now)
    return await _shown(call, earlier or id_)


async def _shown(call: Call, id_: UUID) -> Body:
    """The organization as the caller sees it now, who may have become a member a moment ago."""
    caller = await principal_again(call.db, call.caller)
    found = [] if caller is None else await organizations(call.db, caller, [id_])
    if not found:
        raise not_found()
    return objects.organization(found[0], call.links)


async def change_organization(call: Call) -> Body:
    """PUT and PATCH /organizations/{organization}: its name, description and customdata"""
    wish, id_ = read(ChangeOrganization, call.body), call.id("organization")
    sent = wish.model_fields_set
    customdata = {} if "customdata" in sent and wish.customdata is None else wish.customdata
    values = (wish.name, "description" in sent, wish.description, customdata, call.api.clock.now())
    await call.db.execute(Q["change_organization"], id_, *values)
    return await _shown(call, id_)


async def delete_organization(call: Call) -> None:
    """DELETE /organizations/{organization}: refused while it has projects; its memberships end with it"""
    async with call.db.acquire() as conn, conn.transaction():
        await end_organization(call, conn, call.id("organization"))


async def end_organization(call: Call, conn: Connection, id_: UUID) -> None:
    """Delete it, in the caller's transaction. Raises Refused (422) while it has projects."""
    if await conn.fetchval(Q["lock_organization"], id_) is None:
        raise not_found()
    if left := await conn.fetch(Q["projects_of_organization"], id_):
        raise Invalid(f"Cannot delete an organization that has projects: delete its {len(left)} projects first")
    members = await conn.fetch(Q["memberships"], None, id_, None, None)
    await conn.execute(Q["end_memberships"], id_, None)
    await conn.execute(Q["end_invitations"], id_, None)
    await conn.execute(Q["delete_organization"], id_, call.api.clock.now())
    await conn.execute(Q["rehome_users"], [row["user_id"] for row in members])


async def list_users(call: Call) -> Body:
    """GET /users: the caller, and those who are members of what he is a member of; staff see all"""
    page = page_of(call)
    row = await call.db.fetchrow(
        Q["users_seen"], *call.caller.scope, call.caller.user_id, call.word("search"), None, page.size, page.offset
    )
    found = await users(call.db, call.caller, row["ids"])
    return {"users": [objects.user(one, call.links) for one in found], "meta": meta(call, page, row["total"])}


async def get_user(call: Call) -> Body:
    """GET /users/{user}: somebody who is a member of what the caller is a member of"""
    found = await users(call.db, call.caller, [call.id("user")])
    if not found:
        raise not_found()
    return objects.user(found[0], call.links)


async def get_email(call: Call) -> Body:
    """GET /emails/{user}: the e-mail address of an account, which has one and the id of its user"""
    found = await users(call.db, call.caller, [call.id("user")])
    if not found:
        raise not_found()
    return objects.email(found[0], call.links)


async def change_user(call: Call) -> Body:
    """PUT and PATCH /user: the caller's names; his e-mail address, which invitations go by, is changed by staff"""
    wish = read(ChangeUser, call.body)
    assert call.caller.user_id is not None  # the door asks for a user's token
    await call.db.execute(Q["change_user"], call.caller.user_id, wish.first_name, wish.last_name, call.api.clock.now())
    return objects.user((await users(call.db, call.caller, [call.caller.user_id]))[0], call.links)


ROUTES = (
    Route(
        "POST",
        "/organizations",
        create_organization,
        right=Right.SELF,
        status=201,
        body=CreateOrganization,
        answer=account_schemas.Organization,
    ),
    Route(
        "PUT PATCH",
        "/organizations/{organization}",
        change_organization,
        right=Right.OWN,
        body=ChangeOrganization,
        answer=account_schemas.Organization,
    ),
    Route("DELETE", "/organizations/{organization}", delete_organization, right=Right.OWN, status=204),
    Route(
        "GET",
        "/users",
        list_users,
        right=Right.VIEW,
        objects="users",
        query=(*PAGES, SEARCH),
        answer=account_schemas.User,
    ),
    Route("GET", "/users/{user}", get_user, right=Right.VIEW, answer=account_schemas.User),
    Route("GET", "/emails/{user}", get_email, right=Right.VIEW, answer=account_schemas.Email),
    Route("PUT PATCH", "/user", change_user, right=Right.SELF, body=ChangeUser, answer=account_schemas.User),
)
