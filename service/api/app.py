"""The API as an aiohttp application: one door, behind which paths are put right, callers known and errors worded."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from time import perf_counter

import asyncpg
import structlog
from aiohttp import web

from ipam.committer import Committer
from service.addresses import (
    asn_routes,
    dns_routes,
    exchange_routes,
    grant_routes,
    ledger_routes,
    prefix_routes,
    report_routes,
)
from service.addresses.rdap import Rdap
from service.admin import (
    audit_routes,
    bmc_routes,
    boot_routes,
    certificate_routes,
    facility_routes,
    facility_secret_routes,
    handover_routes,
    hook_routes,
    key_routes,
    leaf_routes,
    life_routes,
    machine_work,
    newcomer_routes,
    offering_routes,
    order_routes,
    rack_routes,
    racks_routes,
    release_routes,
    routes,
    run_routes,
    tenancy_routes,
    told_routes,
)
from service.admin import (
    reservation_routes as admin_reservation_routes,
)
from service.admin import usage_routes as admin_usage_routes
from service.admin.facility_inbox import INBOX, TOLD, FacilityInbox
from service.admin.read import ADMIN_ROUTES
from service.api import (
    account_routes,
    batch_routes,
    bgp_routes,
    capacity_routes,
    console_routes,
    device_detail_routes,
    device_routes,
    elastic_routes,
    event_log_routes,
    event_routes,
    ip_routes,
    member_routes,
    offer_routes,
    organization_routes,
    reservation_routes,
    spot_routes,
    token_routes,
    traffic_routes,
    usage_routes,
    webhook_routes,
)
from service.api.audited import audited, for_nobody
from service.api.call import (
    CALLER,
    LARGEST_BODY,
    Api,
    Body,
    Call,
    Document,
    File,
    Route,
    RouteTable,
    split_path,
)
from service.api.content import content_of
from service.api.docs import DOCUMENT, PAGE, Docs
from service.api.door import enter
from service.api.expand import exclude, include, paths_of
from service.api.links import Links
from service.api.loaders import loaders
from service.api.problems import Invalid, NotAllowed, Refused, problem_response, refusal_response
from service.api.storable import why_unstorable
from service.api.streams import Stream, serve
from service.console.app import Console
from service.parts import Parts
from service.store.accounts import Principal, principal_of
from service.store.notify import Hub
from service.store.rows import Pool

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

API = web.AppKey("api", Api)
CONSOLE, RDAP = "/console", "/rdap"  # these look after themselves, and so does the inbox
ADDITIONS = "/v1"  # what the dialect does not have, with errors as problem details

_OPEN = (CONSOLE, RDAP, INBOX, DOCUMENT, PAGE)
_DEADLOCKS = 3  # tries again
_SORRY = "Oh snap, something went wrong! We've logged the error and will take a look."
ROUTES: tuple[Route, ...] = (
    *offer_routes.ROUTES,
    *capacity_routes.ROUTES,
    *account_routes.ROUTES,
    *organization_routes.ROUTES,
    *member_routes.ROUTES,
    *token_routes.ROUTES,
    *device_routes.ROUTES,
    *device_detail_routes.ROUTES,
    *event_routes.ROUTES,
    *event_log_routes.ROUTES,
    *webhook_routes.ROUTES,
    *console_routes.ROUTES,
    *ip_routes.ROUTES,
    *elastic_routes.ROUTES,
    *bgp_routes.ROUTES,
    *reservation_routes.ROUTES,
    *batch_routes.ROUTES,
    *spot_routes.ROUTES,
    *usage_routes.ROUTES,
    *traffic_routes.ROUTES,
    *prefix_routes.ROUTES,
    *ledger_routes.ROUTES,
    *grant_routes.ROUTES,
    *report_routes.ROUTES,
    *dns_routes.ROUTES,
    *asn_routes.ROUTES,
    *exchange_routes.ROUTES,
    *ADMIN_ROUTES,
    *tenancy_routes.ROUTES,
    *certificate_routes.ROUTES,
    *leaf_routes.ROUTES,
    *boot_routes.ROUTES,
    *release_routes.ROUTES,
    *told_routes.ROUTES,
    *handover_routes.ROUTES,
    *hook_routes.ROUTES,
    *facility_routes.ROUTES,
    *facility_secret_routes.ROUTES,
    *machine_work.ROUTES,
    *audit_routes.ROUTES,
    *key_routes.ROUTES,
    *offering_routes.ROUTES,
    *order_routes.ROUTES,
    *rack_routes.ROUTES,
    *run_routes.ROUTES,
    *admin_reservation_routes.ROUTES,
    *newcomer_routes.ROUTES,
    *life_routes.ROUTES,
    *racks_routes.ROUTES,
    *admin_usage_routes.ROUTES,
    *routes.ROUTES,
    *bmc_routes.ROUTES,
)


ALL_ROUTES = (*ROUTES, *(route.below(ADDITIONS) for route in ROUTES if route.addition))
SIGNED = (TOLD,)


def make_api(db: Pool, parts: Parts, hub: Hub) -> web.Application:
    """The customers' and the operators' API. `hub` must be running for long polls to be woken."""
    app = web.Application(client_max_size=LARGEST_BODY, middlewares=[_guard])
    app[API] = Api(db, parts, hub, Committer(db, parts.clock))
    table = RouteTable(ALL_ROUTES)

    async def dispatched(request: web.Request) -> web.StreamResponse:
        return await _dispatch(request, table)

    Docs(ALL_ROUTES, SIGNED).add_routes(app)
    app.router.add_get(CONSOLE, _to_console)
    app.add_subapp(CONSOLE, Console(app[API]).application())
    app.add_subapp(INBOX, FacilityInbox(app[API]).application())
    app.add_subapp(RDAP, Rdap(app[API]).application())
    app.router.add_route("*", "/{path:.*}", dispatched)
    return app


async def _to_console(_request: web.Request) -> web.Response:
    raise web.HTTPPermanentRedirect(f"{CONSOLE}/")


@web.middleware
async def _guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    if any(request.path == door or request.path.startswith(f"{door}/") for door in _OPEN):
        return await handler(request)
    began = perf_counter()
    try:
        request[CALLER] = await _caller(request)
        response = await audited(request, request.app[API].db, lambda: _retried(request, handler))
    except Refused as refused:
        response = _refusal(request, refused.status, refused.errors)
        if isinstance(refused, NotAllowed):
            response.headers["Allow"] = ", ".join(refused.allowed)
    except web.HTTPException as err:
        response = _refusal(request, err.status, (err.reason,))
    except Exception:
        log.exception("api_error", method=request.method, path=request.path)
        response = _refusal(request, 500, (_SORRY,))
    if response.status >= 500 or request.method not in ("GET", "HEAD"):
        took_ms = round((perf_counter() - began) * 1000, 1)
        log.info("api_request", method=request.method, path=request.path, status=response.status, took_ms=took_ms)
    return response


def _refusal(request: web.Request, status: int, errors: tuple[str, ...]) -> web.Response:
    below = split_path(request.path)[1].startswith(f"{ADDITIONS}/")
    return problem_response(status, errors) if below else refusal_response(status, errors)


async def _caller(request: web.Request) -> Principal:
    token = request.headers.get("X-Auth-Token", "")
    caller = await principal_of(request.app[API].db, token) if token else None
    if caller is None:
        raise Refused(401, "Invalid authentication token")
    return caller


async def _retried(request: web.Request, handler: Handler) -> web.StreamResponse:
    """PostgreSQL ends one of two transactions that wait for each other; nothing of it is left, so it is begun again."""
    for _ in range(_DEADLOCKS):
        try:
            return await handler(request)
        except asyncpg.DeadlockDetectedError:
            log.info("deadlock_retried", method=request.method, path=request.path)
    return await handler(request)


async def _dispatch(request: web.Request, table: RouteTable) -> web.StreamResponse:
    caller = request[CALLER]
    prefix, path = split_path(request.path)
    method = "GET" if request.method == "HEAD" else request.method
    route, ids = table.find(method, path)
    if not route.audited:
        for_nobody()
    api = request.app[API]
    await enter(api.db, caller, route.right, ids, changes=route.changes)
    call = Call(
        api=api,
        caller=caller,
        method=method,
        path=path,
        links=Links(prefix),
        ids=ids,
        query=_query(request),
        content=await content_of(request, route.largest),
        idempotency_key=_idempotency_key(request),
        last_event_id=request.headers.get("Last-Event-ID"),
    )
    body = await route.handler(call)
    if body is None:
        return web.Response(status=route.status)
    if isinstance(body, Stream):
        return await serve(request, body, call.api.hub, lambda: _caller(request))
    if isinstance(body, Document):
        return web.Response(status=route.status, text=body.text, content_type=body.content_type)
    if isinstance(body, File):
        return await _sent(request, route.status, body)
    await _reshape(call, route, body)
    return web.Response(status=route.status, text=json.dumps(body), content_type="application/json")


async def _sent(request: web.Request, status: int, file: File) -> web.StreamResponse:
    async with aclosing(file.pieces) as pieces:
        first = await anext(pieces, b"")
        response = web.StreamResponse(status=status, headers={"Content-Type": file.content_type})
        if file.compressed:
            response.enable_compression()
        await response.prepare(request)
        try:
            await response.write(first)
            async for piece in pieces:
                await response.write(piece)
            await response.write_eof()
        except ConnectionError:
            pass  # the reader has left
        except Exception:
            log.exception("answer_broken_off", path=request.path)
            if request.transport is not None:
                request.transport.abort()
    return response


async def _reshape(call: Call, route: Route, body: Body) -> None:
    wanted, unwanted = paths_of(call.query.get("include", [])), paths_of(call.query.get("exclude", []))
    if wanted or unwanted:
        objects = [body] if route.objects is None else body[route.objects]
        await include(objects, wanted, loaders(call))
        exclude(objects, unwanted)


def _query(request: web.Request) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in request.query.items():
        if why := why_unstorable([name, value]):
            raise Invalid(f"The query is not valid: {why}")
        found.setdefault(name.removesuffix("[]"), []).append(value)
    return found


def _idempotency_key(request: web.Request) -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= 255 and key.isascii() and key.isprintable()):
        raise Invalid("Idempotency-Key is not valid: it must be 1 to 255 printable ASCII characters")
    return key
