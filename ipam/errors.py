"""What the address manager refuses; the docstring is the title that a caller sees."""

from __future__ import annotations


class IpamError(Exception):
    """The address manager refused."""


class PrefixExhausted(IpamError):
    """The prefix has no free block left."""


class PrefixOverlaps(IpamError):
    """The prefix overlaps one that exists."""


class PrefixOutsideParent(IpamError):
    """The prefix does not lie inside its parent."""


class NoPrefix(IpamError):
    """There is no prefix with that role at the facility."""


class BadPrefix(IpamError):
    """The prefix cannot hand out such blocks."""
