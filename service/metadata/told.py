"""What a machine tells the service, read from the bodies of its calls. Pure: bytes in, values out.

The same message comes as JSON or as a form, with or without a type, so its fields say what it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from service.api.storable import parse, why_unstorable

USER_STATES = ("running", "succeeded", "failed")
USER_CODES = range(1000, 1100)

_FORM = "application/x-www-form-urlencoded"
_JSON = ("application/json", "application/octet-stream")  # the second is what no content type at all reads as
_TYPE = re.compile(r"(de)?provisioning\.[0-9]{3}(\.[0-9]{1,2})?")
_LONGEST = 2000  # characters of a text that is kept


Fields = Mapping[str, Any]


class BadBody(ValueError):
    """The body cannot be read, or says what is not allowed."""


@dataclass(frozen=True, slots=True)
class PhonedHome:
    """The installed system is up."""


@dataclass(frozen=True, slots=True)
class GaveUp:
    """Whatever ran on the machine could not go on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Happened:
    """A step of an installation, or a customer's own event."""

    type: str
    body: str
    private: bool = False
    state: str | None = None


@dataclass(frozen=True, slots=True)
class NewPassword:
    """The password that the system has set, encrypted with the service's public key."""

    encrypted: bytes


Message = PhonedHome | GaveUp | Happened | NewPassword


def fields(content_type: str, content: bytes) -> Fields:
    """The fields of a body of JSON or a form; none for an empty one. Raises BadBody.

    `curl -d` calls JSON a form, so what begins like an object is read as one.
    """
    try:
        text = content.decode().strip()
    except UnicodeDecodeError:
        raise BadBody("the body is no UTF-8") from None
    if not text:
        return {}
    if content_type != _FORM and content_type not in _JSON:
        raise BadBody(f"content type {content_type!r} is neither JSON nor a form")
    if content_type == _FORM and not text.startswith("{"):
        try:
            found: Any = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict"))
        except ValueError:
            raise BadBody("the body is no form of at most 100 fields") from None
    else:
        try:
            found = parse(text)
        except ValueError:
            raise BadBody("the body is no JSON") from None
    if not isinstance(found, dict):
        raise BadBody("the body is no JSON object")
    if why := why_unstorable(found):
        raise BadBody(f"the body is not valid: {why}")
    return found


def phone_home(said: Fields) -> Message:
    """What a call of /phone-home means. Raises BadBody."""
    type_ = _text(said, "type")
    if type_ == "failure":
        reason = _text(said, "reason") or "no reason given"
        code = said.get("exit_code")
        return GaveUp(f"{reason} (exit code {str(code)[:20]})" if code not in (None, "") else reason)
    if type_:
        return event(said)
    if password := _text(said, "password"):
        try:
            return NewPassword(base64.b64decode(password, validate=True))
        except (binascii.Error, ValueError):
            raise BadBody("password is not valid: it is no base64") from None
    return PhonedHome()


def event(said: Fields) -> Happened:
    """A step of an installation. Raises BadBody for a type that is none."""
    type_ = _text(said, "type")
    if not _TYPE.fullmatch(type_):
        raise BadBody(
            f"type is not valid: {type_[:80]!r}; allowed are provisioning and deprovisioning with a number, as "
            f"provisioning.104.50, and failure"
        )
    private = str(said.get("private", "")).lower() in ("true", "1")
    return Happened(type_, _text(said, "body") or type_, private)


def user_event(said: Fields) -> Happened:
    """A customer's own event: {"state", "code", "message"}, of which Ignition leaves the code out. Raises BadBody."""
    if not said:
        raise BadBody("the body is empty")
    code, state = said.get("code", USER_CODES.start), said.get("state")
    if isinstance(code, str) and code.isascii() and code.isdigit():
        code = int(code[:9])
    if isinstance(code, bool) or not isinstance(code, int) or code not in USER_CODES:
        allowed = f"{USER_CODES.start} to {USER_CODES.stop - 1}"
        raise BadBody(f"code is not valid: {str(code)[:80]!r}; allowed is {allowed}")
    if state is not None and state not in USER_STATES:
        raise BadBody(f"state is not valid: {str(state)[:80]!r}; allowed are {', '.join(USER_STATES)}")
    return Happened(f"user.{code}", _text(said, "message"), state=state)


def problem(said: Fields) -> str:
    """What is wrong with the hardware, as "missing_drive". Raises BadBody."""
    if not (text := _text(said, "problem")):
        raise BadBody("problem is missing")
    return text


def _text(said: Fields, name: str) -> str:
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadBody(f"{name} is not valid: it is no text")
    return value[:_LONGEST]
