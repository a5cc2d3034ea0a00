"""The API over plain `urllib`: a command line that starts at once needs no more."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

_TIMEOUT_S = 90.0  # more than the longest poll that the API answers

Object = dict[str, Any]


class CallFailed(Exception):
    """The API refused, or could not be reached; the text is one line for the person at the terminal.

    `status` is HTTP's, where there was an answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def environment(name: str) -> str | None:
    """ROUNDHOUSE_<NAME>, or what the file that ROUNDHOUSE_<NAME>_FILE names holds."""
    if value := os.environ.get(f"ROUNDHOUSE_{name}"):
        return value
    file = os.environ.get(f"ROUNDHOUSE_{name}_FILE")
    return Path(file).read_text(encoding="utf-8").strip() if file else None


class Unreachable(CallFailed):
    """Nobody answered: the service may be starting again."""


class Client:
    """One caller of one API."""

    def __init__(self, url: str, token: str | None, *, timeout_s: float = _TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s

    def get(self, path: str, /, **query: object) -> Object:
        """GET; parameters that are None are left out, lists are repeated."""
        return self._call("GET", _asked(path, query))

    def post(self, path: str, body: Mapping[str, object], *, key: str | None = None) -> Object:
        """POST; `key` is sent as Idempotency-Key."""
        return self._call("POST", path, body, key)

    def patch(self, path: str, body: Mapping[str, object]) -> Object:
        """PATCH."""
        return self._call("PATCH", path, body)

    def put(self, path: str, body: Mapping[str, object]) -> Object:
        """PUT."""
        return self._call("PUT", path, body)

    def delete(self, path: str) -> None:
        """DELETE."""
        self._call("DELETE", path)

    def send(self, path: str, content: bytes, /, **query: object) -> Object:
        """POST a file as it is."""
        answer: Object = json.loads(self._exchange("POST", _asked(path, query), content, "application/octet-stream"))
        return answer

    def read(self, path: str, /, **query: object) -> bytes:
        """GET what is no JSON object, as it is."""
        return self._exchange("GET", _asked(path, query), None, "application/json")

    def text(self, path: str, body: Mapping[str, object]) -> str:
        """POST, where the answer is no JSON."""
        return self._exchange("POST", path, json.dumps(body).encode(), "application/json").decode()

    def every(self, path: str, items: str, /, **query: object) -> Iterator[Object]:
        """All items of a list, page by page."""
        page = 1
        while True:
            body = self.get(path, page=page, per_page=250, **query)
            yield from body[items]
            if (body.get("meta") or {}).get("next") is None:
                return
            page += 1

    def _call(self, method: str, path: str, body: object = None, key: str | None = None) -> Object:
        content = None if body is None else json.dumps(body).encode()
        text = self._exchange(method, path, content, "application/json", key)
        found: Object = json.loads(text) if text else {}
        return found

    def _exchange(self, method: str, path: str, content: bytes | None, kind: str, key: str | None = None) -> bytes:
        headers = {"Accept": "application/json", "Content-Type": kind}
        if self._token:
            headers["X-Auth-Token"] = self._token
        if key:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(self.url + path, content, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                answer: bytes = response.read()
        except urllib.error.HTTPError as err:
            raise CallFailed(_said(err), err.code) from None
        except (urllib.error.URLError, OSError, ValueError) as err:
            raise Unreachable(f"{self.url} cannot be reached: {getattr(err, 'reason', err)}") from None
        return answer


def _asked(path: str, query: Mapping[str, object]) -> str:
    asked = [(name, value) for name, given in query.items() for value in _values(given)]
    return path + ("?" + urlencode(asked) if asked else "")


def _values(given: object) -> list[str]:
    if given is None:
        return []
    return [str(value) for value in given] if isinstance(given, list | tuple) else [str(given)]


def _said(err: urllib.error.HTTPError) -> str:
    try:
        body = json.loads(err.read())
        said = body.get("errors") or [body["error"]]
    except (ValueError, KeyError, AttributeError):
        said = [str(err.reason)]
    hint = " (is ROUNDHOUSE_TOKEN set?)" if err.code == 401 else ""
    return f"{'; '.join(str(one) for one in said)}{hint}"


def escaped(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")
