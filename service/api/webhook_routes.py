"""Webhooks of organizations and projects: who is told what happens there, and how that went."""

from __future__ import annotations

from typing import get_args
from uuid import UUID, uuid4

from service.api import hook_schemas
from service.api.call import Body, Call, Route
from service.api.hook_objects import delivery, webhook
from service.api.idempotency import made_before
from service.api.models import read
from service.api.pages import meta, page_of
from service.api.parameters import PAGES, choice
from service.api.problems import Invalid, not_found, shown
from service.hooks import changes
from service.hooks.senders import senders
from service.hooks.targets import BadTarget, check_url, networks_of
from service.hooks.telling import deliver_again, test_hook
from service.hooks.wishes import ChangeWebhook, CreateWebhook, Replay, Rotate
from service.policy import Right
from service.secrets import open_sealed
from service.store.accounts import organizations
from service.store.hooks import DeliveryState, Hook, NewHook, Owner, deliveries_of, delivery_of, hook_of, hooks_of
from service.store.rows import Connection
from sql.loader import Q

_MOST = 20  # of one organization or project
STATES = get_args(DeliveryState)


async def _owner(call: Call) -> Owner:
    """Whose webhooks the path is about. Raises Refused (404)."""
    if "project" in call.ids:
        return Owner(project_id=await call.project())
    organization_id = call.id("organization")
    if not await organizations(call.db, call.caller, [organization_id]):
        raise not_found()
    return Owner(organization_id=organization_id)


async def _found(call: Call) -> Hook:
    """The path's webhook. Raises Refused (404)."""
    return await _webhook(call, call.db, await _owner(call))


async def _webhook(call: Call, db: Connection, owner: Owner) -> Hook:
    id_ = call.id("webhook")
    found = await hook_of(db, owner, str(id_))
    if found is None or found.id != id_:
        raise not_found()
    return found


def _href(call: Call, owner: Owner, id_: UUID) -> str:
    kind, owner_id = ("projects", owner.project_id) if owner.project_id else ("organizations", owner.organization_id)
    return f"{call.links.prefix}/{kind}/{owner_id}/webhooks/{id_}"


def _shown(call: Call, hook: Hook) -> Body:
    return webhook(hook, _href(call, hook.owner, hook.id))


def _url(call: Call, url: str) -> str:
    try:
        return check_url(url, networks_of(call.api.settings.webhook_networks))
    except BadTarget as err:
        raise Invalid(f"Url is not valid: {shown(url)}: {err}") from None


async def list_webhooks(call: Call) -> Body:
    """GET /projects/{project}/webhooks, GET /organizations/{organization}/webhooks: whom its events are sent to"""
    return {"webhooks": [_shown(call, one) for one in await hooks_of(call.db, await _owner(call))]}


async def create_webhook(call: Call) -> Body:
    """POST /projects/{project}/webhooks, POST /organizations/{organization}/webhooks: have events sent to a URL

    The answer has the `secret` that deliveries are signed with; it is not told again.
    """
    owner, asked, hook_id = await _owner(call), read(CreateWebhook, call.body), uuid4()
    url = _url(call, asked.url)
    async with call.db.acquire() as conn, conn.transaction():
        earlier = await made_before(conn, call, hook_id, 201)
        if earlier is None:
            await conn.execute(Q["lock_hooks_of"], str(owner.organization_id or owner.project_id))
            if await conn.fetchval(Q["count_hooks"], owner.organization_id, owner.project_id) >= _MOST:
                raise Invalid(f"Webhooks are not valid: there are {_MOST} already, which is the most that are allowed")
            new = NewHook(
                name=asked.description,
                kind="webhook",
                mode="tell",
                target=url,
                follows=asked.events,
                enabled=asked.enabled,
                limit_s=call.api.settings.webhook_limit_s,
                retries=call.api.settings.webhook_retries,
                on_failure="refuse",
            )
            now, key = call.api.clock.now(), call.api.key
            await changes.add(conn, owner, hook_id, new, by=call.caller.actor, now=now, key=key)
        made = await hook_of(conn, owner, str(earlier or hook_id))
    if made is None:
        raise not_found()
    return _shown(call, made) | {"secret": open_sealed(call.api.key, made.secret)}


async def get_webhook(call: Call) -> Body:
    """GET /projects/{project}/webhooks/{webhook}: one webhook, how far it was told, and what is wrong with it"""
    return _shown(call, await _found(call))


async def change_webhook(call: Call) -> Body:
    """PATCH /projects/{project}/webhooks/{webhook}: another URL, other events, on or off

    What it missed while it was off it is sent when it is on again, in order.
    """
    asked = read(ChangeWebhook, call.body)
    names = {"url": "target", "description": "name", "events": "follows", "enabled": "enabled"}
    given = {names[name]: value for name, value in asked.model_dump(exclude_none=True).items()}
    if asked.url is not None:
        _url(call, asked.url)
    owner = await _owner(call)
    async with call.db.acquire() as conn, conn.transaction():
        hook = await _locked(call, conn, owner)
        await changes.change(conn, hook, given, now=call.api.clock.now())
        changed = await hook_of(conn, hook.owner, str(hook.id))
    assert changed is not None
    return _shown(call, changed)


async def _locked(call: Call, conn: Connection, owner: Owner) -> Hook:
    await conn.fetchval(Q["lock_hook"], call.id("webhook"))
    return await _webhook(call, conn, owner)


async def delete_webhook(call: Call) -> None:
    """DELETE /projects/{project}/webhooks/{webhook}: nothing more is sent, and its deliveries are forgotten"""
    await call.db.execute(Q["remove_hook"], (await _found(call)).id)


async def rotate_secret(call: Call) -> Body:
    """POST /projects/{project}/webhooks/{webhook}/secret: a new secret, told once

    For `overlap_s` seconds deliveries are signed with the old one, too.
    """
    asked = read(Rotate, call.body)
    owner = await _owner(call)
    async with call.db.acquire() as conn, conn.transaction():
        hook = await _locked(call, conn, owner)
        secret = await changes.rotate(conn, hook, asked.overlap_s, now=call.api.clock.now(), key=call.api.key)
        changed = await hook_of(conn, hook.owner, str(hook.id))
    assert changed is not None
    return _shown(call, changed) | {"secret": secret}


async def replay(call: Call) -> Body:
    """POST /projects/{project}/webhooks/{webhook}/replay: send everything behind the cursor `from` again

    Deliveries keep their ids, by which a receiver knows what it has had already.
    """
    asked = read(Replay, call.body)
    owner = await _owner(call)
    async with call.db.acquire() as conn, conn.transaction():
        hook = await _locked(call, conn, owner)
        await changes.rewind(conn, hook, asked.from_, now=call.api.clock.now())
        changed = await hook_of(conn, hook.owner, str(hook.id))
    assert changed is not None
    return _shown(call, changed)


async def list_deliveries(call: Call) -> Body:
    """GET /projects/{project}/webhooks/{webhook}/deliveries: what was sent, latest first, with what was answered"""
    hook, page = await _found(call), page_of(call)
    state = call.word("state")
    if state is not None and state not in STATES:
        raise Invalid(f"state is not valid: {shown(state)} is not one of {', '.join(STATES)}")
    total = await call.db.fetchval(Q["count_deliveries"], hook.id, state)
    found = await deliveries_of(call.db, hook.id, state=state, limit=page.size, offset=page.offset)
    return {"deliveries": [delivery(one) for one in found], "meta": meta(call, page, total)}


async def redeliver(call: Call) -> Body:
    """POST /projects/{project}/webhooks/{webhook}/deliveries/{delivery}/replay: send one delivery again, now"""
    hook = await _found(call)
    found = await delivery_of(call.db, hook.id, call.id("delivery"))
    if found is None:
        raise not_found()
    async with senders(call.api) as ways:
        return delivery(await deliver_again(call.db, ways, hook, found))


async def test_webhook(call: Call) -> Body:
    """POST /projects/{project}/webhooks/{webhook}/test: send a test now, and tell what was answered"""
    hook = await _found(call)
    async with senders(call.api) as ways:
        return delivery(await test_hook(call.db, ways, hook))


_DELIVERIES = (*PAGES, choice("state", "In this state.", *STATES))


def _routes(owner: str) -> tuple[Route, ...]:
    every = f"{owner}/webhooks"
    one = f"{every}/{{webhook}}"
    view, manage = Right.VIEW, Right.MANAGE
    return (
        Route("GET", every, list_webhooks, objects="webhooks", right=view, addition=True, answer=hook_schemas.Webhook),
        Route(
            "POST",
            every,
            create_webhook,
            status=201,
            right=manage,
            body=CreateWebhook,
            addition=True,
            answer=hook_schemas.WebhookMade,
        ),
        Route("GET", one, get_webhook, right=view, addition=True, answer=hook_schemas.Webhook),
        Route(
            "PATCH", one, change_webhook, right=manage, body=ChangeWebhook, addition=True, answer=hook_schemas.Webhook
        ),
        Route("DELETE", one, delete_webhook, status=204, right=manage, addition=True),
        Route(
            "POST",
            f"{one}/secret",
            rotate_secret,
            right=manage,
            body=Rotate,
            addition=True,
            answer=hook_schemas.WebhookMade,
        ),
        Route("POST", f"{one}/replay", replay, right=manage, body=Replay, addition=True, answer=hook_schemas.Webhook),
        Route("POST", f"{one}/test", test_webhook, right=manage, addition=True, answer=hook_schemas.Delivery),
        Route(
            "GET",
            f"{one}/deliveries",
            list_deliveries,
            objects="deliveries",
            right=manage,
            query=_DELIVERIES,
            addition=True,
            answer=hook_schemas.Delivery,
        ),
        Route(
            "POST",
            f"{one}/deliveries/{{delivery}}/replay",
            redeliver,
            right=manage,
            addition=True,
            answer=hook_schemas.Delivery,
        ),
    )


ROUTES = (*_routes("/projects/{project}"), *_routes("/organizations/{organization}"))
