"""What all answers are made of, for the OpenAPI document. What builds answers is in `service.api.objects` and beside
it; the tests hold every answer that they get against these models, which know all of its keys.

A `Reference` may be the whole object where the request said `include`, and a whole object a reference where it said
`exclude`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """An object of an answer. All of its keys are always there but those that have a default, which tells nothing: they
    are left out where there is nothing to tell. Later versions may have more."""

    model_config = ConfigDict(extra="allow")


class Reference(Answer):
    """Where a thing is; with `include` the thing itself."""

    href: str


class Whole(Answer):
    """A thing with a place of its own."""

    id: UUID
    href: str


class Page(Answer):
    """A link to a page."""

    href: str


class Meta(Answer):
    """Where in a list the page lies."""

    first: Page
    previous: Page | None
    self: Page
    next: Page | None
    last: Page
    current_page: int
    last_page: int
    total: int


class Compared(Answer):
    """A change, made or only shown (`applied`): the fields that differ."""

    before: dict[str, Any]
    after: dict[str, Any]
    applied: bool


class Error(BaseModel):
    """Why a request was refused: each message names the field, its value and what is allowed."""

    errors: list[str]


class Unauthenticated(BaseModel):
    """The token is missing, or nobody's."""

    error: str


class Problem(BaseModel):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[str]
