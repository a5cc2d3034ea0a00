"""Whether what the API answers is what its OpenAPI document says, no less and no more; every answer that a test gets
is asked."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import jsonschema_rs
from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.app import ALL_ROUTES, SIGNED
from service.api.call import RouteTable, split_path
from service.api.openapi import at_one_path, document
from service.api.problems import Refused

_AT = "#/components/schemas/"
_RESHAPED = ("include", "exclude")


@cache
def _document() -> dict[str, Any]:
    return document(ALL_ROUTES, SIGNED)


@cache
def _table() -> RouteTable:
    return RouteTable(at_one_path(ALL_ROUTES))


def _closed(schema: Any) -> Any:
    """The schema with no other keys in its objects than the ones that it names."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(one) for name, one in schema.items()}
    return closed | {"additionalProperties": False} if isinstance(schema.get("properties"), dict) else closed


def _reached(schema: Any, schemas: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """All schemas that this one leads to, by name."""
    for one in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        if isinstance(one, str) and one.startswith(_AT):
            if (name := one.removeprefix(_AT)) not in found:
                found[name] = schemas[name]
                _reached(schemas[name], schemas, found)
        else:
            _reached(one, schemas, found)
    return found


@cache
def _validator(pattern: str, method: str, status: str, media: str, reshaped: bool) -> Any | None:
    """What checks such an answer; None when the document says that it is no JSON. Where the request may have had
    references filled in, objects may have more keys than they name.

    Raises KeyError when the document has no such status or media type.
    """
    spec = _document()
    responses = spec["paths"][pattern][method.lower()]["responses"]
    schema = responses[status if status in responses else "default"].get("content", {})[media]["schema"]
    if not media.endswith("json"):
        return None
    schema = {**schema, "components": {"schemas": _reached(schema, spec["components"]["schemas"], {})}}
    return jsonschema_rs.Draft202012Validator(schema if reshaped else _closed(schema), validate_formats=True)


def _pattern(method: str, path: str) -> str | None:
    """Of the operation that is at a path; None when there is none."""
    for one in SIGNED:
        if method == "POST" and re.fullmatch(re.sub("{[a-z]+}", "[^/]+", one.pattern), path):
            return one.pattern
    try:
        return _table().find(method, split_path(path)[1])[0].pattern
    except Refused:
        return None


def fault_of(method: str, target: str, status: int, media: str, content: bytes | None) -> str | None:
    """How an answer is not as documented: its status, its media type, or what is in it. `target` is the path with the
    query; `content` is None when it was sent piece by piece."""
    path, _, query = target.partition("?")
    method = "GET" if method == "HEAD" else method
    pattern = _pattern(method, path)
    if pattern is None:
        return None  # answered before any operation was found
    what = f"{method} {pattern} answers {status}"
    told = _document()["paths"][pattern][method.lower()]["responses"].get(str(status))
    if told is None and status < 400:
        return f"{what}, which is not documented"
    if content == b"":
        return f"{what} with nothing" if told is not None and "content" in told else None
    reshaped = any(name in query for name in _RESHAPED)
    try:
        validator = _validator(pattern, method, str(status), media, reshaped)
    except KeyError:
        return f"{what} with {media}, which is not documented"
    if validator is None or content is None:
        return None
    value = json.loads(content)
    if validator.is_valid(value):
        return None
    faults = [fault for error in validator.iter_errors(value) for fault in _in_words(error)]
    return f"{what} otherwise than documented: {'; '.join(faults[:5])}"


def _in_words(error: Any) -> list[str]:
    """What is wrong; of several schemas that are allowed, what is wrong by the nearest one."""
    if error.kind.name == "anyOf":
        nearest = max(error.kind.context, key=lambda branch: min(len(one.instance_path) for one in branch))
        return [fault for one in nearest for fault in _in_words(one)]
    return [f"{'.'.join(map(str, error.instance_path))}: {error.message[:300]}"]


def watching(faults: list[str]) -> Any:
    """A middleware that notes every answer which is not as documented, whoever asked."""

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        response = await handler(request)
        content = (response.body or b"") if isinstance(response, web.Response) else None
        assert content is None or isinstance(content, bytes)
        fault = fault_of(request.method, request.path_qs, response.status, response.content_type, content)
        if fault is not None:
            faults.append(fault)
        return response

    return watch
