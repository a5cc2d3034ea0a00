"""What hooks are sent. One form for all: `type`, `timestamp`, and `data` with what it is about."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from service.api.links import Links
from service.api.objects import event
from service.hooks.sending import Answer
from service.store.event_log import LoggedEvent
from service.store.hooks import Kind, Verdict

_REASON = 500  # characters of a reason that are kept
_VETO_EXIT, _VETO_HTTP, _LATER_HTTP = 1, (403, 409), 202


def told(one: LoggedEvent, facts: Mapping[str, Any] | None) -> bytes:
    """An event; an operator's hook is told the machine and the device besides (`facts`), as they are by now."""
    data: dict[str, Any] = {"event": event(one, Links(""), staff=facts is not None), **(facts or {})}
    return _body(one.type, one.created_at, {"cursor": str(one.position)}, data)


def asked(question_id: str, transition: str, asked_at: datetime, until: datetime, facts: Mapping[str, Any]) -> bytes:
    """A question; `until` is when it will be decided without an answer."""
    about = {"question": question_id, "until": _stamp(until)}
    return _body(transition, asked_at, about, dict(facts))


def tried(now: datetime, name: str) -> bytes:
    """A test."""
    return _body("hook.test", now, {}, {"hook": name})


def answered(kind: Kind, answer: Answer) -> tuple[Verdict | None, str | None, bool]:
    """What a hook's answer to a question means: verdict and reason, or no verdict yet and whether it comes later."""
    if answer.status is None:
        return None, None, False
    if kind == "executable":
        if answer.status == 0:
            return "allowed", None, False
        return ("vetoed", _reason(answer.text), False) if answer.status == _VETO_EXIT else (None, None, False)
    if answer.status == _LATER_HTTP:
        return None, None, True
    if 200 <= answer.status < 300:
        return "allowed", None, False
    return ("vetoed", _reason(answer.text), False) if answer.status in _VETO_HTTP else (None, None, False)


def delivered(kind: Kind, answer: Answer) -> bool:
    """Whether what was told has arrived."""
    if answer.status is None:
        return False
    return answer.status == 0 if kind == "executable" else 200 <= answer.status < 300


def why(kind: Kind, answer: Answer) -> str:
    """What went wrong, as a sentence that begins with nothing."""
    if answer.status is None:
        return answer.text[:_REASON]
    said = f": {answer.text[:_REASON]}" if answer.text else ""
    return f"exit status {answer.status}{said}" if kind == "executable" else f"HTTP status {answer.status}{said}"


def _reason(text: str) -> str:
    """The reason of a veto: `reason` of a JSON object, or the text itself."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if isinstance(found, dict) and isinstance(found.get("reason"), str):
        text = found["reason"]
    return " ".join(text.replace("\0", "").split())[:_REASON] or "no reason was given"


def _body(type_: str, moment: datetime, about: Mapping[str, Any], data: Mapping[str, Any]) -> bytes:
    return json.dumps({"type": type_, "timestamp": _stamp(moment), **about, "data": data}).encode()


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
