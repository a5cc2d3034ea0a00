"""Users, organizations, projects and SSH keys."""

from __future__ import annotations

from uuid import UUID, uuid4

import asyncpg

from ipam.asn import give_back_asns
from service import elastic
from service.addresses.policy import answered
from service.api import account_schemas, objects, parameters
from service.api.call import Body, Call, Route
from service.api.door import Place, check
from service.api.idempotency import made_before
from service.api.models import ChangeProject, ChangeSshKey, CreateProject, CreateSshKey, read
from service.api.pages import meta, page_of
from service.api.parameters import Parameter
from service.api.problems import Invalid, forbidden, not_found, shown
from service.policy import Right
from service.ssh_keys import parse_public_key
from service.store.accounts import (
    Project,
    SshKey,
    organizations,
    organizations_page,
    projects,
    projects_page,
    ssh_keys,
    ssh_keys_of,
    users,
)
from service.store.quotas import OverQuota, Use, keep_within
from service.store.rows import Connection
from sql.loader import Q

_DUPLICATE = "Key is not valid: it is among the owner's SSH keys already"


def _user_id(call: Call) -> UUID:
    if call.caller.user_id is None:
        raise forbidden("You are not authorized: a project's token speaks for no user")
    return call.caller.user_id


async def get_user(call: Call) -> Body:
    """GET /user: the caller's own account"""
    found = await users(call.db, call.caller, [_user_id(call)])
    return objects.user(found[0], call.links)


async def list_organizations(call: Call) -> Body:
    """GET /organizations: those that the caller belongs to"""
    page = page_of(call)
    total, ids = await organizations_page(call.db, call.caller, page.size, page.offset)
    found = await organizations(call.db, call.caller, ids)
    return {
        "organizations": [objects.organization(one, call.links) for one in found],
        "meta": meta(call, page, total),
    }


async def get_organization(call: Call) -> Body:
    """GET /organizations/{organization}: an organization with its projects and members"""
    found = await organizations(call.db, call.caller, [call.id("organization")])
    if not found:
        raise not_found()
    return objects.organization(found[0], call.links)


async def list_projects(call: Call) -> Body:
    """GET /projects, GET /organizations/{organization}/projects: narrowed by name"""
    page, organization_id = page_of(call), None
    if "organization" in call.ids:
        organization_id = call.id("organization")
        if not await organizations(call.db, call.caller, [organization_id]):
            raise not_found()
    total, ids = await projects_page(
        call.db, call.caller, page.size, page.offset, organization_id=organization_id, name=call.word("name")
    )
    found = await projects(call.db, call.caller, ids)
    return {"projects": [objects.project(one, call.links) for one in found], "meta": meta(call, page, total)}


async def create_project(call: Call) -> Body:
    """POST /projects, POST /organizations/{organization}/projects: in the caller's organization if none is named"""
    user_id, wish, project_id = _user_id(call), read(CreateProject, call.body), uuid4()
    organization_id = wish.organization_id or call.caller.organization_id
    if "organization" in call.ids:
        organization_id = call.id("organization")
    elif not await organizations(call.db, call.caller, [organization_id]):
        raise Invalid(f"Organization is not valid: {shown(str(organization_id))} is none of yours")
    check(call.caller, Right.MANAGE, Place(organization_id, None, None))
    async with call.db.acquire() as conn, conn.transaction():
        if (earlier := await made_before(conn, call, project_id, 201)) is None:
            try:
                await keep_within(conn, organization_id, None, Use(projects=1))
            except OverQuota as err:
                raise Invalid(f"Projects are not valid: {err}") from None
            if await conn.fetchval(Q["hold_organization"], organization_id) is None:
                raise not_found()
            await conn.execute(
                Q["add_project"],
                project_id,
                organization_id,
                wish.name,
                wish.tags,
                wish.customdata,
                user_id,
                call.api.clock.now(),
            )
    return objects.project(await _project(call, earlier or project_id), call.links)


async def _project(call: Call, project_id: UUID) -> Project:
    found = await projects(call.db, call.caller, [project_id])
    if not found:
        raise not_found()
    return found[0]


async def get_project(call: Call) -> Body:
    """GET /projects/{project}: a project with what belongs to it"""
    return objects.project(await _project(call, call.id("project")), call.links)


async def change_project(call: Call) -> Body:
    """PUT and PATCH /projects/{project}: name, tags and customdata; what is not sent stays"""
    change = read(ChangeProject, call.body)
    sent = change.model_fields_set
    project_id = await call.project()
    tags = [] if "tags" in sent and change.tags is None else change.tags
    customdata = {} if "customdata" in sent and change.customdata is None else change.customdata
    now, transfer = call.api.clock.now(), change.backend_transfer_enabled
    await call.db.execute(Q["change_project"], project_id, change.name, tags, customdata, now, transfer)
    return objects.project(await _project(call, project_id), call.links)


async def delete_project(call: Call) -> None:
    """DELETE /projects/{project}: refused while it has devices; its elastic addresses and AS numbers go back"""
    project_id, now = await call.project(), call.api.clock.now()
    async with call.db.acquire() as conn, conn.transaction():
        if not await conn.fetchval(Q["lock_project_for_delete"], project_id):
            raise not_found()
        if await conn.fetchval(Q["project_has_devices"], project_id):
            raise Invalid("Cannot delete a project that has devices: delete its devices first")
        await conn.execute(Q["end_memberships"], None, project_id)
        await conn.execute(Q["end_invitations"], None, project_id)
        await conn.execute(Q["end_project_tokens"], project_id)
        if await conn.fetch(Q["lock_holdings"], project_id):
            raise Invalid("Cannot delete a project that has reserved hardware: move its reservations first")
        left = [row["id"] for row in await conn.fetch(Q["reservations_left"], project_id)]
        with answered():
            for reservation in await elastic.lock_reservations(conn, call.caller, left):
                await elastic.release(conn, reservation, now=now, by=call.caller.actor)
        await give_back_asns(conn, project_id, now=now, by=call.caller.actor)
        await conn.execute(Q["delete_project"], project_id, now)


async def list_user_keys(call: Call) -> Body:
    """GET /ssh-keys: the caller's own SSH keys"""
    found = await ssh_keys_of(call.db, _user_id(call), call.word("search"))
    return {"ssh_keys": [objects.ssh_key(one, call.links) for one in found]}


async def list_project_keys(call: Call) -> Body:
    """GET /projects/{project}/ssh-keys: the project's SSH keys"""
    found = await ssh_keys_of(call.db, await call.project(), call.word("search"))
    return {"ssh_keys": [objects.ssh_key(one, call.links) for one in found]}


async def create_user_key(call: Call) -> Body:
    """POST /ssh-keys: an SSH key of the caller, for all devices that he orders from now on"""
    return await _create_key(call, user_id=_user_id(call), project_id=None)


async def create_project_key(call: Call) -> Body:
    """POST /projects/{project}/ssh-keys: an SSH key of the project, for all its devices that are ordered from now on"""
    return await _create_key(call, user_id=None, project_id=await call.project())


async def _create_key(call: Call, *, user_id: UUID | None, project_id: UUID | None) -> Body:
    wish, key_id = read(CreateSshKey, call.body), uuid4()
    key, now = parse_public_key(wish.key), call.api.clock.now()
    try:
        async with call.db.acquire() as conn, conn.transaction():
            if (earlier := await made_before(conn, call, key_id, 201)) is None:
                await conn.execute(
                    Q["add_ssh_key"], key_id, user_id, project_id, wish.label, wish.key, key.fingerprint, wish.tags, now
                )
    except asyncpg.UniqueViolationError:
        raise Invalid(_DUPLICATE) from None
    return objects.ssh_key(await _key(call, earlier or key_id), call.links)


async def _key(call: Call, key_id: UUID, db: Connection | None = None) -> SshKey:
    found = await ssh_keys(call.db if db is None else db, call.caller, [key_id])
    if not found:
        raise not_found()
    return found[0]


async def get_key(call: Call) -> Body:
    """GET /ssh-keys/{seen_key}: a public key of the caller's, of his project's, or of another member's"""
    return objects.ssh_key(await _key(call, call.id("seen_key")), call.links)


async def change_key(call: Call) -> Body:
    """PUT and PATCH /ssh-keys/{key}: devices keep the keys that they were ordered with"""
    change, key = read(ChangeSshKey, call.body), await _key(call, call.id("key"))
    new = None if change.key is None else parse_public_key(change.key)
    tags = [] if "tags" in change.model_fields_set and change.tags is None else change.tags
    now = call.api.clock.now()
    fingerprint = None if new is None else new.fingerprint
    try:
        await call.db.execute(Q["change_ssh_key"], key.id, change.label, change.key, fingerprint, tags, now)
    except asyncpg.UniqueViolationError:
        raise Invalid(_DUPLICATE) from None
    return objects.ssh_key(await _key(call, key.id), call.links)


async def delete_key(call: Call) -> None:
    """DELETE /ssh-keys/{key}: devices keep the keys that they were ordered with"""
    key = await _key(call, call.id("key"))
    if not await call.db.fetchval(Q["delete_ssh_key"], key.id):
        raise not_found()


_PROJECTS = (*parameters.PAGES, Parameter("name", "With this name."))

ROUTES = (
    Route("GET", "/user", get_user, right=Right.SELF, answer=account_schemas.User),
    Route(
        "GET",
        "/organizations",
        list_organizations,
        right=Right.VIEW,
        objects="organizations",
        query=parameters.PAGES,
        answer=account_schemas.Organization,
    ),
    Route(
        "GET", "/organizations/{organization}", get_organization, right=Right.VIEW, answer=account_schemas.Organization
    ),
    Route(
        "GET",
        "/organizations/{organization}/projects",
        list_projects,
        right=Right.VIEW,
        objects="projects",
        query=_PROJECTS,
        answer=account_schemas.Project,
    ),
    Route(
        "POST",
        "/organizations/{organization}/projects",
        create_project,
        right=Right.MANAGE,
        status=201,
        body=CreateProject,
        answer=account_schemas.Project,
    ),
    Route(
        "GET",
        "/projects",
        list_projects,
        right=Right.VIEW,
        objects="projects",
        query=_PROJECTS,
        answer=account_schemas.Project,
    ),
    Route(
        "POST",
        "/projects",
        create_project,
        right=Right.MANAGE,
        status=201,
        body=CreateProject,
        answer=account_schemas.Project,
    ),
    Route("GET", "/projects/{project}", get_project, right=Right.VIEW, answer=account_schemas.Project),
    Route(
        "PUT PATCH",
        "/projects/{project}",
        change_project,
        right=Right.MANAGE,
        body=ChangeProject,
        answer=account_schemas.Project,
    ),
    Route("DELETE", "/projects/{project}", delete_project, right=Right.MANAGE, status=204),
    Route(
        "GET",
        "/ssh-keys",
        list_user_keys,
        right=Right.SELF,
        objects="ssh_keys",
        query=(parameters.SEARCH,),
        answer=account_schemas.SshKey,
    ),
    Route(
        "POST",
        "/ssh-keys",
        create_user_key,
        right=Right.SELF,
        status=201,
        body=CreateSshKey,
        answer=account_schemas.SshKey,
    ),
    Route(
        "GET",
        "/projects/{project}/ssh-keys",
        list_project_keys,
        right=Right.VIEW,
        objects="ssh_keys",
        query=(parameters.SEARCH,),
        answer=account_schemas.SshKey,
    ),
    Route(
        "POST",
        "/projects/{project}/ssh-keys",
        create_project_key,
        right=Right.USE,
        status=201,
        body=CreateSshKey,
        answer=account_schemas.SshKey,
    ),
    Route("GET", "/ssh-keys/{seen_key}", get_key, right=Right.VIEW, answer=account_schemas.SshKey),
    Route(
        "PUT PATCH", "/ssh-keys/{key}", change_key, right=Right.USE, body=ChangeSshKey, answer=account_schemas.SshKey
    ),
    Route("DELETE", "/ssh-keys/{key}", delete_key, right=Right.USE, status=204),
)
