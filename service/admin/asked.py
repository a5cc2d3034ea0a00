"""What an operator's request asks for, as the model that tells what is allowed."""

from __future__ import annotations

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from service.api.call import Call
from service.api.problems import Invalid, reasons

M = TypeVar("M", bound=BaseModel)


def asked(call: Call, model: type[M]) -> M:
    """The request's body and query by the model. Raises Invalid for each field that is not allowed."""
    try:
        return model.model_validate(call.body)
    except ValidationError as err:
        raise Invalid(*reasons(err)) from None
