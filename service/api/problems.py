"""What the API refuses, as the dialect says it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus

from aiohttp import web
from pydantic import ValidationError


class Refused(Exception):
    """The request is not carried out and nothing has changed. `errors` name field, value, and what is allowed."""

    def __init__(self, status: int, *errors: str) -> None:
        super().__init__(*errors)
        self.status = status
        self.errors = errors


class Invalid(Refused):
    """The request's content is not allowed."""

    def __init__(self, *errors: str) -> None:
        super().__init__(422, *errors)


class NotAllowed(Refused):
    """The path is there for other methods (RFC 9110 §15.5.6)."""

    def __init__(self, method: str, allowed: Sequence[str]) -> None:
        super().__init__(405, f"{method} is not allowed here; allowed are {', '.join(allowed)}")
        self.allowed = allowed


def not_found() -> Refused:
    """There is no such thing, or it is not the caller's."""
    return Refused(404, "Not found")


def forbidden(why: str) -> Refused:
    """The caller is known and may not do that."""
    return Refused(403, why)


def shown(value: object) -> str:
    """A caller's value for an error message: quoted, on one line and not longer than needed to recognise it."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…" + text[-1]


def reasons(err: ValidationError) -> list[str]:
    """One message for each field that is not allowed: its name, its value, and what is allowed."""
    found = (_reason(one["loc"], one["type"], one["msg"], one["input"]) for one in err.errors())
    return list(dict.fromkeys(found))


def _reason(place: tuple[int | str, ...], kind: str, message: str, value: object) -> str:
    name = ".".join(str(part) for part in place if not str(part).startswith("function-"))
    field = name.replace("_", " ").capitalize() if len(place) == 1 else name
    if kind == "missing" or value is None or value == "":
        return f"{field} can't be blank"
    if kind == "value_error":
        return f"{field} is not valid: {message.removeprefix('Value error, ')}"
    return f"{field} is not valid: {shown(value)}: {message[:1].lower()}{message[1:]}"


def problem_response(status: int, errors: tuple[str, ...]) -> web.Response:
    """The same as problem details (RFC 9457); their type says no more than the title does."""
    title = HTTPStatus(status).phrase
    body = {
        "type": "about:blank",
        "title": title,
        "status": status,
        "detail": "; ".join(errors),
        "errors": list(errors),
    }
    return web.Response(status=status, text=json.dumps(body), content_type="application/problem+json")


def refusal_response(status: int, errors: tuple[str, ...]) -> web.Response:
    """The dialect's error body; libcloud reads `error`, singular, on a 401."""
    body = {"error": errors[0]} if status == 401 else {"errors": list(errors)}
    return web.Response(status=status, text=json.dumps(body), content_type="application/json")
