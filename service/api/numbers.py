"""Numbers in requests."""

from __future__ import annotations

from service.api.problems import shown


def no_truth(value: object) -> object:
    """The value; true is not 1, nor is false 0. Raises ValueError."""
    if isinstance(value, bool):
        raise ValueError(f"{shown(value)} is no number")
    return value
