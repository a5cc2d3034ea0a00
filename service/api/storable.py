"""JSON from outside: read so that whatever comes out can be stored."""

from __future__ import annotations

import json
import math
import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")  # PostgreSQL's text holds neither NUL nor half a surrogate pair
_DEPTH = 64  # far from where readers and writers of JSON run out of stack


def parse(text: str | bytes) -> Any:
    """The JSON value. Raises ValueError for what is no JSON or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def why_unstorable(value: object, depth: int = 0) -> str | None:
    """Why PostgreSQL could not store the value; None when it can."""
    if isinstance(value, str):
        return "it holds NUL or half a surrogate pair" if _UNSTORABLE.search(value) else None
    if isinstance(value, float) and not math.isfinite(value):
        return "it holds a number that is not finite"
    if not isinstance(value, dict | list):
        return None
    if depth >= _DEPTH:
        return f"it is nested deeper than {_DEPTH} levels"
    members = [*value, *value.values()] if isinstance(value, dict) else value
    return next((why for one in members if (why := why_unstorable(one, depth + 1)) is not None), None)
