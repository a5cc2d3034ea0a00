"""How a change of a leaf can end badly; the docstring is the title that an operator sees."""

from __future__ import annotations


class NetconfError(Exception):
    """The leaf could not be brought to its desired state."""


class Unreachable(NetconfError):
    """The leaf does not answer."""


class LockedByOther(NetconfError):
    """Somebody else holds the leaf's candidate."""

    def __init__(self, holder: str) -> None:
        super().__init__(f"the candidate is locked: {holder}")
        self.holder = holder


class Refused(NetconfError):
    """The leaf refused the change; `errors` are all that it said, each a message and the path that it is about."""

    def __init__(self, reason: str, path: str = "", errors: tuple[tuple[str, str], ...] = ()) -> None:
        super().__init__(f"{reason} ({path})" if path else reason)
        self.reason = reason
        self.path = path
        self.errors = errors or ((reason, path),)


class Unverified(NetconfError):
    """The leaf said yes and is not what was asked for; the change was taken back."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences[:5]) or "no difference could be named")
        self.differences = differences


class OutcomeUnknown(NetconfError):
    """The leaf fell silent in the middle of a commit; its running configuration must be read again."""
