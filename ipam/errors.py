"""What the address manager refuses; the docstring is the title that a caller sees."""

from __future__ import annotations


class IpamError(Exception):
    """The address manager refused."""


class PrefixExhausted(IpamError):
    """The prefix has no free block left."""


class PrefixClosed(IpamError):
    """The prefix is frozen, draining or retired."""


class PrefixOverlaps(IpamError):
    """The prefix overlaps one that exists."""


class PrefixOutsideParent(IpamError):
    """The prefix does not lie inside its parent."""


class PrefixInUse(IpamError):
    """Something still lives in the prefix."""


class NoPrefix(IpamError):
    """There is no such prefix."""


class BadPrefix(IpamError):
    """The prefix cannot be what was asked."""


class BadBlock(IpamError):
    """The block cannot be what was asked."""


class BlockTaken(IpamError):
    """The block is not free."""


class NoTenure(IpamError):
    """There is no such tenure now."""


class BadCorrection(IpamError):
    """The ledger cannot be corrected so."""


class NoPool(IpamError):
    """There is no such pool."""


class BadPool(IpamError):
    """The pool cannot be what was asked."""


class PoolExhausted(IpamError):
    """The pool has no free number left."""
