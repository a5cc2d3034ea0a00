"""What is typed at a console, told apart into what is for the machine and what is for us. Pure.

Ctrl-] begins an escape, as with telnet: OpenSSH's own client keeps "~" for itself, and a shell never uses Ctrl-].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

ESCAPE = 0x1D
NAME = "Ctrl-]"


class Command(Enum):
    """What an escape asks for."""

    LEAVE = "."
    TAKE_OVER = "t"
    BREAK = "b"
    HELP = "?"


_BY_BYTE = {command.value.encode()[0]: command for command in Command}
HELP = (
    (".", "leave"),
    ("t", "take the keyboard from whoever has it"),
    ("b", "send a BREAK"),
    ("]", f"send {NAME} itself"),
    ("?", "show this"),
)


@dataclass(slots=True)
class Typed:
    """Reads what comes piece by piece; an escape may be cut in two."""

    _escaped: bool = False

    def read(self, data: bytes) -> Iterator[bytes | Command]:
        """Bytes for the machine and commands, in the order in which they were typed."""
        plain = bytearray()
        for byte in data:
            if not self._escaped:
                self._escaped = byte == ESCAPE
                if not self._escaped:
                    plain.append(byte)
                continue
            self._escaped = False
            if byte in (ESCAPE, ord("]")):
                plain.append(ESCAPE)
            elif (command := _BY_BYTE.get(byte)) is not None:
                if plain:
                    yield bytes(plain)
                    plain.clear()
                yield command
            # Anything else is dropped: an escape that means nothing must not reach the machine half.
        if plain:
            yield bytes(plain)
