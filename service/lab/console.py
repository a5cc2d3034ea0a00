"""A machine's serial line, as its BMC has it: what the machine prints, and who looks and types at the other end."""

from __future__ import annotations

from collections.abc import Callable

Heard = Callable[[bytes], None]


class SerialLine:
    """Bytes in both directions. What nobody looks at is lost, as on a real line."""

    def __init__(self) -> None:
        self._viewers: set[Heard] = set()
        self.typed: Heard | None = None  # the machine's end; None: nothing listens there

    def print(self, data: bytes | str) -> None:
        """The machine sends something."""
        sent = data.encode() if isinstance(data, str) else data
        for viewer in list(self._viewers):
            viewer(sent)

    def type(self, data: bytes) -> None:
        """Something comes in at the other end."""
        if self.typed is not None:
            self.typed(data)

    @property
    def sessions(self) -> int:
        """How many look at it."""
        return len(self._viewers)

    def look(self, viewer: Heard) -> Callable[[], None]:
        """Have `viewer` called with all that is printed from now on, until the function that comes back is called."""
        self._viewers.add(viewer)
        return lambda: self._viewers.discard(viewer)


class Login:
    """A login prompt at a line, that lets nobody in: each line that is typed is said back, and asked for again."""

    def __init__(self, line: SerialLine, hostname: str) -> None:
        self._line = line
        self._prompt = f"\r\n{hostname} login: "
        self._name = bytearray()

    def begin(self, system: str) -> None:
        """Show the greeting and take what is typed from now on."""
        self._line.typed = self._typed
        self._line.print(f"\r\n{system} ttyS0\r\n{self._prompt}")

    def _typed(self, data: bytes) -> None:
        for byte in data:
            if byte in b"\r\n":
                self._line.print(b"\r\nLogin incorrect: " + bytes(self._name) + b"\r\n" + self._prompt.encode())
                self._name.clear()
            else:
                self._name.append(byte)
                self._line.print(bytes([byte]))
