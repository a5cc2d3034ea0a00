"""How the leaf keeps the secrets of its configuration. Pure."""

from __future__ import annotations


def revealed(text: str) -> str:
    """The secret that a statement holds."""
    return text
