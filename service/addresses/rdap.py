"""The registration data of the address space for everybody, over HTTP (RFC 7480): /rdap, without a token.

What is told is the smallest registration around what was asked: what a project holds itself, a customer's prefix, or
else the provider's. Which device has an address is nobody's business here.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import structlog
from aiohttp import web

from ipam.asn import is_private
from ipam.internet import INTERNET, is_local
from ipam.ledger import holding
from ipam.rdap import (
    CONTENT_TYPE,
    AsnRegistration,
    BadQuery,
    Contact,
    NetworkRegistration,
    Object,
    autnum,
    error,
    handle_of,
    help_,
    network,
    parse_asn,
    parse_block,
)
from ipam.space import Network
from service.api.call import Api
from service.api.problems import shown
from sql.loader import Q

log = structlog.get_logger()

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_UNTOLD = ("domain", "nameserver", "entity", "domains", "nameservers", "entities")  # RFC 9082 §3.1.3 to §3.2
_STATUS = {"frozen": ("active", "locked")}


class NotFound(Exception):
    """Nothing is registered there."""


class Rdap:
    """The RDAP server of one process."""

    def __init__(self, api: Api) -> None:
        self._api = api

    def application(self) -> web.Application:
        """To be mounted at /rdap."""
        app = web.Application(middlewares=[_worded])
        app.router.add_get("/{path:.*}", self._answer)
        return app

    async def _answer(self, request: web.Request) -> web.Response:
        what, *parts = request.match_info["path"].rstrip("/").split("/")
        base, asked = self._base(request), str(request.url)
        if what == "ip":
            return _response(200, await self._network(parse_block(parts), base, asked))
        if what == "autnum":
            return _response(200, await self._autnum(parse_asn(parts), base, asked))
        if what == "help" and not parts:
            return _response(200, help_(base=base, provider=self._api.settings.rdap_provider))
        if what in _UNTOLD:
            return _response(501, error(501, "Not Implemented", f"This server knows nothing about {what}."))
        raise BadQuery(f"{shown(what)} is no kind of query; known are ip, autnum and help")

    def _base(self, request: web.Request) -> str:
        return (self._api.settings.api_url.rstrip("/") or str(request.url.origin())) + "/rdap"

    async def _network(self, block: Network, base: str, asked: str) -> Object:
        if is_local(block):
            raise NotFound(f"{block} is in use in many places at once and registered for none.")
        found = await self._registrations(block)
        if not found:
            raise NotFound(f"{block} is not in the address space that this server answers for.")
        smallest = found[-1]
        wider = [one for one in found if one.block != smallest.block]
        return network(smallest, wider[-1] if wider else None, base=base, asked=asked)

    async def _registrations(self, block: Network) -> list[NetworkRegistration]:
        """What covers the block, the widest first."""
        async with self._api.db.acquire() as conn:
            prefixes = await conn.fetch(Q["rdap_prefixes"], INTERNET, block)
            if not prefixes:
                return []
            first, vrf_id = ip_network(block.network_address), prefixes[0]["vrf_id"]
            held = await holding(conn, first, self._api.clock.now(), vrf_ids=[vrf_id])
            tenures = await conn.fetch(Q["rdap_tenure"], [tenure.id for tenure in held], block)
        found: list[NetworkRegistration] = []
        customers = False
        for row in prefixes:
            # How a customer cuts up his own space is as little the world's business as his devices are.
            if row["organization_id"] is not None or not customers:
                found.append(self._registration("NET", "ALLOCATED", row, row, row["created_at"]))
            customers = customers or row["organization_id"] is not None
        for row in tenures:
            found.append(self._registration("RES", "ASSIGNED", row, prefixes[-1], row["since"], row["recorded_at"]))
        return found

    def _registration(
        self, handle: str, kind: str, row: Any, prefix: Any, since: datetime, changed: datetime | None = None
    ) -> NetworkRegistration:
        return NetworkRegistration(
            handle=handle_of(handle, row["block"]),
            block=row["block"],
            kind=kind,
            status=_STATUS.get(prefix["standing"], ("active",)),
            country=prefix["country"],
            registered=since,
            changed=changed,
            contacts=self._contacts(row["organization_id"], row["organization"]),
        )

    async def _autnum(self, asn: int, base: str, asked: str) -> Object:
        if is_private(asn):
            raise NotFound(f"AS{asn} is for private use (RFC 6996) and registered for nobody.")
        row = await self._api.db.fetchrow(Q["rdap_asn"], asn)
        if row is None:
            raise NotFound(f"AS{asn} is not among the numbers that this server answers for.")
        customers = row["organization_id"] is not None
        found = AsnRegistration(
            handle=f"AS{asn}" if customers else f"AS{row['first']}-AS{row['last']}",
            first=asn if customers else row["first"],
            last=asn if customers else row["last"],
            name=row["name"],
            registered=row["since"] if customers else row["created_at"],
            contacts=self._contacts(row["organization_id"], row["organization"]),
        )
        return autnum(found, base=base, asked=asked)

    def _contacts(self, organization_id: UUID | None, organization: str | None) -> list[Contact]:
        settings, found = self._api.settings, []
        if organization_id is not None and organization is not None:
            found.append(Contact(f"ORG-{organization_id}", "registrant", organization))
        elif settings.rdap_provider:
            found.append(Contact("ORG-PROVIDER", "registrant", settings.rdap_provider))
        if settings.rdap_abuse_email:
            name = f"{settings.rdap_provider} abuse desk".strip()
            found.append(Contact("ABUSE", "abuse", name, settings.rdap_abuse_email))
        return found


@web.middleware
async def _worded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Errors in RDAP's words, and every answer readable by scripts of any site (RFC 7480 §5.6)."""
    try:
        response = await handler(request)
    except BadQuery as err:
        response = _response(400, error(400, "Bad Request", str(err)))
    except NotFound as err:
        response = _response(404, error(404, "Not Found", str(err)))
    except web.HTTPException as err:
        response = _response(err.status, error(err.status, err.reason))
        if isinstance(err, web.HTTPMethodNotAllowed):
            response.headers["Allow"] = "GET, HEAD"
    except Exception:
        log.exception("rdap_error", path=request.path)
        response = _response(500, error(500, "Internal Server Error"))
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _response(status: int, body: Object) -> web.Response:
    # As bytes: JSON has no charset parameter (RFC 8259 §11).
    return web.Response(status=status, body=json.dumps(body).encode(), content_type=CONTENT_TYPE)
