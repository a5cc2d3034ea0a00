"""The OpenAPI document, served as it is and as a page to read; neither needs a token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from aiohttp import web
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from service.api.call import Route, Signed
from service.api.openapi import document

Object = dict[str, Any]
DOCUMENT, PAGE = "/openapi.json", "/docs"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
_AT = "#/components/schemas/"


class Docs:
    """The two routes. What they show is made when it is first asked for."""

    def __init__(self, routes: Sequence[Route], signed: Sequence[Signed]) -> None:
        self._routes, self._signed = routes, signed

    def add_routes(self, app: web.Application) -> None:
        """Join the API's application."""
        app.router.add_get(DOCUMENT, self._document)
        app.router.add_get(PAGE, self._page)

    async def _document(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._text, content_type="application/json")

    async def _page(self, _request: web.Request) -> web.Response:
        return web.Response(text=self._html, content_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @cached_property
    def _text(self) -> str:
        return json.dumps(document(self._routes, self._signed))

    @cached_property
    def _html(self) -> str:
        return page(document(self._routes, self._signed))


def page(spec: Object) -> str:
    """An OpenAPI document as one HTML page, without scripts and without anything from elsewhere."""
    jinja = Environment(
        loader=PackageLoader("service.api", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    info = spec["info"]
    return jinja.get_template("docs.html").render(
        title=info["title"],
        version=info["version"],
        introduction=_paragraphs(info["description"]),
        parts=[_part(spec, tag) for tag in spec["tags"]],
        objects=[_object(name, schema) for name, schema in spec["components"]["schemas"].items()],
    )


def _paragraphs(text: str) -> list[Markup]:
    return [_prose(paragraph) for paragraph in text.strip().split("\n\n")] if text else []


def _prose(text: str) -> Markup:
    """Text with its `words` as code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 and number < len(parts) - 1 else escape(part)
        for number, part in enumerate(parts)
    )


def _part(spec: Object, tag: Object) -> Object:
    operations = [
        _operation(path, method, operation)
        for path, methods in spec["paths"].items()
        for method, operation in methods.items()
        if tag["name"] in operation["tags"]
    ]
    return {"name": tag["name"], "text": _prose(tag["description"]), "operations": operations}


def _operation(path: str, method: str, operation: Object) -> Object:
    body = operation.get("requestBody")
    return {
        "id": operation["operationId"],
        "path": path,
        "method": method,
        "summary": _prose(operation["summary"]),
        "text": _paragraphs(operation.get("description", "")),
        "parameters": [
            {
                "name": one["name"],
                "where": one["in"],
                "type": type_of(one["schema"]),
                "meaning": _prose(one["description"]),
            }
            for one in operation["parameters"]
        ],
        "body": None if body is None else type_of(body["content"]["application/json"]["schema"]),
        "answers": [_answer(status, response) for status, response in operation["responses"].items()],
    }


def _answer(status: str, response: Object) -> Object:
    kinds = [
        type_of(content["schema"]) if media.endswith("json") else Markup("<code>{}</code>").format(media)
        for media, content in response.get("content", {}).items()
    ]
    return {"status": status, "meaning": response["description"], "type": Markup(" or ").join(kinds)}


def _object(name: str, schema: Object) -> Object:
    fields = [
        {
            "name": field,
            "type": type_of(one),
            "presence": _presence(schema, field),
            "meaning": _prose(one.get("description", "")),
        }
        for field, one in schema.get("properties", {}).items()
    ]
    return {"name": name, "text": _prose(schema.get("description", "")), "fields": fields, "type": type_of(schema)}


def _presence(schema: Object, field: str) -> str:
    """In words, whether an object has the field: of an answer, which may have others too, it is told when not."""
    required = field in schema.get("required", ())
    if schema.get("additionalProperties") is True:
        return "" if required else "Not always there."
    return "Must be there." if required else ""


def type_of(schema: Object) -> Markup:
    """A JSON Schema in a few words, with links to the objects that it names."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_AT)
        return Markup('<a href="#object-{0}">{0}</a>').format(name)
    for choices in ("anyOf", "oneOf"):
        if choices in schema:
            return Markup(" or ").join(dict.fromkeys(type_of(one) for one in schema[choices]))
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return Markup(" | ").join(Markup("<code>{}</code>").format(json.dumps(one)) for one in values)
    kind = schema.get("type")
    if kind == "array":
        return Markup("list of {}").format(type_of(schema.get("items", {})))
    if kind == "object":
        if properties := schema.get("properties"):
            inner = Markup(", ").join(
                Markup("<code>{}</code>: {}").format(name, type_of(one)) for name, one in properties.items()
            )
            return Markup("{{{}}}").format(inner)
        if isinstance(values := schema.get("additionalProperties"), dict):
            return Markup("object of {}").format(type_of(values))
        return Markup("object")
    if isinstance(kind, list):
        return Markup(" or ").join(escape(one) for one in kind)
    return escape(schema.get("format") or kind or "anything")
