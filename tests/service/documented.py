"""Whether what the API answers is what its OpenAPI document says; every answer that a test gets is asked."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from service.api.app import ALL_ROUTES
from service.api.call import RouteTable, split_path
from service.api.openapi import at_one_path, document
from service.api.problems import Refused

_FORMATS = jsonschema.FormatChecker(["uuid", "date-time"])


@cache
def _document() -> dict[str, Any]:
    return document(ALL_ROUTES)


@cache
def _table() -> RouteTable:
    return RouteTable(at_one_path(ALL_ROUTES))


@cache
def _validator(pattern: str, method: str, status: str, media: str) -> Any | None:
    """What checks such an answer; None when the document says that it is no JSON."""
    spec = _document()
    responses = spec["paths"][pattern][method.lower()]["responses"]
    response = responses.get(status, responses["default"])
    content = response.get("content", {})
    assert media in content, f"{method} {pattern} answers {status} with {media}; the document has {list(content)}"
    if not media.endswith("json"):
        return None
    schema = {**content[media]["schema"], "components": spec["components"]}
    return jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)


def check_answer(method: str, path: str, status: int, media: str, content: bytes) -> None:
    """Fail when an answer is not as documented: its status, its media type, or what is in it."""
    where = split_path(path.partition("?")[0])[1]
    try:
        route, _ = _table().find("GET" if method == "HEAD" else method, where)
    except Refused:
        return  # answered before any operation was found
    responses = _document()["paths"][route.pattern][("GET" if method == "HEAD" else method).lower()]["responses"]
    told = responses.get(str(status))
    assert told is not None or status >= 400, f"{method} {route.pattern} answers {status}, which is not documented"
    if not content:
        assert told is None or "content" not in told or method == "HEAD", f"{method} {route.pattern} answers nothing"
        return
    if (validator := _validator(route.pattern, method, str(status), media)) is not None:
        faults = [
            f"{'.'.join(map(str, one.path))}: {one.message[:300]}" for one in validator.iter_errors(json.loads(content))
        ]
        assert not faults, f"{method} {route.pattern} answers {status} otherwise than documented: {faults[:5]}"
