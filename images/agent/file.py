"""One file of an installed system."""

from __future__ import annotations


class File:
    """One file below the installed system's root."""

    __slots__ = ("link", "mode", "owner", "path", "text")

    def __init__(self, path: str, text: str = "", mode: int = 0o644, *, link: str = "", owner: str = "") -> None:
        self.path, self.text, self.mode = path, text, mode
        self.link = link  # not empty: a symbolic link to there
        self.owner = owner  # a user of the installed system, who has the file and its folder; empty: root
