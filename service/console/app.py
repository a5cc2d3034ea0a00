"""The console as an application below /console: pages, one style sheet, one script, and the way in and out."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from urllib.parse import urlencode

import jinja2
import structlog
from aiohttp import web

from service.api.audited import audited
from service.api.call import CALLER, Api
from service.console.acts import ACTS, ActRefused, from_our_page
from service.console.look import Look, View
from service.console.session import may_look, sign_in, sign_out, staff_of
from service.console.sign_ins import SignIns
from service.console.views import VIEWS
from service.console.words import ago, count, seconds, stage_name
from service.store.accounts import principal_of

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ASSETS = {"console.css": "text/css", "console.js": "text/javascript"}
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'self' 'unsafe-inline'",  # the lengths of bars are style attributes
        "script-src 'self'",
        "connect-src 'self'",
        "img-src data:",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
_BACK = re.compile(r"hooks(/[A-Za-z0-9._-]{1,80})?")  # pages that have forms
_FRAGMENT = "X-Fragment"  # the page's own script asks for the page's inside only


class Console:
    """The console of one process."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._sign_ins = SignIns(api.db, api.clock)
        self._pages = jinja2.Environment(
            loader=jinja2.PackageLoader("service.console", "."),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._pages.filters.update(seconds=seconds, count=count, stage_name=stage_name)

    def application(self) -> web.Application:
        """To be mounted at /console."""
        app = web.Application(client_max_size=64 << 10, middlewares=[_headers])
        app.router.add_get("/login", self._login_page)
        app.router.add_post("/login", self._login)
        app.router.add_post("/logout", self._logout)
        app.router.add_post("/acts", self._act)
        for name in _ASSETS:
            app.router.add_get(f"/{name}", self._asset)
        for path, (template, view) in VIEWS.items():
            app.router.add_get(path, self._page(template, view))
        return app

    def _page(self, template: str, view: View) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            staff = await staff_of(request, self._api.db, self._api.key, self._api.clock.now())
            if staff is None:
                if _FRAGMENT in request.headers:
                    return web.Response(status=401)
                raise web.HTTPSeeOther("/console/login")
            page = await view(Look(self._api, staff, request))
            if page is None:
                return self._render("missing.html", request, status=404)
            return self._render(template, request, **page)

        return handler

    async def _act(self, request: web.Request) -> web.StreamResponse:
        """Do what a form of a page asks for, and lead back to the page with what came of it."""
        staff = await staff_of(request, self._api.db, self._api.key, self._api.clock.now())
        if staff is None:
            raise web.HTTPSeeOther("/console/login")
        form = {name: str(value).replace("\0", "") for name, value in (await request.post()).items()}
        if not from_our_page(request, form.get("token", "")):
            log.warning("console_form_refused", peer=request.remote, origin=request.headers.get("Origin"))
            raise web.HTTPForbidden(text="This form was not sent by a page of this console.")
        right, act = ACTS.get(form.get("act", ""), (None, None))
        back = form.get("back", "")
        if right is None or act is None or not _BACK.fullmatch(back):
            raise web.HTTPBadRequest(text="The form is not whole.")
        if right not in staff.rights:
            raise web.HTTPForbidden(text=f"You are not authorized: your role does not let you {right}.")
        request[CALLER] = staff
        look = Look(self._api, staff, request)

        async def done() -> web.StreamResponse:
            try:
                said = await act(look, form)
            except ActRefused as refused:
                said = str(refused)
            return web.Response(status=303, headers={"Location": f"/console/{back}?{urlencode({'said': said})}"})

        return await audited(request, self._api.db, done)

    def _render(self, template: str, request: web.Request, *, status: int = 200, **page: object) -> web.Response:
        now = self._api.clock.now()
        text = self._pages.get_template(template).render(
            page,
            fragment=_FRAGMENT in request.headers,
            path=request.path.removeprefix("/console").rstrip("/") or "/",
            ago=lambda moment: ago(now, moment),
            now=now,
        )
        return web.Response(text=text, status=status, content_type="text/html")

    async def _login_page(self, request: web.Request) -> web.Response:
        return self._render("login.html", request, wrong=False)

    async def _login(self, request: web.Request) -> web.Response:
        form = await request.post()
        token = str(form.get("token", "")).strip()
        known = await principal_of(self._api.db, token) if token else None
        if known is None or not may_look(known):
            status = await self._sign_ins.refused(request, known)
            return self._render("login.html", request, status=status, wrong=True)
        await self._sign_ins.opened(request, known)
        response = web.HTTPSeeOther("/console/")
        sign_in(response, request, self._api.key, token, self._api.clock.now())
        raise response

    async def _logout(self, request: web.Request) -> web.Response:
        staff = await staff_of(request, self._api.db, self._api.key, self._api.clock.now())
        if staff is not None:
            await self._sign_ins.closed(request, staff)
        response = web.HTTPSeeOther("/console/login")
        sign_out(response)
        raise response

    async def _asset(self, request: web.Request) -> web.Response:
        name = request.path.rpartition("/")[2]
        text = (files("service.console") / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=_ASSETS[name], headers={"Cache-Control": "max-age=300"})


@web.middleware
async def _headers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        response = await handler(request)
    except web.HTTPException as err:
        err.headers["Content-Security-Policy"] = _POLICY
        raise
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    if "Cache-Control" not in response.headers:
        response.headers["Cache-Control"] = "no-store"
    return response
