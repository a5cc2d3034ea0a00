"""What may be asked of hooks over HTTP: customers' webhooks and operators' hooks, as they are made and changed."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field

from service.api.models import Request
from service.hooks.asking import ASKABLE

_PATTERN = re.compile(r"[a-z0-9_.*]{1,100}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
LONGEST_LIMIT_S = 3600.0


def _pattern(value: str) -> str:
    if not _PATTERN.fullmatch(value):
        raise ValueError(f"{value!r} must be a type of events such as provisioning.110, with * for anything")
    return value


def _named(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise ValueError(f"{value!r} must be 1 to 63 letters, digits, dots, underscores and hyphens")
    return value


Pattern = Annotated[str, AfterValidator(_pattern)]
Patterns = Annotated[list[Pattern], Field(min_length=1, max_length=50)]
Name = Annotated[str, AfterValidator(_named)]


class CreateWebhook(Request):
    """A webhook of an organization or a project."""

    url: Annotated[str, Field(max_length=2000)]
    description: Annotated[str, Field(max_length=200)] = ""
    events: Patterns = Field(default=["*"], validate_default=True)
    enabled: bool = True


class ChangeWebhook(Request):
    """What of a webhook is to be other."""

    url: Annotated[str, Field(max_length=2000)] | None = None
    description: Annotated[str, Field(max_length=200)] | None = None
    events: Patterns | None = None
    enabled: bool | None = None


class Rotate(Request):
    """How long the secret until now stays good, in seconds."""

    overlap_s: Annotated[int, Field(ge=0, le=30 * 86400)] = 86400


class Replay(Request):
    """Behind which cursor a hook is told everything again."""

    model_config = ConfigDict(populate_by_name=True)

    from_: Annotated[int, Field(alias="from", ge=0, lt=2**63)]


class CreateHook(Request):
    """A hook of the operator's."""

    name: Name
    kind: Literal["webhook", "executable"]
    target: Annotated[str, Field(min_length=1, max_length=2000)]
    follows: Patterns
    mode: Literal["tell", "ask"] = "tell"
    limit_s: Annotated[float, Field(ge=0.1, le=LONGEST_LIMIT_S)] = 10.0
    retries: Annotated[int, Field(ge=0, le=20)] = 5
    on_failure: Literal["refuse", "proceed"] = "refuse"
    enabled: bool = True


class ChangeHook(Request):
    """What of a hook is to be other. Its kind and its mode stay: another hook is made for that."""

    target: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    follows: Patterns | None = None
    limit_s: Annotated[float, Field(ge=0.1, le=LONGEST_LIMIT_S)] | None = None
    retries: Annotated[int, Field(ge=0, le=20)] | None = None
    on_failure: Literal["refuse", "proceed"] | None = None
    enabled: bool | None = None


class GiveVerdict(Request):
    """The answer to a question that a hook put off, or an operator's."""

    verdict: Literal["allow", "veto"]
    reason: Annotated[str, Field(max_length=500)] | None = None


def not_askable(follows: list[str]) -> str | None:
    """Why a hook cannot be asked about these; None when it can."""
    wrong = [one for one in follows if one not in ASKABLE]
    if not wrong:
        return None
    return f"follows is not valid: {wrong[0]!r}: a hook that is asked follows some of {', '.join(ASKABLE)}"
