"""Accounts, organizations, tokens and quotas, as staff look after them."""

from __future__ import annotations

from dataclasses import asdict
from uuid import UUID, uuid4

import asyncpg

from service.admin import tenancy_schemas
from service.api import account_schemas, objects, tenancy_objects
from service.api.call import Body, Call, Route
from service.api.links import stamp
from service.api.models import read
from service.api.organization_routes import end_organization
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, SEARCH, choice
from service.api.problems import Invalid, forbidden, not_found, shown
from service.api.tenancy_models import CreateToken, CreateUser, SetQuota, SetUser
from service.api.token_routes import make_token
from service.policy import STAFF_ROLES, Right, Role
from service.store.accounts import Organization, User, organizations, organizations_page, users
from service.store.members import end_membership, memberships, tokens
from service.store.quotas import Quota, quota_of, set_quota, use_of
from service.store.rows import Connection
from sql.loader import Q


def _user(one: User, call: Call) -> Body:
    disabled = None if one.disabled_at is None else stamp(one.disabled_at)
    return objects.user(one, call.links) | {"staff_role": one.staff_role, "disabled_at": disabled}


async def _named(call: Call, db: Connection | None = None) -> UUID:
    """The path's user, by id or e-mail address."""
    id_: UUID | None = await (call.db if db is None else db).fetchval(Q["user_named"], call.ids["user"])
    if id_ is None:
        raise not_found()
    return id_


async def _shown(call: Call, id_: UUID, db: Connection | None = None) -> Body:
    found = await users(call.db if db is None else db, call.caller, [id_])
    return _user(found[0], call)


async def list_users(call: Call) -> Body:
    """GET /admin/v1/users: all accounts; narrowed by search and staff role"""
    page, role = page_of(call), call.word("staff_role")
    if role is not None and role not in STAFF_ROLES:
        raise Invalid(f"staff_role is not valid: {shown(role)} is not one of {', '.join(STAFF_ROLES)}")
    row = await call.db.fetchrow(
        Q["users_seen"], *call.caller.scope, None, call.word("search"), role, page.size, page.offset
    )
    found = await users(call.db, call.caller, row["ids"])
    return {"users": [_user(one, call) for one in found], "meta": meta(call, page, row["total"])}


async def get_user(call: Call) -> Body:
    """GET /admin/v1/users/{user}: an account by id or e-mail address, with its memberships and tokens"""
    id_ = await _named(call)
    row = await call.db.fetch(Q["memberships_of_user"], id_)
    held = await memberships(call.db, ids=[one["id"] for one in row])
    return await _shown(call, id_) | {
        "memberships": [tenancy_objects.membership(one, call.links) for one in held],
        "api_keys": [tenancy_objects.token(one, call.links) for one in await tokens(call.db, user_id=id_)],
    }


def _staff_is_for_operators(call: Call, *roles: str | None) -> None:
    """Raises Refused (403): who touches the staff could make himself anything."""
    if any(role is not None for role in roles) and Right.OPERATE not in call.caller.rights:
        raise forbidden(f"You are not authorized: accounts of staff are for {Role.OPERATOR} staff")


async def create_user(call: Call) -> Body:
    """POST /admin/v1/users: an account in an organization that is there, or in a new one"""
    wish, id_, now = read(CreateUser, call.body), uuid4(), call.api.clock.now()
    _staff_is_for_operators(call, wish.staff_role)
    async with call.db.acquire() as conn, conn.transaction():
        organization_id = wish.organization_id
        if organization_id is None:
            organization_id = uuid4()
            name = wish.organization_name or wish.email
            await conn.execute(Q["add_organization"], organization_id, name, None, {}, now)
        elif await conn.fetchval(Q["lock_organization"], organization_id) is None:
            raise Invalid(f"Organization is not valid: {shown(str(organization_id))} is not there")
        row = (wish.email, wish.first_name, wish.last_name, wish.staff_role, now)
        try:
            await conn.execute(Q["add_user"], id_, organization_id, *row)
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Email is not valid: {shown(wish.email)} has an account already") from None
        await conn.execute(Q["add_membership"], id_, organization_id, None, wish.roles, now)
    return await _shown(call, id_)


async def change_user(call: Call) -> Body:
    """PATCH /admin/v1/users/{user}: names, address, staff role, disabled; a disabled user's tokens stop at once"""
    wish = read(SetUser, call.body)
    async with call.db.acquire() as conn, conn.transaction():
        id_ = await _named(call, conn)
        _staff_is_for_operators(call, await conn.fetchval(Q["staff_role_of"], id_), wish.staff_role)
        if id_ == call.caller.user_id and (wish.disabled or "staff_role" in wish.model_fields_set):
            raise Invalid("User is not valid: nobody disables himself or changes his own staff role")
        row = (wish.email, wish.first_name, wish.last_name, "staff_role" in wish.model_fields_set, wish.staff_role)
        try:
            await conn.execute(Q["set_user"], id_, *row, wish.disabled, call.api.clock.now())
        except asyncpg.UniqueViolationError:
            raise Invalid(f"Email is not valid: {shown(wish.email)} has an account already") from None
    return await _shown(call, id_)


async def create_token(call: Call) -> Body:
    """POST /admin/v1/users/{user}/api-keys: a token for somebody; this answer alone has the token"""
    read(CreateToken, call.body)
    id_ = await _named(call)
    _staff_is_for_operators(call, await call.db.fetchval(Q["staff_role_of"], id_))
    return await make_token(call, user_id=id_)


async def delete_token(call: Call) -> None:
    """DELETE /admin/v1/api-keys/{token}: anybody's token is good for nothing at once"""
    found = await tokens(call.db, id_=call.id("token"))
    if not found:
        raise not_found()
    if found[0].user_id is not None:
        _staff_is_for_operators(call, await call.db.fetchval(Q["staff_role_of"], found[0].user_id))
    await call.db.execute(Q["delete_token"], found[0].id)


async def list_organizations(call: Call) -> Body:
    """GET /admin/v1/organizations: all, with their quotas and what they use"""
    page = page_of(call)
    total, ids = await organizations_page(call.db, call.caller, page.size, page.offset)
    found = await organizations(call.db, call.caller, ids)
    return {
        "organizations": [objects.organization(one, call.links) | await _limits(call, one) for one in found],
        "meta": meta(call, page, total),
    }


async def _limits(call: Call, one: Organization) -> Body:
    quota, use = await quota_of(call.db, organization_id=one.id), await use_of(call.db, organization_id=one.id)
    return _quota(quota, asdict(use))


def _quota(quota: Quota, use: Body) -> Body:
    return {"quota": asdict(quota), "use": use}


async def delete_organization(call: Call) -> None:
    """DELETE /admin/v1/organizations/{organization}: refused while it has projects"""
    async with call.db.acquire() as conn, conn.transaction():
        await end_organization(call, conn, call.id("organization"))


async def add_member(call: Call) -> Body:
    """PUT /admin/v1/organizations/{organization}/members/{user}: make somebody an owner, without an invitation"""
    async with call.db.acquire() as conn, conn.transaction():
        organization_id = call.id("organization")
        if await conn.fetchval(Q["lock_organization"], organization_id) is None:
            raise not_found()
        now, user_id = call.api.clock.now(), await _named(call, conn)
        id_ = await conn.fetchval(Q["add_membership"], user_id, organization_id, None, [Role.OWNER], now)
        await conn.execute(Q["rehome_users"], [user_id])
        (made,) = await memberships(conn, ids=[id_])
    return tenancy_objects.membership(made, call.links)


async def remove_member(call: Call) -> None:
    """DELETE /admin/v1/organizations/{organization}/members/{user}: end a membership, also that of the last owner"""
    async with call.db.acquire() as conn, conn.transaction():
        user_id = await _named(call, conn)
        found = await memberships(conn, organization_id=call.id("organization"))
        mine = [one for one in found if one.user_id == user_id]
        if not mine or not await end_membership(conn, mine[0].id):
            raise not_found()


def _owner(call: Call) -> dict[str, UUID]:
    return {f"{name}_id": call.id(name) for name in ("organization", "project") if name in call.ids}


async def _there(call: Call) -> dict[str, UUID]:
    owner = _owner(call)
    if "project_id" in owner:
        await call.project()
    elif not await organizations(call.db, call.caller, list(owner.values())):
        raise not_found()
    return owner


async def get_quota(call: Call) -> Body:
    """GET /admin/v1/organizations/{organization}/quota, GET /admin/v1/projects/{project}/quota: the limits and the use

    null is without a limit; IPv4 counts addresses, IPv6 networks of 64 bits.
    """
    owner = await _there(call)
    return _quota(await quota_of(call.db, **owner), asdict(await use_of(call.db, **owner)))


async def put_quota(call: Call) -> Body:
    """PUT /admin/v1/organizations/{organization}/quota, PUT /admin/v1/projects/{project}/quota: set all limits

    What is left out or null is without a limit. What is there already stays, also when it is more than the limit.
    """
    wish, owner = read(SetQuota, call.body), await _there(call)
    if wish.projects is not None and "project_id" in owner:
        raise Invalid(f"Projects is not valid: {wish.projects}: a project has no projects")
    await set_quota(call.db, Quota(**wish.model_dump()), **owner)
    return await get_quota(call)


_ORGANIZATION = "/admin/v1/organizations/{organization}"

ROUTES = (
    Route(
        "GET",
        "/admin/v1/users",
        list_users,
        right=Right.LOOK,
        objects="users",
        query=(*PAGES, SEARCH, choice("staff_role", "Staff of this role.", *STAFF_ROLES)),
        answer=tenancy_schemas.Account,
    ),
    Route(
        "POST",
        "/admin/v1/users",
        create_user,
        right=Right.SUPPORT,
        status=201,
        body=CreateUser,
        answer=tenancy_schemas.Account,
    ),
    Route("GET", "/admin/v1/users/{user}", get_user, right=Right.LOOK, answer=tenancy_schemas.AccountWhole),
    Route(
        "PATCH",
        "/admin/v1/users/{user}",
        change_user,
        right=Right.SUPPORT,
        body=SetUser,
        answer=tenancy_schemas.Account,
    ),
    Route(
        "POST",
        "/admin/v1/users/{user}/api-keys",
        create_token,
        right=Right.SUPPORT,
        status=201,
        body=CreateToken,
        answer=account_schemas.ApiKey,
    ),
    Route("DELETE", "/admin/v1/api-keys/{token}", delete_token, right=Right.SUPPORT, status=204),
    Route(
        "GET",
        "/admin/v1/organizations",
        list_organizations,
        right=Right.LOOK,
        objects="organizations",
        query=PAGES,
        answer=tenancy_schemas.OrganizationAndUse,
    ),
    Route("DELETE", _ORGANIZATION, delete_organization, right=Right.SUPPORT, status=204),
    Route(
        "PUT", f"{_ORGANIZATION}/members/{{user}}", add_member, right=Right.SUPPORT, answer=account_schemas.Membership
    ),
    Route("DELETE", f"{_ORGANIZATION}/members/{{user}}", remove_member, right=Right.SUPPORT, status=204),
    Route("GET", f"{_ORGANIZATION}/quota", get_quota, right=Right.LOOK, answer=tenancy_schemas.QuotaAndUse),
    Route(
        "PUT",
        f"{_ORGANIZATION}/quota",
        put_quota,
        right=Right.SUPPORT,
        body=SetQuota,
        answer=tenancy_schemas.QuotaAndUse,
    ),
    Route("GET", "/admin/v1/projects/{project}/quota", get_quota, right=Right.LOOK, answer=tenancy_schemas.QuotaAndUse),
    Route(
        "PUT",
        "/admin/v1/projects/{project}/quota",
        put_quota,
        right=Right.SUPPORT,
        body=SetQuota,
        answer=tenancy_schemas.QuotaAndUse,
    ),
)
