"""How a change of a leaf can end badly; the docstring is the title that an operator sees."""

from __future__ import annotations

from collections.abc import Mapping


class NetconfError(Exception):
    """The leaf could not be brought to its desired state."""


class Unreachable(NetconfError):
    """The leaf does not answer."""


class LockedByOther(NetconfError):
    """Somebody else holds the leaf's candidate.

    `holder` is what the leaf says of him: on Junos his name, his process and how long he has been idle. `session` is
    the number to end him by, `user` his login, as far as the leaf tells.
    """

    def __init__(self, holder: str, *, session: str = "", user: str = "") -> None:
        super().__init__(f"the candidate is locked: {holder}")
        self.holder = holder
        self.session = session
        self.user = user


class Refused(NetconfError):
    """The leaf refused the change; `errors` are all that it said, each a message and the path that it is about.

    `tag` is the first one's kind (RFC 6241 appendix A), where the leaf tells one.
    """

    def __init__(self, reason: str, path: str = "", errors: tuple[tuple[str, str], ...] = (), tag: str = "") -> None:
        super().__init__(f"{reason} ({path})" if path else reason)
        self.reason = reason
        self.path = path
        self.errors = errors or ((reason, path),)
        self.tag = tag


class Unverified(NetconfError):
    """The leaf said yes and is not what was asked for; the change was taken back."""

    def __init__(self, differences: list[str]) -> None:
        super().__init__("; ".join(differences[:5]) or "no difference could be named")
        self.differences = differences


class Lost(Unverified):
    """What worked before the change did not work after it; the change was taken back.

    `ports` are the leaf's interfaces that are concerned, and what of each; `back` are those that work again since. One
    that does not was lost without the change, too.
    """

    def __init__(self, ports: Mapping[str, str], back: frozenset[str] = frozenset()) -> None:
        super().__init__([f"{port}: {text}" for port, text in sorted(ports.items())])
        self.ports = ports
        self.back = back


class OutcomeUnknown(NetconfError):
    """The leaf fell silent in the middle of a commit; its running configuration must be read again."""
