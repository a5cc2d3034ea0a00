"""How a piece of work, or the whole session, comes to an early end."""

from __future__ import annotations


class SessionEnded(Exception):
    """The service no longer knows this session: boot from the network again."""


class HelloRefused(Exception):
    """The service does not take this boot token from this machine."""


class WorkDropped(Exception):
    """The service no longer wants this piece of work: ask for the next."""


class WorkFailed(Exception):
    """The work cannot go on and a person must look at it; `stage` says where it stopped."""

    def __init__(self, stage: str, reason: str) -> None:
        super().__init__(reason)
        self.stage = stage


class Malformed(Exception):
    """What a device answered does not have the form that its standard prescribes."""


class ImageRefused(Exception):
    """The image is not what was promised, cannot be had, or does not fit; what it was written to does not boot."""
