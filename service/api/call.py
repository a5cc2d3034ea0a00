"""One request as a handler sees it, and the table of routes that leads to handlers."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from functools import cached_property
from typing import Any
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel

from images.catalogue import Catalogue
from ipam.committer import Committer
from service.api.door import Place, check
from service.api.links import PREFIX, Links
from service.api.parameters import Parameter
from service.api.problems import Invalid, NotAllowed, Refused, not_found, shown
from service.api.storable import parse, why_unstorable
from service.api.streams import Stream
from service.clock import Clock
from service.forecast import Lately
from service.parts import Parts
from service.policy import Right
from service.secrets import KeyRing
from service.settings import Settings
from service.store.accounts import Principal, sees_project
from service.store.notify import Hub
from service.store.offers import Offers, read_offers
from service.store.rows import Connection, Pool
from sql.loader import Q

Body = dict[str, Any]
CALLER = web.RequestKey("caller", Principal)
_SLASHES = re.compile(r"/{2,}")


@dataclass(frozen=True, slots=True)
class Api:
    """What the handlers of one process share."""

    db: Pool
    parts: Parts
    hub: Hub
    committer: Committer

    @property
    def settings(self) -> Settings:
        """The settings."""
        return self.parts.settings

    @property
    def catalogue(self) -> Catalogue:
        """The operating systems."""
        return self.parts.catalogue

    @property
    def clock(self) -> Clock:
        """The time."""
        return self.parts.clock

    @property
    def key(self) -> KeyRing:
        """The keys that seal secrets."""
        return self.parts.key

    @property
    def lately(self) -> Lately:
        """What courses took lately."""
        return self.parts.lately

    async def offers(self, db: Connection | None = None) -> Offers:
        """What is on offer now."""
        if db is None:
            async with self.db.acquire() as conn:
                return await self.offers(conn)
        return await read_offers(db, [entry.slug for entry in self.catalogue])


@dataclass(frozen=True)
class Call:
    """One request, authenticated."""

    api: Api
    caller: Principal
    method: str
    path: str  # without the prefix
    links: Links
    ids: Mapping[str, str]  # what the path's placeholders matched
    query: Mapping[str, list[str]]  # "name[]" is under "name"
    content: bytes
    idempotency_key: str | None
    last_event_id: str | None = None  # where a reader of a stream was
    _offers: list[Offers] = field(default_factory=list)

    @property
    def db(self) -> Pool:
        """The pool."""
        return self.api.db

    def id(self, name: str) -> UUID:
        """The id that the path has at a placeholder. Raises Refused (404): what is no id cannot be found."""
        try:
            return UUID(self.ids[name])
        except ValueError:
            raise not_found() from None

    async def project(self) -> UUID:
        """The path's project. Raises Refused (404) when the caller does not see it."""
        project_id = self.id("project")
        if not await sees_project(self.db, self.caller, project_id):
            raise not_found()
        return project_id

    async def offers(self, db: Connection | None = None) -> Offers:
        """What is on offer, as the request saw it first."""
        if not self._offers:
            self._offers.append(await self.api.offers(db))
        return self._offers[0]

    async def require(self, right: Right, project_id: UUID, db: Connection | None = None) -> None:
        """Return when the caller has the right in a project that the path does not name. Raises Refused: 403, or 404.

        Of what the path names the door has asked.
        """
        query = Q["place_of_project"]
        rows = await (self.db if db is None else db).fetch(query, [project_id])
        check(self.caller, right, Place(**rows[0]) if rows else None)

    def word(self, name: str) -> str | None:
        """One value of the query; None when it is missing or empty."""
        values = self.query.get(name)
        return (values[0] or None) if values else None

    def words(self, name: str) -> list[str] | None:
        """All values of the query under a name, which may also be one with commas; None when there are none."""
        found = [part for value in self.query.get(name, []) for part in value.split(",") if part]
        return found or None

    def flag(self, name: str) -> bool | None:
        """A yes or no of the query. Raises Refused (422) for anything else."""
        value = self.word(name)
        if value is None:
            return None
        if value.lower() not in ("true", "false", "1", "0"):
            raise Invalid(f"{name} is not valid: {shown(value)} is neither true nor false")
        return value.lower() in ("true", "1")

    @cached_property
    def body(self) -> Body:
        """The query's parameters, overruled by the body's (rule 4: libcloud puts everything into the query).

        Raises Refused: 400 for what is no JSON, 422 for JSON that is no object or holds what cannot be stored.
        """
        merged: Body = {
            name: values[0] if len(values) == 1 else values
            for name, values in self.query.items()
            if name not in ("include", "exclude")
        }
        if self.content.strip():
            try:
                given = parse(self.content)
            except ValueError:
                raise Refused(400, "The body is not valid JSON") from None
            if given is not None and not isinstance(given, dict):
                raise Invalid("The body is not valid: it must be a JSON object")
            merged |= given or {}
        for name, value in merged.items():
            if why := why_unstorable([name, value]):
                raise Invalid(f"{shown(name)} is not valid: {why}")
        return merged


@dataclass(frozen=True, slots=True)
class Document:
    """An answer that is no JSON: a table, a zone file."""

    text: str
    content_type: str  # "text/csv"


@dataclass(frozen=True, slots=True)
class File:
    """An answer of any size that goes out piece by piece. What is refused before the first piece is answered as ever;
    what fails later ends the connection."""

    pieces: AsyncGenerator[bytes, None]
    content_type: str  # with its charset
    compressed: bool = False


Handler = Callable[[Call], Awaitable[Body | Document | File | Stream | None]]
LARGEST_BODY = 4 << 20  # bytes; user data with files in it stays well below


@dataclass(frozen=True, slots=True)
class Route:
    """One row of the route table. `objects` names the list in the answer; None when the answer is the object."""

    methods: str  # "GET" or "PUT PATCH"
    pattern: str  # "/projects/{project}/devices"
    handler: Handler
    _: KW_ONLY
    right: Right  # what the caller needs (service.policy)
    status: int = 200
    objects: str | None = None
    writes: bool | None = None  # None: everything but GET
    body: type[BaseModel] | None = None  # what the handler validates the request's body with
    query: tuple[Parameter, ...] = ()  # what it reads of the query
    answer: type[BaseModel] | None = None  # the object that it answers with, or of which `objects` is a list
    documents: tuple[str, ...] = ()  # the media types of answers that are no JSON
    addition: bool = False  # none of the dialect: also below /v1, where errors are problem details (RFC 9457)
    audited: bool = True  # False: events tell what it does, and it changes no row that is audited
    largest: int = LARGEST_BODY  # bytes of a request's body

    def below(self, prefix: str) -> Route:
        """The same route at another place."""
        return replace(self, pattern=prefix + self.pattern)

    @property
    def changes(self) -> bool:
        """Whether a read-only token is refused here."""
        return self.methods != "GET" if self.writes is None else self.writes


@dataclass(frozen=True, slots=True)
class Signed:
    """A POST that carries no token: its headers sign the body (Standard Webhooks 1.0.0). It looks after itself; the row
    is what is told of it."""

    pattern: str
    summary: str
    body: type[BaseModel]
    answer: type[BaseModel]


class RouteTable:
    """Finds the route of a path. Literal segments go before placeholders."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in routes:
            parts = route.pattern.split("/")
            self._by_length.setdefault(len(parts), []).append((parts, route))
        for rows in self._by_length.values():
            rows.sort(key=lambda row: [part.startswith("{") for part in row[0]])

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """The route and what its placeholders match. Raises Refused: 404, or 405 for another method's path."""
        parts = path.split("/")
        others: set[str] = set()
        named: list[bool] | None = None  # where the path that is meant has placeholders
        for pattern, route in self._by_length.get(len(parts), ()):
            if any(want != have and not want.startswith("{") for want, have in zip(pattern, parts, strict=True)):
                continue
            holders = [part.startswith("{") for part in pattern]
            if named is not None and holders != named:
                break  # "merge" of /ips/merge is no address, whatever the method
            named = holders
            if method in route.methods.split():
                ids = zip(pattern, parts, strict=True)
                return route, {want[1:-1]: have for want, have in ids if want.startswith("{")}
            others.update(route.methods.split())
        if others:
            raise NotAllowed(method, sorted(others))
        raise not_found()


def split_path(raw: str) -> tuple[str, str]:
    """Prefix and path: repeated slashes are one, a doubled prefix is one (rules 1 and 2)."""
    path = _SLASHES.sub("/", raw).rstrip("/") or "/"
    prefix = ""
    while path == PREFIX or path.startswith(PREFIX + "/"):
        prefix, path = PREFIX, path[len(PREFIX) :] or "/"
    return prefix, path
