"""The OpenAPI 3.1 document, made from the route table: what it says of a request is what validates it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.api import parameters
from service.api.call import Route, Signed
from service.api.parameters import Parameter
from service.api.schemas import Error, Meta, Problem, Unauthenticated

Object = dict[str, Any]
Model = type[BaseModel]

_MODE: JsonSchemaMode = "validation"
_AT = "#/components/schemas/"
_HEAD = re.compile(r"^[A-Z]+( and [A-Z]+)? /.*?: ")  # "GET /events, GET /devices/{device}/events: "
_PLACEHOLDER = re.compile(r"{(\w+)}")
_UUID: Object = {"type": "string", "format": "uuid"}
_NAME: Object = {"type": "string", "minLength": 1}
_NUMBER: Object = {"type": "integer", "minimum": 0}
_ADDRESS: Object = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}

_PRINTABLE = r"^[!-~]([ -~]*[!-~])?$"
# What signs a request that carries no token.
_SIGNATURE: Sequence[tuple[str, Object, str]] = (
    (
        "webhook-id",
        {"type": "string", "minLength": 1, "maxLength": 200, "pattern": _PRINTABLE},
        "Of the event, 1 to 200 printable ASCII characters. The same event under the same id is carried out once.",
    ),
    (
        "webhook-timestamp",
        {"type": "string", "pattern": "^[0-9]{1,12}$"},
        "When this request was signed, in seconds since 1970; at most five minutes from now.",
    ),
    (
        "webhook-signature",
        {"type": "string", "minLength": 1, "pattern": _PRINTABLE},
        "`v1,` and base64 of HMAC-SHA256 over `ID.TIMESTAMP.BODY`; several are separated by blanks, one must be right.",
    ),
)

# What stands for a placeholder of a path: its schema and its meaning. All others are ids of what they are called by.
_PLACES: Mapping[str, tuple[Object, str]] = {
    "address": (_ADDRESS, "The address."),
    "metro": (_NAME, "The metro's code or id."),
    "machine": (_NAME, "The machine's id or name."),
    "facility": (_NAME, "The facility's code or id."),
    "operating_system": (_NAME, "The operating system's slug or id."),
    "rack": (_NAME, "The rack's name or id."),
    "order": (_NAME, "The device's id, its beginning, or the hostname."),
    "run": (_NAME, "The run's id, or its beginning."),
    "hook": (_NAME, "The hook's id or name."),
    "leaf": (_NAME, "The leaf's id or name."),
    "pool": (_NAME, "The pool's name."),
    "zone": (_NAME, "The zone's name: `113.0.203.in-addr.arpa`."),
    "prefix": (_NUMBER, "The prefix's id."),
    "asn": (_NUMBER, "The AS number."),
}
_BY_PATTERN: Mapping[tuple[str, str], tuple[Object, str]] = {
    ("/admin/v1/plans/", "plan"): (_NAME, "The plan's slug."),
    ("/plans/", "plan"): (_NAME, "The plan's slug or id."),
}
# What the answer also has where a part of the log was asked for.
_BEHIND: Object = {
    "cursor": {"type": "string", "description": "Of the last event: what `after` goes on with."},
    "more": {"type": "boolean", "description": "Whether there are events behind it."},
}
_PARTS = {
    "Customers": "The dialect of the Packet and Equinix Metal clients, at the root and below `/metal/v1`.",
    "Additions": "What the dialect does not have, also below `/v1`, where errors are problem details (RFC 9457).",
    "Addresses": "The address manager.",
    "Operators": "For staff tokens.",
}
_GOOD = {201: "It was made.", 202: "It was taken note of.", 204: "It was done."}
_REFUSALS = {
    "400": "The request is malformed.",
    "401": "The token is missing or nobody's.",
    "403": "The caller may see this, and may not do it.",
    "404": "There is no such thing, or it is not the caller's.",
    "422": "The content is not allowed; nothing has changed. Each message names field, value and what is allowed.",
}
_INTRODUCTION = """\
Bare-metal machines from an order to a login, and all that belongs to them.

Requests carry a token in `X-Auth-Token`. Bodies are JSON objects; fields that are not known are ignored, and an empty
value means the default. What is sent in the query of a POST, PUT or PATCH counts as if it were in the body, which
overrules it. Times are RFC 3339 in UTC. Every path that takes a token is there below `/metal/v1`, too, and `href`s
carry the prefix that the request came by.

A POST with an `Idempotency-Key` that comes again, with the same token and content, is answered as the first one was
and does nothing.
"""


def document(routes: Sequence[Route], signed: Sequence[Signed]) -> Object:
    """The OpenAPI 3.1 document of these routes, and of what is signed instead of carrying a token."""
    names = _Names([*routes, *signed])
    paths: dict[str, Object] = {}
    for route in at_one_path(routes):
        for method in route.methods.split():
            paths.setdefault(route.pattern, {})[method.lower()] = _operation(route, method, names)
    for one in signed:
        paths[one.pattern] = {"post": _signed(one, names)}
    used = {tag for operations in paths.values() for operation in operations.values() for tag in operation["tags"]}
    token = {
        "type": "apiKey",
        "in": "header",
        "name": "X-Auth-Token",
        "description": "A token of a user or of a project.",
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Roundhouse", "version": _version(), "description": _INTRODUCTION},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": part, "description": text} for part, text in _PARTS.items() if part in used],
        "paths": dict(sorted(paths.items())),
        "components": {"schemas": names.schemas, "securitySchemes": {"token": token}},
    }


def at_one_path(routes: Sequence[Route]) -> list[Route]:
    """The routes with the same placeholders where they are at the same path: those of one method may have names of
    their own, which OpenAPI does not know."""
    shapes: dict[str, str] = {}
    for route in routes:
        shape = _PLACEHOLDER.sub("{}", route.pattern)
        shapes[shape] = min(shapes.get(shape, route.pattern), route.pattern, key=len)
    return [replace(route, pattern=shapes[_PLACEHOLDER.sub("{}", route.pattern)]) for route in routes]


class _Names:
    """Where in the document the schemas of models are."""

    def __init__(self, routes: Iterable[Route | Signed]) -> None:
        rows = list(routes)
        answers = [route.answer for route in rows if route.answer is not None]
        places, schemas = _schemas([Error, Unauthenticated, Problem, Meta, *answers])
        for schema in schemas.values():
            for field in schema.get("properties", {}).values():
                field.pop("default", None)  # what is left out of an answer stands for nothing
        bodies, told = _schemas([route.body for route in rows if route.body is not None])
        for model, place in bodies.items():
            if not told[place["$ref"].removeprefix(_AT)].get("required"):
                bodies[model] = {"anyOf": [place, {"type": "null"}]}  # as good as no body
        for schema in told.values():
            _as_read(schema)
        if both := schemas.keys() & told.keys():
            raise ValueError(f"a body and an answer are both called {', '.join(sorted(both))}")
        self.places: dict[Model, Object] = places | bodies
        self.schemas: dict[str, Object] = dict(sorted((schemas | told).items()))
        # The answers in which references can be filled in.
        self.referring = {model for model in answers if "Reference" in _reached(places[model], schemas, set())}


def _reached(schema: object, schemas: Mapping[str, Object], found: set[str]) -> set[str]:
    """The names of all schemas that this one leads to, added to those that were found."""
    if isinstance(schema, list):
        for one in schema:
            _reached(one, schemas, found)
    elif isinstance(schema, dict):
        name = str(schema.get("$ref", "")).removeprefix(_AT)
        if name and name not in found:
            found.add(name)
            _reached(schemas[name], schemas, found)
        for one in schema.values():
            _reached(one, schemas, found)
    return found


def _schemas(models: Iterable[Model]) -> tuple[dict[Model, Object], dict[str, Object]]:
    """References to the schemas of models, and those schemas with all that they refer to."""
    wanted: list[tuple[Model, JsonSchemaMode]] = [(model, _MODE) for model in dict.fromkeys(models)]
    refs, definitions = models_json_schema(wanted, ref_template=_AT + "{model}")
    schemas: dict[str, Object] = definitions["$defs"]
    for schema in schemas.values():
        _without_titles(schema)
    return {model: dict(refs[model, _MODE]) for model, _ in wanted}, schemas


# What is read as a number or as yes or no besides JSON's own: clients send both as text.
_TEXTS: Mapping[str, Sequence[Object]] = {
    "integer": ({"type": "string", "pattern": r"^\s*[+-]?[0-9][0-9_]*(\.0*)?\s*$"},),
    "number": ({"type": "string", "pattern": r"^\s*[+-]?([0-9]|\.[0-9]|[Nn]a[Nn]|[Ii]nf)"},),
    "boolean": (
        {"enum": [0, 1]},
        {
            "type": "string",
            "pattern": "^(0|1|[Tt]|[Ff]|[Yy]|[Nn]|[Tt][Rr][Uu][Ee]|[Ff][Aa][Ll][Ss][Ee]|[Yy][Ee][Ss]|[Nn][Oo]|[Oo][Nn]|"
            "[Oo][Ff][Ff])$",
        },
    ),
}


def _as_read(schema: object) -> None:
    """Tell of a body's schema what is read besides JSON's own numbers, true and false."""
    if isinstance(schema, list):
        for one in schema:
            _as_read(one)
    if not isinstance(schema, dict):
        return
    for name, one in schema.items():
        if name not in ("default", "enum", "const", "examples"):
            _as_read(one)
    kind = schema.get("type")
    if isinstance(kind, str) and kind in _TEXTS and "anyOf" not in schema:
        kept = {name: schema.pop(name) for name in list(schema) if name not in ("default", "description", "title")}
        schema["anyOf"] = [kept, *_TEXTS[kind]]


def _without_titles(schema: object) -> None:
    """Take out the titles of fields, which pydantic makes of their names."""
    if isinstance(schema, list):
        for one in schema:
            _without_titles(one)
    elif isinstance(schema, dict):
        for name, one in schema.items():
            if name == "properties":
                for field in one.values():
                    field.pop("title", None)
                    _without_titles(field)
            elif name not in ("default", "enum", "const", "examples"):
                _without_titles(one)


def _version() -> str:
    try:
        return version("roundhouse")
    except PackageNotFoundError:  # run from a folder that was never installed
        return "0"


def _operation(route: Route, method: str, names: _Names) -> Object:
    summary, text = _words(route)
    found: Object = {
        "operationId": _operation_id(method, route.pattern),
        "summary": summary,
        "tags": [_part(route)],
        "parameters": [_place(route.pattern, name) for name in _PLACEHOLDER.findall(route.pattern)],
    }
    if text:
        found["description"] = text
    reshape = parameters.RESHAPE if route.answer in names.referring else ()
    found["parameters"] += [_parameter(one) for one in (*route.query, *reshape)]
    if method == "POST":
        found["parameters"].append(_idempotency_key())
    if route.body is not None:
        found["requestBody"] = _request_body(names.places[route.body])
    found["responses"] = _responses(route, names.places)
    return found


def _signed(one: Signed, names: _Names) -> Object:
    good = {"description": "The answer.", "content": {"application/json": {"schema": names.places[one.answer]}}}
    places = [_place(one.pattern, name) for name in _PLACEHOLDER.findall(one.pattern)]
    return {
        "operationId": _operation_id("POST", one.pattern),
        "summary": one.summary,
        "tags": ["Operators"],
        "security": [],
        "parameters": [*places, *(_header(name, schema, meaning) for name, schema, meaning in _SIGNATURE)],
        "requestBody": _request_body(names.places[one.body]),
        "responses": {"200": good, **_refusals(one.pattern, names.places)},
    }


def _operation_id(method: str, pattern: str) -> str:
    return "_".join([method.lower(), *re.findall(r"[a-z0-9]+", pattern)])


def _request_body(schema: Object) -> Object:
    return {"required": "$ref" in schema, "content": {"application/json": {"schema": schema}}}


def _part(route: Route) -> str:
    if route.pattern.startswith("/admin/"):
        return "Operators"
    if route.pattern.startswith("/ipam/"):
        return "Addresses"
    return "Additions" if route.addition else "Customers"


def _words(route: Route) -> tuple[str, str]:
    """Summary and description, of the handler's docstring."""
    first, _, rest = inspect.cleandoc(route.handler.__doc__ or "").partition("\n\n")
    text = _HEAD.sub("", " ".join(first.split()), count=1)
    return text[:1].upper() + text[1:], rest.strip()


def _place(pattern: str, name: str) -> Object:
    told = next((found for (start, of), found in _BY_PATTERN.items() if of == name and start in pattern), None)
    schema, meaning = told or _PLACES.get(name, (_UUID, f"The {name.replace('_', ' ')}'s id."))
    return {"name": name, "in": "path", "required": True, "description": meaning, "schema": schema}


def _parameter(one: Parameter) -> Object:
    shape = {"style": "form", "explode": False} if one.many else {}
    return {"name": one.name, "in": "query", "description": one.meaning, "schema": one.schema, **shape}


def _header(name: str, schema: Object, meaning: str) -> Object:
    return {"name": name, "in": "header", "required": True, "description": meaning, "schema": schema}


def _idempotency_key() -> Object:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "1 to 255 printable ASCII characters. The same request with the same key is carried out once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": _PRINTABLE},
    }


def _responses(route: Route, places: Mapping[Model, Object]) -> Object:
    content: Object = {
        media: {"schema": {} if media.endswith("json") else {"type": "string"}} for media in route.documents
    }
    if route.answer is not None:
        content = {"application/json": {"schema": _answer(route, places[route.answer])}, **content}
    good: Object = {"description": _GOOD.get(route.status, "The answer.")}
    if content:
        good["content"] = content
    return {str(route.status): good, **_refusals(route.pattern, places)}


def _refusals(pattern: str, places: Mapping[Model, Object]) -> Object:
    found: Object = {}
    for status, meaning in _REFUSALS.items():
        found[status] = _refusal(meaning, pattern, places[Unauthenticated if status == "401" else Error], places)
    found["default"] = _refusal("The request is not carried out.", pattern, places[Error], places)
    return found


def _answer(route: Route, one: Object) -> Object:
    if route.objects is None:
        return one
    properties: Object = {route.objects: {"type": "array", "items": one}}
    if parameters.PAGES[0] in route.query:
        properties["meta"] = {"$ref": f"{_AT}Meta"}
    required = list(properties)
    if parameters.AFTER in route.query:
        properties |= _BEHIND
    return {"type": "object", "required": required, "properties": properties}


def _refusal(meaning: str, pattern: str, error: Object, places: Mapping[Model, Object]) -> Object:
    if pattern.startswith("/v1/"):
        return {"description": meaning, "content": {"application/problem+json": {"schema": places[Problem]}}}
    return {"description": meaning, "content": {"application/json": {"schema": error}}}
