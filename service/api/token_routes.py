"""Tokens of users and of projects, which the dialect calls API keys. A token is shown once, when it is made."""

from __future__ import annotations

import secrets
from uuid import UUID, uuid4

from service.api import account_schemas
from service.api import tenancy_objects as objects
from service.api.call import Body, Call, Route
from service.api.models import read
from service.api.parameters import SEARCH
from service.api.problems import not_found
from service.api.tenancy_models import CreateToken
from service.policy import Right
from service.store.accounts import token_digest
from service.store.members import tokens
from sql.loader import Q

_BYTES = 24  # of a token; written in 32 characters


async def list_user_tokens(call: Call) -> Body:
    """GET /user/api-keys: the caller's tokens; `token` is null, for only a hash of it is kept"""
    assert call.caller.user_id is not None  # the door asks for a user's token
    found = await tokens(call.db, user_id=call.caller.user_id, search=call.word("search"))
    return {"api_keys": [objects.token(one, call.links) for one in found]}


async def list_project_tokens(call: Call) -> Body:
    """GET /projects/{project}/api-keys: the project's tokens; `token` is null, for only a hash of it is kept"""
    found = await tokens(call.db, project_id=call.id("project"), search=call.word("search"))
    return {"api_keys": [objects.token(one, call.links) for one in found]}


async def create_user_token(call: Call) -> Body:
    """POST /user/api-keys: a token that may what the caller may, or only read; this answer alone has the token"""
    return await make_token(call, user_id=call.caller.user_id)


async def create_project_token(call: Call) -> Body:
    """POST /projects/{project}/api-keys: a token for this project alone; this answer alone has the token"""
    return await make_token(call, project_id=call.id("project"))


async def make_token(call: Call, *, user_id: UUID | None = None, project_id: UUID | None = None) -> Body:
    """A token of a user or a project, with itself."""
    wish, id_, secret = read(CreateToken, call.body), uuid4(), secrets.token_urlsafe(_BYTES)
    owner, now = (user_id, project_id), call.api.clock.now()
    read_only = bool(wish.read_only)
    await call.db.execute(Q["add_token"], id_, token_digest(secret), *owner, read_only, wish.description, now)
    (made,) = await tokens(call.db, id_=id_)
    return objects.token(made, call.links, secret)


async def delete_token(call: Call) -> None:
    """DELETE /api-keys/{token}, DELETE /user/api-keys/{token}: the token is good for nothing at once"""
    if not await call.db.fetchval(Q["delete_token"], call.id("token")):
        raise not_found()


ROUTES = (
    Route(
        "GET",
        "/user/api-keys",
        list_user_tokens,
        right=Right.SELF,
        objects="api_keys",
        query=(SEARCH,),
        answer=account_schemas.ApiKey,
    ),
    Route(
        "POST",
        "/user/api-keys",
        create_user_token,
        right=Right.SELF,
        status=201,
        body=CreateToken,
        answer=account_schemas.ApiKey,
    ),
    Route("DELETE", "/user/api-keys/{token}", delete_token, right=Right.SELF, status=204),
    Route(
        "GET",
        "/projects/{project}/api-keys",
        list_project_tokens,
        right=Right.MANAGE,
        objects="api_keys",
        query=(SEARCH,),
        answer=account_schemas.ApiKey,
    ),
    Route(
        "POST",
        "/projects/{project}/api-keys",
        create_project_token,
        right=Right.MANAGE,
        status=201,
        body=CreateToken,
        answer=account_schemas.ApiKey,
    ),
    Route("DELETE", "/api-keys/{token}", delete_token, right=Right.MANAGE, status=204),
)
